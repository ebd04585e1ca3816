#include "harness.h"

#include "base/rng.h"
#include "train/evaluation.h"
#include "train/report.h"

enum { N = 300, CLASSES = 3 };

static const char *const labels[CLASSES] = {"NEGATIVE", "NEUTRAL", "POSITIVE"};
static int32_t truth[N], predicted[N];
static double probabilities[N * CLASSES];

/* Rows whose answers are right about two times in three, by a fixed seed. */
static evaluation_rows sample(void)
{
    rng r = {.seed = 7};
    for (size_t i = 0; i < N; i++) {
        double sum = 0, *row = probabilities + i * CLASSES;
        truth[i] = (int32_t)rng_below(&r, CLASSES);
        for (size_t c = 0; c < CLASSES; c++) sum += row[c] = rng_unit(&r) + ((int32_t)c == truth[i] ? 0.5 : 0);
        for (size_t c = 0; c < CLASSES; c++) row[c] /= sum;
        predicted[i] = (int32_t)metrics_argmax(row, CLASSES);
    }
    return (evaluation_rows){N, CLASSES, labels, truth, predicted, probabilities};
}

TEST(bootstrap_intervals_hold_the_figure_and_shrink_as_theory_says)
{
    finch_error err;
    evaluation_rows rows = sample();
    evaluation_interval intervals[METRICS_COUNT], again[METRICS_COUNT];
    metrics m;
    CHECK_OK(metrics_compute(truth, probabilities, N, CLASSES, &m, &err), &err);
    CHECK_OK(evaluation_bootstrap(&rows, 2000, 1, NULL, intervals, &err), &err);
    for (size_t id = 0; id < METRICS_COUNT; id++) {
        if (id == METRICS_ece) continue; /* its estimate is biased upwards in resamples */
        CHECK(intervals[id].low < m.value[id] && m.value[id] < intervals[id].high);
    }
    /* The share of right answers: 1.96 standard errors of a proportion each way. */
    double p = m.value[METRICS_accuracy], half = 1.96 * sqrt(p * (1 - p) / N);
    CHECK_NEAR(p - half, intervals[METRICS_accuracy].low, 0.006);
    CHECK_NEAR(p + half, intervals[METRICS_accuracy].high, 0.006);
    CHECK_OK(evaluation_bootstrap(&rows, 2000, 1, NULL, again, &err), &err);
    CHECK(memcmp(intervals, again, sizeof again) == 0);
}

TEST(accuracy_by_coverage_ends_at_the_accuracy_and_rises_with_confidence)
{
    finch_error err;
    evaluation_rows rows = sample();
    double coverage[10], accuracy[10];
    size_t right = 0;
    for (size_t i = 0; i < N; i++) right += truth[i] == predicted[i];
    CHECK_OK(evaluation_coverage(&rows, 10, coverage, accuracy, &err), &err);
    CHECK_NEAR(1, coverage[9], 0);
    CHECK_NEAR((double)right / N, accuracy[9], 1e-15);
    CHECK(accuracy[1] > accuracy[9]);
    evaluation_abstention all = evaluation_abstain(&rows, 0), none = evaluation_abstain(&rows, 1.1);
    CHECK_EQUAL(N, all.n_answered);
    CHECK_NEAR(accuracy[9], all.accuracy, 1e-15);
    CHECK_EQUAL(0, none.n_answered);
    CHECK(isnan(none.accuracy));
}

static double area_under(const double *x, const double *y, size_t n)
{
    double area = 0;
    for (size_t i = 1; i < n; i++) area += (x[i] - x[i - 1]) * (y[i] + y[i - 1]) / 2;
    return area;
}

