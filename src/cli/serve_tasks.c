#include "cli/serve_tasks.h"

#include "base/clock.h"
#include "cli/history.h"
#include "cli/label_view.h"
#include "data/look.h"
#include "data/score.h"
#include "data/text_column.h"
#include "label/review.h"
#include "model/config.h"

#include <math.h>
#include <string.h>
#include <unistd.h>

/* ---- tables ---------------------------------------------------------------------------------------------------------- */

static finch_status score_column(data_scoring *s, const serve_table_task *task, const char *column, const char *rejects,
                                 uint64_t *n_rejected, finch_error *err)
{
    data_score_options o = {.source = {.inputs = &task->input, .n_inputs = 1},
                            .output = task->output,
                            .rejects = rejects,
                            .text_column = column,
                            .ticker_column = "ticker_symbol",
                            .time_column = "post_date",
                            .prefix = "",
                            .watch = task->watch};
    data_score_result result;
    FINCH_TRY(data_score_file(s, &o, &result, err));
    *n_rejected = result.n_rejected;
    return FINCH_OK;
}

static finch_status score_opened(data_scoring *s, const serve_table_task *task, const char *rejects, json_t **summary,
                                 finch_error *err)
{
    uint64_t n_rejected = 0;
    double begin = clock_seconds();
    const char *column = task->text_column != NULL ? task->text_column : data_text_column(&task->input, 1, "body");
    FINCH_TRY(score_column(s, task, column, rejects, &n_rejected, err));
    *summary = json_pack("{s:s, s:s, s:I, s:I, s:I, s:I, s:I, s:I, s:f}", "model", task->model, "text_column", column,
                         "rows", (json_int_t)s->counts.rows, "scored", (json_int_t)s->counts.scored, "skipped",
                         (json_int_t)s->counts.skipped, "rejected", (json_int_t)n_rejected, "truncated",
                         (json_int_t)s->counts.truncated, "tokens", (json_int_t)s->counts.tokens, "seconds",
                         clock_seconds() - begin);
    return FINCH_OK;
}

static finch_status score(void *context, const serve_table_task *task, json_t **summary, finch_error *err)
{
    data_scoring s = {0};
    str rejects = {0};
    (void)context;
    finch_status st = data_scoring_open(task->engine, task->n_threads, task->max_tokens, DATA_SCORE_CAPACITY, &s, err);
    if (st == FINCH_OK) st = str_add_format(&rejects, err, "%s.rejects.csv", task->output);
    if (st == FINCH_OK) st = score_opened(&s, task, rejects.at, summary, err);
    data_scoring_close(&s);
    str_free(&rejects);
    return st;
}

static finch_status keep(void *context, store *s, const char *job, const char *table, const json_t *summary,
                         int64_t else_time_ms, const progress *watch, uint64_t *n, finch_error *err)
{
    history_imported done;
    history_import_options o = {.inputs = &table,
                                .n_inputs = 1,
                                .text_column = json_string_value(json_object_get(summary, "text_column")),
                                .time_column = "post_date",
                                .ticker_column = "ticker_symbol",
                                .label_column = "label",
                                .score_column = "score",
                                .find_tickers = true,
                                .else_time_ms = else_time_ms,
                                .model = json_string_value(json_object_get(summary, "model")),
                                .source = "batch",
                                .identity = job,
                                .keep_texts = true,
                                .watch = watch};
    (void)context;
    finch_status st = history_import_tables(&o, s, &done, err);
    *n = st == FINCH_OK ? done.n_imported : 0;
    return st;
}

static finch_status convert(void *context, const char *from, const char *to, finch_error *err)
{
    data_look *look = NULL;
    data_source source = {.inputs = &from, .n_inputs = 1};
    uint64_t n_written = 0;
    str rejects = {0};
    (void)context;
    finch_status st = str_add_format(&rejects, err, "%s.rejects.csv", to);
    if (st == FINCH_OK) st = data_look_open(&source, true, NULL, &look, err);
    if (st == FINCH_OK) st = data_look_convert(look, to, rejects.at, &n_written, err);
    data_look_close(look);
    str_free(&rejects);
    return st;
}

/* ---- reviews --------------------------------------------------------------------------------------------------------- */

static const char *const class_names[REVIEW_CLASSES] = {"STRONGLY_NEGATIVE", "NEGATIVE", "NEUTRAL", "POSITIVE",
                                                        "STRONGLY_POSITIVE"};

static json_t *label_json(int label)
{
    return label >= 0 && label < REVIEW_CLASSES ? json_string(class_names[label]) : json_null();
}

static json_t *real_json(double value) { return isfinite(value) ? json_real(value) : json_null(); }

static finch_status add_opinion(void *context, const review_opinion *o, finch_error *err)
{
    return json_array_append_new(context, json_pack("{s:s, s:o, s:o}", "source", o->source, "label", label_json(o->label),
                                                    "confidence", real_json(o->confidence))) == 0
               ? FINCH_OK
               : finch_fail(err, FINCH_E_MEMORY, "out of memory for the answer");
}

