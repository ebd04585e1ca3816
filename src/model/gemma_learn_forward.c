/* The forward pass of a Gemma that learns. As gemma_forward.c, with what the backward pass reads kept: or, where activations are
 * checkpointed, only each layer's input, and the layer is computed again when its turn comes. */
#include "model/gemma_learn_internal.h"

#include "tensor/gemm.h"

#include <math.h>
#include <string.h>

enum { ROWS_PART = 8 };

size_t learn_round16(size_t n) { return (n + 15) / 16 * 16; }

static size_t larger(size_t a, size_t b) { return a > b ? a : b; }

const gemma_matrix *learn_matrix_of(const gemma_layer *w, learn_matrix which)
{
    switch (which) {
#define MATRIX_CASE(name, hub, gguf_name, outputs, inputs) \
    case LEARN_##name: return &w->name;
        GEMMA_MATRIX_LIST(MATRIX_CASE)
#undef MATRIX_CASE
    default: return NULL;
    }
}

/* ---- products -------------------------------------------------------------------------------------------------- */

/* y = x W^T of n rows, and beside it the adapter's part. */
static finch_status multiply(gemma_learner *l, gemma_learnt_pass *p, size_t layer, learn_layer *to, learn_matrix which,
                             size_t n, const float *x, float *y, finch_error *err)
{
    const stored_matrix *w = &learn_matrix_of(&l->base->layers[layer], which)->stored;
    const lora_pair *pair = &l->pairs[layer][which];
    frozen_product(&p->products, w, x, n, y, w->rows);
    if (!pair->used) return FINCH_OK;
    bool tokens = !learn_is_last(l, layer) || which == LEARN_key || which == LEARN_value;
    const lora_dropout d = {p->how.seed, p->how.step, layer, which, tokens ? p->how.first_token : p->how.first_text};
    lora_kept *kept = &to->kept[which];
    if (p->how.training) FINCH_TRY(lora_draw_words(&l->setup, &d, n, pair->in, p->how.scratch, kept, err));
    return lora_forward(&l->setup, pair, kept, n, x, p->room, y, w->rows, err);
}

/* ---- rows ------------------------------------------------------------------------------------------------------ */

static void norm_rows(const gemma_learner *l, const float *x, size_t n, size_t width, const float *gain,
                      const float *residual, float *y)
{
    gemma_norm_rows(l->base, gemma_team(0), x, n, width, gain, residual, y);
}

bool learn_is_last(const gemma_learner *l, size_t layer) { return layer + 1 == l->base->config.n_layers; }

size_t learn_rows(const gemma_learner *l, const gemma_learnt_pass *p, size_t layer)
{
    return learn_is_last(l, layer) ? p->n_texts : p->n_tokens;
}

void learn_gather(const gemma_learner *l, const gemma_learnt_pass *p, const float *x, float *rows)
{
    size_t hidden = l->base->config.hidden_size;
    for (size_t text = 0; text < p->n_texts; text++)
        memcpy(rows + text * hidden, x + (p->how.batch->offsets[text + 1] - 1) * hidden, hidden * sizeof *rows);
}

/* Heads normalised and turned by their place: y from x, n_heads a row; all tokens, or each text's last. */
static void turn(const gemma_learner *l, const gemma_learnt_pass *p, const float *x, size_t n_heads, const float *gain,
                 bool is_global, bool last, float *y)
{
    const model_batch *b = p->how.batch;
    size_t width = l->base->config.head_width;
    norm_rows(l, x, (last ? p->n_texts : p->n_tokens) * n_heads, width, gain, NULL, y);
#pragma omp parallel for schedule(static)
    for (size_t text = 0; text < b->n_texts; text++) {
        size_t begin = b->offsets[text], end = b->offsets[text + 1];
        for (size_t i = last ? end - 1 : begin; i < end; i++) {
            const float *angles = p->angles[is_global] + (i - begin) * width;
            float *heads = y + (last ? text : i) * n_heads * width;
            l->base->rows->rotate(&(decoder_rotate){heads, n_heads, width, angles, angles + width / 2});
        }
    }
}

/* ---- attention ------------------------------------------------------------------------------------------------- */

