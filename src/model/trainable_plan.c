/* The memory of one step, all from the arena, and the products in the trainable's mode. */
#include "model/trainable_internal.h"

#include "base/rng.h"
#include "tensor/gemm.h"

#include <math.h>
#ifdef _OPENMP
#include <omp.h>
#endif
#include <string.h>

static size_t padded(size_t n) { return (n + 15) / 16 * 16; }

size_t plan_room(const trainable *t, size_t n_rows)
{
    size_t step = n_rows <= 64 ? 16 : 64;
    return t->bf16 ? (n_rows + step - 1) / step * step : n_rows;
}

finch_status plan_matrix(trainable *t, size_t n_rows, size_t n_cols, bool also_f32, matrix *out, finch_error *err)
{
    size_t room = plan_room(t, n_rows);
    *out = (matrix){NULL, NULL};
    if (!t->bf16 || also_f32) FINCH_TRY(ARENA_NEW(&t->scratch, &out->f, room * n_cols, err));
    if (!t->bf16) return FINCH_OK;
    FINCH_TRY(ARENA_NEW(&t->scratch, &out->h, room * n_cols, err));
    memset(out->h + n_rows * n_cols, 0, (room - n_rows) * n_cols * sizeof *out->h);
    return FINCH_OK;
}

/* ---- dropout --------------------------------------------------------------------------------------------------- */

static uint32_t threshold_of(float probability) { return (uint32_t)lrintf(probability * 65536.0f); }

float plan_keep_scale(float probability) { return 65536.0f / (float)(65536u - threshold_of(probability)); }

finch_status plan_dropout(trainable *t, const step_pass *p, dropout_site site, size_t layer, size_t first, size_t n_words,
                          float probability, uint16_t **out, finch_error *err)
{
    enum { STREAM_DROPOUT = 0xD0, GROUPS = 64 };
    *out = NULL;
    uint32_t threshold = threshold_of(probability);
    if (!p->training || threshold == 0 || n_words == 0) return FINCH_OK;
    size_t first_group = first / 8, n_groups = (first % 8 + n_words + 7) / 8, n_parts = (n_groups + GROUPS - 1) / GROUPS;
    uint16_t *words;
    FINCH_TRY(ARENA_NEW(&t->scratch, &words, 8 * n_groups, err));
    /* A stream for each (step, layer, site); its counters number the words. */
    uint64_t stream = p->step << 16 | (uint64_t)layer << 8 | (uint64_t)site;
    uint64_t seed = t->seed ^ ((uint64_t)STREAM_DROPOUT << 56);
#pragma omp parallel for schedule(static)
    for (size_t part = 0; part < n_parts; part++) {
        size_t at = part * GROUPS, n = n_groups - at < GROUPS ? n_groups - at : GROUPS;
        t->ops->dropout_words(seed, stream, first_group + at, n, threshold, words + 8 * at);
    }
    *out = words + first % 8;
    return FINCH_OK;
}

static finch_status plan_layer_dropout(trainable *t, const step_pass *p, size_t index, layer_pass *l, finch_error *err)
{
    size_t words = padded(t->config.hidden_size) / 16, n_texts = p->batch->n_texts;
    size_t first = (l->selected ? t->before.selected : t->before.tokens) * words;
    size_t first_pair = (l->selected ? t->before.selected_pairs : t->before.pairs) * t->config.n_heads / 16;
    FINCH_TRY(plan_dropout(t, p, SITE_ATTENTION, index, first_pair, l->probs_at[n_texts] / 16, t->attention_dropout,
                           &l->keep_attention, err));
    FINCH_TRY(plan_dropout(t, p, SITE_OUT, index, first, l->n_rows * words, t->hidden_dropout, &l->keep1, err));
    return plan_dropout(t, p, SITE_DOWN, index, first, l->n_rows * words, t->hidden_dropout, &l->keep2, err);
}

/* Whether the layer's adapter sees all tokens there; else the rows that go on. */
static bool sees_tokens(const layer_pass *l, size_t site)
{
    return !l->selected || site == ADAPTER_KEY || site == ADAPTER_VALUE;
}

static finch_status plan_adapters(trainable *t, const step_pass *p, layer_pass *l, finch_error *err)
{
    for (size_t site = 0; t->frozen != NULL && site < ADAPTER_LAYER_SITES; site++) {
        const lora_pair *pair = &t->frozen_parts[l->index * ADAPTER_LAYER_SITES + site].pair;
        bool tokens = sees_tokens(l, site);
        const lora_dropout d = {t->seed, p->step, l->index, site, tokens ? t->before.tokens : t->before.selected};
        size_t rows = tokens ? p->n_tokens : l->n_rows;
        l->kept[site] = (lora_kept){0};
        if (!pair->used) continue;
        FINCH_TRY(ARENA_NEW(&t->scratch, &l->kept[site].low, rows * t->setup.rank, err));
        if (p->training) FINCH_TRY(lora_draw_words(&t->setup, &d, rows, pair->in, &t->scratch, &l->kept[site], err));
    }
    return FINCH_OK;
}

