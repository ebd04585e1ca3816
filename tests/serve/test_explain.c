/* Explanations against games whose Shapley values are known. */
#include "harness.h"

#include "serve/explain.h"

static finch_error err;
static arena memory;

/* A score that is a sum over words: each word's weight is its own. "a" 1, "b" 2, ... */
static double additive(finch_text text)
{
    double sum = 0.25;
    for (size_t i = 0; i < text.size_bytes; i++)
        if (text.at[i] > ' ') sum += text.at[i] - 'a' + 1;
    return sum;
}

/* Only together worth anything. */
static double together(finch_text text) { return text.size_bytes == 3 ? 1 : 0; }

static void explain(explain_plan *plan, explain_method method, const char *text, double (*score)(finch_text))
{
    double scores[600];
    CHECK_OK(explain_prepare(plan, method, (finch_text){text, strlen(text)}, &memory, &err), &err);
    CHECK(plan->n_variants <= 600);
    for (size_t i = 0; i < plan->n_variants; i++) scores[i] = score(plan->variants[i]);
    explain_finish(plan, scores);
}

TEST(additive_scores_give_each_word_its_own)
{
    explain_plan plan;
    arena_init(&memory);
    for (int method = EXPLAIN_OCCLUSION; method <= EXPLAIN_SHAPLEY; method++) {
        explain(&plan, method, "  a c\tb \n d", additive);
        CHECK_EQUAL(4, plan.n_words);
        static const double wanted[] = {1, 3, 2, 4};
        for (size_t i = 0; i < 4; i++) CHECK_NEAR(wanted[i], plan.words[i].weight, 1e-12);
        CHECK_EQUAL(2, plan.words[0].begin);
        CHECK_EQUAL(3, plan.words[0].end);
        CHECK_EQUAL(10, plan.words[3].begin);
        CHECK_NEAR(0.25, plan.base, 0);
        CHECK_NEAR(10, plan.sum, 1e-12);
        CHECK_NEAR(0, plan.residual, 1e-12);
    }
    arena_free(&memory);
}

TEST(what_only_counts_together_is_shared_by_shapley_and_left_over_by_occlusion)
{
    explain_plan plan;
    arena_init(&memory);
    explain(&plan, EXPLAIN_SHAPLEY, "a b", together);
    CHECK_NEAR(0.5, plan.words[0].weight, 1e-12);
    CHECK_NEAR(0.5, plan.words[1].weight, 1e-12);
    CHECK_NEAR(0, plan.residual, 1e-12);
    explain(&plan, EXPLAIN_OCCLUSION, "a b", together);
    CHECK_NEAR(2, plan.sum, 1e-12);
    CHECK_NEAR(-1, plan.residual, 1e-12);
    arena_free(&memory);
}

TEST(few_and_many_words)
{
    explain_plan plan;
    char text[2001] = "";
    arena_init(&memory);
    explain(&plan, EXPLAIN_SHAPLEY, "", additive);
    CHECK_EQUAL(0, plan.n_words);
    CHECK_NEAR(0, plan.residual, 1e-12);
    explain(&plan, EXPLAIN_SHAPLEY, " \t ", additive);
    CHECK_EQUAL(0, plan.n_words);
    explain(&plan, EXPLAIN_SHAPLEY, "c", additive);
    CHECK_NEAR(3, plan.words[0].weight, 1e-12);
    for (size_t n = EXPLAIN_WORDS_MAX - 1; n < 1000; n = n * 2 + 1) {
        for (size_t i = 0; i < n; i++) memcpy(text + 2 * i, i % 3 ? "a " : "b ", 3);
        explain(&plan, EXPLAIN_SHAPLEY, text, additive);
        CHECK_EQUAL(n < EXPLAIN_WORDS_MAX ? n : EXPLAIN_WORDS_MAX, plan.n_words);
        for (size_t i = 0; i + 1 < plan.n_words; i++) CHECK(plan.words[i].end < plan.words[i + 1].begin);
        CHECK_EQUAL(0, plan.words[0].begin);
        CHECK_EQUAL(2 * n - 1, plan.words[plan.n_words - 1].end);
        CHECK_NEAR(0, plan.residual, 1e-9);
    }
    arena_free(&memory);
}
