#include "serve/explain.h"

#include "base/rng.h"

#include <string.h>

static bool is_space(char c) { return c == ' ' || (c >= '\t' && c <= '\r'); }

/* The words' places; neighbours are joined where there are too many. */
static void find_words(explain_plan *plan)
{
    const char *at = plan->text.at;
    size_t size = plan->text.size_bytes, n = 0, seen = 0;
    for (size_t i = 0; i < size; i++) n += !is_space(at[i]) && (i == 0 || is_space(at[i - 1])) ? 1 : 0;
    size_t groups = n < EXPLAIN_WORDS_MAX ? n : EXPLAIN_WORDS_MAX;
    plan->n_words = groups;
    for (size_t i = 0; i < size;) {
        if (is_space(at[i])) {
            i++;
            continue;
        }
        size_t end = i, group = seen * groups / n;
        while (end < size && !is_space(at[end])) end++;
        bool first = seen == 0 || (seen - 1) * groups / n != group;
        if (first) plan->words[group].begin = i;
        plan->words[group].end = end;
        seen++;
        i = end;
    }
}

/* The words of keep, a space between them. */
static finch_status add_variant(explain_plan *plan, const bool *keep, arena *memory, finch_error *err)
{
    char *text;
    size_t size = 0;
    FINCH_TRY(ARENA_NEW(memory, &text, plan->text.size_bytes + plan->n_words + 1, err));
    for (size_t i = 0; i < plan->n_words; i++) {
        if (!keep[i]) continue;
        const explain_word *w = &plan->words[i];
        if (size > 0) text[size++] = ' ';
        memcpy(text + size, plan->text.at + w->begin, w->end - w->begin);
        size += w->end - w->begin;
    }
    plan->variants[plan->n_variants++] = (finch_text){text, size};
    return FINCH_OK;
}

static void make_order(size_t n, size_t order, size_t *out)
{
    rng r = {.seed = 1, .stream = n * EXPLAIN_ORDERS + order / 2};
    for (size_t i = 0; i < n; i++) out[i] = i;
    rng_shuffle(&r, out, n);
    for (size_t i = 0; order % 2 == 1 && i < n / 2; i++) {
        size_t swapped = out[i];
        out[i] = out[n - 1 - i];
        out[n - 1 - i] = swapped;
    }
}

static finch_status add_order(explain_plan *plan, size_t order, arena *memory, finch_error *err)
{
    size_t words[EXPLAIN_WORDS_MAX];
    bool keep[EXPLAIN_WORDS_MAX] = {false};
    make_order(plan->n_words, order, words);
    for (size_t i = 0; i + 1 < plan->n_words; i++) {
        keep[words[i]] = true;
        FINCH_TRY(add_variant(plan, keep, memory, err));
    }
    return FINCH_OK;
}

static finch_status add_occlusions(explain_plan *plan, arena *memory, finch_error *err)
{
    for (size_t i = 0; i < plan->n_words; i++) {
        bool keep[EXPLAIN_WORDS_MAX];
        for (size_t j = 0; j < plan->n_words; j++) keep[j] = j != i;
        FINCH_TRY(add_variant(plan, keep, memory, err));
    }
    return FINCH_OK;
}

finch_status explain_prepare(explain_plan *plan, explain_method method, finch_text text, arena *memory, finch_error *err)
{
    *plan = (explain_plan){.method = method, .text = text};
    find_words(plan);
    size_t n = plan->n_words, most = 2 + (method == EXPLAIN_SHAPLEY ? 2 * EXPLAIN_ORDERS * (n > 0 ? n - 1 : 0) : n);
    FINCH_TRY(ARENA_NEW(memory, &plan->variants, most, err));
    plan->variants[0] = text;
    plan->variants[1] = (finch_text){"", 0};
    plan->n_variants = 2;
    if (method == EXPLAIN_OCCLUSION) return add_occlusions(plan, memory, err);
    for (size_t order = 0; order < 2 * EXPLAIN_ORDERS; order++) FINCH_TRY(add_order(plan, order, memory, err));
    return FINCH_OK;
}

static void finish_shapley(explain_plan *plan, const double *scores)
{
    size_t at = 2, words[EXPLAIN_WORDS_MAX];
    for (size_t order = 0; order < 2 * EXPLAIN_ORDERS; order++) {
        double before = scores[1];
        make_order(plan->n_words, order, words);
        for (size_t i = 0; i < plan->n_words; i++) {
            double after = i + 1 < plan->n_words ? scores[at++] : scores[0];
            plan->words[words[i]].weight += (after - before) / (2 * EXPLAIN_ORDERS);
            before = after;
        }
    }
}

void explain_finish(explain_plan *plan, const double *scores)
{
    plan->base = scores[1];
    for (size_t i = 0; i < plan->n_words; i++) plan->words[i].weight = 0;
    if (plan->method == EXPLAIN_SHAPLEY) finish_shapley(plan, scores);
    for (size_t i = 0; plan->method == EXPLAIN_OCCLUSION && i < plan->n_words; i++)
        plan->words[i].weight = scores[0] - scores[2 + i];
    plan->sum = 0;
    for (size_t i = 0; i < plan->n_words; i++) plan->sum += plan->words[i].weight;
    plan->residual = scores[0] - plan->base - plan->sum;
}
