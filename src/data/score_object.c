#include "data/score_object.h"

#include "data/utf8.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- reading ---- */

static bool is_blank(char c) { return c == ' ' || c == '\t' || c == '\r' || c == '\n'; }

/* What jansson says of a broken text may hold parts of its characters. */
static void make_utf8(char *text)
{
    size_t size = strlen(text);
    for (size_t at = 0; at < size;) {
        size_t step = data_utf8_length(text + at, size - at);
        if (step == 0) text[at] = '?';
        at += step > 0 ? step : 1;
    }
}

bool data_score_object_refuse(data_score_object *o, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vsnprintf(o->reason, sizeof o->reason, format, args);
    va_end(args);
    make_utf8(o->reason);
    json_decref(o->object);
    o->object = NULL;
    return false;
}

bool data_score_object_read(const char *at, size_t size, const data_text_key *key, const data_names *added,
                            data_score_object *out)
{
    json_error_t where;
    while (size > 0 && is_blank(at[0])) at++, size--;
    while (size > 0 && is_blank(at[size - 1])) size--;
    *out = (data_score_object){.at = at, .size = size};
    if (!data_utf8_valid(at, size)) return data_score_object_refuse(out, "the bytes are not UTF-8");
    out->object = json_loadb(at, size, JSON_ALLOW_NUL | JSON_DECODE_INT_AS_REAL, &where);
    if (out->object == NULL)
        return data_score_object_refuse(out, "no valid JSON object: %.100s (column %d)", where.text, where.column);
    if (!json_is_object(out->object)) return data_score_object_refuse(out, "the JSON is no object {...}");
    const json_t *text = json_object_get(out->object, key->name);
    if (text == NULL && key->otherwise != NULL) text = json_object_get(out->object, key->otherwise);
    if (text == NULL)
        return data_score_object_refuse(out, "there is no key \"%.60s\"; name the texts' key with --text-column", key->name);
    if (!json_is_string(text) && !json_is_null(text))
        return data_score_object_refuse(out, "the value of \"%.60s\" is no text", key->name);
    for (size_t i = 0; i < added->n; i++)
        if (json_object_get(out->object, added->at[i]) != NULL)
            return data_score_object_refuse(out, "there is a key \"%.60s\" already; choose other names with --prefix finch_",
                                            added->at[i]);
    if (json_is_string(text)) out->text = (finch_text){json_string_value(text), json_string_length(text)};
    return true;
}

void data_score_object_free(data_score_object *o)
{
    json_decref(o->object);
    *o = (data_score_object){0};
}

/* ---- answering ---- */

/* The fewest digits that give the same float back. */
static finch_status add_float(str *out, float value, finch_error *err)
{
    enum { DIGITS_LEAST = 6, DIGITS_ENOUGH = 9 };
    char text[32];
    for (int digits = DIGITS_LEAST; digits <= DIGITS_ENOUGH; digits++) {
        snprintf(text, sizeof text, "%.*g", digits, (double)value);
        if (strtof(text, NULL) == value) break; /* NOLINT: equal bits are meant */
    }
    return str_add_text(out, text, err);
}

finch_status data_add_json_text(str *out, const char *text, size_t size, finch_error *err)
{
    json_t *value = json_stringn(text, size);
    char *written = value != NULL ? json_dumps(value, JSON_ENCODE_ANY) : NULL;
    finch_status st = written != NULL ? str_add_text(out, written, err)
                                      : finch_fail(err, FINCH_E_MEMORY, "out of memory for an answer");
    free(written);
    json_decref(value);
    return st;
}

static finch_status add_value(const data_scoring *s, const data_names *added, size_t column, const data_scoring_output *row,
                              str *out, finch_error *err)
{
    size_t n_labels = s->n_labels;
    if (!row->scored || (column == 1 && !s->has_sentiment)) return str_add_text(out, "null", err);
    if (column == 0) {
        const char *label = model_get_config(s->engine)->labels[row->label];
        return data_add_json_text(out, label, strlen(label), err);
    }
    if (column == 1) return add_float(out, (float)row->score, err);
    if (column + 1 == added->n) return str_add_text(out, row->truncated ? "true" : "false", err);
    if (column < 2 + n_labels) return add_float(out, row->probabilities[column - 2], err);
    return add_float(out, row->logits[column - 2 - n_labels], err);
}

finch_status data_score_object_write(const data_score_object *o, const data_scoring *s, const data_names *added,
                                     const data_scoring_output *row, str *out, finch_error *err)
{
    FINCH_TRY(str_add(out, o->at, o->size - 1, err)); /* all but the brace */
    for (size_t c = 0; c < added->n; c++) {
        FINCH_TRY(str_add_text(out, ",", err));
        FINCH_TRY(data_add_json_text(out, added->at[c], strlen(added->at[c]), err));
        FINCH_TRY(str_add_text(out, ":", err));
        FINCH_TRY(add_value(s, added, c, row, out, err));
    }
    return str_add_text(out, "}", err);
}