/* One head of one text: probabilities and their sum of the values; of all its tokens, or of the last. */
static finch_status attend(const gemma_learner *l, const gemma_learnt_pass *p, const learn_layer *to, size_t text,
                           size_t head, size_t window, bool last, finch_error *err)
{
    const gemma_config *c = &l->base->config;
    size_t width = c->head_width, begin = p->how.batch->offsets[text], n = p->how.batch->offsets[text + 1] - begin;
    size_t ld = learn_round16(n), key_head = head / (c->n_heads / c->n_key_heads);
    size_t n_queries = last ? 1 : n, at = (last ? text : begin) * p->queries + head * width;
    const float *k = to->k + begin * p->keys + key_head * width, *v = to->v + begin * p->keys + key_head * width;
    float *probs = to->probs + p->probs_at[text] + head * n_queries * ld;
    FINCH_TRY(gemm_f32(false, true, n_queries, n, width, to->q + at, p->queries, k, p->keys, 0.0f, probs, ld, err));
    for (size_t query = 0; query < n_queries; query++) {
        float *row = probs + query * ld;
        size_t i = n - n_queries + query, first = window == 0 || i + 1 < window ? 0 : i + 1 - window;
        float factor = l->base->rows->softmax(row, first, i + 1);
        for (size_t j = 0; j < ld; j++) row[j] = j <= i ? row[j] * factor : 0.0f;
    }
    return gemm_f32(false, false, n_queries, width, n, probs, ld, v, p->keys, 0.0f, to->context + at, p->queries, err);
}

static finch_status attend_all(const gemma_learner *l, const gemma_learnt_pass *p, size_t layer, learn_layer *to,
                               finch_error *err)
{
    const gemma_config *c = &l->base->config;
    size_t n = p->how.batch->n_texts * c->n_heads, window = c->is_global[layer] ? 0 : c->window;
    finch_status worst = FINCH_OK;
#pragma omp parallel for schedule(dynamic)
    for (size_t i = 0; i < n; i++) {
        finch_error own;
        finch_status st = attend(l, p, to, i / c->n_heads, i % c->n_heads, window, learn_is_last(l, layer), &own);
        if (st == FINCH_OK) continue;
#pragma omp critical(finch_gemma_learn)
        {
            worst = st;
            if (err != NULL) *err = own;
        }
    }
    return worst;
}

/* ---- layers ---------------------------------------------------------------------------------------------------- */

static void gate(const gemma_learner *l, const learn_layer *to, size_t n)
{
    size_t width = l->base->config.intermediate_size, n_parts = (n + ROWS_PART - 1) / ROWS_PART;
    const train_activate a = {.width = width, .kind = TRAIN_GELU_TANH, .x = to->slope, .bias = l->no_bias, .h = to->gelu};
#pragma omp parallel for schedule(static)
    for (size_t part = 0; part < n_parts; part++) {
        size_t end = size_least((part + 1) * ROWS_PART, n);
        l->setup.ops->activate(&a, part * ROWS_PART, end);
        for (size_t i = part * ROWS_PART * width; i < end * width; i++) to->wide[i] = to->gelu[i] * to->up[i];
    }
}

