#include "cli/models_view.h"

#include <string.h>

static const char *text_of(const json_t *object, const char *key)
{
    const char *text = json_string_value(json_object_get(object, key));
    return text != NULL ? text : "";
}

static finch_status add_size(pen *p, const json_t *bytes, finch_error *err)
{
    double size = (double)json_integer_value(bytes);
    if (size < 1e6) return str_add_format(&p->out, err, "%.1f kB", size / 1e3);
    return size < 1e9 ? str_add_format(&p->out, err, "%.1f MB", size / 1e6)
                      : str_add_format(&p->out, err, "%.2f GB", size / 1e9);
}

static finch_status add_stages(pen *p, const json_t *stages, finch_error *err)
{
    for (size_t i = 0; i < json_array_size(stages); i++) {
        FINCH_TRY(pen_colour(p, "1", err));
        FINCH_TRY(str_add_format(&p->out, err, "  %s", json_string_value(json_array_get(stages, i))));
        FINCH_TRY(pen_colour(p, "", err));
    }
    return FINCH_OK;
}

/* "macro_f1 0.7004" where it is known. */
static finch_status add_figure(pen *p, const json_t *metrics, const char *key, finch_error *err)
{
    const json_t *value = json_object_get(metrics, key);
    return json_is_number(value) ? str_add_format(&p->out, err, "  %s %.4f", key, json_number_value(value)) : FINCH_OK;
}

/* ---- list ---- */

static finch_status add_line(pen *p, const json_t *model, finch_error *err)
{
    FINCH_TRY(str_add_format(&p->out, err, "  %-28s  %-10.10s", text_of(model, "id"), text_of(model, "created")));
    FINCH_TRY(str_add_text(&p->out, "  ", err));
    FINCH_TRY(add_size(p, json_object_get(model, "bytes"), err));
    FINCH_TRY(add_figure(p, json_object_get(model, "metrics"), "macro_f1", err));
    FINCH_TRY(add_stages(p, json_object_get(model, "stages"), err));
    if (text_of(model, "note")[0] != '\0') {
        FINCH_TRY(str_add_text(&p->out, "  ", err));
        FINCH_TRY(pen_add_sane(p, text_of(model, "note"), 40, NULL, err));
    }
    return str_add_text(&p->out, "\n", err);
}

finch_status models_add_list(pen *p, const json_t *document, finch_error *err)
{
    const json_t *models = json_object_get(document, "models"), *built_in = json_object_get(document, "built_in");
    for (size_t i = 0; i < json_array_size(models); i++) FINCH_TRY(add_line(p, json_array_get(models, i), err));
    if (json_is_object(built_in)) {
        FINCH_TRY(str_add_format(&p->out, err, "  %-28s  %-10.10s  built in", text_of(built_in, "name"),
                                 text_of(json_object_get(built_in, "card"), "created")));
        FINCH_TRY(add_figure(p, json_object_get(built_in, "metrics"), "macro_f1", err));
        FINCH_TRY(str_add_text(&p->out, "\n", err));
    }
    return FINCH_OK;
}

/* ---- show ---- */

static finch_status add_field(pen *p, const char *title, const char *value, finch_error *err)
{
    if (value[0] == '\0') return FINCH_OK;
    FINCH_TRY(str_add_format(&p->out, err, "  %-12s", title));
    FINCH_TRY(pen_add_sane(p, value, p->width, NULL, err));
    return str_add_text(&p->out, "\n", err);
}

static finch_status add_metrics(pen *p, const json_t *metrics, finch_error *err)
{
    static const char *const keys[] = {"accuracy", "macro_f1", "weighted_f1", "kappa", "mcc", "roc_auc", "log_loss", "ece"};
    if (!json_is_object(metrics)) return FINCH_OK;
    FINCH_TRY(str_add_format(&p->out, err, "\n  judged on %lld rows\n",
                             (long long)json_integer_value(json_object_get(metrics, "n"))));
    for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++) {
        FINCH_TRY(add_figure(p, metrics, keys[i], err));
        if (i == 3) FINCH_TRY(str_add_text(&p->out, "\n", err));
    }
    return str_add_text(&p->out, "\n", err);
}

