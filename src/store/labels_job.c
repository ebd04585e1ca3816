/* Jobs, askers, prompts, and the texts that come in. */
#include "store/labels.h"

#include "base/json.h"

#include <stdlib.h>
#include <string.h>

void labels_job_free(labels_job *job)
{
    str *texts[] = {&job->name,   &job->state,    &job->reason, &job->model,      &job->judge_model,
                    &job->prompt, &job->provider, &job->input,  &job->text_column};
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) str_free(texts[i]);
    *job = (labels_job){0};
}

static finch_status set_text(str *out, const sql_row *row, size_t column, finch_error *err)
{
    finch_text text = sql_row_text(row, column);
    str_clear(out);
    return str_add(out, text.at, text.size_bytes, err);
}

#define JOB_COLUMNS                                                                                                 \
    "SELECT j.id, j.asker, coalesce(j.judge, 0), j.votes, coalesce(j.n_rows, -1), coalesce(j.n_items, 0), j.name, " \
    "j.state, j.reason, a.model, coalesce(b.model, ''), a.prompt, j.provider, j.input, j.text_column, j.created "   \
    "FROM label_job j JOIN label_asker a ON a.id = j.asker LEFT JOIN label_asker b ON b.id = j.judge "

static finch_status read_job(void *context, const sql_row *row, finch_error *err)
{
    labels_job *job = context;
    str *texts[] = {&job->name,   &job->state,    &job->reason, &job->model,      &job->judge_model,
                    &job->prompt, &job->provider, &job->input,  &job->text_column};
    job->id = sql_row_integer(row, 0);
    job->asker = sql_row_integer(row, 1);
    job->judge = sql_row_integer(row, 2);
    job->votes = (size_t)sql_row_integer(row, 3);
    job->n_rows = sql_row_integer(row, 4);
    job->n_items = sql_row_integer(row, 5);
    job->created_ms = sql_row_integer(row, 15);
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) FINCH_TRY(set_text(texts[i], row, 6 + i, err));
    return FINCH_OK;
}

static finch_status find_named(store *s, const char *name, labels_job *out, finch_error *err)
{
    static const sql_statement by_name = {JOB_COLUMNS "WHERE j.name = $1", NULL};
    out->id = 0;
    sql_value value = sql_text(name);
    return store_run(s, &by_name, &value, 1, read_job, out, NULL, err);
}

finch_status labels_job_find(store *s, const char *name, labels_job *out, finch_error *err)
{
    static const sql_statement newest = {JOB_COLUMNS "ORDER BY j.id DESC LIMIT 1", NULL};
    *out = (labels_job){0};
    finch_status st = name != NULL ? find_named(s, name, out, err)
                                   : store_run(s, &newest, NULL, 0, read_job, out, NULL, err);
    if (st == FINCH_OK && out->id == 0) {
        st = name != NULL ? finch_fail(err, FINCH_E_NOT_FOUND, "there is no job %.80s in %s; finch label status lists them",
                                       name, store_place(s))
                          : finch_fail(err, FINCH_E_NOT_FOUND,
                                       "there is no labelling job in %s; name another store with --state", store_place(s));
    }
    if (st != FINCH_OK) labels_job_free(out);
    return st;
}

/* ---- each ---- */

typedef struct each_job {
    labels_job_fn visit;
    void *context;
} each_job;

static finch_status visit_job(void *context, const sql_row *row, finch_error *err)
{
    each_job *each = context;
    labels_job job = {0};
    finch_status st = read_job(&job, row, err);
    if (st == FINCH_OK) st = each->visit(each->context, &job, err);
    labels_job_free(&job);
    return st;
}

finch_status labels_job_each(store *s, labels_job_fn visit, void *context, finch_error *err)
{
    static const sql_statement all = {JOB_COLUMNS "ORDER BY j.id DESC", NULL};
    each_job each = {visit, context};
    return store_run(s, &all, NULL, 0, visit_job, &each, NULL, err);
}

