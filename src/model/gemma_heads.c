/* From hidden states to logits: the sequence classifier, some words of the vocabulary, or all of it. */
#include "model/gemma_internal.h"

#ifdef _OPENMP
#include <omp.h>
#endif

/* Rising k, fused: the order of kernel_product_f32, so that a word's logit is the same alone and among all. */
static float dot(const float *a, const float *b, size_t n)
{
    float sum = 0.0f;
    for (size_t i = 0; i < n; i++) sum = __builtin_fmaf(a[i], b[i], sum);
    return sum;
}

void gemma_class_logits(const gemma *g, const float *hidden, size_t n_rows, float *logits)
{
    size_t width = g->config.hidden_size, n = g->score.rows;
    float row[MODEL_HIDDEN_MAX];
    for (size_t j = 0; j < n; j++) {
        stored_rows(&g->score, j, 1, row);
        for (size_t i = 0; i < n_rows; i++) logits[i * n + j] = dot(hidden + i * width, row, width);
    }
}

finch_status gemma_token_logits(const gemma *g, const float *hidden, size_t n_rows, const int32_t *ids, size_t n_ids,
                                float *logits, arena *scratch, finch_error *err)
{
    size_t width = g->config.hidden_size;
    float *row;
    for (size_t j = 0; j < n_ids; j++)
        if (ids[j] < 0 || (size_t)ids[j] >= g->config.vocab_size)
            return finch_fail(err, FINCH_E_USAGE, "the id %ld is asked for; ids are below %zu", (long)ids[j],
                              g->config.vocab_size);
    arena_place mark = arena_mark(scratch);
    finch_status st = ARENA_NEW(scratch, &row, width, err);
    for (size_t j = 0; st == FINCH_OK && j < n_ids; j++) {
        stored_rows(&g->vocabulary, (size_t)ids[j], 1, row);
        for (size_t i = 0; i < n_rows; i++) logits[i * n_ids + j] = dot(hidden + i * width, row, width);
    }
    arena_release(scratch, mark);
    return st;
}

finch_status gemma_vocabulary_logits(const gemma *g, const float *hidden, size_t n_rows, size_t n_threads, float *logits,
                                     arena *scratch, finch_error *err)
{
    size_t width = g->config.hidden_size, rows = g->vocabulary.rows, team = gemma_team(n_threads);
    size_t n_panels = (rows + KERNEL_PANEL - 1) / KERNEL_PANEL, room = stored_scratch_floats(&g->vocabulary);
    float *memory;
    arena_place mark = arena_mark(scratch);
    finch_status st = ARENA_NEW(scratch, &memory, team * room, err);
    if (st == FINCH_OK) {
#pragma omp parallel for schedule(static) num_threads((int)team) if (team > 1)
        for (size_t part = 0; part < team; part++)
            stored_product(&g->products, &g->vocabulary, hidden, width, n_rows, n_panels * part / team,
                           size_least(n_panels, n_panels * (part + 1) / team), memory + part * room, logits, rows);
    }
    arena_release(scratch, mark);
    return st;
}
