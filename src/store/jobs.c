#include "store/jobs.h"

#include "store/events.h"
#include "store/values.h"

#include <stdio.h>
#include <string.h>

#define COLUMNS                                                                                                       \
    "id, kind, state, input_path, input_name, options, key, result_path, summary, error, input_bytes, result_bytes, " \
    "created, "                                                                                                       \
    "started, finished, attempt, rows_done, rows_total"

void job_free(job *j)
{
    str *texts[] = {&j->kind, &j->state,       &j->input_path, &j->input_name, &j->options,
                    &j->key,  &j->result_path, &j->summary,    &j->error};
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) str_free(texts[i]);
    *j = (job){0};
}

static finch_status read_job(void *context, const sql_row *row, finch_error *err)
{
    job *j = context;
    str *texts[] = {&j->kind, &j->state,       &j->input_path, &j->input_name, &j->options,
                    &j->key,  &j->result_path, &j->summary,    &j->error};
    int64_t *numbers[] = {&j->input_bytes, &j->result_bytes, &j->created_ms, &j->started_ms,
                          &j->finished_ms, &j->attempt,      &j->rows_done,  &j->rows_total};
    enum { TEXTS = sizeof texts / sizeof texts[0], NUMBERS = sizeof numbers / sizeof numbers[0] };
    finch_text id = sql_row_text(row, 0);
    if (id.size_bytes != STORE_HASH_BYTES - 1) return finch_fail(err, FINCH_E_DATA, "a job in the store has a broken id");
    memcpy(j->id, id.at, id.size_bytes);
    for (size_t i = 0; i < TEXTS; i++) FINCH_TRY(sql_row_copy(row, 1 + i, texts[i], err));
    for (size_t i = 0; i < NUMBERS; i++) *numbers[i] = sql_row_integer(row, 1 + TEXTS + i);
    return FINCH_OK;
}

json_t *job_json(const job *j)
{
    json_t *result = json_null();
    if (strcmp(j->state.at, "done") == 0) {
        json_t *summary = json_loads(j->summary.size > 0 ? j->summary.at : "null", JSON_DECODE_ANY, NULL);
        result = json_pack("{s:I, s:o}", "bytes", (json_int_t)j->result_bytes, "summary",
                           summary != NULL ? summary : json_null());
    }
    return json_pack(
        "{s:s, s:s, s:s, s:{s:s, s:I}, s:{s:I, s:o}, s:I, s:o, s:o, s:o, s:o, s:o}", "id", j->id, "kind", j->kind.at,
        "state", j->state.at, "input", "name", j->input_name.at, "bytes", (json_int_t)j->input_bytes, "rows", "done",
        (json_int_t)j->rows_done, "total", j->rows_total > 0 ? json_integer(j->rows_total) : json_null(), "attempt",
        (json_int_t)j->attempt, "created", values_time(j->created_ms), "started", values_time(j->started_ms), "finished",
        values_time(j->finished_ms), "error", values_text((finch_text){j->error.at, j->error.size}), "result", result);
}

/* ---- finding ---- */

static finch_status read_one(store *s, const char *id, job *out, finch_error *err)
{
    static const sql_statement get = {"SELECT " COLUMNS " FROM batch_job WHERE id = $1", NULL};
    sql_value value = sql_text(id);
    out->id[0] = '\0';
    return store_run(s, &get, &value, 1, read_job, out, NULL, err);
}

finch_status jobs_get(store *s, const char *id, job *out, finch_error *err)
{
    *out = (job){0};
    finch_status st = read_one(s, id, out, err);
    if (st == FINCH_OK && out->id[0] == '\0')
        st = finch_fail(err, FINCH_E_NOT_FOUND, "there is no job %.40s in %s", id, store_place(s));
    if (st != FINCH_OK) job_free(out);
    return st;
}

typedef struct visiting {
    job_fn visit;
    void *context;
} visiting;

static finch_status visit_job(void *context, const sql_row *row, finch_error *err)
{
    visiting *v = context;
    job j = {0};
    finch_status st = read_job(&j, row, err);
    if (st == FINCH_OK) st = v->visit(v->context, &j, err);
    job_free(&j);
    return st;
}

finch_status jobs_each(store *s, const char *key, int64_t before_ms, size_t limit, job_fn visit, void *context,
                       finch_error *err)
{
    static const sql_statement all = {
        "SELECT " COLUMNS
        " FROM batch_job WHERE ($1 IS NULL OR key = $1) AND created < $2 ORDER BY created DESC, id LIMIT $3",
        NULL};
    visiting v = {visit, context};
    sql_value values[] = {sql_text(key), sql_integer(before_ms > 0 ? before_ms : INT64_MAX), sql_integer((int64_t)limit)};
    return store_run(s, &all, values, 3, visit_job, &v, NULL, err);
}

