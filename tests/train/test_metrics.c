/* Every figure against scikit-learn's, frozen in fixtures/train/metrics.json by make_metrics.py beside it. */
#include "harness.h"

#include "base/json.h"
#include "train/calibration.h"
#include "train/metrics.h"

#define TOLERANCE 1e-9 /* the promise of metrics.h */

enum { ROWS_MAX = 256, CLASSES_MAX = 8 };

typedef struct test_case {
    size_t n, k;
    int32_t truth[ROWS_MAX];
    double probs[ROWS_MAX * CLASSES_MAX];
} test_case;

static void read_case(const json_t *entry, test_case *c)
{
    const json_t *truth = json_object_get(entry, "truth"), *probs = json_object_get(entry, "probs");
    c->n = json_array_size(truth);
    c->k = (size_t)json_integer_value(json_object_get(entry, "n_classes"));
    CHECK(c->n > 0 && c->n <= ROWS_MAX && c->k <= CLASSES_MAX && json_array_size(probs) == c->n * c->k);
    for (size_t i = 0; i < c->n; i++) c->truth[i] = (int32_t)json_integer_value(json_array_get(truth, i));
    for (size_t i = 0; i < c->n * c->k; i++) c->probs[i] = json_number_value(json_array_get(probs, i));
}

static void check_figure(const json_t *expected, const char *key, double actual)
{
    const json_t *value = json_object_get(expected, key);
    CHECK(value != NULL);
    if (json_is_null(value)) CHECK(isnan(actual));
    else CHECK_NEAR(json_number_value(value), actual, TOLERANCE);
}

static void check_case(const json_t *entry)
{
    static test_case c;
    metrics m;
    finch_error err;
    const json_t *expected = json_object_get(entry, "expected");
    read_case(entry, &c);
    CHECK_OK(metrics_compute(c.truth, c.probs, c.n, c.k, &m, &err), &err);
    for (size_t id = 0; id < METRICS_COUNT; id++) check_figure(expected, metrics_name((metrics_id)id), m.value[id]);
    for (size_t i = 0; i < c.k; i++) {
        const json_t *class = json_array_get(json_object_get(expected, "per_class"), i);
        check_figure(class, "precision", m.per_class[i].precision);
        check_figure(class, "recall", m.per_class[i].recall);
        check_figure(class, "f1", m.per_class[i].f1);
        check_figure(class, "support", (double)m.per_class[i].support);
        check_figure(class, "roc_auc", m.per_class[i].roc_auc);
        for (size_t o = 0; o < c.k; o++) {
            const json_t *row = json_array_get(json_object_get(expected, "confusion"), i);
            CHECK_EQUAL(json_integer_value(json_array_get(row, o)), m.confusion[i * c.k + o]);
        }
    }
}

TEST(every_figure_is_that_of_scikit_learn)
{
    finch_error err;
    json_t *file;
    CHECK_OK(json_parse_file(FIXTURES "/train/metrics.json", &file, &err), &err);
    const json_t *cases = json_object_get(file, "cases");
    CHECK(json_array_size(cases) >= 8);
    for (size_t i = 0; i < json_array_size(cases); i++) check_case(json_array_get(cases, i));
    json_decref(file);
}

TEST(softmax_is_stable_and_divides_by_the_temperature)
{
    float logits[6] = {1000.0f, 1001.0f, 999.0f, -1.0f, 0.5f, 0.5f};
    double p[6];
    metrics_softmax(logits, 2, 3, 2.0, p);
    double sum = 1.0 + exp(-0.5) + exp(-1.0);
    CHECK_NEAR(exp(-0.5) / sum, p[0], 1e-15);
    CHECK_NEAR(1.0 / sum, p[1], 1e-15);
    CHECK_NEAR(exp(-0.75) / (2.0 + exp(-0.75)), p[3], 1e-15);
    CHECK_EQUAL(1, metrics_argmax(p + 3, 3)); /* the first of equals */
}

TEST(rows_that_can_not_be_measured_are_named)
{
    finch_error err;
    metrics m;
    int32_t truth[2] = {0, 2};
    double probs[4] = {0.5, 0.5, 1.0, 0.0}, bad[4] = {0.5, 0.5, (double)NAN, 0.5};
    CHECK_STATUS(FINCH_E_DATA, metrics_compute(truth, probs, 0, 2, &m, &err), &err);
    CHECK_STATUS(FINCH_E_DATA, metrics_compute(truth, probs, 2, 2, &m, &err), &err);
    CHECK_EQUAL(2, err.row);
    truth[1] = 1;
    CHECK_STATUS(FINCH_E_DATA, metrics_compute(truth, bad, 2, 2, &m, &err), &err);
    CHECK_EQUAL(2, err.row);
    CHECK_STATUS(FINCH_E_DATA, metrics_compute(truth, probs, 2, METRICS_CLASSES_MAX + 1, &m, &err), &err);
}

