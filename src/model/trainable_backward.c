/* The backward pass, layer by layer from the last: for each product y = x w^T + b the three gradients, with what stands
 * between products in fused operators. Sums over rows (biases, norms) are made of partials over fixed blocks of rows,
 * added in order: the same bits whatever the thread count. */
#include "model/trainable_internal.h"

#include <string.h>

static size_t n_blocks(size_t n_rows) { return (n_rows + TRAINABLE_BLOCK_ROWS - 1) / TRAINABLE_BLOCK_ROWS; }

static size_t block_end(size_t block, size_t n_rows)
{
    size_t end = (block + 1) * TRAINABLE_BLOCK_ROWS;
    return end < n_rows ? end : n_rows;
}

/* out[c] += the sum of column c over the partials. */
static void add_partials(const trainable *t, const float *partials, size_t n, size_t ld, size_t width, float *out)
{
    t->ops->column_sum(partials, n, width, ld, out);
}

finch_status backward_norm(trainable *t, const train_norm_back *a, size_t n_rows, scale_shift *norm, float *dbias,
                           finch_error *err)
{
    size_t blocks = n_blocks(n_rows), ld = 3 * a->width;
    arena_place mark = arena_mark(&t->scratch);
    float *partials;
    FINCH_TRY(ARENA_NEW(&t->scratch, &partials, blocks * ld, err));
#pragma omp parallel for schedule(static)
    for (size_t block = 0; block < blocks; block++)
        t->ops->norm_back(a, block * TRAINABLE_BLOCK_ROWS, block_end(block, n_rows), partials + block * ld);
    if (norm->dgain != NULL) add_partials(t, partials, blocks, ld, a->width, norm->dgain);
    if (norm->dshift != NULL) add_partials(t, partials + a->width, blocks, ld, a->width, norm->dshift);
    if (dbias != NULL) add_partials(t, partials + 2 * a->width, blocks, ld, a->width, dbias);
    arena_release(&t->scratch, mark);
    return FINCH_OK;
}

finch_status backward_activate(trainable *t, const train_activate_back *a, size_t n_rows, float *dbias, finch_error *err)
{
    size_t blocks = n_blocks(n_rows);
    arena_place mark = arena_mark(&t->scratch);
    float *partials;
    FINCH_TRY(ARENA_NEW(&t->scratch, &partials, blocks * a->width, err));
#pragma omp parallel for schedule(static)
    for (size_t block = 0; block < blocks; block++)
        t->ops->activate_back(a, block * TRAINABLE_BLOCK_ROWS, block_end(block, n_rows), partials + block * a->width);
    if (dbias != NULL) add_partials(t, partials, blocks, a->width, a->width, dbias);
    arena_release(&t->scratch, mark);
    return FINCH_OK;
}

/* ---- attention ------------------------------------------------------------------------------------------------- */

/* Gradients of q, k and v: as the forward pass lays them out. */
typedef struct qkv_grads {
    matrix q, k, v;
    float *bias_partials;     /* [n_texts, 3 * hidden] */
    float *relative_partials; /* [n_texts, n_heads, 2 * longest - 1], or NULL */
} qkv_grads;

static matrix matrix_at(matrix m, size_t at)
{
    return (matrix){m.f == NULL ? NULL : m.f + at, m.h == NULL ? NULL : m.h + at};
}

static finch_status grads_make(trainable *t, const step_pass *p, const layer_pass *l, qkv_grads *g, finch_error *err)
{
    size_t hidden = t->config.hidden_size, n_texts = p->batch->n_texts;
    *g = (qkv_grads){0};
    if (l->selected) {
        FINCH_TRY(plan_matrix(t, p->n_tokens, 2 * hidden, false, &g->k, err));
        FINCH_TRY(plan_matrix(t, l->n_rows, hidden, false, &g->q, err));
    } else {
        FINCH_TRY(plan_matrix(t, p->n_tokens, 3 * hidden, false, &g->q, err));
        g->k = matrix_at(g->q, hidden);
    }
    g->v = matrix_at(g->k, hidden);
    FINCH_TRY(ARENA_NEW(&t->scratch, &g->bias_partials, n_texts * 3 * hidden, err));
    if (p->relative_grad == NULL) return FINCH_OK;
    size_t items = n_texts * t->config.n_heads * (2 * p->longest - 1);
    FINCH_TRY(ARENA_NEW(&t->scratch, &g->relative_partials, items, err));
    memset(g->relative_partials, 0, items * sizeof *g->relative_partials);
    return FINCH_OK;
}

