/* The forward pass of a packed batch through embeddings and layers; what the backward pass needs is kept in step_pass.
 * In the last layer only the selected rows (first tokens of a classifier's texts, masked tokens) go past the keys and
 * values: nothing reads the others. Source: arXiv:1810.04805; MPNet's relative bias: arXiv:2004.09297, arXiv:1910.10683. */
#include "model/trainable_internal.h"

#include <math.h>
#ifdef _OPENMP
#include <omp.h>
#endif
#include <string.h>

static size_t thread_index(void)
{
#ifdef _OPENMP
    return (size_t)omp_get_thread_num();
#else
    return 0;
#endif
}

static size_t n_blocks(size_t n_rows) { return (n_rows + TRAINABLE_BLOCK_ROWS - 1) / TRAINABLE_BLOCK_ROWS; }

static size_t block_end(size_t block, size_t n_rows)
{
    size_t end = (block + 1) * TRAINABLE_BLOCK_ROWS;
    return end < n_rows ? end : n_rows;
}

void forward_norm(const trainable *t, const train_norm *a, size_t n_rows)
{
#pragma omp parallel for schedule(static)
    for (size_t block = 0; block < n_blocks(n_rows); block++)
        t->ops->norm(a, block * TRAINABLE_BLOCK_ROWS, block_end(block, n_rows));
}

void forward_activate(const trainable *t, const train_activate *a, size_t n_rows)
{
#pragma omp parallel for schedule(static)
    for (size_t block = 0; block < n_blocks(n_rows); block++)
        t->ops->activate(a, block * TRAINABLE_BLOCK_ROWS, block_end(block, n_rows));
}

/* ---- embeddings ------------------------------------------------------------------------------------------------ */

static void embed_text(const trainable *t, step_pass *p, size_t text)
{
    const model_batch *b = p->batch;
    size_t hidden = t->config.hidden_size;
    for (size_t at = b->offsets[text]; at < b->offsets[text + 1]; at++) {
        const float *position = t->position.value + (at - b->offsets[text] + t->config.position_offset) * hidden;
        float *sum = p->embedding_sum + at * hidden;
        const float *word = t->frozen == NULL ? t->word.value + (size_t)b->ids[at] * hidden : sum;
        if (t->frozen != NULL) stored_rows(&t->words, (size_t)b->ids[at], 1, sum);
        if (t->type.value != NULL)
            for (size_t c = 0; c < hidden; c++) sum[c] = word[c] + t->type.value[c] + position[c];
        else
            for (size_t c = 0; c < hidden; c++) sum[c] = word[c] + position[c];
    }
}

static void embed(const trainable *t, step_pass *p)
{
#pragma omp parallel for schedule(static)
    for (size_t text = 0; text < p->batch->n_texts; text++) embed_text(t, p, text);
    train_norm norm = {.width = t->config.hidden_size,
                       .x = p->embedding_sum,
                       .gain = t->embedding_norm.gain,
                       .shift = t->embedding_norm.shift,
                       .eps = t->config.layer_norm_eps,
                       .stats = p->embedding_stats,
                       .out_keep = p->keep_embedding,
                       .out_scale = plan_keep_scale(t->hidden_dropout),
                       .out = p->embedded.f,
                       .out16 = p->embedded.h};
    forward_norm(t, &norm, p->n_tokens);
}

/* MPNet's bias for every head and distance key - query in (-longest, longest). */
static void spread_relative(const trainable *t, step_pass *p)
{
    const model_config *c = &t->config;
    size_t span = 2 * p->longest - 1;
    if (p->relative == NULL) return;
    for (size_t i = 0; i < span; i++) {
        size_t bucket = trainable_relative_bucket((ptrdiff_t)i - (ptrdiff_t)(p->longest - 1), c->n_relative_buckets);
        for (size_t head = 0; head < c->n_heads; head++)
            p->relative[head * span + i] = t->relative.value[bucket * c->n_heads + head];
    }
}

