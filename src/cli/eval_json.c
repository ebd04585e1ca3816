#include "cli/eval.h"

#include <math.h>

enum { COVERAGE_POINTS = 20 };

/* A NaN is null, as in metrics_to_json. */
static json_t *real_or_null(double value) { return isnan(value) ? json_null() : json_real(value); }

static json_t *interval_json(const evaluation_interval *i)
{
    return json_pack("[o,o]", real_or_null(i->low), real_or_null(i->high));
}

static json_t *intervals_json(const evaluation_interval *intervals)
{
    json_t *object = json_object();
    for (size_t id = 0; id < METRICS_COUNT; id++)
        json_object_set_new(object, metrics_name((metrics_id)id), interval_json(&intervals[id]));
    return object;
}

static json_t *seen_json(const report_seen *seen)
{
    if (!seen->known) return json_null();
    return json_pack("{s:I,s:I}", "seen", (json_int_t)seen->n_seen, "nearly_seen", (json_int_t)seen->n_near);
}

static finch_status coverage_json(const evaluation_rows *rows, json_t **out, finch_error *err)
{
    double coverage[COVERAGE_POINTS], accuracy[COVERAGE_POINTS];
    *out = NULL;
    FINCH_TRY(evaluation_coverage(rows, COVERAGE_POINTS, coverage, accuracy, err));
    *out = json_array();
    for (size_t i = 0; i < COVERAGE_POINTS; i++) json_array_append_new(*out, json_pack("[f,f]", coverage[i], accuracy[i]));
    return FINCH_OK;
}

static json_t *slices_json(const eval_slices *slices)
{
    json_t *object = json_object();
    for (int kind = 0; kind < EVAL_SLICINGS; kind++) {
        json_t *list = json_array();
        for (size_t i = 0; i < slices[kind].n; i++) {
            const evaluation_slice *s = &slices[kind].slices[i];
            json_array_append_new(list, json_pack("{s:s%,s:I,s:f,s:o,s:f}", "key", s->key.at, s->key.size_bytes, "n",
                                                  (json_int_t)s->n, "accuracy", s->accuracy, "accuracy_interval",
                                                  interval_json(&s->accuracy_interval), "macro_f1", s->macro_f1));
        }
        json_object_set_new(object, eval_slicing_name((eval_slicing)kind), list);
    }
    return object;
}

static json_t *abstention_json(const evaluation_abstention *a)
{
    return json_pack("{s:f,s:I,s:f,s:o}", "below", a->bound, "answered", (json_int_t)a->n_answered, "coverage", a->coverage,
                     "accuracy", real_or_null(a->accuracy));
}

static finch_status answers_json(const cli_args *args, const eval_data *d, const eval_classes *classes, const int32_t *truth,
                                 const eval_answers *a, json_t **out, finch_error *err)
{
    evaluation_rows rows = {d->n, classes->n, classes->names, truth, a->predicted, a->probabilities};
    json_t *coverage;
    FINCH_TRY(coverage_json(&rows, &coverage, err));
    finch_status st = metrics_to_json(&a->figures, classes->names, out, err);
    if (st != FINCH_OK) {
        json_decref(coverage);
        return st;
    }
    json_object_set_new(*out, "coverage", coverage);
    json_object_set_new(*out, "model", json_string(a->folder.at));
    json_object_set_new(*out, "compute", json_string(model_compute_name(a->compute)));
    json_object_set_new(*out, "temperature", json_real(a->temperature));
    json_object_set_new(*out, "unlabelled", json_integer((json_int_t)d->n_unlabelled));
    json_object_set_new(*out, "rejected", json_integer((json_int_t)data_columns_rejected(d->columns)));
    json_object_set_new(*out, "truncated", json_integer((json_int_t)a->n_truncated));
    json_object_set_new(*out, "training_rows_seen", seen_json(&a->seen));
    if (cli_size(args, "bootstrap") > 0) json_object_set_new(*out, "intervals", intervals_json(a->intervals));
    if (cli_given(args, "abstain-below")) {
        evaluation_abstention abstention = evaluation_abstain(&rows, cli_real(args, "abstain-below"));
        json_object_set_new(*out, "abstain", abstention_json(&abstention));
    }
    json_object_set_new(*out, "seconds", json_real(a->seconds));
    json_object_set_new(*out, "texts_per_second", json_real(a->seconds > 0 ? (double)d->n / a->seconds : 0));
    return FINCH_OK;
}

finch_status eval_json(const cli_args *args, const eval_data *d, const eval_classes *classes, const int32_t *truth,
                       const eval_answers *answers, size_t n_answers, const eval_slices *slices, json_t **out,
                       finch_error *err)
{
    json_t *models = json_array(), *comparisons = json_array(), *one;
    finch_status st = FINCH_OK;
    for (size_t i = 0; st == FINCH_OK && i < n_answers; i++) {
        st = answers_json(args, d, classes, truth, &answers[i], &one, err);
        if (st == FINCH_OK) json_array_append_new(models, one);
        if (st != FINCH_OK || i == 0) continue;
        const mcnemar *v = &answers[i].versus;
        json_array_append_new(comparisons,
                              json_pack("{s:s,s:s,s:I,s:I,s:f}", "first", answers[0].folder.at, "second",
                                        answers[i].folder.at, "only_first_right", (json_int_t)v->only_first,
                                        "only_second_right", (json_int_t)v->only_second, "mcnemar_p", v->p_value));
    }
    if (st == FINCH_OK && n_answers == 1) {
        *out = json_incref(json_array_get(models, 0));
        json_object_set_new(*out, "slices", slices_json(slices));
    } else if (st == FINCH_OK) {
        *out = json_pack("{s:O,s:O,s:o}", "models", models, "comparisons", comparisons, "slices", slices_json(slices));
    }
    json_decref(models);
    json_decref(comparisons);
    if (st == FINCH_OK && *out == NULL) st = finch_fail(err, FINCH_E_MEMORY, "out of memory for the JSON document");
    return st;
}
