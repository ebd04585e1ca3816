/* The backward pass: from the logits' gradients to those of what learns, layer by layer from the last.
 *
 * RMS norm y = x r g with r = 1 / sqrt(mean x^2 + eps): dx = r (g dy) - x r^3 / width * sum(g dy x). */
#include "model/gemma_learn_internal.h"

#include "tensor/gemm.h"

#include <math.h>
#include <string.h>

/* Gradients on their way down; [n_tokens, width] each. */
typedef struct learn_back {
    float *x;               /* of the residual stream */
    float *query;           /* [n_texts, hidden]: the last layer's queries' part */
    float *x_rows;          /* [n_texts, hidden]: of the residual stream, while the last layer is gone through */
    float *hidden, *normed; /* of one step */
    float *q, *k, *v, *context;
    float *wide, *gate, *up;
    float *low;             /* [n_tokens, rank] */
    float *mixed;           /* probabilities' gradients, as learn_layer.probs */
} learn_back;

/* ---- norms ----------------------------------------------------------------------------------------------------- */

enum { LANES = 16, NORM_ROWS = 16 };

static float lanes_total(const float lane[LANES])
{
    float sum[LANES];
    memcpy(sum, lane, sizeof sum);
    for (size_t half = LANES / 2; half > 0; half /= 2)
        for (size_t i = 0; i < half; i++) sum[i] += sum[i + half];
    return sum[0];
}

/* A norm's gradients over n_rows dense rows of width.
 * x, gain, dy  what it read, its gain, and the gradient of what it gave.
 * dx           (or += where add) the gradient of x; may be dy.
 * to           its weight's gradient is added there; NULL: it does not learn. */
typedef struct norm_use {
    const float *x, *gain, *dy;
    size_t n_rows, width;
    bool add;
    float *dx;
    learn_gain *to;
} norm_use;

/* sum [width]: what the row adds to the gain's gradient is added to it, where it is not NULL. */
static void norm_back_row(const norm_use *u, size_t row, float eps, float *sum)
{
    float squares[LANES] = {0}, products[LANES] = {0};
    size_t width = u->width, whole = width / LANES * LANES;
    const float *x = u->x + row * width, *gain = u->gain, *dy = u->dy + row * width;
    float *dx = u->dx + row * width;
    for (size_t i = 0; i < whole; i += LANES)
        for (size_t k = 0; k < LANES; k++) {
            squares[k] += x[i + k] * x[i + k];
            products[k] += x[i + k] * gain[i + k] * dy[i + k];
        }
    for (size_t i = whole; i < width; i++) {
        squares[i - whole] += x[i] * x[i];
        products[i - whole] += x[i] * gain[i] * dy[i];
    }
    float r = 1.0f / sqrtf(lanes_total(squares) / (float)width + eps);
    float shift = r * r * r / (float)width * lanes_total(products);
    for (size_t i = 0; sum != NULL && i < width; i++) sum[i] += x[i] * r * dy[i];
    for (size_t i = 0; i < width; i++) {
        float value = r * gain[i] * dy[i] - x[i] * shift;
        dx[i] = u->add ? dx[i] + value : value;
    }
}

/* Sums over rows are made of partial ones over NORM_ROWS rows, added in order. */
static finch_status norm_back(const gemma_learner *l, const gemma_learnt_pass *p, const norm_use *u, finch_error *err)
{
    arena_place mark = arena_mark(p->how.scratch);
    size_t n_parts = (u->n_rows + NORM_ROWS - 1) / NORM_ROWS;
    float *partials = NULL;
    if (u->to != NULL) FINCH_TRY(ARENA_NEW(p->how.scratch, &partials, n_parts * u->width, err));
#pragma omp parallel for schedule(static)
    for (size_t part = 0; part < n_parts; part++) {
        float *sum = partials == NULL ? NULL : partials + part * u->width;
        if (sum != NULL) memset(sum, 0, u->width * sizeof *sum);
        size_t end = size_least((part + 1) * NORM_ROWS, u->n_rows);
        for (size_t row = part * NORM_ROWS; row < end; row++) norm_back_row(u, row, l->base->config.norm_eps, sum);
    }
    if (u->to == NULL) return FINCH_OK;
    for (size_t i = 0; u->to->factor != 1.0f && i < n_parts * u->width; i++) partials[i] *= u->to->factor;
    l->setup.ops->column_sum(partials, n_parts, u->width, u->width, u->to->grad);
    arena_release(p->how.scratch, mark);
    return FINCH_OK;
}

/* ---- products -------------------------------------------------------------------------------------------------- */