TEST(json_has_the_figures_of_the_contract)
{
    static const char *const keys[] = {
        "n",       "accuracy", "macro_f1", "weighted_f1", "macro_precision", "macro_recall", "kappa",      "mcc",
        "roc_auc", "log_loss", "ece",      "per_class",   "confusion",       "labels",       "reliability"};
    static const char *const labels[] = {"NO", "YES"};
    finch_error err;
    metrics m;
    int32_t truth[2] = {1, 1};
    double probs[4] = {0.0, 1.0, 0.25, 0.75};
    json_t *object;
    CHECK_OK(metrics_compute(truth, probs, 2, 2, &m, &err), &err);
    CHECK_OK(metrics_to_json(&m, labels, &object, &err), &err);
    for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++) CHECK(json_object_get(object, keys[i]) != NULL);
    CHECK(json_is_null(json_object_get(object, "roc_auc"))); /* no class has both rows of it and others */
    CHECK_NEAR(1.0, json_number_value(json_object_get(json_object_get(json_object_get(object, "per_class"), "YES"), "f1")),
               0);
    /* Both rows were said to be YES, with 1.0 and 0.75: two bins of one right row each. */
    const json_t *points = json_object_get(object, "reliability"), *sure = json_array_get(points, 1);
    CHECK_EQUAL(2, json_array_size(points));
    CHECK_EQUAL(1, json_integer_value(json_object_get(sure, "n")));
    CHECK_NEAR(1.0, json_number_value(json_object_get(sure, "confidence")), 0);
    CHECK_NEAR(1.0, json_number_value(json_object_get(sure, "accuracy")), 0);
    CHECK_NEAR(0.75, json_number_value(json_object_get(json_array_get(points, 0), "confidence")), 0);
    json_decref(object);
}

TEST(out_of_memory_is_a_status)
{
    finch_error err;
    metrics m;
    int32_t truth[2] = {0, 1};
    double probs[4] = {0.75, 0.25, 0.25, 0.75};
    for (int nth = 1; fault_arm(FAULT_ALLOC, nth); nth++) {
        finch_status st = metrics_compute(truth, probs, 2, 2, &m, &err);
        if (!fault_disarm()) break;
        CHECK_STATUS(FINCH_E_MEMORY, st, &err);
    }
}

/* ---- temperature ---- */

/* Rows whose labels are drawn as often as softmax(logits / temperature) says, so that temperature is the best. */
static void calibrated_rows(double temperature, int32_t *truth, float *logits, size_t *n)
{
    double odds = exp(2.0 / temperature), p = odds / (1.0 + odds);
    *n = 1000;
    for (size_t i = 0; i < *n; i++) {
        truth[i] = (double)i + 0.5 < p * (double)*n ? 0 : 1;
        logits[2 * i] = 3.0f;
        logits[2 * i + 1] = 1.0f;
    }
}

TEST(the_temperature_is_found)
{
    static int32_t truth[1000];
    static float logits[2000];
    static const double wanted[] = {0.5, 1.0, 1.7, 4.0};
    finch_error err;
    for (size_t i = 0; i < sizeof wanted / sizeof wanted[0]; i++) {
        size_t n;
        double t;
        calibrated_rows(wanted[i], truth, logits, &n);
        CHECK_OK(calibration_fit(truth, logits, n, 2, &t, &err), &err);
        CHECK_NEAR(wanted[i], t, 0.02 * wanted[i]); /* 1,000 rows tell p to 1/2000 */
        double best = calibration_loss(truth, logits, n, 2, t);
        CHECK(best <= calibration_loss(truth, logits, n, 2, t * 1.01) &&
              best <= calibration_loss(truth, logits, n, 2, t / 1.01));
    }
}

TEST(a_temperature_stays_within_its_bounds)
{
    finch_error err;
    int32_t right[2] = {0, 1}, wrong[2] = {1, 0};
    float logits[4] = {2.0f, 0.0f, 0.0f, 2.0f};
    double t;
    CHECK_OK(calibration_fit(right, logits, 2, 2, &t, &err), &err);
    CHECK_NEAR(CALIBRATION_TEMPERATURE_MIN, t, 1e-9);
    CHECK_OK(calibration_fit(wrong, logits, 2, 2, &t, &err), &err);
    CHECK_NEAR(CALIBRATION_TEMPERATURE_MAX, t, 1e-9);
    logits[3] = INFINITY;
    CHECK_STATUS(FINCH_E_DATA, calibration_fit(right, logits, 2, 2, &t, &err), &err);
    CHECK_STATUS(FINCH_E_DATA, calibration_fit(right, logits, 0, 2, &t, &err), &err);
}
