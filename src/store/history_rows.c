/* Single predictions, and what there is. */
#include "store/history_sums.h"

#include "store/values.h"

#include <stdlib.h>
#include <string.h>

#define COLUMNS                                                                                                            \
    "p.id, p.time, m.name, p.source, p.text, p.hash, p.tickers, p.label, p.p0, p.p1, p.p2, p.p3, p.p4, p.score, p.reach, " \
    "p.flags"

typedef struct visiting {
    history_row_fn visit;
    void *context;
} visiting;

static finch_status visit_row(void *context, const sql_row *row, finch_error *err)
{
    const visiting *v = context;
    history_row out = {.id = sql_row_integer(row, 0),
                       .time_ms = sql_row_integer(row, 1),
                       .model = sql_row_text(row, 2),
                       .source = sql_row_text(row, 3),
                       .text = sql_row_text(row, 4),
                       .hash = sql_row_text(row, 5),
                       .tickers = sql_row_text(row, 6),
                       .has_text = !sql_row_null(row, 4),
                       .label = (int)sql_row_integer(row, 7),
                       .score = (double)sql_row_integer(row, 13) / HISTORY_MICRO,
                       .reach = sql_row_integer(row, 14),
                       .flags = (unsigned)sql_row_integer(row, 15)};
    for (size_t i = 0; i < HISTORY_CLASSES; i++) out.probabilities[i] = (double)sql_row_integer(row, 8 + i) / HISTORY_MICRO;
    return v->visit(v->context, &out, err);
}

finch_status history_rows_after(store *s, int64_t after, size_t limit, history_row_fn visit, void *context, finch_error *err)
{
    static const sql_statement look = {
        "SELECT " COLUMNS " FROM prediction p JOIN history_model m ON m.id = p.model WHERE p.id > $1 ORDER BY p.id LIMIT $2",
        NULL};
    visiting v = {visit, context};
    sql_value values[] = {sql_integer(after), sql_integer((int64_t)limit)};
    return store_run(s, &look, values, 2, visit_row, &v, NULL, err);
}

typedef struct place {
    int64_t time_ms;
    bool found;
} place;

static finch_status take_place(void *context, const sql_row *row, finch_error *err)
{
    (void)err;
    *(place *)context = (place){sql_row_integer(row, 0), true};
    return FINCH_OK;
}

finch_status history_rows(store *s, const history_query *query, int64_t before_id, size_t limit, history_row_fn visit,
                          void *context, finch_error *err)
{
    static const sql_statement find = {"SELECT time FROM prediction WHERE id = $1", NULL};
    static const sql_statement look = {
        "SELECT " COLUMNS " FROM (SELECT time, id FROM prediction_ticker WHERE ticker = $1 AND time >= $2 AND time < $3 AND "
        "(time, id) < ($4, $5) AND (($6 < 0 AND kind < 4) OR model = $6) AND (kind % 2 = 0 OR $7 = 1) AND (kind % 4 <> 2 OR "
        "$8 "
        "= 1) ORDER BY time DESC, id DESC LIMIT $9) AS t JOIN prediction p ON p.id = t.id AND p.time = t.time JOIN "
        "history_model m ON m.id = "
        "p.model ORDER BY t.time DESC, t.id DESC",
        NULL};
    visiting v = {visit, context};
    place before = {INT64_MAX, true};
    int64_t model = -1;
    sql_value id = sql_integer(before_id);
    if (before_id != 0) {
        before.found = false;
        FINCH_TRY(store_run(s, &find, &id, 1, take_place, &before, NULL, err));
    }
    if (!before.found) return FINCH_OK; /* gone meanwhile, with all before it perhaps */
    if (query->model != NULL) FINCH_TRY(history_model_find(s, query->model, &model, err));
    sql_value values[] = {sql_text(query->ticker != NULL ? query->ticker : HISTORY_ALL),
                          sql_integer(query->from_ms),
                          sql_integer(query->to_ms),
                          sql_integer(before.time_ms),
                          sql_integer(before_id),
                          sql_integer(model),
                          sql_integer(query->with_spam),
                          sql_integer(query->with_near_duplicates),
                          sql_integer((int64_t)limit)};
    return store_run(s, &look, values, 9, visit_row, &v, NULL, err);
}

/* ---- tickers of a row ---- */

finch_status history_each_ticker(finch_text tickers, history_ticker_fn visit, void *context, finch_error *err)
{
    char ticker[HISTORY_TICKER_BYTES];
    for (size_t at = 0; at < tickers.size_bytes;) {
        size_t size = 0;
        while (at + size < tickers.size_bytes && tickers.at[at + size] != ' ') size++;
        if (size > 0 && size < sizeof ticker) {
            memcpy(ticker, tickers.at + at, size);
            ticker[size] = '\0';
            FINCH_TRY(visit(context, ticker, err));
        }
        at += size + 1;
    }
    return FINCH_OK;
}

