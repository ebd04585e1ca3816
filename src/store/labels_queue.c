/* Leasing: which texts this process may ask next, and the claims that keep every other one from asking them. */
#include "store/labels.h"

#include "base/json.h"

#include <stdlib.h>
#include <string.h>

#define BLOCKED_MS 2000 /* until what another job asks is looked at again */

void labels_items_free(labels_items *items)
{
    for (size_t i = 0; i < items->n; i++) mem_free(items->at[i].text);
    mem_free(items->at);
    *items = (labels_items){0};
}

static finch_status items_add(labels_items *items, const labels_item *item, const char *text, size_t size, finch_error *err)
{
    FINCH_TRY(MEM_ROOM(&items->at, items->n, 1, &items->capacity, err));
    labels_item *added = &items->at[items->n];
    *added = *item;
    FINCH_TRY(mem_text(text, size, &added->text, err));
    items->n++;
    return FINCH_OK;
}

static finch_status read_item(void *context, const sql_row *row, finch_error *err)
{
    finch_text hash = sql_row_text(row, 1), text = sql_row_text(row, 2);
    labels_item item = {
        .seq = sql_row_integer(row, 0),
        .text_bytes = text.size_bytes,
        .stage = (int)sql_row_integer(row, 3),
        .grain = (size_t)sql_row_integer(row, 4),
        .tries = (size_t)sql_row_integer(row, 5),
        .gold = sql_row_null(row, 6) ? LABELS_NO_CLASS : (int)sql_row_integer(row, 6),
    };
    if (hash.size_bytes != STORE_HASH_BYTES - 1)
        return finch_fail(err, FINCH_E_DATA, "an item in the store has a broken hash");
    memcpy(item.hash, hash.at, hash.size_bytes);
    return items_add(context, &item, text.at, text.size_bytes, err);
}

#define LEASE_RETURNING " RETURNING seq, hash, text, stage, grain, tries, gold"
/* In PostgreSQL the list is an array, made once: a subquery could be run again for another row and lock others, and what
 * it expects of a list of unknown length may keep it from the index. */
#define LEASE_SET "UPDATE label_item SET state = 1, owner = $2, until = $3 WHERE job = $1 AND seq "
#define LEASE_WAITING "SELECT seq FROM label_item WHERE job = $1 AND state = 0 ORDER BY seq LIMIT $4"
#define LEASE_OVER "SELECT seq FROM label_item WHERE job = $1 AND state = 1 AND until < $5 ORDER BY seq LIMIT $4"

static finch_status take_items(store *s, const labels_job *job, size_t n_wanted, int64_t until, bool expired,
                               labels_items *out, finch_error *err)
{
    static const sql_statement waiting = {LEASE_SET "IN (" LEASE_WAITING ")" LEASE_RETURNING, LEASE_SET
                                          "= ANY(ARRAY(" LEASE_WAITING " FOR UPDATE SKIP LOCKED))" LEASE_RETURNING};
    static const sql_statement over = {LEASE_SET "IN (" LEASE_OVER ")" LEASE_RETURNING,
                                       LEASE_SET "= ANY(ARRAY(" LEASE_OVER " FOR UPDATE SKIP LOCKED))" LEASE_RETURNING};
    sql_value values[] = {sql_integer(job->id), sql_text(store_owner(s)), sql_integer(until), sql_integer((int64_t)n_wanted),
                          sql_integer(store_now_ms(s))};
    return store_run(s, expired ? &over : &waiting, values, expired ? 5 : 4, read_item, out, NULL, err);
}

static int by_seq(const void *a, const void *b)
{
    const labels_item *x = a, *y = b;
    return x->seq < y->seq ? -1 : x->seq > y->seq;
}

/* ---- claims ---- */

/* Items [0, n) of one stage, and what became of them. */
typedef struct claiming {
    labels_items *items;
    size_t first; /* only items from here on */
    int stage;
    unsigned char *fate; /* [items->n] */
    size_t next; /* where the next one is looked for first: the store gives them in about the order they are in */
} claiming;

enum { FATE_BLOCKED, FATE_GRANTED, FATE_ANSWERED };

