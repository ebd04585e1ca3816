/* Predictions on their way in: rows, their marks by ticker, and the sums, in one transaction. */
#include "store/history_sums.h"

#include "base/arena.h"
#include "store/events.h"
#include "store/values.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { MODELS_MOST = 64, MONTHS_MOST = 300, ROW_VALUES = 16, MARK_VALUES = 8 };

/* ---- checks ---- */

bool history_ticker_valid(const char *ticker)
{
    size_t n = strspn(ticker, "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-_^=");
    return n > 0 && n < HISTORY_TICKER_BYTES && ticker[n] == '\0';
}

static bool is_share(double value) { return value >= 0 && value <= 1; }

static finch_status check(const history_prediction *p, uint64_t row, finch_error *err)
{
    bool shares = true;
    for (size_t i = 0; i < HISTORY_CLASSES; i++) shares = shares && is_share(p->probabilities[i]);
    if (!shares || !(p->score >= -1 && p->score <= 1))
        return finch_fail_row(err, FINCH_E_DATA, row, "probabilities lie between 0 and 1, a score between -1 and 1");
    if (p->label < 0 || p->label >= HISTORY_CLASSES)
        return finch_fail_row(err, FINCH_E_DATA, row, "a label is 0 to %d", HISTORY_CLASSES - 1);
    if (p->time_ms < 0 || p->time_ms > INT64_C(253402300799999))
        return finch_fail_row(err, FINCH_E_DATA, row, "a time lies in the years 1970 to 9999");
    if (p->reach < 0) return finch_fail_row(err, FINCH_E_DATA, row, "a reach is not below 0");
    for (size_t i = 0; i < p->n_tickers && i < HISTORY_TICKERS_MOST; i++)
        if (!history_ticker_valid(p->tickers[i]))
            return finch_fail_row(err, FINCH_E_DATA, row,
                                  "\"%.15s\" is no ticker: 1 to 15 of A-Z 0-9 . - _ ^ =", p->tickers[i]);
    if (p->hash[0] == '\0' && p->text.at == NULL)
        return finch_fail_row(err, FINCH_E_DATA, row, "a prediction has its text or its text's hash");
    return FINCH_OK;
}

/* ---- one transaction ---- */

typedef struct numbered_mark {
    history_mark mark;
    int64_t id;
} numbered_mark;

typedef struct appending {
    const char *batch;
    const history_prediction *predictions;
    size_t n;
    bool import;
    int64_t first_id;
    struct {
        const char *name;
        int64_t id;
    } models[MODELS_MOST];
    size_t n_models;
    int64_t months[MONTHS_MOST]; /* that are known to have their part */
    size_t n_months;
    arena arena; /* of one run: */
    sql_value *rows; /* [n, ROW_VALUES] */
    numbered_mark *marks;
    size_t n_rows, n_marks;
    history_tally tally;
} appending;

finch_status history_model_find(store *s, const char *name, int64_t *out, finch_error *err)
{
    static const sql_statement find = {"SELECT id FROM history_model WHERE name = $1", NULL};
    sql_value value = sql_text(name);
    *out = 0;
    return store_run(s, &find, &value, 1, sql_take_integer, out, NULL, err);
}

static finch_status model_of(store *s, appending *a, const char *name, int64_t *out, finch_error *err)
{
    static const sql_statement make = {"INSERT INTO history_model (id, name) SELECT coalesce(max(id), 0) + 1, $1 FROM "
                                       "history_model WHERE true ON CONFLICT (name) DO NOTHING",
                                       NULL};
    for (size_t i = 0; i < a->n_models; i++)
        if (strcmp(a->models[i].name, name) == 0) {
            *out = a->models[i].id;
            return FINCH_OK;
        }
    sql_value value = sql_text(name);
    FINCH_TRY(history_model_find(s, name, out, err));
    if (*out == 0) {
        FINCH_TRY(store_run(s, &make, &value, 1, NULL, NULL, NULL, err));
        FINCH_TRY(history_model_find(s, name, out, err));
    }
    if (a->n_models < MODELS_MOST) {
        a->models[a->n_models].name = name;
        a->models[a->n_models++].id = *out;
    }
    return FINCH_OK;
}