static finch_status take_counts(void *context, const sql_row *row, finch_error *err)
{
    jobs_counts *c = context;
    int64_t *const at[] = {&c->queued, &c->running, &c->done, &c->failed, &c->cancelled};
    (void)err;
    for (size_t i = 0; i < sizeof at / sizeof at[0]; i++) *at[i] = sql_row_integer(row, i);
    return FINCH_OK;
}

finch_status jobs_count(store *s, jobs_counts *out, finch_error *err)
{
#define COUNT(state) "coalesce(sum(CASE WHEN state = '" state "' THEN 1 ELSE 0 END), 0)"
    static const sql_statement count = {"SELECT " COUNT("queued") ", " COUNT("running") ", " COUNT("done") ", " COUNT(
                                            "failed") ", " COUNT("cancelled") " FROM batch_job",
                                        NULL};
    *out = (jobs_counts){0};
    return store_run(s, &count, NULL, 0, take_counts, out, NULL, err);
}

/* ---- changes ---- */

/* The event of a job as it is now. */
static finch_status tell(store *s, const char *id, finch_error *err)
{
    job j = {0};
    json_t *data = NULL;
    finch_status st = read_one(s, id, &j, err);
    if (st == FINCH_OK && j.id[0] != '\0') {
        data = job_json(&j);
        st = data != NULL ? events_add(s, "job", data, err) : finch_fail(err, FINCH_E_MEMORY, "out of memory for an event");
    }
    json_decref(data);
    job_free(&j);
    return st;
}

/* One statement on one job, with its event where it changed the job. */
typedef struct change {
    const sql_statement *statement;
    const sql_value *values; /* $1: the job's id */
    size_t n_values;
    const char *id;
    uint64_t n_changed;
} change;

static finch_status change_work(store *s, void *context, finch_error *err)
{
    change *c = context;
    FINCH_TRY(store_run(s, c->statement, c->values, c->n_values, NULL, NULL, &c->n_changed, err));
    return c->n_changed > 0 ? tell(s, c->id, err) : FINCH_OK;
}

static finch_status make_change(store *s, change *c, finch_error *err) { return store_transaction(s, change_work, c, err); }

static finch_status lost_claim(const job *j, finch_error *err)
{
    return finch_fail(err, FINCH_E_CANCELLED, "job %s is no longer this worker's: it was cancelled, or taken up by another",
                      j->id);
}

finch_status jobs_create(store *s, const jobs_new *spec, job *out, finch_error *err)
{
    static const sql_statement insert = {
        "INSERT INTO batch_job (id, created, kind, state, input_path, input_name, input_bytes, options, key, owner, until, "
        "attempt, rows_done, rows_total, result_path, result_bytes, summary, error, started, finished) VALUES ($1, $2, $3, "
        "'queued', $4, $5, $6, $7, $8, '', 0, 0, 0, 0, '', 0, '', '', 0, 0) ON CONFLICT (id) DO NOTHING",
        NULL};
    char id[STORE_HASH_BYTES];
    *out = (job){0};
    FINCH_TRY(store_random_name(id, err));
    sql_value values[] = {sql_text(id),
                          sql_integer(store_now_ms(s)),
                          sql_text(spec->kind),
                          sql_text(spec->input_path),
                          sql_text(spec->input_name),
                          sql_integer(spec->input_bytes),
                          sql_text(spec->options),
                          sql_text(spec->key != NULL ? spec->key : "")};
    change c = {&insert, values, 8, id, 0};
    FINCH_TRY(make_change(s, &c, err));
    return jobs_get(s, id, out, err);
}

/* ---- claims ---- */

enum { CANDIDATES = 64 };

typedef struct candidate {
    char id[STORE_HASH_BYTES];
    int64_t attempt;
    bool dead; /* its process on this machine is gone */
    char owner[320];
    bool running;
    int64_t until;
} candidate;

typedef struct claiming {
    const char *kind;
    int64_t lease_ms;
    candidate candidates[CANDIDATES];
    size_t n;
    char id[STORE_HASH_BYTES]; /* "": none */
} claiming;

static finch_status take_candidate(void *context, const sql_row *row, finch_error *err)
{
    claiming *c = context;
    candidate *to = &c->candidates[c->n];
    finch_text id = sql_row_text(row, 0), owner = sql_row_text(row, 2);
    if (id.size_bytes != STORE_HASH_BYTES - 1) return finch_fail(err, FINCH_E_DATA, "a job in the store has a broken id");
    *to = (candidate){.attempt = sql_row_integer(row, 1), .until = sql_row_integer(row, 3)};
    memcpy(to->id, id.at, id.size_bytes);
    snprintf(to->owner, sizeof to->owner, "%.*s", (int)owner.size_bytes, owner.at);
    to->running = to->owner[0] != '\0';
    c->n++;
    return FINCH_OK;
}

