/* A scoring request in steady state allocates nothing: the arenas have grown to the largest it met. */
#include "harness.h"

#include "model/model.h"

enum { N_TEXTS = 60, LABELS = 5, ALLOCATIONS_A_REQUEST = 0 };

static uint64_t allocations_of(model_scorer *s, const finch_text *texts, size_t n)
{
    static float logits[N_TEXTS * LABELS];
    finch_error err = {0};
    uint64_t before = mem_count().allocations;
    CHECK_OK(model_score_texts(s, texts, n, 64, logits, NULL, &err), &err);
    return mem_count().allocations - before;
}

static void check_budget(model_compute compute, size_t n_threads)
{
    static const char text[] =
        "Revenue fell 12% year over year; guidance cut. $AAPL to the moon, target raised to $150 by everyone";
    finch_text texts[N_TEXTS];
    finch_error err = {0};
    model *m;
    model_scorer *s;
    for (size_t i = 0; i < N_TEXTS; i++) texts[i] = (finch_text){text, sizeof text - 1 - i};
    CHECK_OK(model_open(FIXTURES "/models/tiny-bert", compute, &m, &err), &err);
    CHECK_OK(model_scorer_create(m, n_threads, &s, &err), &err);
    size_t n = n_threads > 1 ? 1 : N_TEXTS; /* fewer texts than threads take the team's way */
    CHECK(allocations_of(s, texts, n) > 0); /* the first request grows the arenas: the counter does count */
    for (size_t round = 0; round < 10; round++) /* then once more for each larger micro-batch met */
        (void)allocations_of(s, texts + round % 5, n > 1 ? n - round % 5 * 7 : 1);
    for (size_t round = 0; round < 5; round++)
        CHECK_EQUAL(ALLOCATIONS_A_REQUEST, allocations_of(s, texts + round, n > 1 ? n - round * 7 : 1));
    model_scorer_destroy(s);
    model_close(m);
}

TEST(bulk_scoring_allocates_nothing)
{
    check_budget(MODEL_INT8, 1);
    check_budget(MODEL_F32, 1);
    check_budget(MODEL_BF16, 1);
    check_budget(MODEL_BF16X3, 1);
}

TEST(a_single_text_allocates_nothing)
{
    check_budget(MODEL_INT8, 2);
    check_budget(MODEL_F32, 2);
}
