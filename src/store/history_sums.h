/* What history_append adds up and history_sentiment reads. Internal to the room. */
#ifndef FINCH_STORE_HISTORY_SUMS_H
#define FINCH_STORE_HISTORY_SUMS_H

#include "store/history.h"

#define HISTORY_ALL "*" /* the ticker of all texts */

enum { HISTORY_MINUTE_MS = 60000, HISTORY_HOUR_MS = 3600000, HISTORY_DAY_MS = 86400000, HISTORY_MICRO = 1000000 };

typedef struct history_sums {
    int64_t n, s, sq, w, w2, ws, wsq;
    int64_t c[HISTORY_CLASSES]; /* rows of a class */
    int64_t v[HISTORY_CLASSES]; /* their weights */
} history_sums;

/* Of one prediction: score in 1e-6. sign -1 takes it out again. */
history_sums history_sums_of(int64_t score, int64_t w, int label, int sign);
void history_sums_add(history_sums *to, const history_sums *from);

/* The point of the sums of what counts in. */
void history_point_set(history_point *point, const history_sums *sums, bool by_reach);

/* The 97.5 % quantile of Student's t with df > 0 degrees of freedom. */
double history_t975(double df);

/* The columns of history_sum that hold them. */
#define HISTORY_SUM_COLUMNS "n, s, sq, w, w2, ws, wsq, c0, c1, c2, c3, c4, v0, v1, v2, v3, v4"
/* What history_point_set needs of them, as a row has it from a column on; the others become 0. */
#define HISTORY_SUM_COLUMNS_PLAIN "n, s, sq, c0, c1, c2, c3, c4"
#define HISTORY_SUM_COLUMNS_BY_REACH "n, w, w2, ws, wsq, v0, v1, v2, v3, v4"
void history_sums_read(history_sums *out, const sql_row *row, size_t column, bool by_reach);

/* A prediction as the tables of sums see it. */
typedef struct history_mark {
    int64_t time_ms, score, w, kind, model;
    int label, sign;
    const char *ticker;
} history_mark;

/* Sums of marks by grain, ticker, time, kind and model, for history_add_sums. */
typedef struct history_tally {
    struct history_cell *cells;
    size_t n, n_room;
} history_tally;

finch_status history_tally_add(history_tally *tally, const history_mark *mark, finch_error *err);
void history_tally_free(history_tally *tally);
/* Adds them to history_sum, and to history_ticker; only inside a transaction. The tally is put in order. */
finch_status history_tally_write(store *s, history_tally *tally, finch_error *err);

/* Splits "AAPL TSLA"; the callback gets each. */
typedef finch_status (*history_ticker_fn)(void *context, const char *ticker, finch_error *err);
finch_status history_each_ticker(finch_text tickers, history_ticker_fn visit, void *context, finch_error *err);

/* The number of a model's name, 0 where it is not known. */
finch_status history_model_find(store *s, const char *name, int64_t *out, finch_error *err);

#endif
