/* Rows through the model: what scoring a file and scoring a pipe have in common. */
#ifndef FINCH_DATA_SCORING_H
#define FINCH_DATA_SCORING_H

#include "base/progress.h"
#include "data/names.h"
#include "data/summary.h"
#include "model/model.h"

typedef struct data_scoring_counts {
    uint64_t rows;      /* scored + skipped */
    uint64_t scored;
    uint64_t skipped;   /* null or empty texts */
    uint64_t truncated;
    uint64_t tokens;
} data_scoring_counts;

typedef struct data_scoring {
    const model *engine; /* borrowed */
    size_t n_labels, max_tokens;
    bool has_sentiment;  /* some label has a class of the five, so the score means something */
    model_scorer *scorer;
    const progress *watch; /* may be NULL */
    uint64_t n_total;      /* for watch; 0: unknown */
    data_scoring_counts counts;
    data_summary summary;
    size_t capacity;       /* rows that the arrays below hold */
    finch_text *dense;     /* [capacity] the texts that are there */
    size_t *rows;          /* [capacity] their rows */
    model_text_info *info; /* [capacity] */
    float *logits;         /* [capacity, n_labels] */
    float *probabilities;  /* [capacity, n_labels] */
    double texts_per_second; /* of the last call that says it; 0: none yet */
} data_scoring;

/* n_threads 0: all. capacity: the most rows of one call. close takes a zeroed or half-open struct. */
finch_status data_scoring_open(const model *engine, size_t n_threads, size_t max_tokens, size_t capacity, data_scoring *out,
                               finch_error *err);
void data_scoring_close(data_scoring *s);

/* One row to score. text.at NULL: a null. tickers and time as in data/summary.h. */
typedef struct data_scoring_input {
    finch_text text;
    const finch_text *tickers;
    const finch_text *time;
} data_scoring_input;

typedef struct data_scoring_output {
    bool scored;       /* else nothing below is set */
    bool truncated;
    size_t label;
    double score;
    const float *probabilities; /* [n_labels], valid until the next call */
    const float *logits;
} data_scoring_output;

/* Rows [0, n), n at most the capacity; counts and summary grow by them. Errors: those of model_score_texts,
 * FINCH_E_CANCELLED. */
finch_status data_scoring_rows(data_scoring *s, const data_scoring_input *in, size_t n, data_scoring_output *out,
                               finch_error *err);

/* The names of the columns that scoring adds, in their order: label, score, prob_<class>..., logit_<class>... where asked, truncated; each
 * with the prefix. names is appended to. */
finch_status data_scoring_columns(const data_scoring *s, const char *prefix, bool logits, data_names *names,
                                  finch_error *err);

#endif
