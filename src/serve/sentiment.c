/* What the market said: /sentiment, /sentiment/leaders, /tickers, /predictions, on the store's history. */
#include "serve/desk.h"
#include "serve/handlers.h"
#include "serve/reply.h"
#include "serve/when.h"
#include "store/history.h"
#include "store/values.h"

#include <stdlib.h>
#include <string.h>

enum { SENTIMENT_DAYS = 30, SENTIMENT_ROWS = 50 };

static const char *parameter(const request *r, const char *name) { return uri_get(&r->target, name); }

/* Checked by the schema already. */
static int64_t number_of(const request *r, const char *name, int64_t preset)
{
    const char *text = parameter(r, name);
    return text != NULL ? strtoll(text, NULL, 10) : preset;
}

static bool is_true(const request *r, const char *name)
{
    const char *text = parameter(r, name);
    return text != NULL && (strcmp(text, "true") == 0 || strcmp(text, "1") == 0);
}

static finch_status read_time(const request *r, const char *name, int64_t preset, int64_t *out, finch_error *err)
{
    const char *text = parameter(r, name);
    *out = preset;
    if (text == NULL || when_parse(text, out)) return FINCH_OK;
    return finch_fail(err, FINCH_E_DATA, "%s is no time: write 2026-11-27, 2026-11-27T05:07:14Z or Unix milliseconds", name);
}

/* The ticker as the store has it: upper case, without a $. */
static finch_status read_ticker(request *r, const char *name, const char **out, finch_error *err)
{
    const char *text = parameter(r, name);
    char *copy;
    *out = NULL;
    if (text == NULL || text[0] == '\0' || strcmp(text, "*") == 0) return FINCH_OK;
    if (text[0] == '$') text++;
    FINCH_TRY(ARENA_NEW(&r->memory, &copy, strlen(text) + 1, err));
    for (size_t i = 0; i <= strlen(text); i++) copy[i] = text[i] >= 'a' && text[i] <= 'z' ? (char)(text[i] - 32) : text[i];
    *out = copy;
    return FINCH_OK;
}

static finch_status read_query(request *r, store *s, history_query *q, finch_error *err)
{
    const char *bucket = parameter(r, "bucket"), *weight = parameter(r, "weight");
    *q = (history_query){.model = parameter(r, "model"),
                         .by_reach = weight != NULL && strcmp(weight, "reach") == 0,
                         .with_spam = is_true(r, "spam"),
                         .with_near_duplicates = is_true(r, "near_duplicates")};
    FINCH_TRY(read_ticker(r, "ticker", &q->ticker, err));
    FINCH_TRY(read_time(r, "to", store_now_ms(s) + 1, &q->to_ms, err));
    FINCH_TRY(read_time(r, "from", q->to_ms - (int64_t)SENTIMENT_DAYS * 86400000, &q->from_ms, err));
    finch_status st = history_bucket_parse(bucket != NULL ? bucket : "1d", &q->bucket, err);
    if (st == FINCH_E_USAGE) return finch_fail(err, FINCH_E_DATA, "bucket %s", err->message);
    if (q->from_ms >= q->to_ms) return finch_fail(err, FINCH_E_DATA, "from must be before to");
    return st;
}

/* ---- /sentiment ------------------------------------------------------------------------------------------------------ */

static finch_status append(json_t *list, json_t *value, finch_error *err)
{
    return json_array_append_new(list, value) == 0 ? FINCH_OK
                                                   : finch_fail(err, FINCH_E_MEMORY, "out of memory for the answer");
}

/* {"ticker",..,"points":[ - and what follows. */
static finch_status write_head(const request *r, const history_query *q, str *out, finch_error *err)
{
    const char *bucket = parameter(r, "bucket");
    json_t *head = json_pack("{s:s, s:s, s:o, s:o, s:s, s:s?}", "ticker", q->ticker != NULL ? q->ticker : "*", "bucket",
                             bucket != NULL ? bucket : "1d", "from", values_time(q->from_ms), "to", values_time(q->to_ms),
                             "weight", q->by_reach ? "reach" : "none", "model", q->model);
    char *text = head != NULL ? json_dumps(head, JSON_COMPACT) : NULL;
    json_decref(head);
    if (text == NULL) return finch_fail(err, FINCH_E_MEMORY, "out of memory for the answer");
    finch_status st = str_add(out, text, strlen(text) - 1, err); /* without its last brace */
    free(text); /* jansson's own */
    return st == FINCH_OK ? str_add_text(out, ",\"points\":[", err) : st;
}