/* NULs become U+FFFD, since PostgreSQL's texts hold none; a null where there is no text. */
static finch_status text_value(appending *a, finch_text text, uint64_t row, sql_value *out, finch_error *err)
{
    char *clean;
    size_t n = 0;
    *out = sql_text(NULL);
    if (text.at == NULL) return FINCH_OK;
    if (!values_is_utf8(text.at, text.size_bytes)) return finch_fail_row(err, FINCH_E_DATA, row, "a text is no UTF-8");
    *out = (sql_value){.type = SQL_TEXT, .at = text.at, .size = text.size_bytes};
    if (memchr(text.at, '\0', text.size_bytes) == NULL) return FINCH_OK;
    FINCH_TRY(ARENA_NEW(&a->arena, &clean, 3 * text.size_bytes, err));
    for (size_t i = 0; i < text.size_bytes; i++) {
        if (text.at[i] != '\0') clean[n++] = text.at[i];
        else {
            memcpy(clean + n, "\xEF\xBF\xBD", 3);
            n += 3;
        }
    }
    out->at = clean;
    out->size = n;
    return FINCH_OK;
}

static int64_t micro(double value) { return (int64_t)llround(value * HISTORY_MICRO); }

static size_t tickers_of(const history_prediction *p)
{
    return p->n_tickers < HISTORY_TICKERS_MOST ? p->n_tickers : HISTORY_TICKERS_MOST;
}

/* "AAPL TSLA" */
static finch_status join_tickers(appending *a, const history_prediction *p, sql_value *out, finch_error *err)
{
    char *joined;
    size_t n = 0;
    FINCH_TRY(ARENA_NEW(&a->arena, &joined, HISTORY_TICKERS_MOST * HISTORY_TICKER_BYTES, err));
    joined[0] = '\0';
    for (size_t i = 0; i < tickers_of(p); i++) {
        size_t size = strlen(p->tickers[i]);
        if (i > 0) joined[n++] = ' ';
        memcpy(joined + n, p->tickers[i], size);
        n += size;
    }
    *out = (sql_value){.type = SQL_TEXT, .at = joined, .size = n};
    return FINCH_OK;
}

static finch_status add_row(appending *a, const history_prediction *p, int64_t id, int64_t model, uint64_t row,
                            finch_error *err)
{
    sql_value *v = a->rows + a->n_rows * ROW_VALUES;
    const char *source = p->source != NULL ? p->source : "";
    char *hash;
    FINCH_TRY(ARENA_NEW(&a->arena, &hash, STORE_HASH_BYTES, err));
    memcpy(hash, p->hash, STORE_HASH_BYTES);
    if (hash[0] == '\0') FINCH_TRY(store_hash(p->text.at, p->text.size_bytes, hash, err));
    v[0] = sql_integer(id);
    v[1] = sql_integer(p->time_ms);
    FINCH_TRY(text_value(a, (finch_text){hash, strlen(hash)}, row, &v[2], err));
    FINCH_TRY(text_value(a, p->text, row, &v[3], err));
    FINCH_TRY(join_tickers(a, p, &v[4], err));
    v[5] = sql_integer(p->label);
    for (size_t i = 0; i < HISTORY_CLASSES; i++) v[6 + i] = sql_integer(micro(p->probabilities[i]));
    v[11] = sql_integer(micro(p->score));
    v[12] = sql_integer(model);
    FINCH_TRY(text_value(a, (finch_text){source, strlen(source)}, row, &v[13], err));
    v[14] = sql_integer(p->reach);
    v[15] = sql_integer(p->flags);
    a->n_rows++;
    return FINCH_OK;
}

