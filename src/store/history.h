/* The history of predictions, and what the market said: sums by ticker and time that answer in milliseconds.
 *
 * Every prediction is a row; beside the rows are sums by hour and by day, for each ticker ("*": all texts), model and kind,
 * written in the same transaction. A question about any span is answered from whole days, whole hours and, at the two ends,
 * single rows: few rows whatever the span. The sums are of whole numbers, so that they do not depend on the order of addition
 * and equal a direct query to the last digit:
 *
 *   score        kept in 1e-6                         s    sum of score
 *   square       round(score^2 / 1e4), in 1e-8        sq   sum of it
 *   weight w     1 + reach, at most HISTORY_WEIGHT_MOST   w, w2, ws: sums of w, w^2, w * score
 *                round(w * score^2 / 1e6), in 1e-6    wsq  sum of it
 *
 * Rounding is half up. Kinds: spam and near-duplicates are counted apart and left out unless asked for; what a shadow model
 * said counts only where that model is asked for by name. */
#ifndef FINCH_STORE_HISTORY_H
#define FINCH_STORE_HISTORY_H

#include "base/json.h"
#include "store/store.h"

enum {
    HISTORY_CLASSES = 5,
    HISTORY_TICKERS_MOST = 16,  /* of one text; further ones are left out */
    HISTORY_TICKER_BYTES = 16,  /* with the NUL */
    HISTORY_WEIGHT_MOST = 100000,
    HISTORY_POINTS_MOST = 20000,
};

/* "STRONGLY_NEGATIVE", ...; NULL past the last. */
const char *history_class_name(size_t index);

enum { HISTORY_SPAM = 1, HISTORY_NEAR_DUPLICATE = 2, HISTORY_SHADOW = 4 };

/* Texts are borrowed during the call. */
typedef struct history_prediction {
    int64_t time_ms;          /* when the text was written (or scored, where that is not known) */
    const char *model;        /* "name@version" */
    const char *source;       /* "api", "batch", "import", ...; NULL: "" */
    finch_text text;          /* at NULL: not kept */
    char hash[STORE_HASH_BYTES]; /* of the text (store_hash); "": taken from text */
    const char (*tickers)[HISTORY_TICKER_BYTES]; /* upper case, without the $ */
    size_t n_tickers;
    int label;                /* 0 .. 4 */
    double probabilities[HISTORY_CLASSES];
    double score;             /* -1 to 1 */
    int64_t reach;            /* who saw it, as far as is known: likes, followers; 0: nothing known */
    unsigned flags;
} history_prediction;

/* All of them or none, in one transaction, also when it is run again. batch: a name that only this batch has (the same name
 * again adds nothing); NULL: one is made. *first_id (may be NULL): the id of the first, the others follow; 0 where
 * the batch was there already. NUL bytes in texts become U+FFFD.
 * Errors: FINCH_E_DATA (row names the prediction): numbers out of range, texts that are no UTF-8, tickers that are none. */
finch_status history_append(store *s, const char *batch, const history_prediction *predictions, size_t n, int64_t *first_id,
                            finch_error *err);

/* The same for what was predicted elsewhere or long ago: its ids are below 0, so that it is no news for events_after. *is_new:
 * the batch was not there already. */
finch_status history_import(store *s, const char *batch, const history_prediction *predictions, size_t n, bool *is_new,
                            finch_error *err);
/* 1 to 15 of A-Z 0-9 . - _ ^ = */
bool history_ticker_valid(const char *ticker);

/* ---- sums ---- */

/* "1m" "5m" "15m" "1h" "4h" "1d" "1w" (from Monday) "1mo", and the words minute, hour, day, week, month. UTC. */
typedef struct history_bucket {
    int64_t width_ms; /* 0: calendar months */
    int64_t phase_ms; /* where the first one begins */
} history_bucket;
/* Errors: FINCH_E_USAGE listing what there is. */
finch_status history_bucket_parse(const char *text, history_bucket *out, finch_error *err);
/* The beginning of the bucket that time lies in, and of the next. */
int64_t history_bucket_start(const history_bucket *bucket, int64_t time_ms);
int64_t history_bucket_next(const history_bucket *bucket, int64_t start_ms);

typedef struct history_query {
    const char *ticker; /* NULL or "*": all texts */
    int64_t from_ms, to_ms; /* [from, to) */
    history_bucket bucket;
    const char *model; /* NULL: all that are not shadows */
    bool by_reach; /* weighted */
    bool with_spam, with_near_duplicates;
} history_query;

