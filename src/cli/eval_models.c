#include "cli/eval.h"

#include "base/clock.h"
#include "train/fingerprint.h"

#include <string.h>

static const char *const three_names[] = {"NEGATIVE", "NEUTRAL", "POSITIVE"};
enum { COLLAPSED = 3, FIVE = 5, SCORED_AT_ONCE = 4096 };

int eval_class_find(const eval_classes *classes, const char *label)
{
    static const int collapsed[FIVE] = {0, 0, 1, 2, 2};
    int id = model_label_class(label);
    if (classes->collapse) return id < 0 ? -1 : collapsed[id];
    for (size_t c = 0; c < classes->n; c++) {
        if (strcmp(label, classes->names[c]) == 0) return (int)c;
        if (id >= 0 && id == model_label_class(classes->names[c])) return (int)c;
    }
    return -1;
}

/* The five-class scheme's labels in its order where all of the model's have a place in it, else the model's own. */
static void classes_from(const model_config *config, eval_classes *out)
{
    static const char *const five_names[FIVE] = {"STRONGLY_NEGATIVE", "NEGATIVE", "NEUTRAL", "POSITIVE",
                                                 "STRONGLY_POSITIVE"};
    bool present[FIVE] = {false}, all = true;
    for (size_t i = 0; i < config->n_labels; i++) {
        int id = model_label_class(config->labels[i]);
        if (id < 0 || present[id]) all = false;
        else present[id] = true;
    }
    out->n = 0;
    for (size_t id = 0; all && id < FIVE; id++) {
        if (present[id]) out->names[out->n++] = five_names[id];
    }
    for (size_t i = 0; !all && i < config->n_labels; i++) out->names[out->n++] = config->labels[i];
}

finch_status eval_classes_of(const cli_args *args, const char *folder, model_config *config, eval_classes *classes,
                             finch_error *err)
{
    FINCH_TRY(model_config_read(folder, config, err));
    classes->collapse = cli_given(args, "collapse");
    if (classes->collapse) {
        classes->n = COLLAPSED;
        memcpy(classes->names, three_names, sizeof three_names);
    } else {
        classes_from(config, classes);
    }
    if (classes->n < 2 || classes->n > METRICS_CLASSES_MAX)
        return finch_fail(err, FINCH_E_UNSUPPORTED, "%s has %zu classes; 2 to %d can be evaluated", folder, classes->n,
                          METRICS_CLASSES_MAX);
    return FINCH_OK;
}

typedef struct class_map {
    int of_label[MODEL_LABELS_MAX];
} class_map;

static finch_status map_labels(const model *m, const char *folder, const eval_classes *classes, class_map *map,
                               finch_error *err)
{
    const model_config *config = model_get_config(m);
    bool covered[MODEL_LABELS_MAX] = {false};
    for (size_t i = 0; i < config->n_labels; i++) {
        map->of_label[i] = eval_class_find(classes, config->labels[i]);
        if (map->of_label[i] < 0)
            return finch_fail(err, FINCH_E_USAGE, "%s has the label \"%s\", which the classes judged here lack; %s", folder,
                              config->labels[i],
                              classes->collapse ? "--collapse needs labels of the five-class scheme"
                                                : "models compared must have the same classes (--collapse 3 makes them so)");
        covered[map->of_label[i]] = true;
    }
    for (size_t c = 0; c < classes->n; c++) {
        if (!covered[c])
            return finch_fail(
                err, FINCH_E_USAGE,
                "%s has no label for the class %s; models compared must have the same classes (--collapse 3 makes them so)",
                folder, classes->names[c]);
    }
    return FINCH_OK;
}

/* Softmax over the model's labels in f64, then the labels' probabilities added up into the judged classes. */
static finch_status answer(const eval_data *d, const model *m, const class_map *map, const eval_classes *classes,
                           const float *logits, eval_answers *out, finch_error *err)
{
    size_t n_labels = model_get_config(m)->n_labels;
    double *probs;
    FINCH_TRY(MEM_NEW(&probs, d->n * n_labels, err));
    metrics_softmax(logits, d->n, n_labels, out->temperature, probs);
    for (size_t i = 0; i < d->n; i++) {
        double *row = out->probabilities + i * classes->n;
        for (size_t l = 0; l < n_labels; l++) row[map->of_label[l]] += probs[i * n_labels + l];
        /* A sum of rounded shares may pass 1 by an ulp. */
        for (size_t c = 0; c < classes->n; c++) row[c] = row[c] > 1 ? 1 : row[c];
        out->predicted[i] = (int32_t)metrics_argmax(row, classes->n);
        out->n_truncated += out->info[i].truncated;
    }
    mem_free(probs);
    return FINCH_OK;
}

