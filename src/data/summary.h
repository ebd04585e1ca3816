/* What a scored table says, gathered row by row while it is scored: shares of the classes, sentiment by ticker with its
 * uncertainty, the clearest tweets, the time span. Memory is bounded whatever the table's size. */
#ifndef FINCH_DATA_SUMMARY_H
#define FINCH_DATA_SUMMARY_H

#include "base/str.h"

enum {
    SUMMARY_LABELS_MAX = 64,
    SUMMARY_TEXTS = 3,            /* kept each way */
    SUMMARY_TEXT_BYTES = 400,     /* of such a text */
    SUMMARY_TICKER_BYTES = 16,    /* its NUL included; longer words are no tickers */
    SUMMARY_TICKERS_MAX = 1 << 17 /* distinct ones; more are counted as overflow */
};

typedef struct data_summary_ticker {
    char name[SUMMARY_TICKER_BYTES]; /* without $; empty: a free slot of the table */
    uint64_t n;
    double mean, squares; /* Welford: the sum of squared distances from the mean */
} data_summary_ticker;

typedef struct data_summary_text {
    double score;
    char text[SUMMARY_TEXT_BYTES];     /* NUL-terminated, cut on a character */
    uint64_t key;                      /* of its words without links and mentions: near-copies are kept once */
} data_summary_text;

typedef struct data_summary {
    uint64_t n_rows;
    uint64_t n_by_label[SUMMARY_LABELS_MAX];
    double score_sum;
    data_summary_ticker *tickers; /* open addressing, [capacity], a power of two */
    size_t n_tickers, capacity;
    uint64_t n_overflow;          /* mentions of tickers that found no room */
    data_summary_text best[SUMMARY_TEXTS], worst[SUMMARY_TEXTS]; /* clearest first */
    size_t n_best, n_worst;
    bool has_time;
    int64_t first_time, last_time; /* Unix seconds */
} data_summary;

/* A zeroed struct is an empty summary. */
void data_summary_free(data_summary *s);

/* One scored row. tickers: "AAPL|GOOG" or with commas or blanks between; NULL: the cashtags of the text. time: Unix seconds or
 * milliseconds, or an ISO date with or without time; NULL or anything else: none. */
typedef struct data_summary_row {
    finch_text text;
    const finch_text *tickers;
    const finch_text *time;
    size_t label;
    double score;
} data_summary_row;

finch_status data_summary_add(data_summary *s, const data_summary_row *row, finch_error *err);

/* Half the width of the 95 % interval of a ticker's mean (normal approximation); INFINITY below two tweets. */
double data_summary_half_width(const data_summary_ticker *t);

/* The tickers with at least n_least tweets, most bullish or most bearish first: ordered by the end of the interval that is nearer
 * to zero, so that few tweets do not win by luck. At most limit, whose number is returned; borrowed from s. */
size_t data_summary_rank(const data_summary *s, bool bullish, uint64_t n_least, size_t limit,
                         const data_summary_ticker **out);

/* Unix seconds of a time as data_summary_row has it; false where it is none. */
bool data_time_parse(finch_text text, int64_t *out);

#endif
