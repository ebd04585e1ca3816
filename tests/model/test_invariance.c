/* A text's logits depend on nothing but the text: not on its neighbours, its place, the number of threads, how the call
 * was cut, or (in f32 and int8) the instruction set. Equal bits, which is more than f32 promises. */
#include "harness.h"

#include "base/rng.h"
#include "model/model.h"

#include <stdlib.h>

enum { N_TEXTS = 150, LABELS_MAX = 8, MAX_TOKENS = 64 };

static const model_compute computes[] = {MODEL_F32, MODEL_BF16, MODEL_INT8, MODEL_BF16X3};
static const char *const folders[] = {FIXTURES "/models/tiny-bert", FIXTURES "/models/tiny-mpnet"};

typedef struct texts {
    char bytes[N_TEXTS][400];
    finch_text at[N_TEXTS];
} texts;

/* Words of all lengths, from nothing to far past max_tokens. */
static void texts_make(texts *t)
{
    static const char *const words[] = {"the",      "stock", "market",      "$AAPL", "up",      "12%", "\xf0\x9f\x9a\x80",
                                        "earnings", "a",     "caf\xc3\xa9", "!!",    "guidance"};
    rng r = {.seed = 9};
    for (size_t i = 0; i < N_TEXTS; i++) {
        size_t n = (size_t)rng_below(&r, 45);
        t->bytes[i][0] = '\0';
        for (size_t w = 0; w < n; w++) {
            strcat(t->bytes[i], words[rng_below(&r, 12)]);
            strcat(t->bytes[i], " ");
            if (strlen(t->bytes[i]) > 380) break;
        }
        t->at[i] = (finch_text){t->bytes[i], strlen(t->bytes[i])};
    }
}

static void score(const model *m, size_t n_threads, const finch_text *at, size_t n, float *logits)
{
    finch_error err = {0};
    model_scorer *s;
    CHECK_OK(model_scorer_create(m, n_threads, &s, &err), &err);
    CHECK_OK(model_score_texts(s, at, n, MAX_TOKENS, logits, NULL, &err), &err);
    model_scorer_destroy(s);
}

typedef void (*check_fn)(const model *m, size_t n_labels, const texts *t, const float *alone);

/* Runs check for every model and type; alone holds each text's logits from a call of its own on one thread. */
static void for_every_model(check_fn check)
{
    static texts t;
    static float alone[N_TEXTS * LABELS_MAX];
    texts_make(&t);
    for (size_t f = 0; f < 2; f++) {
        for (size_t c = 0; c < sizeof computes / sizeof computes[0]; c++) {
            finch_error err = {0};
            model *m;
            CHECK_OK(model_open(folders[f], computes[c], &m, &err), &err);
            size_t n_labels = model_get_config(m)->n_labels;
            model_scorer *s;
            CHECK_OK(model_scorer_create(m, 1, &s, &err), &err);
            for (size_t i = 0; i < N_TEXTS; i++)
                CHECK_OK(model_score_texts(s, t.at + i, 1, MAX_TOKENS, alone + i * n_labels, NULL, &err), &err);
            model_scorer_destroy(s);
            check(m, n_labels, &t, alone);
            model_close(m);
        }
    }
}

static void check_threads(const model *m, size_t n_labels, const texts *t, const float *alone)
{
    float logits[N_TEXTS * LABELS_MAX];
    for (size_t n_threads = 1; n_threads <= 5; n_threads++) {
        score(m, n_threads, t->at, N_TEXTS, logits);
        CHECK(memcmp(alone, logits, N_TEXTS * n_labels * sizeof *logits) == 0);
    }
}

TEST(the_number_of_threads_changes_no_bit)
{
    for_every_model(check_threads);
}

static void check_permutation(const model *m, size_t n_labels, const texts *t, const float *alone)
{
    rng r = {.seed = 4};
    size_t order[N_TEXTS];
    finch_text moved[N_TEXTS];
    float logits[N_TEXTS * LABELS_MAX];
    for (size_t i = 0; i < N_TEXTS; i++) order[i] = i;
    for (int round = 0; round < 3; round++) {
        rng_shuffle(&r, order, N_TEXTS);
        for (size_t i = 0; i < N_TEXTS; i++) moved[i] = t->at[order[i]];
        score(m, 2, moved, N_TEXTS, logits);
        for (size_t i = 0; i < N_TEXTS; i++)
            CHECK(memcmp(alone + order[i] * n_labels, logits + i * n_labels, n_labels * sizeof *logits) == 0);
    }
}

TEST(the_order_of_the_texts_changes_no_bit)
{
    for_every_model(check_permutation);
}

/* Calls of 1, 2, 3, ... texts: the last few sizes are below the thread count and take the other way through the engine. */
static void check_cuts(const model *m, size_t n_labels, const texts *t, const float *alone)
{
    float logits[N_TEXTS * LABELS_MAX];
    for (size_t at = 0, n = 1; at < N_TEXTS; at += n, n++) {
        if (n > N_TEXTS - at) n = N_TEXTS - at;
        score(m, 4, t->at + at, n, logits + at * n_labels);
    }
    CHECK(memcmp(alone, logits, N_TEXTS * n_labels * sizeof *logits) == 0);
}

TEST(how_the_texts_are_cut_into_calls_changes_no_bit)
{
    for_every_model(check_cuts);
}

TEST(the_instruction_set_changes_no_bit_in_f32_and_int8)
{
    static const char *const isas[] = {"scalar", "avx2", "avx512", "amx"};
    static texts t;
    texts_make(&t);
    for (size_t f = 0; f < 2; f++) {
        for (size_t c = 0; c < 3; c += 2) {
            float first[40 * LABELS_MAX], logits[40 * LABELS_MAX];
            for (size_t i = 0; i < sizeof isas / sizeof isas[0]; i++) {
                finch_error err = {0};
                model *m;
                CHECK_EQUAL(0, setenv("FINCH_ISA", isas[i], 1));
                CHECK_OK(model_open(folders[f], computes[c], &m, &err), &err);
                score(m, 2, t.at, 40, i == 0 ? first : logits);
                if (i > 0) CHECK(memcmp(first, logits, 40 * model_get_config(m)->n_labels * sizeof *logits) == 0);
                model_close(m);
            }
        }
    }
    CHECK_EQUAL(0, unsetenv("FINCH_ISA"));
}

/* A model_logits call on a team and one inside a parallel region, where it has one thread. */
TEST(a_team_and_a_single_thread_give_the_same_bits)
{
    finch_error err = {0};
    model *m;
    int32_t ids[40];
    uint32_t offsets[4] = {0, 7, 8, 40};
    for (size_t i = 0; i < 40; i++) ids[i] = (int32_t)(100 + 37 * i % 1500);
    for (size_t c = 0; c < sizeof computes / sizeof computes[0]; c++) {
        float team[3 * LABELS_MAX], single[3 * LABELS_MAX];
        finch_status inner = FINCH_E_FAILED;
        arena a;
        arena_init(&a);
        CHECK_OK(model_open(folders[0], computes[c], &m, &err), &err);
        model_batch b = {ids, offsets, 3, 40};
        CHECK_OK(model_logits(m, &b, team, &a, &err), &err);
#pragma omp parallel num_threads(2)
        {
#pragma omp single
            inner = model_logits(m, &b, single, &a, &err);
        }
        CHECK_OK(inner, &err);
        CHECK(memcmp(team, single, 3 * model_get_config(m)->n_labels * sizeof *team) == 0);
        model_close(m);
        arena_free(&a);
    }
}