/* ---- the layers' memory ---------------------------------------------------------------------------------------- */

static finch_status plan_probs(trainable *t, const step_pass *p, bool selected, size_t **out, finch_error *err)
{
    const model_batch *b = p->batch;
    FINCH_TRY(ARENA_NEW(&t->scratch, out, b->n_texts + 1, err));
    size_t at = 0;
    for (size_t i = 0; i < b->n_texts; i++) {
        size_t length = b->offsets[i + 1] - b->offsets[i];
        size_t queries = selected ? p->selected_first[i + 1] - p->selected_first[i] : length;
        (*out)[i] = at;
        at += t->config.n_heads * queries * padded(length);
    }
    (*out)[b->n_texts] = at;
    return FINCH_OK;
}

/* Nothing is kept of a layer that is not gone back through: all but the last take the memory of two, in turns. */
static bool shares_memory(const step_pass *p, const trainable *t, size_t index)
{
    bool forgotten = !p->training || (t->adapts && index < t->lowest);
    return forgotten && index >= 2 && index + 1 < t->config.n_layers;
}

bool layer_is_computed_again(const trainable *t, const step_pass *p, size_t index)
{
    return p->training && t->adapts && t->lora.checkpoint_activations && index >= t->lowest &&
           index + 1 < t->config.n_layers;
}

/* What only the layer itself has where its memory is another's. */
static finch_status plan_own(trainable *t, const step_pass *p, layer_pass *l, bool output, finch_error *err)
{
    if (output) FINCH_TRY(plan_matrix(t, l->n_rows, t->config.hidden_size, true, &l->y2, err));
    FINCH_TRY(plan_adapters(t, p, l, err));
    return plan_layer_dropout(t, p, l->index, l, err);
}

static finch_status plan_layer(trainable *t, step_pass *p, size_t index, finch_error *err)
{
    layer_pass *l = &p->layers[index];
    arena *a = &t->scratch;
    size_t hidden = t->config.hidden_size, inner = t->config.intermediate_size;
    if (shares_memory(p, t, index)) {
        *l = p->layers[index - 2];
        l->index = index;
        return plan_own(t, p, l, false, err);
    }
    if (layer_is_computed_again(t, p, index) && index > t->lowest) {
        *l = p->layers[t->lowest];
        l->index = index;
        return plan_own(t, p, l, true, err);
    }
    bool selected = index + 1 == t->config.n_layers;
    size_t rows = selected ? p->n_selected : p->n_tokens, room = plan_room(t, rows);
    *l = (layer_pass){.index = index,
                      .n_rows = rows,
                      .room = room,
                      .selected = selected,
                      .probs_at = selected ? p->probs_at_selected : p->probs_at_full};
    FINCH_TRY(ARENA_NEW(a, &l->k, (selected ? 2 : 3) * p->room * hidden, err));
    if (selected) {
        FINCH_TRY(ARENA_NEW(a, &l->q, room * hidden, err));
        FINCH_TRY(plan_matrix(t, rows, hidden, true, &l->x_rows, err));
        l->ldq = hidden;
        l->ldk = 2 * hidden;
    } else {
        l->q = l->k;
        l->k = l->q + hidden;
        l->ldq = l->ldk = 3 * hidden;
    }
    l->v = l->k + hidden;
    FINCH_TRY(ARENA_NEW(a, &l->probs, l->probs_at[p->batch->n_texts], err));
    FINCH_TRY(plan_matrix(t, rows, hidden, false, &l->context, err));
    FINCH_TRY(ARENA_NEW(a, &l->sum1, room * hidden, err));
    FINCH_TRY(ARENA_NEW(a, &l->stats1, rows * 2, err));
    FINCH_TRY(plan_matrix(t, rows, hidden, true, &l->y1, err));
    FINCH_TRY(ARENA_NEW(a, &l->slope, room * inner, err));
    FINCH_TRY(plan_matrix(t, rows, inner, false, &l->h, err));
    FINCH_TRY(ARENA_NEW(a, &l->sum2, room * hidden, err));
    FINCH_TRY(ARENA_NEW(a, &l->stats2, rows * 2, err));
    return plan_own(t, p, l, true, err);
}