/* Where the item's fate stands, or NULL. */
static unsigned char *find_fate(claiming *c, finch_text hash)
{
    size_t n = c->items->n - c->first;
    if (hash.size_bytes != STORE_HASH_BYTES - 1) return NULL;
    for (size_t k = 0; k < n; k++) {
        size_t i = c->first + (c->next + k) % n;
        if (memcmp(c->items->at[i].hash, hash.at, hash.size_bytes) != 0) continue;
        c->next = i + 1 - c->first;
        return &c->fate[i];
    }
    return NULL;
}

static finch_status read_granted(void *context, const sql_row *row, finch_error *err)
{
    unsigned char *fate = find_fate(context, sql_row_text(row, 0));
    (void)err;
    if (fate != NULL) *fate = FATE_GRANTED;
    return FINCH_OK;
}

static finch_status read_answered(void *context, const sql_row *row, finch_error *err)
{
    unsigned char *fate = find_fate(context, sql_row_text(row, 0));
    (void)err;
    if (fate != NULL && *fate == FATE_BLOCKED) *fate = FATE_ANSWERED;
    return FINCH_OK;
}

static char *hashes_of(const claiming *c)
{
    json_t *list = json_array();
    bool made = list != NULL;
    for (size_t i = c->first; made && i < c->items->n; i++)
        if (c->items->at[i].stage == c->stage) made = json_array_append_new(list, json_string(c->items->at[i].hash)) == 0;
    char *text = made ? json_dumps(list, JSON_COMPACT) : NULL;
    json_decref(list);
    return text;
}

static finch_status claim_stage(store *s, const labels_job *job, claiming *c, int64_t until, finch_error *err)
{
    static const sql_statement claim = {
        "INSERT INTO label_answer (asker, hash, vote, owner, until) SELECT $1, value, $2, $3, $4 FROM json_each($5) WHERE "
        "true "
        "ON CONFLICT (asker, hash, vote) DO UPDATE SET owner = excluded.owner, until = excluded.until "
        "WHERE label_answer.label IS NULL AND (label_answer.until < $6 OR label_answer.owner = excluded.owner) RETURNING "
        "hash",
        "INSERT INTO label_answer (asker, hash, vote, owner, until) SELECT $1, value, $2, $3, $4 "
        "FROM json_array_elements_text($5::json) ORDER BY value "
        "ON CONFLICT (asker, hash, vote) DO UPDATE SET owner = excluded.owner, until = excluded.until "
        "WHERE label_answer.label IS NULL AND (label_answer.until < $6 OR label_answer.owner = excluded.owner) RETURNING "
        "hash"};
    static const sql_statement answered = {
        "SELECT hash FROM label_answer WHERE asker = $1 AND vote = $2 AND label IS NOT NULL AND hash IN (SELECT value FROM "
        "json_each($5))",
        "SELECT hash FROM label_answer WHERE asker = $1 AND vote = $2 AND label IS NOT NULL AND hash = ANY(ARRAY("
        "SELECT json_array_elements_text($5::json)))"};
    bool judge = (size_t)c->stage >= job->votes;
    char *hashes = hashes_of(c);
    if (hashes == NULL) return finch_fail(err, FINCH_E_MEMORY, "out of memory for claims");
    sql_value values[] = {sql_integer(judge ? job->judge : job->asker),
                          sql_integer(judge ? 0 : c->stage),
                          sql_text(store_owner(s)),
                          sql_integer(until),
                          sql_text(hashes),
                          sql_integer(store_now_ms(s))};
    finch_status st = store_run(s, &claim, values, 6, read_granted, c, NULL, err);
    if (st == FINCH_OK) st = store_run(s, &answered, values, 5, read_answered, c, NULL, err);
    free(hashes); /* jansson's own */
    return st;
}

/* A text that another job asks at this moment: nobody's, and looked at again soon. */
static finch_status put_aside(store *s, const labels_job *job, const labels_item *item, finch_error *err)
{
    static const sql_statement block = {"UPDATE label_item SET owner = '', until = $3 WHERE job = $1 AND seq = $2", NULL};
    sql_value values[] = {sql_integer(job->id), sql_integer(item->seq), sql_integer(store_now_ms(s) + BLOCKED_MS)};
    return store_run(s, &block, values, 3, NULL, NULL, NULL, err);
}