static void attend_back(const trainable *t, const step_pass *p, const layer_pass *l, const encoder_layer *w,
                        const float *dcontext, const qkv_grads *g)
{
    size_t n_heads = t->config.n_heads, hidden = t->config.hidden_size, width = hidden / n_heads, span = 2 * p->longest - 1;
    size_t n = p->batch->n_texts * n_heads;
#pragma omp parallel for schedule(dynamic, 4)
    for (size_t i = 0; i < n; i++) {
        size_t text = i / n_heads, head = i % n_heads, column = head * width;
        train_attention a = layer_attention(t, p, l, w, text, head);
        size_t row = l->selected ? p->selected_first[text] : p->batch->offsets[text];
        size_t from_q = row * l->ldq + column, from_k = p->batch->offsets[text] * l->ldk + column;
        matrix dq = matrix_at(g->q, from_q), dk = matrix_at(g->k, from_k), dv = matrix_at(g->v, from_k);
        float *sums = g->bias_partials + text * 3 * hidden + column;
        a.dout = dcontext + row * hidden + column;
        a.dq = dq.f, a.dk = dk.f, a.dv = dv.f;
        a.dq16 = dq.h, a.dk16 = dk.h, a.dv16 = dv.h;
        a.sum_q = sums, a.sum_k = sums + hidden, a.sum_v = sums + 2 * hidden;
        if (g->relative_partials != NULL) a.relative_grad = g->relative_partials + i * span + p->longest - 1;
        t->ops->attention_back(&a);
    }
}

/* dx [n_tokens, hidden] of the layer's input; ds [n_rows, hidden] is the residual's gradient and is added into it.
 * In the last layer dx is fresh memory, else it is ds. */
static finch_status project_back(trainable *t, const step_pass *p, const layer_pass *l, encoder_layer *w, const qkv_grads *g,
                                 float *ds, float **dx, finch_error *err)
{
    size_t hidden = t->config.hidden_size, n = p->n_tokens;
    bool goes_on = !t->adapts || l->index > t->lowest;
    if (w->qkv.db != NULL) add_partials(t, g->bias_partials, p->batch->n_texts, 3 * hidden, 3 * hidden, w->qkv.db);
    if (p->relative_grad != NULL) {
        size_t items = t->config.n_heads * (2 * p->longest - 1);
        add_partials(t, g->relative_partials, p->batch->n_texts, items, items, p->relative_grad);
    }
    if (!l->selected) {
        *dx = ds;
        return dense_backward(t, p, l, &(dense_use){&w->qkv, 0, 3, n, l->x}, g->q, 3 * hidden, 1.0f, goes_on ? ds : NULL,
                              err);
    }
    FINCH_TRY(dense_backward(t, p, l, &(dense_use){&w->qkv, 0, 1, l->n_rows, l->x_rows}, g->q, hidden, 1.0f,
                             goes_on ? ds : NULL, err));
    FINCH_TRY(
        dense_backward(t, p, l, &(dense_use){&w->qkv, 1, 2, n, l->x}, g->k, 2 * hidden, 0.0f, goes_on ? *dx : NULL, err));
    if (!goes_on) return FINCH_OK;
    for (size_t i = 0; i < p->n_selected; i++) {
        float *row = *dx + p->selected[i] * hidden;
        for (size_t c = 0; c < hidden; c++) row[c] += ds[i * hidden + c];
    }
    return FINCH_OK;
}

/* ---- a layer --------------------------------------------------------------------------------------------------- */