/* ---- making ---- */

static finch_status make_asker(store *s, const char *model, const char *prompt, int64_t *out, finch_error *err)
{
    static const sql_statement make = {"INSERT INTO label_asker (id, model, prompt) SELECT coalesce(max(id), 0) + 1, $1, $2 "
                                       "FROM label_asker WHERE true ON CONFLICT (model, prompt) DO NOTHING",
                                       NULL};
    static const sql_statement find = {"SELECT id FROM label_asker WHERE model = $1 AND prompt = $2", NULL};
    sql_value values[] = {sql_text(model), sql_text(prompt)};
    FINCH_TRY(store_run(s, &make, values, 2, NULL, NULL, NULL, err));
    return store_run(s, &find, values, 2, labels_take_integer, out, NULL, err);
}

typedef struct making {
    const labels_job_spec *spec;
    labels_job *job;
} making;

static finch_status make_job(store *s, void *context, finch_error *err)
{
    /* Ids are counted up: two makers at once would take the same. */
    static const sql_statement lock = {"SELECT 1", "SELECT pg_advisory_xact_lock(7021934818)"};
    static const sql_statement keep_prompt = {
        "INSERT INTO label_prompt (version, content, created) VALUES ($1, $2, $3) ON CONFLICT (version) DO NOTHING", NULL};
    static const sql_statement make = {
        "INSERT INTO label_job (id, name, created, state, reason, asker, judge, votes, provider, input, text_column) "
        "SELECT coalesce(max(id), 0) + 1, $1, $2, 'running', '', $3, $4, $5, $6, $7, $8 FROM label_job WHERE true "
        "ON CONFLICT (name) DO NOTHING",
        NULL};
    making *m = context;
    const labels_job_spec *spec = m->spec;
    int64_t asker = 0, judge = 0;
    FINCH_TRY(store_run(s, &lock, NULL, 0, NULL, NULL, NULL, err));
    sql_value prompt[] = {sql_text(spec->prompt), sql_text(spec->prompt_text), sql_integer(store_now_ms(s))};
    FINCH_TRY(store_run(s, &keep_prompt, prompt, 3, NULL, NULL, NULL, err));
    FINCH_TRY(make_asker(s, spec->model, spec->prompt, &asker, err));
    if (spec->judge != NULL) FINCH_TRY(make_asker(s, spec->judge, spec->prompt, &judge, err));
    sql_value values[] = {sql_text(spec->name),
                          sql_integer(store_now_ms(s)),
                          sql_integer(asker),
                          spec->judge != NULL ? sql_integer(judge) : sql_null(),
                          sql_integer((int64_t)spec->votes),
                          sql_text(spec->provider),
                          sql_text(spec->input),
                          sql_text(spec->text_column)};
    FINCH_TRY(store_run(s, &make, values, 8, NULL, NULL, NULL, err));
    return find_named(s, spec->name, m->job, err);
}

finch_status labels_job_make(store *s, const labels_job_spec *spec, labels_job *out, finch_error *err)
{
    making m = {spec, out};
    *out = (labels_job){0};
    finch_status st = store_transaction(s, make_job, &m, err);
    if (st != FINCH_OK) labels_job_free(out);
    return st;
}

static finch_status drop_job(store *s, void *context, finch_error *err)
{
#define UNBEGUN                                                                                                            \
    "EXISTS (SELECT 1 FROM label_job j WHERE j.id = $1 AND j.n_rows IS NULL) AND NOT EXISTS (SELECT 1 FROM label_request " \
    "r WHERE r.job = $1)"
    static const sql_statement items = {"DELETE FROM label_item WHERE job = $1 AND " UNBEGUN, NULL};
    static const sql_statement whole = {"DELETE FROM label_job WHERE id = $1 AND " UNBEGUN, NULL};
    sql_value id = sql_integer(*(const int64_t *)context);
    FINCH_TRY(store_run(s, &items, &id, 1, NULL, NULL, NULL, err));
    return store_run(s, &whole, &id, 1, NULL, NULL, NULL, err);
}