/* What the store knows already needs no asking: one vote settles it, with more it goes on to the next stage. */
static finch_status reuse(store *s, const labels_job *job, const labels_item *item, labels_lease_result *result,
                          finch_error *err)
{
    static const sql_statement settle = {
        "UPDATE label_item SET state = 2, owner = NULL, until = NULL, label = a.label, confidence = a.confidence FROM "
        "label_answer a "
        "WHERE label_item.job = $1 AND label_item.seq = $2 AND a.asker = $3 AND a.vote = 0 AND a.hash = label_item.hash "
        "RETURNING label_item.label",
        NULL};
    int64_t label = -1;
    sql_value values[] = {sql_integer(job->id), sql_integer(item->seq), sql_integer(job->asker)};
    FINCH_TRY(store_run(s, &settle, values, 3, labels_take_integer, &label, NULL, err));
    if (label >= 0 && label < LABELS_CLASSES) result->reused_classes[label]++;
    result->n_reused++;
    return FINCH_OK;
}

static finch_status sort_fates(store *s, const labels_job *job, claiming *c, labels_lease_result *result, finch_error *err)
{
    size_t kept = c->first;
    for (size_t i = c->first; i < c->items->n; i++) {
        labels_item item = c->items->at[i];
        finch_status st = FINCH_OK;
        bool several = job->votes > 1;
        if (c->fate[i] == FATE_GRANTED || (c->fate[i] == FATE_ANSWERED && several)) {
            item.answered = c->fate[i] == FATE_ANSWERED;
            c->items->at[kept++] = item;
            continue;
        }
        if (c->fate[i] == FATE_ANSWERED) st = reuse(s, job, &item, result, err);
        else {
            st = put_aside(s, job, &item, err);
            result->n_blocked++;
        }
        mem_free(item.text);
        c->items->at[i].text = NULL;
        if (st != FINCH_OK) { /* what follows stays in the list and is freed with it */
            for (size_t k = i + 1; k < c->items->n; k++) c->items->at[kept++] = c->items->at[k];
            c->items->n = kept;
            return st;
        }
    }
    c->items->n = kept;
    result->n_leased += kept - c->first;
    return FINCH_OK;
}

static finch_status claim_items(store *s, const labels_job *job, labels_items *items, size_t first, int64_t until,
                                labels_lease_result *result, finch_error *err)
{
    claiming c = {.items = items, .first = first};
    int last_stage = (int)job->votes + (job->judge != 0);
    finch_status st = MEM_NEW(&c.fate, items->n, err);
    for (c.stage = 0; st == FINCH_OK && c.stage < last_stage; c.stage++) {
        bool any = false;
        for (size_t i = first; i < items->n; i++) any = any || items->at[i].stage == c.stage;
        if (any) st = claim_stage(s, job, &c, until, err);
    }
    if (st == FINCH_OK) st = sort_fates(s, job, &c, result, err);
    mem_free(c.fate);
    return st;
}

finch_status labels_lease(store *s, const labels_job *job, size_t n_wanted, int64_t lease_ms, bool with_expired,
                          labels_items *out, labels_lease_result *result, finch_error *err)
{
    size_t first = out->n;
    int64_t until = store_now_ms(s) + lease_ms;
    /* What a process that is gone held comes first: it has waited longest, and a long row would keep it waiting to its end. */
    if (with_expired) FINCH_TRY(take_items(s, job, n_wanted, until, true, out, err));
    result->n_over = out->n - first;
    if (out->n - first < n_wanted) FINCH_TRY(take_items(s, job, n_wanted - (out->n - first), until, false, out, err));
    if (out->n == first) return FINCH_OK;
    qsort(out->at + first, out->n - first, sizeof *out->at, by_seq);
    return claim_items(s, job, out, first, until, result, err);
}

/* ---- holding and giving back ---- */

finch_status labels_renew(store *s, const labels_job *job, int64_t lease_ms, finch_error *err)
{
    static const sql_statement items = {"UPDATE label_item SET until = $3 WHERE job = $1 AND state = 1 AND owner = $2",
                                        NULL};
    static const sql_statement claims = {
        "UPDATE label_answer SET until = $3 WHERE owner = $2 AND label IS NULL AND asker IN ($4, $5)", NULL};
    sql_value values[] = {sql_integer(job->id), sql_text(store_owner(s)), sql_integer(store_now_ms(s) + lease_ms),
                          sql_integer(job->asker), sql_integer(job->judge)};
    FINCH_TRY(store_run(s, &items, values, 3, NULL, NULL, NULL, err));
    return store_run(s, &claims, values, 5, NULL, NULL, NULL, err);
}