static finch_status write_point(void *context, const history_point *point, finch_error *err)
{
    str *out = context;
    if (out->at[out->size - 1] != '[') FINCH_TRY(str_add_text(out, ",", err));
    return history_point_write(point, out, err);
}

static finch_status write_sentiment(request *r, store *s, str *out, finch_error *err)
{
    history_query q;
    history_point total;
    FINCH_TRY(read_query(r, s, &q, err));
    FINCH_TRY(write_head(r, &q, out, err));
    finch_status st = history_sentiment(s, &q, write_point, out, err);
    if (st == FINCH_E_USAGE) st = finch_fail(err, FINCH_E_DATA, "%s", err->message);
    FINCH_TRY(st);
    FINCH_TRY(history_total(s, &q, &total, err));
    FINCH_TRY(str_add_text(out, "],\"total\":", err));
    FINCH_TRY(history_point_write(&total, out, err));
    return str_add_text(out, "}", err);
}

static finch_status sentiment(request *r, store *s, finch_error *err)
{
    str data = {0};
    finch_status st = write_sentiment(r, s, &data, err);
    if (st == FINCH_OK) reply_data_text(r, 200, &data);
    str_free(&data);
    return st;
}

handler_answer handle_sentiment(request *r) { return desk_run(r, sentiment); }

/* ---- /sentiment/leaders ---------------------------------------------------------------------------------------------- */

static finch_status add_leader(void *context, const char *ticker, const history_point *point, finch_error *err)
{
    json_t *one = history_point_json(point);
    if (one != NULL) json_object_set_new(one, "ticker", json_string(ticker));
    return append(context, one, err);
}

static finch_status leaders(request *r, store *s, finch_error *err)
{
    history_query q;
    const char *order = parameter(r, "order");
    bool bullish = order == NULL || strcmp(order, "bullish") == 0;
    FINCH_TRY(read_query(r, s, &q, err));
    json_t *list = json_array();
    finch_status st = history_leaders(s, &q, bullish, number_of(r, "least", 10), (size_t)number_of(r, "limit", 10),
                                      add_leader, list, err);
    if (st == FINCH_OK) {
        reply_data(r, 200,
                   json_pack("{s:s, s:o, s:o, s:o}", "order", bullish ? "bullish" : "bearish", "from",
                             values_time(q.from_ms), "to", values_time(q.to_ms), "leaders", list));
        return FINCH_OK;
    }
    json_decref(list);
    return st;
}

handler_answer handle_leaders(request *r) { return desk_run(r, leaders); }

/* ---- /tickers, /predictions ------------------------------------------------------------------------------------------ */

static finch_status tickers(request *r, store *s, finch_error *err)
{
    const char *prefix;
    json_t *list;
    FINCH_TRY(read_ticker(r, "prefix", &prefix, err));
    FINCH_TRY(history_tickers(s, prefix != NULL ? prefix : "", (size_t)number_of(r, "limit", SENTIMENT_ROWS), &list, err));
    reply_data(r, 200, json_pack("{s:o}", "tickers", list));
    return FINCH_OK;
}

handler_answer handle_tickers(request *r) { return desk_run(r, tickers); }

static finch_status add_row(void *context, const history_row *row, finch_error *err)
{
    return append(context, history_row_json(row), err);
}

static finch_status predictions(request *r, store *s, finch_error *err)
{
    history_query q;
    FINCH_TRY(read_query(r, s, &q, err));
    json_t *list = json_array();
    finch_status st = history_rows(s, &q, number_of(r, "before", 0), (size_t)number_of(r, "limit", SENTIMENT_ROWS), add_row,
                                   list, err);
    if (st != FINCH_OK) {
        json_decref(list);
        return st;
    }
    const json_t *last = json_array_get(list, json_array_size(list) - 1);
    reply_data(r, 200, json_pack("{s:o, s:O?}", "predictions", list, "next_before", json_object_get(last, "id")));
    return FINCH_OK;
}

handler_answer handle_predictions(request *r) { return desk_run(r, predictions); }