finch_status labels_job_drop(store *s, const labels_job *job, finch_error *err)
{
    int64_t id = job->id;
    return store_transaction(s, drop_job, &id, err);
}

finch_status labels_job_set_state(store *s, int64_t job, const char *state, const char *reason, finch_error *err)
{
    static const sql_statement set = {"UPDATE label_job SET state = $2, reason = $3 WHERE id = $1", NULL};
    sql_value values[] = {sql_integer(job), sql_text(state), sql_text(reason)};
    return store_run(s, &set, values, 3, NULL, NULL, NULL, err);
}

static finch_status take_text(void *context, const sql_row *row, finch_error *err) { return set_text(context, row, 0, err); }

finch_status labels_job_get_state(store *s, int64_t job, str *state, finch_error *err)
{
    static const sql_statement get = {"SELECT state FROM label_job WHERE id = $1", NULL};
    sql_value value = sql_integer(job);
    str_clear(state);
    return store_run(s, &get, &value, 1, take_text, state, NULL, err);
}

finch_status labels_prompt_text(store *s, const char *version, str *out, finch_error *err)
{
    static const sql_statement get = {"SELECT content FROM label_prompt WHERE version = $1", NULL};
    sql_value value = sql_text(version);
    str_clear(out);
    FINCH_TRY(store_run(s, &get, &value, 1, take_text, out, NULL, err));
    if (out->size == 0) return finch_fail(err, FINCH_E_NOT_FOUND, "the store has no prompt of version %.60s", version);
    return FINCH_OK;
}

finch_status labels_model_format(store *s, const char *provider, const char *model, int *out, finch_error *err)
{
    static const sql_statement get = {"SELECT answers_by_schema FROM label_model WHERE provider = $1 AND model = $2", NULL};
    int64_t known = -1;
    sql_value values[] = {sql_text(provider), sql_text(model)};
    FINCH_TRY(store_run(s, &get, values, 2, labels_take_integer, &known, NULL, err));
    *out = (int)known;
    return FINCH_OK;
}

finch_status labels_model_set_format(store *s, const char *provider, const char *model, int format, finch_error *err)
{
    static const sql_statement set = {
        "INSERT INTO label_model (provider, model, answers_by_schema) VALUES ($1, $2, $3) "
        "ON CONFLICT (provider, model) DO UPDATE SET answers_by_schema = excluded.answers_by_schema",
        NULL};
    sql_value values[] = {sql_text(provider), sql_text(model), sql_integer(format)};
    return store_run(s, &set, values, 3, NULL, NULL, NULL, err);
}

/* ---- texts in ---- */

typedef struct adding {
    const labels_job *job;
    const labels_text *texts;
    size_t n;
} adding;

/* SQLite has no round trips to save: row by row takes less time than a JSON list, and none of its memory. */
static finch_status add_one(store *s, const adding *a, const labels_text *text, finch_error *err)
{
    static const sql_statement add = {"INSERT INTO label_item (job, seq, hash, text, state, stage, grain, tries, gold) "
                                      "VALUES ($1, $2, $3, $4, 0, 0, $5, 0, "
                                      "$6) ON CONFLICT DO NOTHING",
                                      NULL};
    sql_value values[] = {sql_integer(a->job->id), sql_integer(text->seq),
                          sql_text(text->hash),    {.type = SQL_TEXT, .at = text->text.at, .size = text->text.size_bytes},
                          sql_integer(INT32_MAX),  text->gold == LABELS_NO_CLASS ? sql_null() : sql_integer(text->gold)};
    return store_run(s, &add, values, 6, NULL, NULL, NULL, err);
}

static json_t *text_row(const labels_text *text)
{
    json_t *gold = text->gold == LABELS_NO_CLASS ? json_null() : json_integer(text->gold);
    json_t *value = json_stringn(text->text.at, text->text.size_bytes);
    if (value == NULL || gold == NULL) {
        json_decref(value);
        json_decref(gold);
        return NULL;
    }
    return json_pack("[I, s, o, o]", (json_int_t)text->seq, text->hash, value, gold);
}