static finch_status free_owner(store *s, const labels_job *job, const char *owner, finch_error *err)
{
    static const sql_statement items = {
        "UPDATE label_item SET state = 0, owner = NULL, until = NULL WHERE job = $1 AND state = 1 AND owner = $2", NULL};
    static const sql_statement claims = {"UPDATE label_answer SET until = 0 WHERE owner = $2 AND label IS NULL", NULL};
    static const sql_statement requests = {
        "UPDATE label_request SET ended = $3, outcome = 'lost' WHERE job = $1 AND owner = $2 AND ended IS NULL", NULL};
    sql_value values[] = {sql_integer(job->id), sql_text(owner), sql_integer(store_now_ms(s))};
    FINCH_TRY(store_run(s, &items, values, 2, NULL, NULL, NULL, err));
    FINCH_TRY(store_run(s, &claims, values, 2, NULL, NULL, NULL, err));
    return store_run(s, &requests, values, 3, NULL, NULL, NULL, err);
}

finch_status labels_release(store *s, const labels_job *job, finch_error *err)
{
    return free_owner(s, job, store_owner(s), err);
}

static finch_status add_owner(void *context, const sql_row *row, finch_error *err)
{
    finch_text owner = sql_row_text(row, 0);
    FINCH_TRY(str_add(context, owner.at, owner.size_bytes, err));
    return str_add(context, "", 1, err); /* its NUL stays between them */
}

finch_status labels_take_over(store *s, const labels_job *job, finch_error *err)
{
    static const sql_statement owners = {
        "SELECT DISTINCT owner FROM label_item WHERE job = $1 AND state = 1 AND owner <> '' "
        "UNION SELECT DISTINCT owner FROM label_answer WHERE label IS NULL AND asker IN ($2, $3) "
        "UNION SELECT DISTINCT owner FROM label_request WHERE job = $1 AND ended IS NULL",
        NULL};
    str names = {0};
    sql_value values[] = {sql_integer(job->id), sql_integer(job->asker), sql_integer(job->judge)};
    finch_status st = store_run(s, &owners, values, 3, add_owner, &names, NULL, err);
    for (size_t at = 0; st == FINCH_OK && at < names.size; at += strlen(names.at + at) + 1)
        if (!store_owner_lives(s, names.at + at)) st = free_owner(s, job, names.at + at, err);
    str_free(&names);
    return st;
}

finch_status labels_retry_aside(store *s, const labels_job *job, uint64_t *n, finch_error *err)
{
    static const sql_statement again = {
        "UPDATE label_item SET state = 0, reason = NULL, tries = 0, owner = NULL WHERE job = $1 AND "
        "state = 2 AND label IS NULL",
        NULL};
    sql_value value = sql_integer(job->id);
    return store_run(s, &again, &value, 1, NULL, NULL, n, err);
}

finch_status labels_pace(store *s, const char *key, int64_t interval_us, int64_t least_us, int64_t *wait_us,
                         finch_error *err)
{
    static const sql_statement reserve = {
        "INSERT INTO label_pace (key, next_us) VALUES ($1, $2 + $3) ON CONFLICT (key) DO UPDATE SET "
        "next_us = max(label_pace.next_us, $2) + $3 RETURNING next_us - $3",
        "INSERT INTO label_pace (key, next_us) VALUES ($1, $2 + $3) ON CONFLICT (key) DO UPDATE SET "
        "next_us = greatest(label_pace.next_us, $2) + $3 RETURNING next_us - $3"};
    int64_t now_us = store_now_ms(s) * 1000, at_us = now_us;
    sql_value values[] = {sql_text(key), sql_integer(now_us + least_us), sql_integer(interval_us)};
    FINCH_TRY(store_run(s, &reserve, values, 3, labels_take_integer, &at_us, NULL, err));
    *wait_us = at_us - now_us;
    return FINCH_OK;
}