static finch_status add_mark(appending *a, const history_mark *mark, int64_t id, finch_error *err)
{
    a->marks[a->n_marks++] = (numbered_mark){*mark, id};
    return history_tally_add(&a->tally, mark, err);
}

static bool is_again(const history_prediction *p, size_t at)
{
    for (size_t i = 0; i < at; i++)
        if (strcmp(p->tickers[i], p->tickers[at]) == 0) return true;
    return false;
}

static finch_status add_marks(appending *a, const history_prediction *p, int64_t id, int64_t model, finch_error *err)
{
    int64_t weight = p->reach < HISTORY_WEIGHT_MOST ? 1 + p->reach : HISTORY_WEIGHT_MOST;
    history_mark mark = {p->time_ms, micro(p->score), weight, p->flags & 7u, model, p->label, 1, HISTORY_ALL};
    FINCH_TRY(add_mark(a, &mark, id, err));
    for (size_t i = 0; i < tickers_of(p); i++) {
        mark.ticker = p->tickers[i];
        if (!is_again(p, i)) FINCH_TRY(add_mark(a, &mark, id, err));
    }
    return FINCH_OK;
}

static int by_key(const void *a, const void *b)
{
    const numbered_mark *x = a, *y = b;
    int order = strcmp(x->mark.ticker, y->mark.ticker);
    if (order == 0) order = (x->mark.time_ms > y->mark.time_ms) - (x->mark.time_ms < y->mark.time_ms);
    return order != 0 ? order : (x->id > y->id) - (x->id < y->id);
}

/* In the order of the table's key, so that neighbours in the table are written together. */
static finch_status mark_values(appending *a, sql_value **out, finch_error *err)
{
    qsort(a->marks, a->n_marks, sizeof *a->marks, by_key);
    FINCH_TRY(ARENA_NEW(&a->arena, out, a->n_marks * MARK_VALUES, err));
    for (size_t i = 0; i < a->n_marks; i++) {
        const history_mark *mark = &a->marks[i].mark;
        const sql_value values[MARK_VALUES] = {
            sql_text(mark->ticker),   sql_integer(mark->time_ms), sql_integer(a->marks[i].id), sql_integer(mark->kind),
            sql_integer(mark->model), sql_integer(mark->label),   sql_integer(mark->score),    sql_integer(mark->w)};
        memcpy(*out + i * MARK_VALUES, values, sizeof values);
    }
    return FINCH_OK;
}

static finch_status insert(store *s, appending *a, finch_error *err)
{
#define ROWS "prediction (id, time, hash, text, tickers, label, p0, p1, p2, p3, p4, score, model, source, reach, flags) "
#define MARKS "prediction_ticker (ticker, time, id, kind, model, label, score, w) "
#define FROM "FROM STDIN (FORMAT binary)"
    static const sql_statement rows = {"INSERT INTO " ROWS
                                       "VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16)",
                                       "COPY " ROWS FROM};
    static const sql_statement marks = {"INSERT INTO " MARKS "VALUES ($1, $2, $3, $4, $5, $6, $7, $8)", "COPY " MARKS FROM};
    sql_value *values;
    FINCH_TRY(mark_values(a, &values, err));
    FINCH_TRY(store_run_rows(s, &rows, a->rows, a->n_rows, ROW_VALUES, err));
    return store_run_rows(s, &marks, values, a->n_marks, MARK_VALUES, err);
}

static finch_status append_rows(store *s, appending *a, finch_error *err)
{
    size_t n_marks = 0; /* at most */
    arena_reset(&a->arena);
    a->n_rows = a->n_marks = 0;
    for (size_t i = 0; i < a->n; i++) n_marks += 1 + tickers_of(&a->predictions[i]);
    FINCH_TRY(ARENA_NEW(&a->arena, &a->rows, a->n * ROW_VALUES, err));
    FINCH_TRY(ARENA_NEW(&a->arena, &a->marks, n_marks, err));
    for (size_t i = 0; i < a->n; i++) {
        const history_prediction *p = &a->predictions[i];
        int64_t model, id = a->first_id + (a->import ? -(int64_t)i : (int64_t)i);
        FINCH_TRY(model_of(s, a, p->model, &model, err));
        FINCH_TRY(add_row(a, p, id, model, i + 1, err));
        FINCH_TRY(add_marks(a, p, id, model, err));
    }
    return insert(s, a, err);
}