/* True where the attempt is still the one that was looked at. */
static finch_status take(store *s, claiming *c, const candidate *from, bool *taken, finch_error *err)
{
    static const sql_statement take = {
        "UPDATE batch_job SET state = 'running', owner = $3, until = $4, attempt = attempt + 1, "
        "started = $5, rows_done = 0, rows_total = 0, error = '' WHERE id = $1 AND attempt = $2 "
        "AND state IN ('queued', 'running')",
        NULL};
    static const sql_statement give_up = {"UPDATE batch_job SET state = 'failed', owner = '', finished = $3, error = 'it "
                                          "was begun too often without coming to an "
                                          "end' WHERE id = $1 AND attempt = $2 AND state IN ('queued', 'running')",
                                          NULL};
    int64_t now = store_now_ms(s);
    uint64_t n = 0;
    bool enough = from->attempt >= JOBS_ATTEMPTS;
    sql_value values[] = {sql_text(from->id), sql_integer(from->attempt),
                          enough ? sql_integer(now) : sql_text(store_owner(s)), sql_integer(now + c->lease_ms),
                          sql_integer(now)};
    FINCH_TRY(store_run(s, enough ? &give_up : &take, values, enough ? 3 : 5, NULL, NULL, &n, err));
    *taken = n > 0 && !enough;
    return n > 0 ? tell(s, from->id, err) : FINCH_OK;
}

/* Those that others are at work on come last: among them are perhaps some of processes of this machine that are gone. */
#define IN_TURN "ORDER BY CASE WHEN state = 'queued' OR until < $3 THEN 0 ELSE 1 END, created, id LIMIT $2"

static finch_status claim_work(store *s, void *context, finch_error *err)
{
    static const sql_statement look = {
        "SELECT id, attempt, owner, until FROM batch_job WHERE state IN ('queued', 'running') AND kind = $1 " IN_TURN,
        "SELECT id, attempt, owner, until FROM batch_job WHERE state IN ('queued', 'running') AND kind = $1 " IN_TURN
        " FOR UPDATE SKIP LOCKED"};
    claiming *c = context;
    sql_value values[] = {sql_text(c->kind), sql_integer(CANDIDATES), sql_integer(store_now_ms(s))};
    c->n = 0;
    c->id[0] = '\0';
    FINCH_TRY(store_run(s, &look, values, 3, take_candidate, c, NULL, err));
    for (size_t i = 0; i < c->n; i++) {
        const candidate *from = &c->candidates[i];
        bool taken = false;
        if (from->running && from->until > store_now_ms(s) && store_owner_lives(s, from->owner)) continue;
        FINCH_TRY(take(s, c, from, &taken, err));
        if (!taken) continue;
        memcpy(c->id, from->id, sizeof c->id);
        return FINCH_OK;
    }
    return FINCH_OK;
}

finch_status jobs_claim(store *s, const char *kind, int64_t lease_ms, job *out, bool *found, finch_error *err)
{
    claiming c = {.kind = kind, .lease_ms = lease_ms};
    *out = (job){0};
    *found = false;
    FINCH_TRY(store_transaction(s, claim_work, &c, err));
    if (c.id[0] == '\0') return FINCH_OK;
    *found = true;
    return jobs_get(s, c.id, out, err);
}

/* ---- the worker's ---- */

#define MINE "WHERE id = $1 AND attempt = $2 AND state = 'running'"

finch_status jobs_progress(store *s, const job *j, int64_t rows_done, int64_t rows_total, int64_t lease_ms, finch_error *err)
{
    static const sql_statement note = {"UPDATE batch_job SET rows_done = $3, rows_total = $4, until = $5 " MINE, NULL};
    sql_value values[] = {sql_text(j->id), sql_integer(j->attempt), sql_integer(rows_done), sql_integer(rows_total),
                          sql_integer(store_now_ms(s) + lease_ms)};
    change c = {&note, values, 5, j->id, 0};
    FINCH_TRY(make_change(s, &c, err));
    return c.n_changed > 0 ? FINCH_OK : lost_claim(j, err);
}

/* The second time, after a commit whose answer was lost, finds the job as the first one left it. */
static finch_status finished_already(store *s, const job *j, const char *result_path, finch_error *err)
{
    job now;
    FINCH_TRY(jobs_get(s, j->id, &now, err));
    bool same = strcmp(now.state.at, "done") == 0 && now.attempt == j->attempt &&
                strcmp(now.result_path.at, result_path) == 0;
    job_free(&now);
    return same ? FINCH_OK : lost_claim(j, err);
}

