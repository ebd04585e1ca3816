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

TEST(a_model_says_what_it_is)
{
    finch_error err = {0};
    finch_model *m;
    finch_model_info info = {.size_bytes = sizeof info};
    CHECK_OK(finch_model_open(FIXTURES "/models/tiny-mpnet", FINCH_COMPUTE_BF16, &m, &err), &err);
    CHECK_OK(finch_model_get_info(m, &info, &err), &err);
    CHECK_TEXT("mpnet", info.architecture);
    CHECK_EQUAL(FINCH_COMPUTE_BF16, info.compute);
    CHECK_EQUAL(finch_model_n_classes(m), info.n_classes);
    CHECK(info.temperature == 1.0f && info.max_tokens > 2 && info.vocab_size > 100);
    /* A caller built against a shorter struct: nothing past its fields is written. */
    finch_model_info older = {.size_bytes = offsetof(finch_model_info, compute), .max_tokens = 7};
    CHECK_OK(finch_model_get_info(m, &older, &err), &err);
    CHECK_TEXT("mpnet", older.architecture);
    CHECK_EQUAL(offsetof(finch_model_info, compute), older.size_bytes);
    CHECK_EQUAL(7, older.max_tokens);
    CHECK_STATUS(FINCH_E_USAGE, finch_model_get_info(m, &(finch_model_info){0}, &err), &err);
    CHECK_STATUS(FINCH_E_USAGE, finch_model_get_info(m, NULL, &err), &err);
    CHECK_STATUS(FINCH_E_USAGE, finch_model_get_info(NULL, &info, &err), &err);
    finch_model_close(m);
}

TEST(logits_are_what_probabilities_are_made_of)
{
    finch_error err = {0};
    finch_model *m;
    float p[15], logits[15];
    double sentiments[3];
    CHECK_OK(finch_model_open(FIXTURES "/models/tiny-bert", FINCH_COMPUTE_F32, &m, &err), &err);
    CHECK_OK(finch_score(m, texts, 3, NULL, p, NULL, &err), &err);
    finch_score_options bare = FINCH_SCORE_OPTIONS_DEFAULT;
    bare.output = FINCH_OUTPUT_LOGITS;
    CHECK_OK(finch_score(m, texts, 3, &bare, logits, NULL, &err), &err);
    for (size_t i = 0; i < 3; i++) {
        double sum = 0.0;
        for (size_t c = 0; c < 5; c++) sum += exp((double)logits[i * 5 + c]);
        for (size_t c = 0; c < 5; c++) CHECK_NEAR(exp((double)logits[i * 5 + c]) / sum, (double)p[i * 5 + c], 1e-6);
    }
    CHECK_STATUS(FINCH_E_USAGE, finch_score(m, texts, 3, &bare, logits, sentiments, &err), &err);
    bare.output = (finch_output)2;
    CHECK_STATUS(FINCH_E_USAGE, finch_score(m, texts, 3, &bare, logits, NULL, &err), &err);
    finch_model_close(m);
}

TEST(token_ids_take_two_calls)
{
    finch_error err = {0};
    finch_model *m;
    uint64_t offsets[4];
    int32_t ids[64];
    bool truncated[3];
    finch_score_options three = FINCH_SCORE_OPTIONS_DEFAULT;
    three.max_tokens = 3;
    CHECK_OK(finch_model_open(FIXTURES "/models/tiny-bert", FINCH_COMPUTE_F32, &m, &err), &err);
    CHECK_OK(finch_token_offsets(m, texts, 3, NULL, offsets, truncated, &err), &err);
    CHECK(offsets[0] == 0 && offsets[1] > 3 && offsets[2] == offsets[1] + 2 && offsets[3] < 60);
    CHECK(!truncated[0] && !truncated[1] && !truncated[2]);
    memset(ids, -1, sizeof ids);
    CHECK_OK(finch_tokenize(m, texts, 3, NULL, offsets, ids, &err), &err);
    int32_t first = ids[0], last = ids[offsets[1] - 1];
    for (size_t i = 0; i < 3; i++) CHECK(ids[offsets[i]] == first && ids[offsets[i + 1] - 1] == last);
    CHECK_EQUAL(-1, ids[offsets[3]]);
    CHECK_OK(finch_token_offsets(m, texts, 3, &three, offsets, truncated, &err), &err);
    CHECK(offsets[1] == 3 && offsets[3] == 8 && truncated[0] && !truncated[1] && truncated[2]);
    CHECK_OK(finch_tokenize(m, texts, 3, &three, offsets, ids, &err), &err);
    CHECK(ids[0] == first && ids[2] == last);
    /* Offsets of other texts or options: nothing past a text's place is written. */
    static const uint64_t wrong[3][4] = {{0, 3, 5, 7}, {0, 3, 5, 9}, {0, 3, 1, 8}};
    for (size_t i = 0; i < 3; i++) {
        memset(ids, -1, sizeof ids);
        CHECK_STATUS(FINCH_E_USAGE, finch_tokenize(m, texts, 3, &three, wrong[i], ids, &err), &err);
        CHECK_EQUAL(i < 2 ? 3 : 2, err.row);
        CHECK_EQUAL(-1, ids[5]);
    }
    CHECK_OK(finch_token_offsets(m, NULL, 0, NULL, offsets, NULL, &err), &err);
    CHECK_OK(finch_tokenize(m, NULL, 0, NULL, offsets, NULL, &err), &err);
    CHECK_STATUS(FINCH_E_USAGE, finch_token_offsets(m, texts, 3, NULL, NULL, NULL, &err), &err);
    CHECK_STATUS(FINCH_E_USAGE, finch_tokenize(m, texts, 3, NULL, offsets, NULL, &err), &err);
    three.max_tokens = 1;
    CHECK_STATUS(FINCH_E_USAGE, finch_token_offsets(m, texts, 3, &three, offsets, NULL, &err), &err);
    finch_model_close(m);
}
