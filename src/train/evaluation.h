/* What an evaluation says beyond the metrics: intervals by bootstrap, accuracy by coverage, ROC curves, slices, the
 * worst mistakes. All work on rows that a model has answered; all results are the same at any thread count. */
#ifndef FINCH_TRAIN_EVALUATION_H
#define FINCH_TRAIN_EVALUATION_H

#include "base/progress.h"
#include "train/metrics.h"

/* Labelled rows and a model's answers, borrowed.
 * labels         [n_classes] NUL-terminated.
 * truth          [n] class indices.
 * predicted      [n] class indices: the first of the largest probabilities.
 * probabilities  [n, n_classes]. */
typedef struct evaluation_rows {
    size_t n, n_classes;
    const char *const *labels;
    const int32_t *truth;
    const int32_t *predicted;
    const double *probabilities;
} evaluation_rows;

typedef struct evaluation_interval {
    double low, high; /* NaN where no resample has the metric */
} evaluation_interval;

/* 95 % percentile intervals over n_resamples resamples of the rows with replacement (Efron, 1979).
 * out [METRICS_COUNT]. Errors: FINCH_E_MEMORY, FINCH_E_CANCELLED. */
finch_status evaluation_bootstrap(const evaluation_rows *rows, size_t n_resamples, uint64_t seed, const progress *p,
                                  evaluation_interval *out, finch_error *err);

/* Answering only the most confident rows: point i is (coverage, accuracy over that share). n_points >= 1, the last point
 * is all rows. coverage, accuracy [n_points]. Errors: FINCH_E_MEMORY. */
finch_status evaluation_coverage(const evaluation_rows *rows, size_t n_points, double *coverage, double *accuracy,
                                 finch_error *err);

/* Answering only where the largest probability is at least bound. accuracy is NaN where no row is answered. */
typedef struct evaluation_abstention {
    double bound;
    size_t n_answered;
    double coverage, accuracy;
} evaluation_abstention;

evaluation_abstention evaluation_abstain(const evaluation_rows *rows, double bound);

/* The ROC curve of class c against the rest in at most n_points points (>= 2), from (0,0) to (1,1).
 * *n_written is 0 where all rows or none are of the class. Errors: FINCH_E_MEMORY. */
finch_status evaluation_roc(const evaluation_rows *rows, size_t c, size_t n_points, double *false_positive,
                            double *true_positive, size_t *n_written, finch_error *err);

/* A part of the rows with a common key. */
typedef struct evaluation_slice {
    finch_text key; /* borrowed from the keys handed in */
    size_t n;
    double accuracy, macro_f1;
    evaluation_interval accuracy_interval; /* Wilson, 95 % */
} evaluation_slice;

/* A row's membership: keys may be many a row (a tweet in several tickers' lists). */
typedef struct evaluation_key {
    finch_text key;
    size_t row;
} evaluation_key;

/* Slices in the order of their keys' first n, largest first; those under min_rows are left out. keys is sorted in place.
 * *out is freed with mem_free. Errors: FINCH_E_MEMORY. */
finch_status evaluation_slices(const evaluation_rows *rows, evaluation_key *keys, size_t n_keys, size_t min_rows,
                               evaluation_slice **out, size_t *n_slices, finch_error *err);

/* The rows answered wrong with the least probability for the truth, worst first: at most n_wanted into out.
 * Errors: FINCH_E_MEMORY. */
finch_status evaluation_mistakes(const evaluation_rows *rows, size_t n_wanted, size_t *out, size_t *n_written,
                                 finch_error *err);

#endif