finch_status learn_layer_forward(gemma_learner *l, gemma_learnt_pass *p, size_t layer, learn_layer *to, float *next,
                                 finch_error *err)
{
    const gemma_config *c = &l->base->config;
    const gemma_layer *w = &l->base->layers[layer];
    bool last = learn_is_last(l, layer), is_global = c->is_global[layer];
    size_t n = p->n_tokens, rows = learn_rows(l, p, layer), hidden = c->hidden_size;
    const float *x = last ? p->last_x : to->x, *normed = last ? p->last_normed : to->normed1;
    norm_rows(l, to->x, n, hidden, w->before_attention, NULL, to->normed1);
    if (last) {
        learn_gather(l, p, to->x, p->last_x);
        learn_gather(l, p, to->normed1, p->last_normed);
    }
    FINCH_TRY(multiply(l, p, layer, to, LEARN_query, rows, normed, to->q0, err));
    FINCH_TRY(multiply(l, p, layer, to, LEARN_key, n, to->normed1, to->k0, err));
    FINCH_TRY(multiply(l, p, layer, to, LEARN_value, n, to->normed1, to->v, err));
    turn(l, p, to->q0, c->n_heads, w->query_norm, is_global, last, to->q);
    turn(l, p, to->k0, c->n_key_heads, w->key_norm, is_global, false, to->k);
    FINCH_TRY(attend_all(l, p, layer, to, err));
    FINCH_TRY(multiply(l, p, layer, to, LEARN_out, rows, to->context, to->o, err));
    norm_rows(l, to->o, rows, hidden, w->after_attention, x, to->middle);
    norm_rows(l, to->middle, rows, hidden, w->before_wide, NULL, to->normed2);
    FINCH_TRY(multiply(l, p, layer, to, LEARN_gate, rows, to->normed2, to->slope, err));
    FINCH_TRY(multiply(l, p, layer, to, LEARN_up, rows, to->normed2, to->up, err));
    gate(l, to, rows);
    FINCH_TRY(multiply(l, p, layer, to, LEARN_down, rows, to->wide, to->d, err));
    norm_rows(l, to->d, rows, hidden, w->after_wide, to->middle, next);
    return FINCH_OK;
}

/* ---- the plan -------------------------------------------------------------------------------------------------- */

static finch_status plan_layer(const gemma_learner *l, const gemma_learnt_pass *p, size_t layer, learn_layer *to,
                               finch_error *err)
{
    const gemma_config *c = &l->base->config;
    arena *a = p->how.scratch;
    size_t n = p->n_tokens, hidden = c->hidden_size, wide = c->intermediate_size;
    float **const hiddens[] = {&to->normed1, &to->normed2, &to->o, &to->middle, &to->d};
    float **const queries[] = {&to->q0, &to->q, &to->context};
    float **const keys[] = {&to->k0, &to->k, &to->v};
    float **const wides[] = {&to->slope, &to->gelu, &to->up, &to->wide};
    for (size_t i = 0; i < 5; i++) FINCH_TRY(ARENA_NEW(a, hiddens[i], n * hidden, err));
    for (size_t i = 0; i < 3; i++) FINCH_TRY(ARENA_NEW(a, queries[i], n * p->queries, err));
    for (size_t i = 0; i < 3; i++) FINCH_TRY(ARENA_NEW(a, keys[i], n * p->keys, err));
    for (size_t i = 0; i < 4; i++) FINCH_TRY(ARENA_NEW(a, wides[i], n * wide, err));
    FINCH_TRY(ARENA_NEW(a, &to->probs, p->probs_at[p->how.batch->n_texts], err));
    for (size_t i = 0; i < LEARN_MATRICES; i++) {
        to->kept[i] = (lora_kept){0};
        if (l->pairs[layer][i].used) FINCH_TRY(ARENA_NEW(a, &to->kept[i].low, n * l->setup.rank, err));
    }
    return FINCH_OK;
}

/* In f32, as transformers computes them (gemma_forward.c). */
static finch_status plan_angles(const gemma_learner *l, gemma_learnt_pass *p, size_t longest, finch_error *err)
{
    for (size_t i = 0; i < 2; i++) {
        float *angles;
        FINCH_TRY(ARENA_NEW(p->how.scratch, &angles, longest * l->base->config.head_width, err));
        gemma_angles(&l->base->config, i == 1, 0, longest, angles);
        p->angles[i] = angles;
    }
    return FINCH_OK;
}

static finch_status plan_probs(const gemma_learner *l, gemma_learnt_pass *p, size_t *longest, finch_error *err)
{
    const model_batch *b = p->how.batch;
    size_t at = 0;
    FINCH_TRY(ARENA_NEW(p->how.scratch, &p->probs_at, b->n_texts + 1, err));
    *longest = 0;
    for (size_t text = 0; text < b->n_texts; text++) {
        size_t n = b->offsets[text + 1] - b->offsets[text];
        p->probs_at[text] = at;
        at += l->base->config.n_heads * n * learn_round16(n);
        *longest = larger(*longest, n);
    }
    p->probs_at[b->n_texts] = at;
    return FINCH_OK;
}

