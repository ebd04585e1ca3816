/* The ledger: requests before they are sent, how they ended, answers, and what becomes of each item. */
#include "store/labels.h"

#include "base/json.h"

#include <stdlib.h>
#include <string.h>

finch_status labels_take_integer(void *context, const sql_row *row, finch_error *err)
{
    (void)err;
    *(int64_t *)context = sql_row_integer(row, 0);
    return FINCH_OK;
}

finch_status labels_journal(store *s, const labels_job *job, const labels_request *request, finch_error *err)
{
    static const sql_statement journal = {"INSERT INTO label_request (id, job, asker, key, owner, n_items, items, sent) "
                                          "VALUES ($1, $2, $3, $4, $5, $6, $7, $8) "
                                          "ON CONFLICT (id) DO NOTHING",
                                          NULL};
    json_t *list = json_array();
    bool made = list != NULL;
    for (size_t i = 0; made && i < request->n_items; i++)
        made = json_array_append_new(list, json_string(request->items[i]->hash)) == 0;
    char *items = made ? json_dumps(list, JSON_COMPACT) : NULL;
    json_decref(list);
    if (items == NULL) return finch_fail(err, FINCH_E_MEMORY, "out of memory for a request's journal");
    sql_value values[] = {sql_text(request->id),  sql_integer(job->id),        sql_integer(request->asker),
                          sql_text(request->key), sql_text(store_owner(s)),    sql_integer((int64_t)request->n_items),
                          sql_text(items),        sql_integer(store_now_ms(s))};
    finch_status st = store_run(s, &journal, values, 8, NULL, NULL, NULL, err);
    free(items); /* jansson's own */
    return st;
}

static sql_value known_or_null(int64_t value) { return value >= 0 ? sql_integer(value) : sql_null(); }

finch_status labels_end_request(store *s, const labels_outcome *o, finch_error *err)
{
    static const sql_statement end = {"UPDATE label_request SET ended = $2, status = $3, outcome = $4, provider_id = $5, "
                                      "input_tokens = $6, output_tokens = $7, "
                                      "cost = $8, body = $9 WHERE id = $1",
                                      NULL};
    str packed = {0};
    finch_status st = o->body != NULL ? store_pack(o->body, o->body_bytes, &packed, err) : FINCH_OK;
    sql_value values[] = {sql_text(o->id),
                          sql_integer(store_now_ms(s)),
                          sql_integer(o->status),
                          sql_text(o->outcome),
                          sql_text(o->provider_id),
                          known_or_null(o->input_tokens),
                          known_or_null(o->output_tokens),
                          known_or_null(o->cost_nano),
                          sql_blob(o->body != NULL ? packed.at : NULL, packed.size)};
    if (st == FINCH_OK) st = store_run(s, &end, values, 9, NULL, NULL, NULL, err);
    str_free(&packed);
    return st;
}

/* ---- answers ---- */

static json_t *real_or_null(double value) { return value >= 0 ? json_real(value) : json_null(); }

typedef struct kept {
    labels_answer *answers;
    size_t n;
    bool *mine; /* [n] */
} kept;

static size_t find_answer(const kept *k, finch_text hash)
{
    size_t i = 0;
    while (i < k->n &&
           !(hash.size_bytes == STORE_HASH_BYTES - 1 && memcmp(k->answers[i].item->hash, hash.at, hash.size_bytes) == 0))
        i++;
    return i;
}

static finch_status read_mine(void *context, const sql_row *row, finch_error *err)
{
    kept *k = context;
    size_t i = find_answer(k, sql_row_text(row, 0));
    (void)err;
    if (i < k->n) k->mine[i] = true;
    return FINCH_OK;
}

static finch_status read_theirs(store *s, kept *k, size_t i, int64_t vote, finch_error *err);