/* ---- layers ---------------------------------------------------------------------------------------------------- */

train_attention layer_attention(const trainable *t, const step_pass *p, const layer_pass *l, const encoder_layer *w,
                                size_t text, size_t head)
{
    const model_config *c = &t->config;
    const model_batch *b = p->batch;
    size_t hidden = c->hidden_size, width = hidden / c->n_heads, column = head * width;
    size_t first = b->offsets[text], n_keys = b->offsets[text + 1] - first;
    size_t row = l->selected ? p->selected_first[text] : first;
    size_t n_queries = l->selected ? p->selected_first[text + 1] - row : n_keys;
    size_t ldp = (n_keys + 15) / 16 * 16, probs = l->probs_at[text] + head * n_queries * ldp;
    return (train_attention){
        .n_queries = n_queries,
        .n_keys = n_keys,
        .width = width,
        .q = l->q + row * l->ldq + column,
        .k = l->k + first * l->ldk + column,
        .v = l->v + first * l->ldk + column,
        .ldq = l->ldq,
        .ldk = l->ldk,
        .bias_q = w->qkv.b + column,
        .bias_k = w->qkv.b + hidden + column,
        .bias_v = w->qkv.b + 2 * hidden + column,
        .scale = 1.0f / sqrtf((float)width),
        .place = l->selected ? p->selected_place + row : NULL,
        .relative = p->relative == NULL ? NULL : p->relative + head * (2 * p->longest - 1) + p->longest - 1,
        .probs = l->probs + probs,
        .ldp = ldp,
        .keep = l->keep_attention == NULL ? NULL : l->keep_attention + probs / 16,
        .keep_scale = plan_keep_scale(t->attention_dropout),
        .out = l->context.f == NULL ? NULL : l->context.f + row * hidden + column,
        .out16 = l->context.h == NULL ? NULL : l->context.h + row * hidden + column,
        .ldo = hidden,
        .scratch = p->attention_scratch + thread_index() * p->attention_scratch_items,
    };
}

static void attend(const trainable *t, const step_pass *p, const layer_pass *l, const encoder_layer *w)
{
    size_t n_heads = t->config.n_heads, n = p->batch->n_texts * n_heads;
#pragma omp parallel for schedule(dynamic, 4)
    for (size_t i = 0; i < n; i++) {
        train_attention a = layer_attention(t, p, l, w, i / n_heads, i % n_heads);
        t->ops->attention(&a);
    }
}

static void gather_rows(const trainable *t, const step_pass *p, layer_pass *l)
{
    size_t hidden = t->config.hidden_size;
    for (size_t i = 0; i < p->n_selected; i++) {
        size_t from = p->selected[i] * hidden, to = i * hidden;
        memcpy(l->x_rows.f + to, l->x.f + from, hidden * sizeof *l->x.f);
        if (l->x.h != NULL) memcpy(l->x_rows.h + to, l->x.h + from, hidden * sizeof *l->x.h);
    }
}

static finch_status project(const trainable *t, const step_pass *p, layer_pass *l, const encoder_layer *w, finch_error *err)
{
    if (!l->selected) return dense_forward(t, p, l, &(dense_use){&w->qkv, 0, 3, p->n_tokens, l->x}, l->q, l->ldq, err);
    gather_rows(t, p, l);
    FINCH_TRY(dense_forward(t, p, l, &(dense_use){&w->qkv, 1, 2, p->n_tokens, l->x}, l->k, l->ldk, err));
    return dense_forward(t, p, l, &(dense_use){&w->qkv, 0, 1, l->n_rows, l->x_rows}, l->q, l->ldq, err);
}