static finch_status append_ticker(void *context, const char *ticker, finch_error *err)
{
    return json_array_append_new(context, json_string(ticker)) == 0
               ? FINCH_OK
               : finch_fail(err, FINCH_E_MEMORY, "out of memory for a ticker");
}

json_t *history_row_json(const history_row *row)
{
    json_t *tickers = json_array(), *probabilities = json_object();
    if (history_each_ticker(row->tickers, append_ticker, tickers, NULL) != FINCH_OK) {
        json_decref(tickers);
        tickers = NULL;
    }
    for (size_t i = 0; i < HISTORY_CLASSES; i++)
        json_object_set_new(probabilities, history_class_name(i), json_real(row->probabilities[i]));
    return json_pack("{s:I, s:o, s:o, s:o, s:s, s:f, s:o, s:o, s:o, s:I, s:b, s:b}", "id", (json_int_t)row->id, "time",
                     values_time(row->time_ms), "tickers", tickers, "text",
                     row->has_text ? json_stringn(row->text.at, row->text.size_bytes) : json_null(), "label",
                     history_class_name((size_t)row->label), "score", row->score, "probabilities", probabilities, "model",
                     values_text(row->model), "source", values_text(row->source), "reach", (json_int_t)row->reach, "spam",
                     (row->flags & HISTORY_SPAM) != 0, "near_duplicate", (row->flags & HISTORY_NEAR_DUPLICATE) != 0);
}

/* ---- what there is ---- */

static finch_status list_ticker(void *context, const sql_row *row, finch_error *err)
{
    finch_text ticker = sql_row_text(row, 0);
    json_t *one = json_pack("{s:s%, s:I, s:o, s:o}", "ticker", ticker.at, ticker.size_bytes, "count",
                            (json_int_t)sql_row_integer(row, 1), "first", values_time(sql_row_integer(row, 2)), "last",
                            values_time(sql_row_integer(row, 3)));
    if (json_array_append_new(context, one) != 0) return finch_fail(err, FINCH_E_MEMORY, "out of memory for the tickers");
    return FINCH_OK;
}

finch_status history_tickers(store *s, const char *prefix, size_t limit, json_t **out, finch_error *err)
{
    static const sql_statement look = {"SELECT ticker, n, first, last FROM history_ticker WHERE ticker <> '*' AND n > 0 AND "
                                       "substr(ticker, 1, length($1)) = $1 ORDER BY n DESC, ticker LIMIT $2",
                                       NULL};
    json_t *list = json_array();
    sql_value values[] = {sql_text(prefix != NULL ? prefix : ""), sql_integer((int64_t)limit)};
    finch_status st = store_run(s, &look, values, 2, list_ticker, list, NULL, err);
    *out = st == FINCH_OK ? list : NULL;
    if (st != FINCH_OK) json_decref(list);
    return st;
}

static finch_status take_span(void *context, const sql_row *row, finch_error *err)
{
    json_t *info = context;
    (void)err;
    json_object_set_new(info, "rows", json_integer(sql_row_integer(row, 0)));
    json_object_set_new(info, "first", values_time(sql_row_integer(row, 1)));
    json_object_set_new(info, "last", values_time(sql_row_integer(row, 2)));
    return FINCH_OK;
}

static finch_status list_text(void *context, const sql_row *row, finch_error *err)
{
    finch_text text = sql_row_text(row, 0);
    if (json_array_append_new(context, json_stringn(text.at, text.size_bytes)) != 0)
        return finch_fail(err, FINCH_E_MEMORY, "out of memory for a list");
    return FINCH_OK;
}

finch_status history_info(store *s, json_t **out, finch_error *err)
{
    static const sql_statement span = {"SELECT n, first, last FROM history_ticker WHERE ticker = '*'", NULL};
    static const sql_statement models = {"SELECT name FROM history_model ORDER BY name", NULL};
    static const sql_statement tickers = {"SELECT count(*) FROM history_ticker WHERE ticker <> '*' AND n > 0", NULL};
    json_t *list = json_array(), *info = json_pack("{s:i, s:n, s:n, s:o}", "rows", 0, "first", "last", "models", list);
    int64_t n = 0;
    finch_status st = info != NULL ? FINCH_OK : finch_fail(err, FINCH_E_MEMORY, "out of memory for the history's figures");
    if (st == FINCH_OK) st = store_run(s, &span, NULL, 0, take_span, info, NULL, err);
    if (st == FINCH_OK) st = store_run(s, &models, NULL, 0, list_text, list, NULL, err);
    if (st == FINCH_OK) st = store_run(s, &tickers, NULL, 0, sql_take_integer, &n, NULL, err);
    if (st == FINCH_OK) json_object_set_new(info, "tickers", json_integer(n));
    *out = st == FINCH_OK ? info : NULL;
    if (st != FINCH_OK) json_decref(info);
    return st;
}