/* Answers [0, n) of one asker and one vote. */
static finch_status keep_answers(store *s, kept *k, int64_t vote, finch_error *err)
{
    static const sql_statement keep = {
        "INSERT INTO label_answer (asker, hash, vote, label, confidence, request, created) "
        "SELECT $1, json_extract(value, '$[0]'), $2, json_extract(value, '$[1]'), json_extract(value, '$[2]'), $3, $4 "
        "FROM json_each($5) WHERE true ON CONFLICT (asker, hash, vote) DO UPDATE SET label = excluded.label, "
        "confidence = excluded.confidence, request = excluded.request, created = excluded.created, owner = NULL, until = "
        "NULL "
        "WHERE label_answer.label IS NULL RETURNING hash",
        "INSERT INTO label_answer (asker, hash, vote, label, confidence, request, created) "
        "SELECT $1, value->>0, $2, (value->>1)::bigint, (value->>2)::double precision, $3, $4 "
        "FROM json_array_elements($5::json) ORDER BY 2 ON CONFLICT (asker, hash, vote) DO UPDATE SET label = "
        "excluded.label, "
        "confidence = excluded.confidence, request = excluded.request, created = excluded.created, owner = NULL, until = "
        "NULL "
        "WHERE label_answer.label IS NULL RETURNING hash"};
    json_t *rows = json_array();
    bool made = rows != NULL;
    for (size_t i = 0; made && i < k->n; i++)
        made = json_array_append_new(rows, json_pack("[s, i, o]", k->answers[i].item->hash, k->answers[i].label,
                                                     real_or_null(k->answers[i].confidence))) == 0;
    char *text = made ? json_dumps(rows, JSON_COMPACT) : NULL;
    json_decref(rows);
    if (text == NULL) return finch_fail(err, FINCH_E_MEMORY, "out of memory for answers");
    sql_value values[] = {sql_integer(k->answers[0].asker), sql_integer(vote), sql_text(k->answers[0].request),
                          sql_integer(store_now_ms(s)), sql_text(text)};
    finch_status st = store_run(s, &keep, values, 5, read_mine, k, NULL, err);
    free(text); /* jansson's own */
    for (size_t i = 0; st == FINCH_OK && i < k->n; i++)
        if (!k->mine[i]) st = read_theirs(s, k, i, vote, err);
    return st;
}

static finch_status read_first(void *context, const sql_row *row, finch_error *err)
{
    labels_answer *answer = context;
    (void)err;
    answer->label = (int)sql_row_integer(row, 0);
    answer->confidence = sql_row_null(row, 1) ? -1 : sql_row_real(row, 1);
    return FINCH_OK;
}

/* Another process was first (our lease had run out): the first answer is the answer. */
static finch_status read_theirs(store *s, kept *k, size_t i, int64_t vote, finch_error *err)
{
    static const sql_statement first = {
        "SELECT label, confidence FROM label_answer WHERE asker = $1 AND hash = $2 AND vote = $3 AND label IS NOT NULL",
        NULL};
    sql_value values[] = {sql_integer(k->answers[i].asker), sql_text(k->answers[i].item->hash), sql_integer(vote)};
    return store_run(s, &first, values, 3, read_first, &k->answers[i], NULL, err);
}

finch_status labels_answers(store *s, labels_answer *answers, size_t n, int64_t vote, finch_error *err)
{
    kept k = {answers, n, NULL};
    if (n == 0) return FINCH_OK;
    FINCH_TRY(MEM_NEW(&k.mine, n, err));
    finch_status st = keep_answers(s, &k, vote, err);
    mem_free(k.mine);
    return st;
}

/* ---- verdicts ---- */

/* SQLite has no round trips to save, and plans one row better than a list of them. */
static finch_status set_one(store *s, const labels_job *job, const labels_verdict *v, finch_error *err)
{
    static const sql_statement set = {
        "UPDATE label_item SET state = $3, stage = $4, grain = $5, tries = $6, label = $7, confidence = $8, reason = $9, "
        "owner = NULL, until = NULL WHERE job = $1 AND seq = $2 AND +state < 2",
        NULL};
    sql_value values[] = {sql_integer(job->id),
                          sql_integer(v->seq),
                          sql_integer(v->state),
                          sql_integer(v->stage),
                          sql_integer((int64_t)v->grain),
                          sql_integer((int64_t)v->tries),
                          v->label == LABELS_NO_CLASS ? sql_null() : sql_integer(v->label),
                          v->confidence >= 0 ? sql_real(v->confidence) : sql_null(),
                          sql_text(v->reason)};
    return store_run(s, &set, values, 9, NULL, NULL, NULL, err);
}

