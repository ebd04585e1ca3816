/* One self-contained HTML page about one model, or several side by side, on one set of labelled rows: metrics with
 * intervals, confusion heat map, per-class bars, reliability, ROC, accuracy by coverage, slices, worst mistakes. */
#ifndef FINCH_TRAIN_REPORT_H
#define FINCH_TRAIN_REPORT_H

#include "base/str.h"
#include "train/compare.h"
#include "train/evaluation.h"

/* Rows of the data that the model was trained on, by its fingerprints (train/fingerprint.h). */
typedef struct report_seen {
    bool known; /* the model has a fingerprint file */
    size_t n_seen, n_near;
} report_seen;

/* One model's answers. intervals [METRICS_COUNT] or NULL; versus is McNemar's test against the first model. */
typedef struct report_model {
    const char *name;
    evaluation_rows rows;
    const metrics *figures;
    const evaluation_interval *intervals;
    report_seen seen;
    mcnemar versus;
    double temperature;
} report_model;

typedef struct report_slices {
    const char *title; /* "ticker" */
    const evaluation_slice *slices;
    size_t n;
} report_slices;

/* texts [n] the rows' texts. slices are the first model's. All borrowed. */
typedef struct report {
    const char *data_name;
    const report_model *models;
    size_t n_models;
    const finch_text *texts;
    const report_slices *slices;
    size_t n_slices;
    size_t n_resamples; /* behind the intervals */
    const char *date;
} report;

/* Appends the page to out. Errors: FINCH_E_MEMORY. */
finch_status report_html(const report *r, str *out, finch_error *err);

#endif
