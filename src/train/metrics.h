/* Classification metrics, equal to scikit-learn's to 1e-9 (tests/train/test_metrics.c against a frozen reference).
 *
 * Averages run over all n_classes, also those without a row, as scikit-learn's with labels=range(n_classes). Where a
 * quotient is 0/0: precision, recall and F1 are 0 (zero_division=0), MCC is 0; kappa and a ROC area that no class
 * has are NaN (null in JSON). The predicted class is the first of the largest probabilities. */
#ifndef FINCH_TRAIN_METRICS_H
#define FINCH_TRAIN_METRICS_H

#include "base/status.h"

#include <jansson.h>

enum { METRICS_CLASSES_MAX = 32, METRICS_BINS = 15 };

/* The single figures: field and name, whether higher is better. */
#define METRICS_LIST(X)      \
    X(accuracy, true)        \
    X(macro_f1, true)        \
    X(weighted_f1, true)     \
    X(macro_precision, true) \
    X(macro_recall, true)    \
    X(kappa, true)           \
    X(mcc, true)             \
    X(roc_auc, true)         \
    X(log_loss, false)       \
    X(ece, false)

typedef enum metrics_id {
#define METRICS_ENUM(name, higher) METRICS_##name,
    METRICS_LIST(METRICS_ENUM)
#undef METRICS_ENUM
        METRICS_COUNT
} metrics_id;

typedef struct metrics_class {
    double precision, recall, f1;
    double roc_auc; /* this class against the rest, ties by mid-rank; NaN where all rows or none are of it */
    uint64_t support;
} metrics_class;

/* Rows whose confidence (the largest probability) is in (i/15, (i+1)/15]. */
typedef struct metrics_bin {
    uint64_t n;
    double confidence, accuracy; /* means; 0 where n is 0 */
} metrics_bin;

/* value      [METRICS_COUNT] by metrics_id. roc_auc is the mean over roc_auc_classes, the classes that have one.
 *            log_loss clips probabilities to [2^-52, 1 - 2^-52]. ece is the sum over bins of n_bin/n * |accuracy -
 *            confidence|.
 * confusion  [n_classes, n_classes] counts, true class * n_classes + predicted class. */
typedef struct metrics {
    size_t n, n_classes, roc_auc_classes;
    double value[METRICS_COUNT];
    metrics_class per_class[METRICS_CLASSES_MAX];
    metrics_bin bins[METRICS_BINS];
    uint64_t confusion[METRICS_CLASSES_MAX * METRICS_CLASSES_MAX];
} metrics;

/* truth [n] classes; probs [n, n_classes], each row finite and from 0 to 1. n > 0, 2 <= n_classes <= METRICS_CLASSES_MAX.
 * Errors: FINCH_E_DATA (no rows, a class or probability outside; err->row is the 1-based row), FINCH_E_MEMORY. */
finch_status metrics_compute(const int32_t *truth, const double *probs, size_t n, size_t n_classes, metrics *out,
                             finch_error *err);

/* probs[r, c] = softmax over c of logits[r, c] / temperature, in f64. */
void metrics_softmax(const float *logits, size_t n, size_t n_classes, double temperature, double *probs);

/* The first of the largest values. */
size_t metrics_argmax(const double *values, size_t n);

/* "macro_f1"; static. */
const char *metrics_name(metrics_id id);
bool metrics_higher_is_better(metrics_id id);
/* The metric of that name (size bytes); false where there is none. */
bool metrics_find(const char *name, size_t size, metrics_id *out);

/* The object of `finch eval --json`: n, the figures, roc_auc_classes, per_class by label, confusion, labels. A NaN
 * is null. labels [n_classes]. *out is a new reference, NULL on failure. Errors: FINCH_E_MEMORY. */
finch_status metrics_to_json(const metrics *m, const char *const *labels, json_t **out, finch_error *err);

#endif