/* Imports count downwards from -1. */
static finch_status take_ids(store *s, appending *a, finch_error *err)
{
    static const sql_statement below = {
        "INSERT INTO store_counter (name, value) VALUES ('import', -$1) ON CONFLICT (name) DO UPDATE SET value = "
        "store_counter.value - $1 RETURNING value + $1 - 1",
        NULL};
    sql_value n = sql_integer((int64_t)a->n);
    if (a->import) return store_run(s, &below, &n, 1, sql_take_integer, &a->first_id, NULL, err);
    return events_take_ids(s, (int64_t)a->n, &a->first_id, err);
}

/* PostgreSQL keeps the rows in parts by month (schema_shared.c). */
static finch_status make_part(store *s, appending *a, int64_t time_ms, finch_error *err)
{
    static const sql_statement make = {"SELECT 1", "SELECT finch_part_make($1)"};
    static const history_bucket month = {.width_ms = 0};
    int64_t begins = history_bucket_start(&month, time_ms);
    for (size_t i = 0; i < a->n_months; i++)
        if (a->months[i] == begins) return FINCH_OK;
    if (a->n_months < MONTHS_MOST) a->months[a->n_months++] = begins;
    sql_value value = sql_integer(begins);
    return store_run(s, &make, &value, 1, NULL, NULL, NULL, err);
}

static finch_status append_work(store *s, void *context, finch_error *err)
{
    static const sql_statement claim = {"INSERT INTO store_batch (name, time) VALUES ($1, $2) ON CONFLICT (name) DO NOTHING",
                                        NULL};
    appending *a = context;
    uint64_t n_new = 0;
    sql_value values[] = {sql_text(a->batch), sql_integer(store_now_ms(s))};
    a->first_id = 0;
    a->n_models = a->n_months = 0;
    a->tally.n = 0;
    FINCH_TRY(store_run(s, &claim, values, 2, NULL, NULL, &n_new, err));
    if (n_new == 0) return FINCH_OK;
    FINCH_TRY(take_ids(s, a, err)); /* from here on all who append wait for each other */
    for (size_t i = 0; store_is_shared(s) && i < a->n; i++) FINCH_TRY(make_part(s, a, a->predictions[i].time_ms, err));
    FINCH_TRY(append_rows(s, a, err));
    return history_tally_write(s, &a->tally, err);
}

static finch_status append(store *s, appending *a, finch_error *err)
{
    char made[STORE_HASH_BYTES];
    if (a->n == 0) return FINCH_OK;
    for (size_t i = 0; i < a->n; i++) FINCH_TRY(check(&a->predictions[i], i + 1, err));
    if (a->batch == NULL) {
        FINCH_TRY(store_random_name(made, err));
        a->batch = made;
    }
    arena_init(&a->arena);
    finch_status st = store_transaction(s, append_work, a, err);
    arena_free(&a->arena);
    history_tally_free(&a->tally);
    return st;
}

finch_status history_append(store *s, const char *batch, const history_prediction *predictions, size_t n, int64_t *first_id,
                            finch_error *err)
{
    appending a = {.batch = batch, .predictions = predictions, .n = n};
    finch_status st = append(s, &a, err);
    if (first_id != NULL) *first_id = st == FINCH_OK ? a.first_id : 0;
    return st;
}

finch_status history_import(store *s, const char *batch, const history_prediction *predictions, size_t n, bool *is_new,
                            finch_error *err)
{
    appending a = {.batch = batch, .predictions = predictions, .n = n, .import = true};
    finch_status st = append(s, &a, err);
    *is_new = st == FINCH_OK && a.first_id != 0;
    return st;
}
