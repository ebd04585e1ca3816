/* What leaves the history. */
#include "store/history_sums.h"

#include <stdlib.h>
#include <string.h>

enum { STEP = 2000, BATCH_KEPT_DAYS = 30 };

/* ---- rows by the thousand ---- */

/* Rows on their way out: their keys, and those of their marks. */
typedef struct leaving {
    sql_statement look; /* ids, times, tickers, and what the sums need; $1, $2 */
    sql_value values[2];
    bool from_sums;     /* they leave the sums as well */
    str ids, keys;      /* JSON */
    history_tally tally;
    size_t n;
    int64_t newest_id;
} leaving;

typedef struct leaving_row {
    leaving *out;
    int64_t id;
    history_mark mark;
} leaving_row;

static finch_status leave_ticker(void *context, const char *ticker, finch_error *err)
{
    leaving_row *r = context;
    r->mark.ticker = ticker;
    FINCH_TRY(str_add_format(&r->out->keys, err, "%s[\"%s\",%lld,%lld]", r->out->keys.size > 1 ? "," : "", ticker,
                             (long long)r->mark.time_ms, (long long)r->id));
    return r->out->from_sums ? history_tally_add(&r->out->tally, &r->mark, err) : FINCH_OK;
}

static finch_status leave_row(void *context, const sql_row *row, finch_error *err)
{
    leaving *out = context;
    int64_t reach = sql_row_integer(row, 5);
    leaving_row r = {.out = out, .id = sql_row_integer(row, 0)};
    r.mark = (history_mark){.time_ms = sql_row_integer(row, 1),
                            .score = sql_row_integer(row, 4),
                            .w = reach < HISTORY_WEIGHT_MOST ? 1 + reach : HISTORY_WEIGHT_MOST,
                            .kind = sql_row_integer(row, 6) & 7,
                            .model = sql_row_integer(row, 7),
                            .label = (int)sql_row_integer(row, 3),
                            .sign = -1};
    FINCH_TRY(str_add_format(&out->ids, err, "%s[%lld,%lld]", out->ids.size > 1 ? "," : "", (long long)r.id,
                             (long long)r.mark.time_ms));
    if (r.id > out->newest_id) out->newest_id = r.id;
    out->n++;
    FINCH_TRY(leave_ticker(&r, HISTORY_ALL, err));
    return history_each_ticker(sql_row_text(row, 2), leave_ticker, &r, err);
}

static finch_status leave_work(store *s, void *context, finch_error *err)
{
    /* With the time, so that PostgreSQL looks into no month but the row's own. */
    static const sql_statement rows = {
        "DELETE FROM prediction WHERE id IN (SELECT json_extract(value, '$[0]') FROM json_each($1))",
        "DELETE FROM prediction p USING jsonb_array_elements($1::jsonb) WHERE p.id = " SQL_ELEMENT(
            0) " AND p.time = " SQL_ELEMENT(1)};
    static const sql_statement marks = {
        "DELETE FROM prediction_ticker WHERE (ticker, time, id) IN (SELECT json_extract(value, '$[0]'), json_extract(value, "
        "'$[1]'), json_extract(value, '$[2]') FROM json_each($1))",
        "DELETE FROM prediction_ticker t USING jsonb_array_elements($1::jsonb) WHERE t.ticker = value->>0 AND t.time "
        "= " SQL_ELEMENT(1) " AND t.id = " SQL_ELEMENT(2)};
    static const sql_statement forgotten = {"UPDATE store_counter SET value = $1 WHERE name = 'forgotten' AND value < $1",
                                            NULL};
    leaving *out = context;
    out->n = 0;
    out->newest_id = 0;
    out->tally.n = 0;
    str_clear(&out->ids);
    str_clear(&out->keys);
    FINCH_TRY(str_add_text(&out->ids, "[", err));
    FINCH_TRY(str_add_text(&out->keys, "[", err));
    FINCH_TRY(store_run(s, &out->look, out->values, 2, leave_row, out, NULL, err));
    if (out->n == 0) return FINCH_OK;
    FINCH_TRY(str_add_text(&out->ids, "]", err));
    FINCH_TRY(str_add_text(&out->keys, "]", err));
    sql_value value = sql_text(out->ids.at);
    FINCH_TRY(store_run(s, &rows, &value, 1, NULL, NULL, NULL, err));
    value = sql_text(out->keys.at);
    FINCH_TRY(store_run(s, &marks, &value, 1, NULL, NULL, NULL, err));
    value = sql_integer(out->newest_id);
    FINCH_TRY(store_run(s, &forgotten, &value, 1, NULL, NULL, NULL, err));
    return out->from_sums ? history_tally_write(s, &out->tally, err) : FINCH_OK;
}

/* Step by step, at most steps of them; *more: there are more rows to go. */
static finch_status leave(store *s, leaving *out, size_t steps, uint64_t *n_rows, bool *more, finch_error *err)
{
    finch_status st = FINCH_OK;
    *more = true;
    for (; st == FINCH_OK && *more && steps > 0; steps--) {
        st = store_transaction(s, leave_work, out, err);
        if (st == FINCH_OK) *n_rows += out->n;
        *more = out->n == STEP;
    }
    str_free(&out->ids);
    str_free(&out->keys);
    history_tally_free(&out->tally);
    return st;
}

#define LEAVING_COLUMNS "SELECT p.id, p.time, p.tickers, p.label, p.score, p.reach, p.flags, p.model FROM prediction p "