static finch_status plan_products(const gemma_learner *l, gemma_learnt_pass *p, finch_error *err)
{
    const stored_matrix *matrices[LEARN_MATRICES];
    for (size_t i = 0; i < LEARN_MATRICES; i++) matrices[i] = &learn_matrix_of(&l->base->layers[0], (learn_matrix)i)->stored;
    p->products = (frozen_products){.kernels = l->base->products, .bf16 = l->bf16};
    FINCH_TRY(frozen_plan(&p->products, matrices, LEARN_MATRICES, p->n_tokens, gemma_team(0), p->how.scratch, err));
    return weights_plan(l, p, err);
}

static finch_status plan(gemma_learner *l, gemma_learnt_pass *p, finch_error *err)
{
    const gemma_config *c = &l->base->config;
    arena *a = p->how.scratch;
    size_t longest, n = p->n_tokens, hidden = c->hidden_size;
    FINCH_TRY(plan_probs(l, p, &longest, err));
    FINCH_TRY(plan_angles(l, p, longest, err));
    FINCH_TRY(ARENA_NEW(a, &p->layers, c->n_layers, err));
    memset(p->layers, 0, c->n_layers * sizeof *p->layers);
    for (size_t i = 0; i < c->n_layers; i++) {
        bool shared = (l->checkpoint || !p->how.training) && i > 0;
        if (shared) p->layers[i] = p->layers[0];
        else FINCH_TRY(plan_layer(l, p, i, &p->layers[i], err));
        FINCH_TRY(ARENA_NEW(a, &p->layers[i].x, n * hidden, err));
    }
    FINCH_TRY(ARENA_NEW(a, &p->end, n * hidden, err));
    FINCH_TRY(ARENA_NEW(a, &p->last, p->how.batch->n_texts * hidden, err));
    FINCH_TRY(ARENA_NEW(a, &p->hidden, p->how.batch->n_texts * hidden, err));
    FINCH_TRY(ARENA_NEW(a, &p->last_x, p->how.batch->n_texts * hidden, err));
    FINCH_TRY(ARENA_NEW(a, &p->last_normed, p->how.batch->n_texts * hidden, err));
    FINCH_TRY(ARENA_NEW(a, &p->room, n * larger(larger(hidden, c->intermediate_size), p->queries), err));
    return plan_products(l, p, err);
}

/* ---- the whole ------------------------------------------------------------------------------------------------- */

static void embed(const gemma_learner *l, const gemma_learnt_pass *p)
{
    const gemma *g = l->base;
    size_t hidden = g->config.hidden_size;
#pragma omp parallel for schedule(static)
    for (size_t i = 0; i < p->n_tokens; i++) {
        float *x = p->layers[0].x + i * hidden;
        stored_rows(&g->words, (size_t)p->how.batch->ids[i], 1, x);
        for (size_t k = 0; k < hidden; k++) x[k] *= g->word_scale;
    }
}

finch_status gemma_learner_forward(gemma_learner *l, const gemma_learning *how, float *logits, gemma_learnt_pass **out,
                                   finch_error *err)
{
    const gemma_config *c = &l->base->config;
    const model_batch *b = how->batch;
    size_t hidden = c->hidden_size;
    gemma_learnt_pass *p;
    FINCH_TRY(ARENA_NEW(how->scratch, &p, 1, err));
    *p = (gemma_learnt_pass){.how = *how,
                             .n_tokens = b->n_tokens,
                             .n_texts = b->n_texts,
                             .queries = c->n_heads * c->head_width,
                             .keys = c->n_key_heads * c->head_width};
    FINCH_TRY(plan(l, p, err));
    embed(l, p);
    for (size_t i = 0; i < c->n_layers; i++)
        FINCH_TRY(learn_layer_forward(l, p, i, &p->layers[i], i + 1 < c->n_layers ? p->layers[i + 1].x : p->last, err));
    norm_rows(l, p->last, b->n_texts, hidden, l->base->last_norm, NULL, p->hidden);
    *out = p;
    return lora_product(false, true, b->n_texts, l->n_classes, hidden, p->hidden, hidden, l->score, hidden, 0.0f, logits,
                        l->n_classes, err);
}