static finch_status plan_frozen(trainable *t, step_pass *p, finch_error *err)
{
    const stored_matrix *matrices[ADAPTER_LAYER_SITES];
    size_t n = p->n_tokens, hidden = t->config.hidden_size, inner = t->config.intermediate_size;
    if (t->frozen == NULL) return FINCH_OK;
    for (size_t i = 0; i < ADAPTER_LAYER_SITES; i++) matrices[i] = &t->frozen_parts[i].weight;
    p->products = (frozen_products){.kernels = ops_choose(), .bf16 = t->lora.bf16};
    FINCH_TRY(frozen_plan(&p->products, matrices, ADAPTER_LAYER_SITES, n, p->n_threads, &t->scratch, err));
    FINCH_TRY(ARENA_NEW(&t->scratch, &p->lora_low, n * t->setup.rank, err));
    FINCH_TRY(ARENA_NEW(&t->scratch, &p->lora_room, n * (hidden > inner ? hidden : inner), err));
    return ARENA_NEW(&t->scratch, &p->lora_more, n * (hidden > inner ? hidden : inner), err);
}

static finch_status plan_attention_scratch(trainable *t, step_pass *p, finch_error *err)
{
    const model_config *c = &t->config;
    size_t width = c->hidden_size / c->n_heads;
    p->n_threads = 1;
#ifdef _OPENMP
    p->n_threads = (size_t)omp_get_max_threads();
#endif
    p->attention_scratch_items = padded(train_attention_scratch(p->longest, p->longest, width));
    FINCH_TRY(ARENA_NEW(&t->scratch, &p->attention_scratch, p->n_threads * p->attention_scratch_items, err));
    if (c->n_relative_buckets == 0) return FINCH_OK;
    size_t items = c->n_heads * (2 * p->longest - 1);
    FINCH_TRY(ARENA_NEW(&t->scratch, &p->relative, items, err));
    if (!p->training || t->frozen != NULL) return FINCH_OK;
    FINCH_TRY(ARENA_NEW(&t->scratch, &p->relative_grad, items, err));
    memset(p->relative_grad, 0, items * sizeof *p->relative_grad);
    return FINCH_OK;
}

finch_status plan_make(trainable *t, step_pass *p, finch_error *err)
{
    const model_batch *b = p->batch;
    size_t hidden = t->config.hidden_size;
    p->n_tokens = b->n_tokens;
    p->room = plan_room(t, b->n_tokens);
    for (size_t i = 0; i < b->n_texts; i++) {
        size_t length = b->offsets[i + 1] - b->offsets[i];
        if (length > p->longest) p->longest = length;
    }
    FINCH_TRY(plan_probs(t, p, false, &p->probs_at_full, err));
    FINCH_TRY(plan_probs(t, p, true, &p->probs_at_selected, err));
    FINCH_TRY(plan_attention_scratch(t, p, err));
    FINCH_TRY(plan_frozen(t, p, err));
    FINCH_TRY(ARENA_NEW(&t->scratch, &p->embedding_sum, b->n_tokens * hidden, err));
    FINCH_TRY(ARENA_NEW(&t->scratch, &p->embedding_stats, b->n_tokens * 2, err));
    FINCH_TRY(plan_matrix(t, b->n_tokens, hidden, true, &p->embedded, err));
    FINCH_TRY(plan_dropout(t, p, SITE_EMBEDDING, 0, t->before.tokens * (padded(hidden) / 16),
                           b->n_tokens * (padded(hidden) / 16), t->hidden_dropout, &p->keep_embedding, err));
    FINCH_TRY(ARENA_NEW(&t->scratch, &p->layers, t->config.n_layers, err));
    matrix x = p->embedded;
    for (size_t i = 0; i < t->config.n_layers; i++) {
        FINCH_TRY(plan_layer(t, p, i, err));
        p->layers[i].x = x;
        if (!p->layers[i].selected) p->layers[i].x_rows = x;
        x = p->layers[i].y2;
    }
    return FINCH_OK;
}

/* ---- products -------------------------------------------------------------------------------------------------- */

finch_status step_product(const trainable *t, bool trans_a, bool trans_b, size_t m, size_t n, size_t k, matrix a, size_t lda,
                          matrix b, size_t ldb, float beta, float *c, size_t ldc, finch_error *err)
{
    if (t->bf16) return gemm_bf16(trans_a, trans_b, m, n, k, a.h, lda, b.h, ldb, beta, c, ldc, err);
    if (t->bf16x3) return gemm_bf16x3(trans_a, trans_b, m, n, k, a.f, lda, b.f, ldb, beta, c, ldc, t->room, err);
    return gemm_f32(trans_a, trans_b, m, n, k, a.f, lda, b.f, ldb, beta, c, ldc, err);
}

float step_beta(const trainable *t) { return t->grads_stale ? 0.0f : 1.0f; }