TEST(the_drawn_roc_curve_has_the_area_that_the_metric_says)
{
    finch_error err;
    evaluation_rows rows = sample();
    static double x[1000], y[1000];
    metrics m;
    size_t n;
    CHECK_OK(metrics_compute(truth, probabilities, N, CLASSES, &m, &err), &err);
    for (size_t c = 0; c < CLASSES; c++) {
        CHECK_OK(evaluation_roc(&rows, c, 1000, x, y, &n, &err), &err);
        CHECK(n <= 1000 && x[n - 1] == 1 && y[n - 1] == 1 && x[0] == 0 && y[0] == 0);
        CHECK_NEAR(m.per_class[c].roc_auc, area_under(x, y, n), 1e-12);
        CHECK_OK(evaluation_roc(&rows, c, 20, x, y, &n, &err), &err);
        CHECK(n <= 20);
        CHECK_NEAR(m.per_class[c].roc_auc, area_under(x, y, n), 0.03);
    }
}

TEST(slices_count_a_row_in_each_of_its_keys)
{
    finch_error err;
    evaluation_rows rows = sample();
    evaluation_key keys[N + 20];
    evaluation_slice *slices;
    size_t n = 0, n_slices;
    for (size_t i = 0; i < N; i++) keys[n++] = (evaluation_key){{i < 200 ? "AAPL" : "FB", i < 200 ? 4 : 2}, i};
    for (size_t i = 0; i < 20; i++) keys[n++] = (evaluation_key){{"TSLA", 4}, i};
    CHECK_OK(evaluation_slices(&rows, keys, n, 30, &slices, &n_slices, &err), &err);
    CHECK_EQUAL(2, n_slices); /* 20 rows are under the bound */
    CHECK_EQUAL(200, slices[0].n);
    CHECK_EQUAL(100, slices[1].n);
    size_t right = 0;
    for (size_t i = 200; i < N; i++) right += truth[i] == predicted[i];
    CHECK_NEAR((double)right / 100, slices[1].accuracy, 1e-15);
    CHECK(slices[1].accuracy_interval.low < slices[1].accuracy && slices[1].accuracy < slices[1].accuracy_interval.high);
    mem_free(slices);
}

TEST(the_worst_mistakes_come_first_and_are_mistakes)
{
    finch_error err;
    evaluation_rows rows = sample();
    size_t worst[N], n;
    CHECK_OK(evaluation_mistakes(&rows, N, worst, &n, &err), &err);
    CHECK(n > 10);
    for (size_t i = 0; i < n; i++) {
        CHECK(truth[worst[i]] != predicted[worst[i]]);
        double p = probabilities[worst[i] * CLASSES + (size_t)truth[worst[i]]];
        CHECK(i == 0 || p >= probabilities[worst[i - 1] * CLASSES + (size_t)truth[worst[i - 1]]]);
    }
}

TEST(the_report_is_one_page_without_outside_requests_and_survives_each_failed_allocation)
{
    finch_error err;
    evaluation_rows rows = sample();
    metrics m;
    static finch_text texts[N];
    for (size_t i = 0; i < N; i++) texts[i] = (finch_text){"<b>$AAPL</b> & more", 19};
    CHECK_OK(metrics_compute(truth, probabilities, N, CLASSES, &m, &err), &err);
    report_model one = {.name = "a <model>", .rows = rows, .figures = &m, .temperature = 1};
    report page = {.data_name = "data.csv", .models = &one, .n_models = 1, .texts = texts, .date = "2026-01-01"};
    for (int nth = 1;; nth++) {
        str out = {0};
        fault_arm(FAULT_ALLOC, nth);
        finch_status st = report_html(&page, &out, &err);
        bool struck = fault_disarm();
        CHECK((st == FINCH_OK) == !struck);
        if (!struck) {
            CHECK(strstr(out.at, "<b>$AAPL") == NULL && strstr(out.at, "&lt;b&gt;$AAPL&lt;/b&gt; &amp; more") != NULL);
            CHECK(strcmp(strstr(out.at, "http"), strstr(out.at, "http-equiv")) == 0);
            CHECK(strstr(out.at, "src=") == NULL && strstr(out.at, "<script") == NULL);
        }
        str_free(&out);
        if (!struck) break;
    }
}