/* Of one bucket, or a whole span. */
typedef struct history_point {
    int64_t start_ms, end_ms;
    int64_t n; /* counted in */
    int64_t n_seen; /* counted in or left out */
    int64_t n_spam, n_near_duplicates; /* of those seen; what is both counts as spam */
    double weight; /* the sum of weights; n where not by reach */
    double mean; /* of score; NAN where n is 0 */
    double low, high; /* its 95 % interval: mean -+ t * standard error, by Student's t with the effective number of
                                * texts (Kish: (sum w)^2 / sum w^2) less 1; NAN where that is below 2 */
    double deviation; /* of the scores; NAN as low */
    double share[HISTORY_CLASSES]; /* sum to 1; NAN where n is 0 */
} history_point;

typedef finch_status (*history_point_fn)(void *context, const history_point *point, finch_error *err);
/* One call for each bucket that has rows, in the order of time. visit must not use s. Errors: FINCH_E_USAGE where the span has
 * more than HISTORY_POINTS_MOST buckets, or from is not before to. */
finch_status history_sentiment(store *s, const history_query *query, history_point_fn visit, void *context,
                               finch_error *err);
/* The whole span as one point; query->bucket is not looked at. */
finch_status history_total(store *s, const history_query *query, history_point *out, finch_error *err);
/* {"start","end","count","spam","near_duplicates","left_out_share","weight","mean","low","high","deviation",
 *  "shares":{"STRONGLY_NEGATIVE":..}}; a NAN is null. NULL where memory is out. */
json_t *history_point_json(const history_point *point);
/* The same as text, appended to out; numbers have 12 decimals. For answers of many points. */
finch_status history_point_write(const history_point *point, str *out, finch_error *err);

/* Tickers of a span by their mean score: the n_wanted highest (bullish) or lowest, among those with at least least_n texts.
 * The span is widened to whole hours. query->ticker is not looked at. */
typedef finch_status (*history_leader_fn)(void *context, const char *ticker, const history_point *point, finch_error *err);
finch_status history_leaders(store *s, const history_query *query, bool bullish, int64_t least_n, size_t n_wanted,
                             history_leader_fn visit, void *context, finch_error *err);

/* Known tickers that begin so, most texts first: [{"ticker","count","first","last"}]. */
finch_status history_tickers(store *s, const char *prefix, size_t limit, json_t **out, finch_error *err);

/* ---- rows ---- */

/* A kept prediction; texts are borrowed during the call. */
typedef struct history_row {
    int64_t id, time_ms;
    finch_text model, source, text, hash, tickers; /* tickers: "AAPL TSLA" */
    bool has_text;
    int label;
    double probabilities[HISTORY_CLASSES], score;
    int64_t reach;
    unsigned flags;
} history_row;

typedef finch_status (*history_row_fn)(void *context, const history_row *row, finch_error *err);
/* The rows behind a point, newest first, below before_id (0: from the newest), at most limit. query->bucket is not looked
 * at; spam, near-duplicates and shadows as in the sums. */
finch_status history_rows(store *s, const history_query *query, int64_t before_id, size_t limit, history_row_fn visit,
                          void *context, finch_error *err);
/* All rows with an id above after, in the order of ids; after may be INT64_MIN. */
finch_status history_rows_after(store *s, int64_t after, size_t limit, history_row_fn visit, void *context,
                                finch_error *err);
/* {"id","time","tickers":[],"text","label","score","probabilities":{..},"model","source","reach","spam","near_duplicate"} */
json_t *history_row_json(const history_row *row);

/* ---- keeping ---- */

/* Rows older than before_ms (rounded down to the hour; with_sums: to the day) go: PostgreSQL's whole months at once, others in
 * steps of a few thousand so that others get their turn. The sums stay, with_sums: go too. *n_rows: how many went. Where rows are gone but sums are there, an hour counts
 * for the bucket that it begins in. */
finch_status history_prune(store *s, int64_t before_ms, bool with_sums, uint64_t *n_rows, finch_error *err);
/* What a server does of itself, now and then: on PostgreSQL this month and the next get their parts ahead of time, and the names
 * of batches that nobody will send again go. */
finch_status history_tend(store *s, finch_error *err);
/* One step of what a server lets go of itself: rows older than keep_ms (above 0) go, and their sums stay: on PostgreSQL month by
 * month, once all of a month is old enough, else by the hour, some thousand rows. *more: there are more rows to go, call
 * again. *n_rows: how many went. */
finch_status history_expire(store *s, int64_t keep_ms, uint64_t *n_rows, bool *more, finch_error *err);
/* The texts of rows older than before_ms are wiped; numbers stay. */
finch_status history_forget_texts(store *s, int64_t before_ms, uint64_t *n_rows, finch_error *err);
/* Deletes all predictions of a text, from rows and sums, as a right to be forgotten asks. */
finch_status history_forget(store *s, const char *hash, uint64_t *n_rows, finch_error *err);
/* {"rows","first","last","models":[..],"tickers"} */
finch_status history_info(store *s, json_t **out, finch_error *err);

#endif