/* rows: [[seq, hash, text, gold], ...] */
static finch_status add_list(store *s, const adding *a, const labels_text *texts, size_t n, finch_error *err)
{
    static const sql_statement add = {
        NULL, "INSERT INTO label_item (job, seq, hash, text, state, stage, grain, tries, gold) "
              "SELECT $1, (value->>0)::bigint, value->>1, value->>2, 0, 0, $3, 0, (value->>3)::bigint "
              "FROM json_array_elements($2::json) ON CONFLICT DO NOTHING"};
    json_t *rows = json_array();
    bool made = rows != NULL;
    for (size_t i = 0; made && i < n; i++) made = json_array_append_new(rows, text_row(&texts[i])) == 0;
    char *text = made ? json_dumps(rows, JSON_COMPACT) : NULL;
    json_decref(rows);
    if (text == NULL) return finch_fail(err, FINCH_E_MEMORY, "out of memory for %zu texts on their way into the store", n);
    sql_value values[] = {sql_integer(a->job->id), sql_text(text), sql_integer(INT32_MAX)};
    finch_status st = store_run(s, &add, values, 3, NULL, NULL, NULL, err);
    free(text); /* jansson's own */
    return st;
}

static finch_status add_rows(store *s, void *context, finch_error *err)
{
    enum { LIST_MAX = 256 };
    const adding *a = context;
    if (!store_is_shared(s)) {
        for (size_t i = 0; i < a->n; i++) FINCH_TRY(add_one(s, a, &a->texts[i], err));
        return FINCH_OK;
    }
    for (size_t at = 0; at < a->n; at += LIST_MAX) {
        size_t n = a->n - at < LIST_MAX ? a->n - at : LIST_MAX;
        FINCH_TRY(add_list(s, a, a->texts + at, n, err));
    }
    return FINCH_OK;
}

finch_status labels_add(store *s, const labels_job *job, const labels_text *texts, size_t n, finch_error *err)
{
    adding a = {job, texts, n};
    return store_transaction(s, add_rows, &a, err);
}

typedef struct ending {
    labels_job *job;
    int64_t n_rows;
    uint64_t n_reused;
} ending;

static finch_status end_adding(store *s, void *context, finch_error *err)
{
    static const sql_statement reuse = {
        "UPDATE label_item SET state = 2, label = a.label, confidence = a.confidence FROM label_answer a "
        "WHERE label_item.job = $1 AND label_item.state = 0 AND a.asker = $2 AND a.hash = label_item.hash AND a.vote = 0 "
        "AND a.label IS NOT NULL",
        NULL};
    static const sql_statement end = {
        "UPDATE label_job SET n_rows = $2, n_items = (SELECT count(*) FROM label_item WHERE job = $1) WHERE id = $1", NULL};
    static const sql_statement items = {"SELECT n_items FROM label_job WHERE id = $1", NULL};
    ending *e = context;
    sql_value values[] = {sql_integer(e->job->id), sql_integer(e->job->asker)};
    e->n_reused = 0;
    if (e->job->votes == 1) FINCH_TRY(store_run(s, &reuse, values, 2, NULL, NULL, &e->n_reused, err));
    values[1] = sql_integer(e->n_rows);
    FINCH_TRY(store_run(s, &end, values, 2, NULL, NULL, NULL, err));
    return store_run(s, &items, values, 1, labels_take_integer, &e->job->n_items, NULL, err);
}

finch_status labels_added(store *s, labels_job *job, int64_t n_rows, uint64_t *n_reused, finch_error *err)
{
    ending e = {job, n_rows, 0};
    FINCH_TRY(store_transaction(s, end_adding, &e, err));
    job->n_rows = n_rows;
    *n_reused = e.n_reused;
    return FINCH_OK;
}
