#include "train/evaluation.h"

#include "base/mem.h"
#include "base/rng.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* The 97.5 % quantile of the standard normal. */
#define NORMAL_975 1.959963984540054

static double confidence_of(const evaluation_rows *rows, size_t row)
{
    return rows->probabilities[row * rows->n_classes + (size_t)rows->predicted[row]];
}

static bool is_right(const evaluation_rows *rows, size_t row) { return rows->predicted[row] == rows->truth[row]; }

/* ---- bootstrap ------------------------------------------------------------------------------------------------ */

typedef struct resample {
    int32_t *truth;
    double *probabilities;
} resample;

static void resample_free(resample *r)
{
    mem_free(r->truth);
    mem_free(r->probabilities);
}

static finch_status resample_create(const evaluation_rows *rows, resample *out, finch_error *err)
{
    size_t n_values;
    *out = (resample){0};
    if (!size_mul(rows->n, rows->n_classes, &n_values))
        return finch_fail(err, FINCH_E_MEMORY, "%zu rows are too many", rows->n);
    finch_status st = MEM_NEW(&out->truth, rows->n, err);
    if (st == FINCH_OK) st = MEM_NEW(&out->probabilities, n_values, err);
    if (st != FINCH_OK) resample_free(out);
    return st;
}

static finch_status resample_measure(const evaluation_rows *rows, uint64_t seed, size_t index, resample *into,
                                     double *values, finch_error *err)
{
    metrics m;
    rng draw = {.seed = seed, .stream = index};
    for (size_t i = 0; i < rows->n; i++) {
        size_t row = (size_t)rng_below(&draw, rows->n);
        into->truth[i] = rows->truth[row];
        memcpy(into->probabilities + i * rows->n_classes, rows->probabilities + row * rows->n_classes,
               rows->n_classes * sizeof(double));
    }
    FINCH_TRY(metrics_compute(into->truth, into->probabilities, rows->n, rows->n_classes, &m, err));
    memcpy(values, m.value, sizeof m.value);
    return FINCH_OK;
}

