/* Drift: histograms, their way through the store, and the distances between them. */
#include "store_test.h"

#include "store/drift.h"

#define DAY INT64_C(86400000)

static void add(drift_counts *counts, size_t n_tokens, size_t n_unknown, const char *language, const char *ticker, int label)
{
    drift_sample sample = {n_tokens, n_unknown, language, ticker != NULL ? &ticker : NULL, ticker != NULL, label};
    CHECK_OK(drift_counts_add(counts, &sample, &err), &err);
}

static int64_t bin(const json_t *profile, const char *feature, const char *name)
{
    return json_integer_value(json_object_get(json_object_get(profile, feature), name));
}

TEST(samples_fall_into_their_bins)
{
    static const size_t lengths[] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 11, 12, 15, 16, 23, 24, 31, 32, 47, 48, 512};
    static const char *const names[] = {"0",  "1",  "2",  "3",  "4",  "4",  "6",  "6",  "8",  "8",
                                        "12", "12", "16", "16", "24", "24", "32", "32", "48", "512"};
    drift_counts *counts;
    CHECK_OK(drift_counts_make(&counts, &err), &err);
    for (size_t i = 0; i < sizeof lengths / sizeof lengths[0]; i++) {
        drift_counts_clear(counts);
        add(counts, lengths[i], 0, "en", "GME", 4);
        json_t *profile = drift_counts_json(counts);
        CHECK_EQUAL(1, bin(profile, "length", names[i]));
        CHECK_EQUAL(1, bin(profile, "unknown", "0"));
        json_decref(profile);
    }
    drift_counts_clear(counts);
    add(counts, 100, 1, NULL, NULL, 0);
    add(counts, 100, 5, "en", NULL, 0);
    add(counts, 100, 6, "a language whose name is much too long", NULL, 0);
    add(counts, 100, 100, "en", NULL, 0);
    json_t *profile = drift_counts_json(counts);
    CHECK_EQUAL(2, bin(profile, "unknown", "5%"));
    CHECK_EQUAL(1, bin(profile, "unknown", "10%"));
    CHECK_EQUAL(1, bin(profile, "unknown", "100%"));
    CHECK_EQUAL(4, bin(profile, "ticker", ""));
    CHECK_EQUAL(1, bin(profile, "language", "other"));
    CHECK_EQUAL(1, bin(profile, "language", ""));
    CHECK_EQUAL(4, bin(profile, "label", "0"));
    json_decref(profile);
    drift_counts_free(counts);
}

TEST(a_flood_of_names_stays_in_bounds)
{
    drift_counts *counts;
    char ticker[16];
    CHECK_OK(drift_counts_make(&counts, &err), &err);
    for (int i = 0; i < 2 * DRIFT_BINS_MOST; i++) {
        snprintf(ticker, sizeof ticker, "T%d", i);
        add(counts, 10, 0, "en", ticker, 2);
    }
    json_t *profile = drift_counts_json(counts);
    CHECK_EQUAL(DRIFT_BINS_MOST + 1, json_object_size(json_object_get(profile, "ticker")));
    CHECK_EQUAL(DRIFT_BINS_MOST, bin(profile, "ticker", "other"));
    json_decref(profile);
    drift_counts_free(counts);
}

TEST(days_add_up_and_a_batch_counts_once)
{
    drift_counts *counts;
    json_t *live;
    test_begin();
    CHECK_OK(drift_counts_make(&counts, &err), &err);
    add(counts, 10, 0, "en", "GME", 2);
    add(counts, 10, 0, "en", "it's", 3);
    CHECK_OK(drift_flush(s, "a", "m@1", 5 * DAY + 7, counts, &err), &err);
    CHECK_OK(drift_flush(s, "a", "m@1", 5 * DAY + 7, counts, &err), &err);
    CHECK_OK(drift_flush(s, NULL, "m@1", 6 * DAY, counts, &err), &err);
    CHECK_OK(drift_flush(s, NULL, "m@2", 6 * DAY, counts, &err), &err);
    CHECK_OK(drift_live(s, "m@1", 0, 6 * DAY, &live, &err), &err);
    CHECK_EQUAL(2, bin(live, "length", "8"));
    json_decref(live);
    CHECK_OK(drift_live(s, "m@1", 5 * DAY + DAY / 2, 7 * DAY, &live, &err), &err);
    CHECK_EQUAL(4, bin(live, "length", "8"));
    CHECK_EQUAL(2, bin(live, "ticker", "it's"));
    json_decref(live);
    CHECK_OK(drift_prune(s, 6 * DAY, &err), &err);
    CHECK_OK(drift_live(s, "m@1", 0, 7 * DAY, &live, &err), &err);
    CHECK_EQUAL(2, bin(live, "length", "8"));
    json_decref(live);
    drift_counts_free(counts);
    test_end();
}

static json_t *profile_of(const char *length, const char *ticker)
{
    char text[8192];
    snprintf(text, sizeof text, "{\"length\":%s,\"unknown\":{},\"language\":{\"en\":5},\"ticker\":%s,\"label\":{\"0\":1}}",
             length, ticker);
    json_t *profile = json_loads(text, 0, NULL);
    CHECK(profile != NULL);
    return profile;
}

/* The figures are those of the formulas in drift.h, worked out in Python. */
TEST(distances_are_those_of_the_formulas)
{
    drift_distance d[DRIFT_FEATURES];
    json_t *live = profile_of("{\"1\":10,\"2\":30,\"4\":60}", "{\"A\":10}");
    json_t *training = profile_of("{\"1\":100,\"2\":500,\"3\":400}", "{\"A\":10}");
    CHECK_OK(drift_measure(live, training, d, &err), &err);
    CHECK_NEAR(6.036693585821201, d[DRIFT_LENGTH].psi, 1e-12);
    CHECK_NEAR(4.027425700563637, d[DRIFT_LENGTH].kl, 1e-12);
    CHECK_NEAR(0.033, d[DRIFT_LENGTH].expected, 1e-12);
    CHECK_EQUAL(4, d[DRIFT_LENGTH].n_bins);
    CHECK(isnan(d[DRIFT_UNKNOWN].psi));
    CHECK_NEAR(0, d[DRIFT_TICKER].psi, 1e-15);
    json_decref(live);
    live = profile_of("{\"1\":-1}", "{}");
    CHECK_STATUS(FINCH_E_DATA, drift_measure(live, training, d, &err), &err);
    json_decref(live);
    live = json_object();
    CHECK_STATUS(FINCH_E_DATA, drift_measure(live, training, d, &err), &err);
    json_decref(live);
    json_decref(training);
}

TEST(rare_tickers_are_one_bin)
{
    char text[4096] = "{";
    drift_distance d[DRIFT_FEATURES];
    for (int i = 0; i < 100; i++) snprintf(text + strlen(text), sizeof text - strlen(text), "\"T%d\":%d,", i, 1000 - i);
    strcpy(text + strlen(text) - 1, "}");
    json_t *training = profile_of("{\"1\":1}", text), *live = profile_of("{\"1\":1}", "{\"NEW\":50,\"T99\":3,\"T0\":7}");
    CHECK_OK(drift_measure(live, training, d, &err), &err);
    CHECK_EQUAL(31, d[DRIFT_TICKER].n_bins);
    CHECK_EQUAL(60, d[DRIFT_TICKER].n_live);
    CHECK_EQUAL(1000 * 100 - 4950, d[DRIFT_TICKER].n_training);
    json_decref(live);
    json_decref(training);
}