finch_status jobs_finish(store *s, const job *j, const char *result_path, int64_t result_bytes, const char *summary,
                         finch_error *err)
{
    static const sql_statement finish = {
        "UPDATE batch_job SET state = 'done', owner = '', result_path = $3, result_bytes = $4, summary = $5, finished = $6, "
        "rows_total = CASE WHEN rows_total > 0 THEN rows_total ELSE rows_done END " MINE,
        NULL};
    sql_value values[] = {sql_text(j->id),
                          sql_integer(j->attempt),
                          sql_text(result_path),
                          sql_integer(result_bytes),
                          sql_text(summary != NULL ? summary : ""),
                          sql_integer(store_now_ms(s))};
    change c = {&finish, values, 6, j->id, 0};
    FINCH_TRY(make_change(s, &c, err));
    return c.n_changed > 0 ? FINCH_OK : finished_already(s, j, result_path, err);
}

finch_status jobs_fail(store *s, const job *j, const char *error, bool again, finch_error *err)
{
    static const sql_statement fail = {"UPDATE batch_job SET state = CASE WHEN $4 = 1 AND attempt < $5 THEN 'queued' ELSE "
                                       "'failed' END, owner = '', error = "
                                       "$3, finished = CASE WHEN $4 = 1 AND attempt < $5 THEN 0 ELSE $6 END " MINE,
                                       NULL};
    sql_value values[] = {sql_text(j->id),
                          sql_integer(j->attempt),
                          sql_text(error),
                          sql_integer(again ? 1 : 0),
                          sql_integer(JOBS_ATTEMPTS),
                          sql_integer(store_now_ms(s))};
    change c = {&fail, values, 6, j->id, 0};
    FINCH_TRY(make_change(s, &c, err));
    return c.n_changed > 0 ? FINCH_OK : lost_claim(j, err);
}

finch_status jobs_release(store *s, const job *j, finch_error *err)
{
    static const sql_statement release = {"UPDATE batch_job SET state = 'queued', owner = '', started = 0 " MINE, NULL};
    sql_value values[] = {sql_text(j->id), sql_integer(j->attempt)};
    change c = {&release, values, 2, j->id, 0};
    return make_change(s, &c, err);
}

finch_status jobs_cancel(store *s, const char *id, finch_error *err)
{
    static const sql_statement cancel = {
        "UPDATE batch_job SET state = 'cancelled', owner = '', finished = $2 WHERE id = $1 AND "
        "state IN ('queued', 'running')",
        NULL};
    sql_value values[] = {sql_text(id), sql_integer(store_now_ms(s))};
    change c = {&cancel, values, 2, id, 0};
    FINCH_TRY(make_change(s, &c, err));
    if (c.n_changed > 0) return FINCH_OK;
    job now;
    FINCH_TRY(jobs_get(s, id, &now, err));
    finch_status st = finch_fail(err, FINCH_E_USAGE, "job %.40s is over already: %.20s", id, now.state.at);
    job_free(&now);
    return st;
}

/* ---- pruning ---- */

typedef struct pruning {
    job_fn visit;
    void *context;
    char ids[CANDIDATES][STORE_HASH_BYTES];
    size_t n;
} pruning;

static finch_status prune_one(void *context, const job *j, finch_error *err)
{
    pruning *p = context;
    FINCH_TRY(p->visit(p->context, j, err));
    memcpy(p->ids[p->n++], j->id, STORE_HASH_BYTES);
    return FINCH_OK;
}

/* The files go first: a job without files is better than files without a job. */
finch_status jobs_prune(store *s, int64_t before_ms, job_fn visit, void *context, uint64_t *n, finch_error *err)
{
    static const sql_statement old = {"SELECT " COLUMNS " FROM batch_job WHERE state IN ('done', 'failed', 'cancelled') AND "
                                      "finished < $1 ORDER BY created LIMIT $2",
                                      NULL};
    static const sql_statement drop = {"DELETE FROM batch_job WHERE id = $1", NULL};
    *n = 0;
    for (;;) {
        pruning p = {.visit = visit, .context = context};
        visiting v = {prune_one, &p};
        sql_value values[] = {sql_integer(before_ms), sql_integer(CANDIDATES)};
        FINCH_TRY(store_run(s, &old, values, 2, visit_job, &v, NULL, err));
        for (size_t i = 0; i < p.n; i++) {
            sql_value id = sql_text(p.ids[i]);
            FINCH_TRY(store_run(s, &drop, &id, 1, NULL, NULL, NULL, err));
        }
        *n += p.n;
        if (p.n < CANDIDATES) return FINCH_OK;
    }
}