/* A product's gradients: of its weights or its adapter, and of its input x where dx is given. room [n_tokens, in] is for the adapter's part. */
static finch_status multiply_back(gemma_learner *l, const gemma_learnt_pass *p, size_t layer, const learn_layer *from,
                                  learn_matrix which, size_t n, const float *x, const float *dy, bool add, float *dx,
                                  float *low, float *room, finch_error *err)
{
    const stored_matrix *w = &learn_matrix_of(&l->base->layers[layer], which)->stored;
    const lora_pair *pair = &l->pairs[layer][which];
    if (dx != NULL) frozen_product_back(&p->products, w, dy, w->rows, n, add, dx);
    FINCH_TRY(weight_back(l, p, layer, which, n, x, dy, err));
    if (!pair->used) return FINCH_OK;
    return lora_backward(&l->setup, pair, &from->kept[which], &(lora_back){n, x, dy, w->rows, low, p->room, room, dx}, err);
}

/* ---- attention ------------------------------------------------------------------------------------------------- */

/* dS = P (dP - sum(P dP)) in place of dP [n_queries, ld], the last n_queries of n tokens. */
static void softmax_back(const float *probs, float *grad, size_t n_queries, size_t n, size_t ld)
{
    for (size_t query = 0; query < n_queries; query++) {
        const float *row = probs + query * ld;
        float *d = grad + query * ld, sum = 0.0f;
        for (size_t j = 0; j <= n - n_queries + query; j++) sum += row[j] * d[j];
        for (size_t j = 0; j < n; j++) d[j] = row[j] * (d[j] - sum);
    }
}

/* The query heads of one key head of one text, in order: their sums into dk and dv do not depend on threads. */
static finch_status attend_back(const gemma_learner *l, const gemma_learnt_pass *p, const learn_layer *from,
                                const learn_back *g, size_t text, size_t key_head, bool last, finch_error *err)
{
    const gemma_config *c = &l->base->config;
    size_t width = c->head_width, group = c->n_heads / c->n_key_heads;
    size_t begin = p->how.batch->offsets[text], n = p->how.batch->offsets[text + 1] - begin, ld = learn_round16(n);
    size_t key_at = begin * p->keys + key_head * width, n_queries = last ? 1 : n;
    for (size_t i = 0; i < group; i++) {
        size_t head = key_head * group + i, at = (last ? text : begin) * p->queries + head * width;
        const float *probs = from->probs + p->probs_at[text] + head * n_queries * ld;
        float *mixed = g->mixed + p->probs_at[text] + head * n_queries * ld, beta = i == 0 ? 0.0f : 1.0f;
        FINCH_TRY(gemm_f32(true, false, n, width, n_queries, probs, ld, g->context + at, p->queries, beta, g->v + key_at,
                           p->keys, err));
        FINCH_TRY(gemm_f32(false, true, n_queries, n, width, g->context + at, p->queries, from->v + key_at, p->keys, 0.0f,
                           mixed, ld, err));
        softmax_back(probs, mixed, n_queries, n, ld);
        FINCH_TRY(gemm_f32(false, false, n_queries, width, n, mixed, ld, from->k + key_at, p->keys, 0.0f, g->q + at,
                           p->queries, err));
        FINCH_TRY(gemm_f32(true, false, n, width, n_queries, mixed, ld, from->q + at, p->queries, beta, g->k + key_at,
                           p->keys, err));
    }
    return FINCH_OK;
}

static finch_status attend_back_all(const gemma_learner *l, const gemma_learnt_pass *p, const learn_layer *from,
                                    const learn_back *g, bool last, finch_error *err)
{
    size_t n_heads = l->base->config.n_key_heads, n = p->how.batch->n_texts * n_heads;
    finch_status worst = FINCH_OK;
#pragma omp parallel for schedule(dynamic)
    for (size_t i = 0; i < n; i++) {
        finch_error own;
        finch_status st = attend_back(l, p, from, g, i / n_heads, i % n_heads, last, &own);
        if (st == FINCH_OK) continue;
#pragma omp critical(finch_gemma_learn)
        {
            worst = st;
            if (err != NULL) *err = own;
        }
    }
    return worst;
}