finch_status forward_layer(const trainable *t, const step_pass *p, layer_pass *l, finch_error *err)
{
    const model_config *c = &t->config;
    const encoder_layer *w = &t->layers[l->index];
    size_t hidden = c->hidden_size, inner = c->intermediate_size, rows = l->n_rows;
    float keep_scale = plan_keep_scale(t->hidden_dropout);
    FINCH_TRY(project(t, p, l, w, err));
    attend(t, p, l, w);
    FINCH_TRY(dense_forward(t, p, l, &(dense_use){&w->out, 0, 1, rows, l->context}, l->sum1, hidden, err));
    train_norm norm1 = {.width = hidden,
                        .x = l->sum1,
                        .bias = w->out.b,
                        .keep = l->keep1,
                        .keep_scale = keep_scale,
                        .residual = l->x_rows.f,
                        .gain = w->norm1.gain,
                        .shift = w->norm1.shift,
                        .eps = c->layer_norm_eps,
                        .stats = l->stats1,
                        .out_scale = 1.0f,
                        .out = l->y1.f,
                        .out16 = l->y1.h};
    forward_norm(t, &norm1, rows);
    FINCH_TRY(dense_forward(t, p, l, &(dense_use){&w->up, 0, 1, rows, l->y1}, l->slope, inner, err));
    train_activate up = {
        .width = inner, .kind = trainable_activation(t), .x = l->slope, .bias = w->up.b, .h = l->h.f, .h16 = l->h.h};
    forward_activate(t, &up, rows);
    FINCH_TRY(dense_forward(t, p, l, &(dense_use){&w->down, 0, 1, rows, l->h}, l->sum2, hidden, err));
    train_norm norm2 = {.width = hidden,
                        .x = l->sum2,
                        .bias = w->down.b,
                        .keep = l->keep2,
                        .keep_scale = keep_scale,
                        .residual = l->y1.f,
                        .gain = w->norm2.gain,
                        .shift = w->norm2.shift,
                        .eps = c->layer_norm_eps,
                        .stats = l->stats2,
                        .out_scale = 1.0f,
                        .out = l->y2.f,
                        .out16 = l->y2.h};
    forward_norm(t, &norm2, rows);
    return FINCH_OK;
}

finch_status forward_run(trainable *t, step_pass *p, finch_error *err)
{
    if (t->before_rows != NULL) t->before_rows(t->before_rows_context, p->batch->ids, p->batch->n_tokens);
    if (t->values16 != NULL && t->copies_stale) {
        enum { PART = 1 << 16 };
        size_t n_parts = (t->n_values16 + PART - 1) / PART;
#pragma omp parallel for schedule(static)
        for (size_t part = 0; part < n_parts; part++) {
            size_t first = part * PART, n = t->n_values16 - first < PART ? t->n_values16 - first : PART;
            t->ops->bf16(t->values + first, t->values16 + first, n);
        }
    }
    t->copies_stale = false;
    embed(t, p);
    spread_relative(t, p);
    for (size_t i = 0; i < t->config.n_layers; i++) FINCH_TRY(forward_layer(t, p, &p->layers[i], err));
    return FINCH_OK;
}

size_t trainable_relative_bucket(ptrdiff_t distance, size_t n_buckets)
{
    enum { FAR = 128 }; /* distances from here on share a bucket */
    size_t half = n_buckets / 2, exact = half / 2;
    size_t side = distance > 0 ? half : 0;
    size_t n = (size_t)(distance < 0 ? -distance : distance);
    if (n < exact) return side + n;
    /* As transformers computes it, in f32, so that boundaries fall alike. */
    float place = logf((float)n / (float)exact) / (float)log((double)FAR / (double)exact) * (float)(half - exact);
    size_t far = exact + (size_t)place;
    return side + (far < half - 1 ? far : half - 1);
}

train_activation trainable_activation(const trainable *t)
{
    switch (t->config.hidden_act) {
    case MODEL_GELU_TANH: return TRAIN_GELU_TANH;
    case MODEL_RELU: return TRAIN_RELU;
    default: return TRAIN_GELU;
    }
}