static json_t *verdict_row(const labels_verdict *v)
{
    json_t *label = v->label == LABELS_NO_CLASS ? json_null() : json_integer(v->label);
    return json_pack("[I, i, i, I, I, o, o, s?]", (json_int_t)v->seq, v->state, v->stage, (json_int_t)v->grain,
                     (json_int_t)v->tries, label, real_or_null(v->confidence), v->reason);
}

static finch_status set_all(store *s, const labels_job *job, const labels_verdict *verdicts, size_t n, finch_error *err)
{
    static const sql_statement set = {
        NULL,
        "UPDATE label_item SET state = v.state, stage = v.stage, grain = v.grain, tries = v.tries, label = v.label, "
        "confidence = v.confidence, reason = v.reason, owner = NULL, until = NULL FROM "
        "(SELECT (value->>0)::bigint AS seq, (value->>1)::bigint AS state, (value->>2)::bigint AS stage, "
        "(value->>3)::bigint AS grain, (value->>4)::bigint AS tries, (value->>5)::bigint AS label, "
        "(value->>6)::double precision AS confidence, value->>7 AS reason FROM json_array_elements($2::json)) AS v "
        "WHERE label_item.job = $1 AND label_item.seq = v.seq AND label_item.state + 0 < 2 AND label_item.seq = ANY(ARRAY("
        "SELECT (value->>0)::bigint FROM json_array_elements($2::json)))"};
    json_t *rows = json_array();
    bool made = rows != NULL;
    for (size_t i = 0; made && i < n; i++) made = json_array_append_new(rows, verdict_row(&verdicts[i])) == 0;
    char *text = made ? json_dumps(rows, JSON_COMPACT) : NULL;
    json_decref(rows);
    if (text == NULL) return finch_fail(err, FINCH_E_MEMORY, "out of memory for %zu results", n);
    sql_value values[] = {sql_integer(job->id), sql_text(text)};
    finch_status st = store_run(s, &set, values, 2, NULL, NULL, NULL, err);
    free(text); /* jansson's own */
    return st;
}

finch_status labels_verdicts(store *s, const labels_job *job, const labels_verdict *verdicts, size_t n, finch_error *err)
{
    if (n == 0) return FINCH_OK;
    if (store_is_shared(s)) return set_all(s, job, verdicts, n, err);
    for (size_t i = 0; i < n; i++) FINCH_TRY(set_one(s, job, &verdicts[i], err));
    return FINCH_OK;
}

/* ---- votes ---- */

typedef struct votes {
    int *labels;
    size_t n;
} votes;

static finch_status read_vote(void *context, const sql_row *row, finch_error *err)
{
    votes *v = context;
    int64_t vote = sql_row_integer(row, 0), label = sql_row_integer(row, 1);
    (void)err;
    if (vote >= 0 && (size_t)vote < v->n && label >= 0 && label < LABELS_CLASSES) v->labels[vote] = (int)label;
    return FINCH_OK;
}

finch_status labels_votes(store *s, int64_t asker, const char *hash, int *labels, size_t n, finch_error *err)
{
    static const sql_statement get = {
        "SELECT vote, label FROM label_answer WHERE asker = $1 AND hash = $2 AND label IS NOT NULL", NULL};
    votes v = {labels, n};
    for (size_t i = 0; i < n; i++) labels[i] = LABELS_NO_CLASS;
    sql_value values[] = {sql_integer(asker), sql_text(hash)};
    return store_run(s, &get, values, 2, read_vote, &v, NULL, err);
}