static int compare_doubles(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

/* The quantile with linear interpolation between order statistics, as numpy.percentile has it. */
static double quantile(const double *sorted, size_t n, double q)
{
    double at = q * (double)(n - 1);
    size_t low = (size_t)at;
    size_t high = low + 1 < n ? low + 1 : low;
    return sorted[low] + (at - (double)low) * (sorted[high] - sorted[low]);
}

static evaluation_interval interval_of(const double *values, size_t n_resamples, size_t metric, double *scratch)
{
    size_t n = 0;
    for (size_t r = 0; r < n_resamples; r++) {
        double value = values[r * METRICS_COUNT + metric];
        if (!isnan(value)) scratch[n++] = value;
    }
    if (n == 0) return (evaluation_interval){NAN, NAN};
    qsort(scratch, n, sizeof *scratch, compare_doubles);
    return (evaluation_interval){quantile(scratch, n, 0.025), quantile(scratch, n, 0.975)};
}

/* Resamples are spread over the threads in chunks between which the caller hears of the progress. */
enum { BOOTSTRAP_CHUNK = 50 };

static finch_status measure_chunk(const evaluation_rows *rows, uint64_t seed, size_t begin, size_t end, double *values,
                                  finch_error *err)
{
    finch_status failed = FINCH_OK;
#pragma omp parallel
    {
        resample into;
        finch_error own = {0};
        finch_status st = resample_create(rows, &into, &own);
#pragma omp for schedule(static)
        for (size_t r = begin; r < end; r++) {
            if (st == FINCH_OK) st = resample_measure(rows, seed, r, &into, values + r * METRICS_COUNT, &own);
        }
        resample_free(&into);
#pragma omp critical(evaluation_failed)
        if (st != FINCH_OK && failed == FINCH_OK) {
            failed = st;
            if (err != NULL) *err = own;
        }
    }
    return failed;
}

finch_status evaluation_bootstrap(const evaluation_rows *rows, size_t n_resamples, uint64_t seed, const progress *p,
                                  evaluation_interval *out, finch_error *err)
{
    double *values = NULL, *scratch = NULL;
    finch_status st;
    size_t n_values;
    if (n_resamples == 0) return finch_fail(err, FINCH_E_USAGE, "a bootstrap needs at least one resample");
    if (!size_mul(n_resamples, METRICS_COUNT, &n_values))
        return finch_fail(err, FINCH_E_MEMORY, "%zu resamples are too many", n_resamples);
    FINCH_GO(done, st, MEM_NEW(&values, n_values, err));
    FINCH_GO(done, st, MEM_NEW(&scratch, n_resamples, err));
    for (size_t at = 0; at < n_resamples; at += BOOTSTRAP_CHUNK) {
        size_t end = at + BOOTSTRAP_CHUNK < n_resamples ? at + BOOTSTRAP_CHUNK : n_resamples;
        FINCH_GO(done, st, measure_chunk(rows, seed, at, end, values, err));
        if (!progress_report(p, end, n_resamples, NULL))
            FINCH_GO(done, st, finch_fail(err, FINCH_E_CANCELLED, "interrupted while resampling"));
    }
    for (size_t metric = 0; metric < METRICS_COUNT; metric++)
        out[metric] = interval_of(values, n_resamples, metric, scratch);
done:
    mem_free(values);
    mem_free(scratch);
    return st;
}

/* ---- by confidence -------------------------------------------------------------------------------------------- */

typedef struct ranked {
    double value;
    size_t row;
} ranked;

/* Largest first; equal values in the order of the rows, so that the result does not depend on qsort. */
static int compare_ranked(const void *a, const void *b)
{
    const ranked *x = a, *y = b;
    if (x->value != y->value) return x->value > y->value ? -1 : 1;
    return x->row < y->row ? -1 : x->row > y->row;
}

finch_status evaluation_coverage(const evaluation_rows *rows, size_t n_points, double *coverage, double *accuracy,
                                 finch_error *err)
{
    ranked *order;
    FINCH_TRY(MEM_NEW(&order, rows->n, err));
    for (size_t i = 0; i < rows->n; i++) order[i] = (ranked){confidence_of(rows, i), i};
    qsort(order, rows->n, sizeof *order, compare_ranked);
    size_t right = 0, done = 0;
    for (size_t point = 0; point < n_points; point++) {
        size_t end = (size_t)((double)rows->n * (double)(point + 1) / (double)n_points + 0.5);
        if (end > rows->n || point + 1 == n_points) end = rows->n;
        for (; done < end; done++) right += is_right(rows, order[done].row);
        coverage[point] = (double)done / (double)rows->n;
        accuracy[point] = done == 0 ? 1 : (double)right / (double)done;
    }
    mem_free(order);
    return FINCH_OK;
}

evaluation_abstention evaluation_abstain(const evaluation_rows *rows, double bound)
{
    size_t answered = 0, right = 0;
    for (size_t i = 0; i < rows->n; i++) {
        if (confidence_of(rows, i) < bound) continue;
        answered++;
        right += is_right(rows, i);
    }
    return (evaluation_abstention){
        .bound = bound,
        .n_answered = answered,
        .coverage = rows->n == 0 ? 0 : (double)answered / (double)rows->n,
        .accuracy = answered == 0 ? NAN : (double)right / (double)answered,
    };
}

finch_status evaluation_roc(const evaluation_rows *rows, size_t c, size_t n_points, double *false_positive,
                            double *true_positive, size_t *n_written, finch_error *err)
{
    ranked *order;
    size_t positives = 0;
    *n_written = 0;
    for (size_t i = 0; i < rows->n; i++) positives += (size_t)rows->truth[i] == c;
    size_t negatives = rows->n - positives;
    if (positives == 0 || negatives == 0) return FINCH_OK;
    FINCH_TRY(MEM_NEW(&order, rows->n, err));
    for (size_t i = 0; i < rows->n; i++) order[i] = (ranked){rows->probabilities[i * rows->n_classes + c], i};
    qsort(order, rows->n, sizeof *order, compare_ranked);
    size_t hits = 0, alarms = 0, written = 1;
    false_positive[0] = true_positive[0] = 0;
    for (size_t i = 0; i < rows->n; i++) {
        bool hit = (size_t)rows->truth[order[i].row] == c;
        hits += hit;
        alarms += !hit;
        /* Equal values are one step of the curve; of many steps every n-th is drawn. */
        bool tied = i + 1 < rows->n && order[i + 1].value == order[i].value;
        bool due = (i + 1) * (n_points - 1) / rows->n >= written;
        if (i + 1 == rows->n || (!tied && due && written + 1 < n_points)) {
            false_positive[written] = (double)alarms / (double)negatives;
            true_positive[written] = (double)hits / (double)positives;
            written++;
        }
    }
    *n_written = written;
    mem_free(order);
    return FINCH_OK;
}

finch_status evaluation_mistakes(const evaluation_rows *rows, size_t n_wanted, size_t *out, size_t *n_written,
                                 finch_error *err)
{
    ranked *order;
    size_t n = 0;
    FINCH_TRY(MEM_NEW(&order, rows->n, err));
    for (size_t i = 0; i < rows->n; i++) {
        if (!is_right(rows, i)) order[n++] = (ranked){-rows->probabilities[i * rows->n_classes + (size_t)rows->truth[i]], i};
    }
    qsort(order, n, sizeof *order, compare_ranked);
    *n_written = n < n_wanted ? n : n_wanted;
    for (size_t i = 0; i < *n_written; i++) out[i] = order[i].row;
    mem_free(order);
    return FINCH_OK;
}

/* ---- slices --------------------------------------------------------------------------------------------------- */

static int compare_texts(finch_text a, finch_text b)
{
    size_t common = a.size_bytes < b.size_bytes ? a.size_bytes : b.size_bytes;
    int order = common == 0 ? 0 : memcmp(a.at, b.at, common);
    if (order != 0) return order;
    return a.size_bytes < b.size_bytes ? -1 : a.size_bytes > b.size_bytes;
}

static int compare_keys(const void *a, const void *b)
{
    const evaluation_key *x = a, *y = b;
    int order = compare_texts(x->key, y->key);
    if (order != 0) return order;
    return x->row < y->row ? -1 : x->row > y->row;
}

static int compare_slices(const void *a, const void *b)
{
    const evaluation_slice *x = a, *y = b;
    if (x->n != y->n) return x->n > y->n ? -1 : 1;
    return compare_texts(x->key, y->key);
}

/* Wilson's score interval of a proportion: honest for few rows, where the normal one is not. */
static evaluation_interval wilson(size_t right, size_t n)
{
    double p = (double)right / (double)n, z2 = NORMAL_975 * NORMAL_975, rows = (double)n;
    double centre = (p + z2 / (2 * rows)) / (1 + z2 / rows);
    double half = NORMAL_975 * sqrt(p * (1 - p) / rows + z2 / (4 * rows * rows)) / (1 + z2 / rows);
    return (evaluation_interval){centre - half, centre + half};
}

/* Macro F1 over the classes that the slice or its predictions have: classes that are nowhere say nothing about it. */
static double slice_macro_f1(const evaluation_rows *rows, const evaluation_key *keys, size_t n)
{
    size_t both[METRICS_CLASSES_MAX] = {0}, truth[METRICS_CLASSES_MAX] = {0}, predicted[METRICS_CLASSES_MAX] = {0};
    for (size_t i = 0; i < n; i++) {
        size_t t = (size_t)rows->truth[keys[i].row], p = (size_t)rows->predicted[keys[i].row];
        both[t] += t == p;
        truth[t]++;
        predicted[p]++;
    }
    double sum = 0;
    size_t present = 0;
    for (size_t c = 0; c < rows->n_classes; c++) {
        if (truth[c] + predicted[c] == 0) continue;
        sum += 2.0 * (double)both[c] / (double)(truth[c] + predicted[c]);
        present++;
    }
    return sum / (double)present;
}

static evaluation_slice slice_of(const evaluation_rows *rows, const evaluation_key *keys, size_t n)
{
    size_t right = 0;
    for (size_t i = 0; i < n; i++) right += is_right(rows, keys[i].row);
    return (evaluation_slice){
        .key = keys[0].key,
        .n = n,
        .accuracy = (double)right / (double)n,
        .macro_f1 = slice_macro_f1(rows, keys, n),
        .accuracy_interval = wilson(right, n),
    };
}

finch_status evaluation_slices(const evaluation_rows *rows, evaluation_key *keys, size_t n_keys, size_t min_rows,
                               evaluation_slice **out, size_t *n_slices, finch_error *err)
{
    *n_slices = 0;
    FINCH_TRY(MEM_NEW(out, n_keys, err)); /* at most one slice a key */
    if (n_keys > 0) qsort(keys, n_keys, sizeof *keys, compare_keys);
    for (size_t begin = 0, end; begin < n_keys; begin = end) {
        for (end = begin + 1; end < n_keys && compare_texts(keys[end].key, keys[begin].key) == 0;) end++;
        if (end - begin >= min_rows) (*out)[(*n_slices)++] = slice_of(rows, keys + begin, end - begin);
    }
    if (*n_slices > 0) qsort(*out, *n_slices, sizeof **out, compare_slices);
    return FINCH_OK;
}
