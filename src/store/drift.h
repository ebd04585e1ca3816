/* Drift: how far what comes in, and what the model says of it, has moved from what it was trained on.
 *
 * A profile is a set of histograms, one a feature, of the training data; the same histograms are counted of live texts, by
 * model and day. Distances between shares p (live) and q (training), with half a count added to every bin of both:
 *   PSI = sum (p - q) ln(p / q)      KL = sum p ln(p / q)
 * Below 0.1 is usually called stable, above 0.25 a shift. A few texts move by chance alone: expected is the PSI that as many
 * texts of the training data would show on average, (bins - 1) (1 / n_live + 1 / n_training). */
#ifndef FINCH_STORE_DRIFT_H
#define FINCH_STORE_DRIFT_H

#include "base/json.h"
#include "store/store.h"

typedef enum drift_feature {
    DRIFT_LENGTH,   /* tokens of a text: 0, 1-2, 3-4, ... by powers of two, halved */
    DRIFT_UNKNOWN,  /* share of its tokens that the vocabulary does not know */
    DRIFT_LANGUAGE, /* "en", ... ; "": not told */
    DRIFT_TICKER,   /* its tickers; "": none */
    DRIFT_LABEL,    /* the class the model gave */
    DRIFT_FEATURES,
} drift_feature;

const char *drift_feature_name(drift_feature feature);

typedef struct drift_sample {
    size_t n_tokens, n_unknown;
    const char *language;          /* NULL: not told */
    const char *const *tickers;
    size_t n_tickers;
    int label;                     /* 0 .. 4 */
} drift_sample;

/* Histograms in memory. Bounded: of languages and tickers the first DRIFT_BINS_MOST values count, others as "other". Threads:
 * one at a time. */
enum { DRIFT_BINS_MOST = 512 };
typedef struct drift_counts drift_counts;

finch_status drift_counts_make(drift_counts **out, finch_error *err);
void drift_counts_free(drift_counts *counts);
finch_status drift_counts_add(drift_counts *counts, const drift_sample *sample, finch_error *err);
void drift_counts_clear(drift_counts *counts);
/* {"length":{"3-4":12,..},..}; NULL where memory is out. A profile is this document (registry_attach "profile"). */
json_t *drift_counts_json(const drift_counts *counts);

/* Adds to the day's counts of a model ("name@version"). batch as in history_append. */
finch_status drift_flush(store *s, const char *batch, const char *model, int64_t time_ms, const drift_counts *counts,
                         finch_error *err);
/* The live counts of a model's days in [from, to), in the form of a profile. */
finch_status drift_live(store *s, const char *model, int64_t from_ms, int64_t to_ms, json_t **out, finch_error *err);

typedef struct drift_distance {
    drift_feature feature;
    double psi, kl, expected; /* NAN where either side is empty */
    int64_t n_live, n_training;
    size_t n_bins;
} drift_distance;

/* Of two profiles. out [DRIFT_FEATURES]. Of tickers and languages the 30 most frequent in training are bins, the rest is one.
 * Errors: FINCH_E_DATA where a profile is malformed. */
finch_status drift_measure(const json_t *live, const json_t *training, drift_distance *out, finch_error *err);

/* Days older than before_ms go. */
finch_status drift_prune(store *s, int64_t before_ms, finch_error *err);

#endif
