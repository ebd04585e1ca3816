#include "train/metrics.h"

#include "base/mem.h"

#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

static const struct {
    const char *name;
    bool higher;
} figures[METRICS_COUNT] = {
#define METRICS_ROW(name, higher) {#name, higher},
    METRICS_LIST(METRICS_ROW)
#undef METRICS_ROW
};

const char *metrics_name(metrics_id id) { return figures[id].name; }

bool metrics_higher_is_better(metrics_id id) { return figures[id].higher; }

bool metrics_find(const char *name, size_t size, metrics_id *out)
{
    for (size_t id = 0; id < METRICS_COUNT; id++) {
        if (strlen(figures[id].name) != size || memcmp(figures[id].name, name, size) != 0) continue;
        *out = (metrics_id)id;
        return true;
    }
    return false;
}

size_t metrics_argmax(const double *values, size_t n)
{
    size_t best = 0;
    for (size_t i = 1; i < n; i++)
        if (values[i] > values[best]) best = i;
    return best;
}

void metrics_softmax(const float *logits, size_t n, size_t n_classes, double temperature, double *probs)
{
    for (size_t r = 0; r < n; r++) {
        const float *z = logits + r * n_classes;
        double *p = probs + r * n_classes;
        double top = z[0], sum = 0.0;
        for (size_t c = 1; c < n_classes; c++) top = fmax(top, (double)z[c]);
        for (size_t c = 0; c < n_classes; c++) sum += p[c] = exp(((double)z[c] - top) / temperature);
        for (size_t c = 0; c < n_classes; c++) p[c] /= sum;
    }
}

static double ratio_or_zero(double part, double whole) { return whole > 0.0 ? part / whole : 0.0; }

static finch_status check_rows(const int32_t *truth, const double *probs, size_t n, size_t n_classes, finch_error *err)
{
    if (n == 0) return finch_fail(err, FINCH_E_DATA, "there are no rows to measure");
    if (n_classes < 2 || n_classes > METRICS_CLASSES_MAX)
        return finch_fail(err, FINCH_E_DATA, "metrics need from 2 to %d classes, not %zu", METRICS_CLASSES_MAX, n_classes);
    for (size_t r = 0; r < n; r++) {
        if (truth[r] < 0 || (size_t)truth[r] >= n_classes)
            return finch_fail_row(err, FINCH_E_DATA, r + 1, "row %zu has the class %d; there are %zu classes", r + 1,
                                  (int)truth[r], n_classes);
        for (size_t c = 0; c < n_classes; c++) {
            double p = probs[r * n_classes + c];
            if (!(p >= 0.0 && p <= 1.0 + 1e-9))
                return finch_fail_row(err, FINCH_E_DATA, r + 1,
                                      "row %zu has the probability %g for class %zu; it must be from 0 to 1", r + 1, p, c);
        }
    }
    return FINCH_OK;
}

static void count_rows(const int32_t *truth, const double *probs, metrics *m)
{
    size_t k = m->n_classes;
    double loss = 0.0, confidence[METRICS_BINS] = {0}, right[METRICS_BINS] = {0};
    for (size_t r = 0; r < m->n; r++) {
        const double *p = probs + r * k;
        size_t predicted = metrics_argmax(p, k), actual = (size_t)truth[r];
        m->confusion[actual * k + predicted]++;
        loss -= log(fmin(fmax(p[actual], DBL_EPSILON), 1.0 - DBL_EPSILON));
        double place = ceil(p[predicted] * METRICS_BINS) - 1.0;
        size_t bin = place <= 0.0 ? 0 : place >= METRICS_BINS ? METRICS_BINS - 1 : (size_t)place;
        m->bins[bin].n++;
        confidence[bin] += p[predicted];
        right[bin] += predicted == actual ? 1.0 : 0.0;
    }
    m->value[METRICS_log_loss] = loss / (double)m->n;
    double ece = 0.0;
    for (size_t b = 0; b < METRICS_BINS; b++) {
        m->bins[b].confidence = ratio_or_zero(confidence[b], (double)m->bins[b].n);
        m->bins[b].accuracy = ratio_or_zero(right[b], (double)m->bins[b].n);
        ece += fabs(right[b] - confidence[b]) / (double)m->n;
    }
    m->value[METRICS_ece] = ece;
}

/* Everything that follows from the confusion matrix. */
static void from_confusion(metrics *m)
{
    size_t k = m->n_classes;
    double n = (double)m->n, right = 0.0, chance = 0.0, truth_squares = 0.0, predicted_squares = 0.0;
    double *v = m->value;
    for (size_t c = 0; c < k; c++) {
        double hits = (double)m->confusion[c * k + c], actual = 0.0, predicted = 0.0;
        for (size_t o = 0; o < k; o++) {
            actual += (double)m->confusion[c * k + o];
            predicted += (double)m->confusion[o * k + c];
        }
        metrics_class *class = &m->per_class[c];
        class->support = (uint64_t)actual;
        class->precision = ratio_or_zero(hits, predicted);
        class->recall = ratio_or_zero(hits, actual);
        class->f1 = ratio_or_zero(2.0 * hits, actual + predicted);
        v[METRICS_macro_precision] += class->precision / (double)k;
        v[METRICS_macro_recall] += class->recall / (double)k;
        v[METRICS_macro_f1] += class->f1 / (double)k;
        v[METRICS_weighted_f1] += class->f1 * actual / n;
        right += hits;
        chance += actual * predicted;
        truth_squares += actual * actual;
        predicted_squares += predicted * predicted;
    }
    v[METRICS_accuracy] = right / n;
    /* Cohen 1960: (observed - expected) / (1 - expected) agreement; undefined where both sides are one class. */
    v[METRICS_kappa] = n * n > chance ? (right * n - chance) / (n * n - chance) : (double)NAN;
    /* Gorodkin 2004, the k-class correlation of Matthews. */
    double spread = (n * n - predicted_squares) * (n * n - truth_squares);
    v[METRICS_mcc] = spread > 0.0 ? (right * n - chance) / sqrt(spread) : 0.0;
}

