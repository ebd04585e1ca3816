/* From hidden states to logits: the sequence classifier, some words of the vocabulary, or all of it. */
#include "model/gemma_internal.h"

#ifdef _OPENMP
#include <omp.h>
#endif

static size_t larger(size_t a, size_t b) { return a > b ? a : b; }

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

/* Whether the vocabulary's products are with whole numbers, as the layers' are. */
static bool in_integers(const gemma *g) { return g->compute == MODEL_INT8 && blocks_fit(&g->vocabulary); }

static finch_status quantize(const gemma *g, const float *hidden, size_t n_rows, arena *scratch, block_rows *out,
                             finch_error *err)
{
    size_t width = g->config.hidden_size;
    FINCH_TRY(blocks_alloc(scratch, n_rows, width, blocks_need_parts(&g->vocabulary), out, err));
    g->integers->quantize(&(block_quantize){.x = hidden, .ldx = width, .width = width, .to = out});
    return FINCH_OK;
}

static finch_status picked_words(const gemma *g, const float *hidden, size_t n_rows, const int32_t *ids, size_t n_ids,
                                 float *logits, arena *scratch, finch_error *err)
{
    size_t width = g->config.hidden_size;
    float *row;
    if (in_integers(g)) {
        block_rows rows;
        unsigned char *memory;
        FINCH_TRY(quantize(g, hidden, n_rows, scratch, &rows, err));
        FINCH_TRY(ARENA_NEW(scratch, &memory, blocks_scratch_bytes(), err));
        blocks_product_picked(g->integers, &g->vocabulary, &rows, ids, n_ids, memory, logits, n_ids);
        return FINCH_OK;
    }
    FINCH_TRY(ARENA_NEW(scratch, &row, width, err));
    for (size_t j = 0; j < n_ids; j++) {
        stored_rows(&g->vocabulary, (size_t)ids[j], 1, row);
        for (size_t i = 0; i < n_rows; i++) logits[i * n_ids + j] = dot(hidden + i * width, row, width);
    }
    return FINCH_OK;
}

finch_status gemma_token_logits(const gemma *g, const float *hidden, size_t n_rows, const int32_t *ids, size_t n_ids,
                                float *logits, arena *scratch, finch_error *err)
{
    for (size_t j = 0; j < n_ids; j++)
        if (ids[j] < 0 || (size_t)ids[j] >= g->config.vocab_size)
            return finch_fail(err, FINCH_E_USAGE, "the id %ld is asked for; ids are below %zu", (long)ids[j],
                              g->config.vocab_size);
    arena_place mark = arena_mark(scratch);
    finch_status st = picked_words(g, hidden, n_rows, ids, n_ids, logits, scratch, err);
    arena_release(scratch, mark);
    return st;
}

static finch_status all_words(const gemma *g, const float *hidden, size_t n_rows, size_t team, float *logits, arena *scratch,
                              finch_error *err)
{
    size_t width = g->config.hidden_size, rows = g->vocabulary.rows, n_panels = (rows + KERNEL_PANEL - 1) / KERNEL_PANEL;
    size_t room = larger(stored_scratch_floats(&g->vocabulary), (blocks_scratch_bytes() + 63) / 64 * 64 / sizeof(float));
    bool integers = in_integers(g);
    block_rows quantized;
    float *memory;
    if (integers) FINCH_TRY(quantize(g, hidden, n_rows, scratch, &quantized, err));
    FINCH_TRY(ARENA_NEW(scratch, &memory, team * room, err));
#pragma omp parallel for schedule(static) num_threads((int)team) if (team > 1)
    for (size_t part = 0; part < team; part++) {
        size_t begin = n_panels * part / team, end = n_panels * (part + 1) / team;
        if (integers)
            blocks_product(g->integers, &g->vocabulary, &quantized, begin, end, memory + part * room, logits, rows);
        else
            stored_product(&g->products, &g->vocabulary, hidden, width, n_rows, begin, end, memory + part * room, logits,
                           rows);
    }
    return FINCH_OK;
}

finch_status gemma_vocabulary_logits(const gemma *g, const float *hidden, size_t n_rows, size_t n_threads, float *logits,
                                     arena *scratch, finch_error *err)
{
    arena_place mark = arena_mark(scratch);
    finch_status st = all_words(g, hidden, n_rows, gemma_team(n_threads), logits, scratch, err);
    arena_release(scratch, mark);
    return st;
}