static finch_status add_item(review *r, size_t at, json_t *items, finch_error *err)
{
    const review_item *i = &r->items[at];
    json_t *opinions = json_array();
    finch_status st = review_opinions(r, at, add_opinion, opinions, err);
    if (st != FINCH_OK) {
        json_decref(opinions);
        return st;
    }
    json_t *one = json_pack("{s:s, s:s, s:o, s:o, s:o, s:o, s:s?, s:o}", "hash", i->hash, "text", i->text, "label",
                            label_json(i->label), "mine", label_json(i->mine), "confidence", real_json(i->confidence),
                            "doubt", real_json(i->doubt), "reason", i->reason, "opinions", opinions);
    return json_array_append_new(items, one) == 0 ? FINCH_OK
                                                  : finch_fail(err, FINCH_E_MEMORY, "out of memory for the answer");
}

static finch_status add_agreement(review *r, json_t *list, finch_error *err)
{
    review_agreement a = {0};
    finch_status st = review_agree(r, &a, err);
    for (size_t i = 0; st == FINCH_OK && i < a.n_pairs; i++)
        json_array_append_new(list, json_pack("{s:s, s:s, s:I, s:o, s:o, s:o, s:o}", "a", a.pairs[i].a, "b", a.pairs[i].b,
                                              "n", (json_int_t)a.pairs[i].n, "agree", real_json(a.pairs[i].agree), "kappa",
                                              real_json(a.pairs[i].kappa), "kappa_low", real_json(a.pairs[i].kappa_low),
                                              "kappa_high", real_json(a.pairs[i].kappa_high)));
    review_agreement_close(&a);
    return st;
}

static finch_status list_reviews(review *r, json_t **out, finch_error *err)
{
    json_t *items = json_array(), *agreed = json_array();
    finch_status st = FINCH_OK;
    for (size_t i = 0; st == FINCH_OK && i < r->n_items; i++) st = add_item(r, i, items, err);
    if (st == FINCH_OK) st = add_agreement(r, agreed, err);
    if (st == FINCH_OK) {
        *out = json_pack("{s:s, s:s, s:I, s:I, s:o, s:o}", "job", r->job_name.at, "reviewer", r->reviewer.at, "waiting",
                         (json_int_t)r->n_waiting, "done", (json_int_t)r->n_done, "items", items, "agreement", agreed);
        return FINCH_OK;
    }
    json_decref(items);
    json_decref(agreed);
    return st;
}

static finch_status reviews(void *context, store *s, const char *job, const char *reviewer, const char *order, size_t limit,
                            json_t **out, finch_error *err)
{
    review r = {0};
    review_options o = {.job = job,
                        .reviewer = reviewer,
                        .limit = limit,
                        .order = strcmp(order, "random") == 0  ? REVIEW_AT_RANDOM
                                 : strcmp(order, "input") == 0 ? REVIEW_AS_READ
                                                               : REVIEW_BY_DOUBT};
    (void)context;
    finch_status st = review_open(s, &o, &r, err);
    if (st == FINCH_OK) st = list_reviews(&r, out, err);
    review_close(&r);
    if (st == FINCH_E_USAGE) return finch_fail(err, FINCH_E_DATA, "%s", err->message);
    if (st == FINCH_E_NOT_FOUND && job != NULL) return finch_fail(err, st, "there is no labelling job of that name");
    /* No labelling job yet is no mistake of the client's. */
    if (st != FINCH_E_NOT_FOUND || job != NULL) return st;
    *out = json_pack("{s:n, s:s, s:i, s:i, s:[], s:[]}", "job", "reviewer", reviewer, "waiting", 0, "done", 0, "items",
                     "agreement");
    return FINCH_OK;
}

static finch_status mark(review *r, const char *hash, const char *label, finch_error *err)
{
    int class_id = label != NULL ? model_label_class(label) : REVIEW_NONE;
    for (size_t i = 0; i < r->n_items; i++)
        if (strcmp(r->items[i].hash, hash) == 0) return review_mark(r, i, class_id, err);
    return finch_fail(err, FINCH_E_NOT_FOUND, "the job has no text of that hash");
}

static finch_status review_one(void *context, store *s, const char *job, const char *reviewer, const char *hash,
                               const char *label, json_t **out, finch_error *err)
{
    review r = {0};
    review_options o = {.job = job, .reviewer = reviewer, .order = REVIEW_AS_READ, .again = true, .limit = SIZE_MAX};
    (void)context;
    finch_status st = review_open(s, &o, &r, err);
    if (st == FINCH_OK) st = mark(&r, hash, label, err);
    if (st == FINCH_OK)
        *out = json_pack("{s:s, s:s?, s:s, s:s}", "hash", hash, "label", label, "job", r.job_name.at, "reviewer", reviewer);
    review_close(&r);
    if (st == FINCH_E_NOT_FOUND)
        return finch_fail(err, st, "there is no such labelling job, or it has no text of that hash");
    return st == FINCH_E_USAGE ? finch_fail(err, FINCH_E_DATA, "%s", err->message) : st;
}

static finch_status label_jobs(void *context, store *s, json_t **out, finch_error *err)
{
    (void)context;
    return label_view_jobs(s, out, err);
}

serve_work serve_tasks(void)
{
    return (serve_work){.score = score,
                        .keep = keep,
                        .convert = convert,
                        .reviews = reviews,
                        .review = review_one,
                        .label_jobs = label_jobs};
}