/* The gradient of a product's output: ds itself, or ds through dropout and in the type of the products. */
static finch_status masked_make(trainable *t, const uint16_t *keep, float *ds, size_t n_rows, matrix *out, finch_error *err)
{
    *out = (matrix){ds, NULL};
    return keep == NULL && !t->bf16 ? FINCH_OK : plan_matrix(t, n_rows, t->config.hidden_size, false, out, err);
}

static train_norm_back norm_args(const trainable *t, float *dy, const float *s, const float *stats, const scale_shift *norm,
                                 const uint16_t *keep, matrix masked)
{
    return (train_norm_back){.width = t->config.hidden_size,
                             .dy = dy,
                             .s = s,
                             .stats = stats,
                             .gain = norm->gain,
                             .out_scale = 1.0f,
                             .ds = dy,
                             .keep = keep,
                             .keep_scale = plan_keep_scale(t->hidden_dropout),
                             .dx = masked.f == dy ? NULL : masked.f,
                             .dx16 = masked.h};
}

/* dy [n_rows, hidden] becomes the gradient of y1: the feed-forward half. */
static finch_status feed_forward_back(trainable *t, const step_pass *p, const layer_pass *l, encoder_layer *w, float *dy,
                                      finch_error *err)
{
    size_t hidden = t->config.hidden_size, inner = t->config.intermediate_size, rows = l->n_rows;
    matrix masked, dh16;
    float *dh;
    FINCH_TRY(masked_make(t, l->keep2, dy, rows, &masked, err));
    FINCH_TRY(ARENA_NEW(&t->scratch, &dh, l->room * inner, err));
    dh16 = (matrix){dh, NULL};
    if (t->bf16) FINCH_TRY(plan_matrix(t, rows, inner, false, &dh16, err));
    train_norm_back norm = norm_args(t, dy, l->sum2, l->stats2, &w->norm2, l->keep2, masked);
    FINCH_TRY(backward_norm(t, &norm, rows, &w->norm2, w->down.db, err));
    FINCH_TRY(dense_backward(t, p, l, &(dense_use){&w->down, 0, 1, rows, l->h}, masked, hidden, 0.0f, dh, err));
    train_activate_back up = {.width = inner, .dh = dh, .slope = l->slope, .dx = dh16.f, .dx16 = dh16.h};
    FINCH_TRY(backward_activate(t, &up, rows, w->up.db, err));
    return dense_backward(t, p, l, &(dense_use){&w->up, 0, 1, rows, l->y1}, dh16, inner, 1.0f, dy, err);
}

/* dy, the gradient of y1, becomes *dx, that of the layer's input. */
static finch_status attention_half_back(trainable *t, const step_pass *p, const layer_pass *l, encoder_layer *w, float *dy,
                                        float **dx, finch_error *err)
{
    size_t hidden = t->config.hidden_size, rows = l->n_rows;
    matrix masked;
    float *dcontext;
    qkv_grads g;
    FINCH_TRY(masked_make(t, l->keep1, dy, rows, &masked, err));
    FINCH_TRY(ARENA_NEW(&t->scratch, &dcontext, l->room * hidden, err));
    FINCH_TRY(grads_make(t, p, l, &g, err));
    train_norm_back norm = norm_args(t, dy, l->sum1, l->stats1, &w->norm1, l->keep1, masked);
    FINCH_TRY(backward_norm(t, &norm, rows, &w->norm1, w->out.db, err));
    FINCH_TRY(dense_backward(t, p, l, &(dense_use){&w->out, 0, 1, rows, l->context}, masked, hidden, 0.0f, dcontext, err));
    attend_back(t, p, l, w, dcontext, &g);
    return project_back(t, p, l, w, &g, dy, dx, err);
}

/* ---- embeddings ------------------------------------------------------------------------------------------------ */

void rows_touch(trainable *t, const int32_t *ids, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        size_t id = (size_t)ids[i];
        if (t->is_touched[id]) continue;
        t->is_touched[id] = 1;
        t->touched[t->n_touched++] = (uint32_t)id;
    }
}