static finch_status add_confusion(pen *p, const json_t *confusion, finch_error *err)
{
    const json_t *labels = json_object_get(confusion, "labels"), *matrix = json_object_get(confusion, "matrix");
    if (json_array_size(labels) == 0) return FINCH_OK;
    FINCH_TRY(str_add_format(&p->out, err, "\n  %-18s", "true \\ predicted"));
    for (size_t c = 0; c < json_array_size(labels); c++)
        FINCH_TRY(str_add_format(&p->out, err, " %10.10s", json_string_value(json_array_get(labels, c))));
    for (size_t t = 0; t < json_array_size(labels); t++) {
        FINCH_TRY(str_add_format(&p->out, err, "\n  %-18.18s", json_string_value(json_array_get(labels, t))));
        for (size_t c = 0; c < json_array_size(labels); c++)
            FINCH_TRY(str_add_format(&p->out, err, " %10lld",
                                     (long long)json_integer_value(json_array_get(json_array_get(matrix, t), c))));
    }
    return str_add_text(&p->out, "\n", err);
}

static finch_status add_number(pen *p, const json_t *number, finch_error *err)
{
    return json_is_integer(number) ? str_add_format(&p->out, err, "%lld", (long long)json_integer_value(number))
                                   : str_add_text(&p->out, "-", err);
}

static finch_status add_entry(pen *p, const json_t *entry, finch_error *err)
{
    const json_t *from = json_object_get(entry, "from"), *to = json_object_get(entry, "to");
    FINCH_TRY(str_add_format(&p->out, err, "  %.19sZ  %-8s  %-12s ", text_of(entry, "time"), text_of(entry, "action"),
                             text_of(entry, "stage")));
    FINCH_TRY(add_number(p, from, err));
    FINCH_TRY(str_add_text(&p->out, p->unicode ? " \xE2\x86\x92 " : " -> ", err));
    FINCH_TRY(add_number(p, to, err));
    FINCH_TRY(str_add_text(&p->out, "  by ", err));
    FINCH_TRY(pen_add_sane(p, text_of(entry, "by"), 30, NULL, err));
    if (text_of(entry, "note")[0] != '\0') {
        FINCH_TRY(str_add_text(&p->out, ": ", err));
        FINCH_TRY(pen_add_sane(p, text_of(entry, "note"), 60, NULL, err));
    }
    return str_add_text(&p->out, "\n", err);
}

static finch_status add_record(pen *p, const json_t *record, finch_error *err)
{
    if (json_array_size(record) == 0) return FINCH_OK;
    FINCH_TRY(str_add_text(&p->out, "\n  the record, newest first\n", err));
    for (size_t i = 0; i < json_array_size(record); i++) FINCH_TRY(add_entry(p, json_array_get(record, i), err));
    return FINCH_OK;
}

finch_status models_add_version(pen *p, const json_t *document, finch_error *err)
{
    const json_t *card = json_object_get(document, "card");
    FINCH_TRY(str_add_format(&p->out, err, "  %s", text_of(document, "id")));
    FINCH_TRY(add_stages(p, json_object_get(document, "stages"), err));
    FINCH_TRY(str_add_text(&p->out, "\n", err));
    FINCH_TRY(add_field(p, "registered", text_of(document, "created"), err));
    FINCH_TRY(add_field(p, "by", text_of(document, "by"), err));
    FINCH_TRY(add_field(p, "note", text_of(document, "note"), err));
    FINCH_TRY(add_field(p, "folder", text_of(document, "folder"), err));
    FINCH_TRY(add_field(p, "sha256", text_of(document, "digest"), err));
    FINCH_TRY(add_field(p, "made", text_of(card, "created"), err));
    FINCH_TRY(add_field(p, "task", text_of(card, "task"), err));
    FINCH_TRY(add_metrics(p, json_object_get(document, "metrics"), err));
    FINCH_TRY(add_confusion(p, json_object_get(document, "confusion"), err));
    return add_record(p, json_object_get(document, "record"), err);
}
