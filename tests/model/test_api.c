/* The public API: finch.h alone, as a program of somebody else sees it. */
#include "harness.h"

#include "finch.h"

static const finch_text texts[3] = {{"$AAPL to the moon", 17}, {"", 0}, {"Revenue fell 12%", 16}};

TEST(a_model_scores_texts)
{
    finch_error err = {0};
    finch_model *m;
    float p[15], again[15];
    double sentiments[3];
    CHECK_OK(finch_model_open(FIXTURES "/models/tiny-bert", FINCH_COMPUTE_AUTO, &m, &err), &err);
    CHECK_EQUAL(5, finch_model_n_classes(m));
    CHECK_TEXT("STRONGLY_NEGATIVE", finch_model_label(m, 0));
    CHECK(finch_model_label(m, 5) == NULL);
    CHECK_OK(finch_score(m, texts, 3, NULL, p, sentiments, &err), &err);
    for (size_t i = 0; i < 3; i++) {
        double sum = 0.0, sentiment = 0.0;
        for (size_t c = 0; c < 5; c++) {
            CHECK(p[i * 5 + c] > 0.0f);
            sum += (double)p[i * 5 + c];
            sentiment += (double)p[i * 5 + c] * ((double)c - 2.0) / 2.0;
        }
        CHECK_NEAR(1.0, sum, 1e-6);
        CHECK_NEAR(sentiment, sentiments[i], 1e-9);
    }
    finch_score_options one_thread = FINCH_SCORE_OPTIONS_DEFAULT;
    one_thread.n_threads = 1;
    CHECK_OK(finch_score(m, texts, 3, &one_thread, again, NULL, &err), &err);
    CHECK(memcmp(p, again, sizeof p) == 0);
    CHECK_OK(finch_score(m, NULL, 0, NULL, NULL, NULL, &err), &err);
    finch_model_close(m);
    finch_model_close(NULL);
}

TEST(impossible_calls_are_refused)
{
    finch_error err = {0};
    finch_model *m;
    float p[15];
    CHECK_STATUS(FINCH_E_USAGE, finch_model_open(NULL, FINCH_COMPUTE_AUTO, &m, &err), &err);
    CHECK_STATUS(FINCH_E_USAGE, finch_model_open(FIXTURES "/models/tiny-bert", (finch_compute)9, &m, &err), &err);
    CHECK_STATUS(FINCH_E_NOT_FOUND, finch_model_open("no-such-folder", FINCH_COMPUTE_AUTO, &m, &err), &err);
    CHECK(m == NULL);
    CHECK_OK(finch_model_open(FIXTURES "/models/tiny-mpnet", FINCH_COMPUTE_INT8, &m, &err), &err);
    CHECK_STATUS(FINCH_E_USAGE, finch_score(m, NULL, 3, NULL, p, NULL, &err), &err);
    CHECK_STATUS(FINCH_E_USAGE, finch_score(m, texts, 3, NULL, NULL, NULL, &err), &err);
    finch_score_options wrong = {0};
    CHECK_STATUS(FINCH_E_USAGE, finch_score(m, texts, 3, &wrong, p, NULL, &err), &err);
    finch_score_options short_texts = FINCH_SCORE_OPTIONS_DEFAULT;
    short_texts.max_tokens = 1;
    CHECK_STATUS(FINCH_E_USAGE, finch_score(m, texts, 3, &short_texts, p, NULL, &err), &err);
    /* A caller built against a shorter struct: only its fields are read. */
    struct {
        size_t size_bytes, n_threads, what_comes_after;
    } older = {2 * sizeof(size_t), 1, 1};
    CHECK_OK(finch_score(m, texts, 3, (const finch_score_options *)(const void *)&older, p, NULL, &err), &err);
    finch_model_close(m);
}