static finch_status score_rows(const cli_args *args, model *m, const eval_data *d, float *logits, eval_answers *out,
                               finch_error *err)
{
    model_scorer *scorer = NULL;
    cli_bar bar;
    size_t n_labels = model_get_config(m)->n_labels;
    FINCH_TRY(model_scorer_create(m, cli_threads(args), &scorer, err));
    cli_bar_begin(&bar, args, "scoring", "texts");
    progress p = cli_bar_progress(&bar);
    double began = clock_seconds();
    finch_status st = FINCH_OK;
    for (size_t at = 0; st == FINCH_OK && at < d->n; at += SCORED_AT_ONCE) {
        size_t n = d->n - at < SCORED_AT_ONCE ? d->n - at : SCORED_AT_ONCE;
        st = model_score_texts(scorer, d->texts + at, n, cli_size(args, "max-tokens"), logits + at * n_labels,
                               out->info + at, err);
        if (st == FINCH_OK && !progress_report(&p, at + n, d->n, NULL)) st = cli_cancelled_fail(err);
    }
    out->seconds = clock_seconds() - began;
    cli_bar_end(&bar);
    model_scorer_destroy(scorer);
    return st;
}

static finch_status look_for_seen(const eval_data *d, const char *folder, report_seen *out, finch_error *err)
{
    fingerprints *seen = NULL;
    finch_error none;
    finch_status st = fingerprints_open(folder, &seen, &none);
    *out = (report_seen){.known = st == FINCH_OK};
    if (st == FINCH_E_NOT_FOUND) return FINCH_OK;
    if (st != FINCH_OK) {
        if (err != NULL) *err = none;
        return st;
    }
    for (size_t i = 0; st == FINCH_OK && i < d->n; i++) {
        fingerprint_match match = FINGERPRINT_NEW;
        st = fingerprints_match(seen, d->texts[i], &match, err);
        out->n_seen += match == FINGERPRINT_SEEN;
        out->n_near += match == FINGERPRINT_NEAR_SEEN;
    }
    fingerprints_close(seen);
    return st;
}

finch_status eval_answers_make(const cli_args *args, const char *given, const eval_data *d, const eval_classes *classes,
                               eval_answers *out, finch_error *err)
{
    model_compute compute = MODEL_AUTO;
    model *m = NULL;
    float *logits = NULL;
    class_map map = {{0}};
    finch_status st;
    (void)model_compute_find(cli_text(args, "compute"), &compute); /* the table's words are the engine's */
    FINCH_GO(done, st, cli_model_folder(given, &out->folder, err));
    FINCH_GO(done, st, model_open(out->folder.at, compute, &m, err));
    FINCH_GO(done, st, map_labels(m, out->folder.at, classes, &map, err));
    out->compute = model_get_compute(m);
    out->temperature = (double)model_temperature(m);
    FINCH_GO(done, st, MEM_NEW(&logits, d->n * model_get_config(m)->n_labels, err));
    FINCH_GO(done, st, MEM_NEW(&out->info, d->n, err));
    FINCH_GO(done, st, MEM_NEW(&out->probabilities, d->n * classes->n, err));
    FINCH_GO(done, st, MEM_NEW(&out->predicted, d->n, err));
    FINCH_GO(done, st, score_rows(args, m, d, logits, out, err));
    FINCH_GO(done, st, answer(d, m, &map, classes, logits, out, err));
    st = look_for_seen(d, out->folder.at, &out->seen, err);
done:
    mem_free(logits);
    model_close(m);
    return st;
}

void eval_answers_free(eval_answers *a)
{
    str_free(&a->folder);
    mem_free(a->probabilities);
    mem_free(a->predicted);
    mem_free(a->info);
}