/* ---- by age ---- */

/* First the mark, so that a question in between takes the sums for what is on its way out. */
static finch_status note_pruned(store *s, int64_t before_ms, finch_error *err)
{
    static const sql_statement note = {"INSERT INTO store_counter (name, value) VALUES ('pruned', $1) ON CONFLICT (name) DO "
                                       "UPDATE SET value = excluded.value WHERE store_counter.value < excluded.value",
                                       NULL};
    sql_value value = sql_integer(before_ms);
    return store_run(s, &note, &value, 1, NULL, NULL, NULL, err);
}

/* Whole months at once, where the database has them. */
static finch_status drop_parts(store *s, int64_t before_ms, uint64_t *n_rows, finch_error *err)
{
    static const sql_statement drop = {"SELECT 0", "SELECT finch_part_drop($1)"};
    sql_value value = sql_integer(before_ms);
    int64_t n = 0;
    FINCH_TRY(store_run(s, &drop, &value, 1, sql_take_integer, &n, NULL, err));
    *n_rows += (uint64_t)n;
    return FINCH_OK;
}

static finch_status prune_rows(store *s, int64_t before_ms, size_t steps, uint64_t *n_rows, bool *more, finch_error *err)
{
    leaving out = {.look = {LEAVING_COLUMNS
                            "JOIN prediction_ticker t ON t.id = p.id AND t.time = p.time WHERE t.ticker = '*' "
                            "AND t.time < $1 ORDER BY t.time LIMIT $2",
                            NULL},
                   .values = {sql_integer(before_ms), sql_integer(STEP)}};
    FINCH_TRY(note_pruned(s, before_ms, err));
    FINCH_TRY(drop_parts(s, before_ms, n_rows, err));
    return leave(s, &out, steps, n_rows, more, err);
}

/* Names of batches that nobody will send again. */
static finch_status forget_batches(store *s, finch_error *err)
{
    static const sql_statement batches = {"DELETE FROM store_batch WHERE time < $1", NULL};
    sql_value value = sql_integer(store_now_ms(s) - BATCH_KEPT_DAYS * (int64_t)HISTORY_DAY_MS);
    return store_run(s, &batches, &value, 1, NULL, NULL, NULL, err);
}

finch_status history_prune(store *s, int64_t before_ms, bool with_sums, uint64_t *n_rows, finch_error *err)
{
    static const sql_statement sums = {"DELETE FROM history_sum WHERE grain IN (3600000, 86400000) AND bucket < $1", NULL};
    int64_t grain = with_sums ? HISTORY_DAY_MS : HISTORY_HOUR_MS, before = before_ms - before_ms % grain;
    sql_value value = sql_integer(before);
    bool more;
    *n_rows = 0;
    FINCH_TRY(prune_rows(s, before, SIZE_MAX, n_rows, &more, err));
    FINCH_TRY(forget_batches(s, err));
    return with_sums ? store_run(s, &sums, &value, 1, NULL, NULL, NULL, err) : FINCH_OK;
}

/* ---- by the server itself ---- */

static finch_status make_parts_ahead(store *s, finch_error *err)
{
    static const sql_statement make = {"SELECT 1", "SELECT finch_part_make($1), finch_part_make(finch_month($1, 1))"};
    sql_value now = sql_integer(store_now_ms(s));
    return store_run(s, &make, &now, 1, NULL, NULL, NULL, err);
}

finch_status history_tend(store *s, finch_error *err)
{
    FINCH_TRY(make_parts_ahead(s, err));
    return forget_batches(s, err);
}

finch_status history_expire(store *s, int64_t keep_ms, uint64_t *n_rows, bool *more, finch_error *err)
{
    static const history_bucket month = {.width_ms = 0};
    int64_t before = store_now_ms(s) - keep_ms;
    *n_rows = 0;
    *more = false;
    if (before <= 0) return FINCH_OK;
    before = store_is_shared(s) ? history_bucket_start(&month, before) : before - before % HISTORY_HOUR_MS;
    return prune_rows(s, before, 1, n_rows, more, err);
}

finch_status history_forget_texts(store *s, int64_t before_ms, uint64_t *n_rows, finch_error *err)
{
    static const sql_statement wipe = {"UPDATE prediction SET text = NULL WHERE id IN (SELECT p.id FROM prediction p JOIN "
                                       "prediction_ticker t ON t.id = p.id AND t.time = p.time "
                                       "WHERE t.ticker = '*' AND t.time < $1 AND p.text IS NOT NULL LIMIT $2)",
                                       NULL};
    sql_value values[] = {sql_integer(before_ms), sql_integer(STEP)};
    uint64_t n;
    *n_rows = 0;
    do {
        FINCH_TRY(store_run(s, &wipe, values, 2, NULL, NULL, &n, err));
        *n_rows += n;
    } while (n == STEP);
    return FINCH_OK;
}

/* ---- by text ---- */

finch_status history_forget(store *s, const char *hash, uint64_t *n_rows, finch_error *err)
{
    leaving out = {.look = {LEAVING_COLUMNS "WHERE p.hash = $1 LIMIT $2", NULL},
                   .values = {sql_text(hash), sql_integer(STEP)},
                   .from_sums = true};
    bool more;
    *n_rows = 0;
    return leave(s, &out, SIZE_MAX, n_rows, &more, err);
}