/* Back through rotation and norm, in place. before: what the norm read; rows as turn has them. */
static finch_status turn_back(const gemma_learner *l, const gemma_learnt_pass *p, const float *before, size_t n_heads,
                              const float *gain, learn_gain *to, bool is_global, bool last, float *grad, finch_error *err)
{
    const model_batch *b = p->how.batch;
    size_t width = l->base->config.head_width, half = width / 2;
#pragma omp parallel for schedule(static)
    for (size_t text = 0; text < b->n_texts; text++) {
        size_t begin = b->offsets[text], end = b->offsets[text + 1];
        for (size_t i = last ? end - 1 : begin; i < end; i++) {
            const float *angles = p->angles[is_global] + (i - begin) * width;
            float sine[KERNEL_HEAD_MAX / 2], *heads = grad + (last ? text : i) * n_heads * width;
            for (size_t k = 0; k < half; k++) sine[k] = -angles[half + k];
            l->base->rows->rotate(&(decoder_rotate){heads, n_heads, width, angles, sine});
        }
    }
    size_t n_rows = (last ? p->n_texts : p->n_tokens) * n_heads;
    return norm_back(l, p, &(norm_use){before, gain, grad, n_rows, width, false, grad, to}, err);
}

/* ---- layers ---------------------------------------------------------------------------------------------------- */

static finch_status wide_back(gemma_learner *l, const gemma_learnt_pass *p, size_t layer, const learn_layer *from,
                              const learn_back *g, finch_error *err)
{
    const gemma_config *c = &l->base->config;
    const gemma_layer *w = &l->base->layers[layer];
    size_t hidden = c->hidden_size, n = learn_rows(l, p, layer), items = n * c->intermediate_size;
    float *x = learn_is_last(l, layer) ? g->x_rows : g->x;
    FINCH_TRY(norm_back(
        l, p, &(norm_use){from->d, w->after_wide, x, n, hidden, false, g->hidden, weights_gain(l, layer, LEARN_after_wide)},
        err));
    FINCH_TRY(multiply_back(l, p, layer, from, LEARN_down, n, from->wide, g->hidden, false, g->wide, g->low, g->gate, err));
#pragma omp parallel for schedule(static)
    for (size_t i = 0; i < items; i++) {
        g->gate[i] = g->wide[i] * from->up[i] * from->slope[i];
        g->up[i] = g->wide[i] * from->gelu[i];
    }
    FINCH_TRY(
        multiply_back(l, p, layer, from, LEARN_gate, n, from->normed2, g->gate, false, g->normed, g->low, g->hidden, err));
    FINCH_TRY(multiply_back(l, p, layer, from, LEARN_up, n, from->normed2, g->up, true, g->normed, g->low, g->hidden, err));
    return norm_back(
        l, p,
        &(norm_use){from->middle, w->before_wide, g->normed, n, hidden, true, x, weights_gain(l, layer, LEARN_before_wide)},
        err);
}

/* The last layer's rows back among all tokens: to[last token of a text] += rows. */
static void scatter_rows(const gemma_learner *l, const gemma_learnt_pass *p, const float *rows, float *to)
{
    size_t hidden = l->base->config.hidden_size;
    for (size_t text = 0; text < p->n_texts; text++) {
        float *row = to + (p->how.batch->offsets[text + 1] - 1) * hidden;
        for (size_t i = 0; i < hidden; i++) row[i] += rows[text * hidden + i];
    }
}

static finch_status attention_back(gemma_learner *l, const gemma_learnt_pass *p, size_t layer, const learn_layer *from,
                                   const learn_back *g, finch_error *err)
{
    const gemma_config *c = &l->base->config;
    const gemma_layer *w = &l->base->layers[layer];
    size_t hidden = c->hidden_size, n = p->n_tokens, rows = learn_rows(l, p, layer);
    bool is_global = c->is_global[layer], last = learn_is_last(l, layer);
    bool goes_on = layer > 0 || l->whole != NULL; /* below the first layer only words can learn */
    float *below = goes_on ? g->normed : NULL;
    float *of_query = !goes_on ? NULL : last ? g->query : g->normed;
    const float *normed = last ? p->last_normed : from->normed1;
    FINCH_TRY(norm_back(l, p,
                        &(norm_use){from->o, w->after_attention, last ? g->x_rows : g->x, rows, hidden, false, g->hidden,
                                    weights_gain(l, layer, LEARN_after_attention)},
                        err));
    FINCH_TRY(
        multiply_back(l, p, layer, from, LEARN_out, rows, from->context, g->hidden, false, g->context, g->low, g->q, err));
    FINCH_TRY(attend_back_all(l, p, from, g, last, err));
    FINCH_TRY(turn_back(l, p, from->q0, c->n_heads, w->query_norm, weights_gain(l, layer, LEARN_query_norm), is_global, last,
                        g->q, err));
    FINCH_TRY(turn_back(l, p, from->k0, c->n_key_heads, w->key_norm, weights_gain(l, layer, LEARN_key_norm), is_global,
                        false, g->k, err));
    FINCH_TRY(multiply_back(l, p, layer, from, LEARN_query, rows, normed, g->q, false, of_query, g->low, g->hidden, err));
    FINCH_TRY(multiply_back(l, p, layer, from, LEARN_key, n, from->normed1, g->k, !last, below, g->low, g->hidden, err));
    FINCH_TRY(multiply_back(l, p, layer, from, LEARN_value, n, from->normed1, g->v, true, below, g->low, g->hidden, err));
    if (below == NULL) return FINCH_OK;
    if (last) {
        memset(g->x, 0, n * hidden * sizeof *g->x);
        scatter_rows(l, p, g->query, g->normed);
        scatter_rows(l, p, g->x_rows, g->x);
    }
    return norm_back(l, p,
                     &(norm_use){from->x, w->before_attention, g->normed, n, hidden, true, g->x,
                                 weights_gain(l, layer, LEARN_before_attention)},
                     err);
}