typedef struct scored {
    double score;
    bool positive;
} scored;

static int by_score(const void *a, const void *b)
{
    double x = ((const scored *)a)->score, y = ((const scored *)b)->score;
    return (x > y) - (x < y);
}

/* The area under the ROC curve as the Mann-Whitney statistic: ranks, ties by their mean rank. */
static double area(scored *rows, size_t n)
{
    qsort(rows, n, sizeof *rows, by_score);
    double rank_sum = 0.0, positives = 0.0;
    for (size_t at = 0; at < n;) {
        size_t end = at;
        double tied = 0.0;
        for (; end < n && rows[end].score == rows[at].score; end++) tied += rows[end].positive ? 1.0 : 0.0;
        rank_sum += tied * ((double)(at + 1) + (double)end) / 2.0;
        positives += tied;
        at = end;
    }
    double negatives = (double)n - positives;
    if (positives == 0.0 || negatives == 0.0) return (double)NAN;
    return (rank_sum - positives * (positives + 1.0) / 2.0) / (positives * negatives);
}

static finch_status roc_areas(const int32_t *truth, const double *probs, metrics *m, finch_error *err)
{
    scored *rows;
    FINCH_TRY(MEM_NEW(&rows, m->n, err));
    double sum = 0.0;
    for (size_t c = 0; c < m->n_classes; c++) {
        for (size_t r = 0; r < m->n; r++) rows[r] = (scored){probs[r * m->n_classes + c], (size_t)truth[r] == c};
        double a = m->per_class[c].roc_auc = area(rows, m->n);
        if (isnan(a)) continue;
        sum += a;
        m->roc_auc_classes++;
    }
    mem_free(rows);
    m->value[METRICS_roc_auc] = m->roc_auc_classes > 0 ? sum / (double)m->roc_auc_classes : (double)NAN;
    return FINCH_OK;
}

finch_status metrics_compute(const int32_t *truth, const double *probs, size_t n, size_t n_classes, metrics *out,
                             finch_error *err)
{
    memset(out, 0, sizeof *out);
    FINCH_TRY(check_rows(truth, probs, n, n_classes, err));
    out->n = n;
    out->n_classes = n_classes;
    count_rows(truth, probs, out);
    from_confusion(out);
    return roc_areas(truth, probs, out, err);
}

static json_t *number(double value) { return isfinite(value) ? json_real(value) : json_null(); }

static int add_classes(json_t *object, const metrics *m, const char *const *labels)
{
    json_t *per_class = json_object(), *confusion = json_array(), *names = json_array();
    int failed = 0;
    for (size_t c = 0; c < m->n_classes; c++) {
        const metrics_class *class = &m->per_class[c];
        json_t *row = json_array();
        for (size_t o = 0; o < m->n_classes; o++)
            failed |= json_array_append_new(row, json_integer((json_int_t)m->confusion[c * m->n_classes + o]));
        failed |= json_array_append_new(confusion, row);
        failed |= json_array_append_new(names, json_string(labels[c]));
        failed |= json_object_set_new(per_class, labels[c],
                                      json_pack("{s:o,s:o,s:o,s:I,s:o}", "precision", number(class->precision), "recall",
                                                number(class->recall), "f1", number(class->f1), "support",
                                                (json_int_t) class->support, "roc_auc", number(class->roc_auc)));
    }
    failed |= json_object_set_new(object, "per_class", per_class);
    failed |= json_object_set_new(object, "confusion", confusion);
    failed |= json_object_set_new(object, "labels", names);
    return failed;
}

/* The points of a reliability diagram: bins of confidence that have rows. */
static json_t *reliability_json(const metrics *m)
{
    json_t *points = json_array();
    for (size_t b = 0; b < METRICS_BINS; b++) {
        const metrics_bin *bin = &m->bins[b];
        if (bin->n == 0) continue;
        json_array_append_new(points, json_pack("{s:o,s:o,s:I}", "confidence", number(bin->confidence), "accuracy",
                                                number(bin->accuracy), "n", (json_int_t)bin->n));
    }
    return points;
}

finch_status metrics_to_json(const metrics *m, const char *const *labels, json_t **out, finch_error *err)
{
    json_t *object = json_object();
    int failed = json_object_set_new(object, "n", json_integer((json_int_t)m->n));
    for (size_t id = 0; id < METRICS_COUNT; id++)
        failed |= json_object_set_new(object, figures[id].name, number(m->value[id]));
    failed |= json_object_set_new(object, "roc_auc_classes", json_integer((json_int_t)m->roc_auc_classes));
    failed |= add_classes(object, m, labels);
    failed |= json_object_set_new(object, "reliability", reliability_json(m));
    if (failed != 0) {
        json_decref(object);
        *out = NULL;
        return finch_fail(err, FINCH_E_MEMORY, "out of memory while writing metrics as JSON");
    }
    *out = object;
    return FINCH_OK;
}