/* Adds the tokens' gradients to the rows of the tables, columns [begin, end), tokens in order. */
static void scatter_columns(trainable *t, const step_pass *p, const float *de, size_t begin, size_t end)
{
    const model_batch *b = p->batch;
    size_t hidden = t->config.hidden_size;
    for (size_t text = 0; text < b->n_texts; text++)
        for (size_t at = b->offsets[text]; at < b->offsets[text + 1]; at++) {
            float *word = t->word.grad + (size_t)b->ids[at] * hidden;
            float *position = t->position.grad + (at - b->offsets[text] + t->config.position_offset) * hidden;
            const float *row = de + at * hidden;
            for (size_t c = begin; c < end; c++) word[c] += row[c];
            for (size_t c = begin; c < end; c++) position[c] += row[c];
            if (t->type.grad == NULL) continue;
            for (size_t c = begin; c < end; c++) t->type.grad[c] += row[c];
        }
}

static finch_status embed_back(trainable *t, const step_pass *p, float *dx, finch_error *err)
{
    size_t hidden = t->config.hidden_size, n_strips = (hidden + TRAINABLE_STRIP - 1) / TRAINABLE_STRIP;
    train_norm_back norm = {.width = hidden,
                            .dy = dx,
                            .s = p->embedding_sum,
                            .stats = p->embedding_stats,
                            .gain = t->embedding_norm.gain,
                            .out_keep = p->keep_embedding,
                            .out_scale = plan_keep_scale(t->hidden_dropout),
                            .ds = dx,
                            .keep_scale = 1.0f};
    FINCH_TRY(backward_norm(t, &norm, p->n_tokens, &t->embedding_norm, NULL, err));
    if (t->head == TRAINABLE_CLASSIFIER) rows_touch(t, p->batch->ids, p->n_tokens);
#pragma omp parallel for schedule(static)
    for (size_t strip = 0; strip < n_strips; strip++) {
        size_t begin = strip * TRAINABLE_STRIP, end = begin + TRAINABLE_STRIP < hidden ? begin + TRAINABLE_STRIP : hidden;
        scatter_columns(t, p, dx, begin, end);
    }
    return FINCH_OK;
}

static void relative_back(trainable *t, const step_pass *p)
{
    const model_config *c = &t->config;
    size_t span = 2 * p->longest - 1;
    if (p->relative_grad == NULL) return;
    for (size_t i = 0; i < span; i++) {
        size_t bucket = trainable_relative_bucket((ptrdiff_t)i - (ptrdiff_t)(p->longest - 1), c->n_relative_buckets);
        for (size_t head = 0; head < c->n_heads; head++)
            t->relative.grad[bucket * c->n_heads + head] += p->relative_grad[head * span + i];
    }
}

finch_status backward_run(trainable *t, step_pass *p, float *dy, finch_error *err)
{
    float *grad = dy, *dx;
    FINCH_TRY(ARENA_NEW(&t->scratch, &dx, p->room * t->config.hidden_size, err));
    for (size_t i = t->config.n_layers; i-- > t->lowest;) {
        arena_place mark = arena_mark(&t->scratch);
        if (layer_is_computed_again(t, p, i)) FINCH_TRY(forward_layer(t, p, &p->layers[i], err));
        FINCH_TRY(feed_forward_back(t, p, &p->layers[i], &t->layers[i], grad, err));
        arena_release(&t->scratch, mark);
        FINCH_TRY(attention_half_back(t, p, &p->layers[i], &t->layers[i], grad, &dx, err));
        arena_release(&t->scratch, mark);
        grad = dx;
        if (!t->adapts) gradients_final(t, t->config.n_layers - i);
    }
    if (!t->adapts) {
        relative_back(t, p);
        FINCH_TRY(embed_back(t, p, grad, err));
    }
    gradients_final(t, trainable_gradient_blocks(t) - 1);
    return FINCH_OK;
}