static finch_status plan(const gemma_learner *l, const gemma_learnt_pass *p, learn_back *g, finch_error *err)
{
    const gemma_config *c = &l->base->config;
    arena *a = p->how.scratch;
    size_t n = p->n_tokens;
    float **const hiddens[] = {&g->x, &g->hidden, &g->normed};
    float **const wides[] = {&g->wide, &g->gate, &g->up};
    for (size_t i = 0; i < 3; i++) FINCH_TRY(ARENA_NEW(a, hiddens[i], n * c->hidden_size, err));
    for (size_t i = 0; i < 3; i++) FINCH_TRY(ARENA_NEW(a, wides[i], n * c->intermediate_size, err));
    FINCH_TRY(ARENA_NEW(a, &g->query, p->n_texts * c->hidden_size, err));
    FINCH_TRY(ARENA_NEW(a, &g->x_rows, p->n_texts * c->hidden_size, err));
    FINCH_TRY(ARENA_NEW(a, &g->q, n * p->queries, err));
    FINCH_TRY(ARENA_NEW(a, &g->context, n * p->queries, err));
    FINCH_TRY(ARENA_NEW(a, &g->k, n * p->keys, err));
    FINCH_TRY(ARENA_NEW(a, &g->v, n * p->keys, err));
    FINCH_TRY(ARENA_NEW(a, &g->low, n * l->setup.rank, err));
    return ARENA_NEW(a, &g->mixed, p->probs_at[p->how.batch->n_texts], err);
}

/* Classifier and last norm; leaves the gradient of the last layer's output in g->x_rows. */
static finch_status head_back(gemma_learner *l, const gemma_learnt_pass *p, const float *dlogits, const learn_back *g,
                              finch_error *err)
{
    size_t hidden = l->base->config.hidden_size, n = p->n_texts;
    FINCH_TRY(lora_product(true, false, l->n_classes, hidden, n, dlogits, l->n_classes, p->hidden, hidden,
                           p->add ? 1.0f : 0.0f, l->dscore, hidden, err));
    FINCH_TRY(lora_product(false, false, n, hidden, l->n_classes, dlogits, l->n_classes, l->score, hidden, 0.0f, g->x_rows,
                           hidden, err));
    learn_gain *to = l->whole == NULL ? NULL : &l->last_gain;
    return norm_back(l, p, &(norm_use){p->last, l->base->last_norm, g->x_rows, n, hidden, false, g->x_rows, to}, err);
}

static void tell_final(const gemma_learning_back *how, size_t block)
{
    if (how->on_final != NULL) how->on_final(how->context, block);
}

finch_status gemma_learner_backward(gemma_learner *l, gemma_learnt_pass *p, const gemma_learning_back *how, finch_error *err)
{
    learn_back g;
    p->add = how->add;
    FINCH_TRY(plan(l, p, &g, err));
    FINCH_TRY(head_back(l, p, how->dlogits, &g, err));
    tell_final(how, 0);
    for (size_t layer = l->base->config.n_layers; layer-- > 0;) {
        learn_layer *from = &p->layers[layer];
        if (l->checkpoint) FINCH_TRY(learn_layer_forward(l, p, layer, from, p->end, err));
        FINCH_TRY(wide_back(l, p, layer, from, &g, err));
        FINCH_TRY(attention_back(l, p, layer, from, &g, err));
        tell_final(how, l->base->config.n_layers - layer);
    }
    if (l->whole != NULL) words_back(l, p, g.x);
    return FINCH_OK;
}
