/* The masked-language-model head: dense, activation, layer norm, and the vocabulary tied to the word embeddings. Only
 * masked positions reach it. The product with the vocabulary runs over MLM_ROWS positions at a time, so that memory does
 * not grow with the batch. Source: arXiv:1810.04805 section 3.1. */
#include "model/trainable_internal.h"

#include "tensor/gemm.h"

#include <string.h>

enum { MLM_ROWS = 128 };

typedef struct mlm_pass {
    float *slope, *sum, *stats; /* of the dense layer's activation and of the norm */
    matrix u;                   /* [n, hidden] into the vocabulary */
    float *du;
} mlm_pass;

static finch_status mlm_forward(trainable *t, const step_pass *p, const float *y, mlm_pass *m, finch_error *err)
{
    size_t hidden = t->config.hidden_size, n = p->n_selected;
    FINCH_TRY(ARENA_NEW(&t->scratch, &m->slope, n * hidden, err));
    FINCH_TRY(ARENA_NEW(&t->scratch, &m->sum, n * hidden, err));
    FINCH_TRY(ARENA_NEW(&t->scratch, &m->stats, n * 2, err));
    FINCH_TRY(ARENA_NEW(&t->scratch, &m->du, plan_room(t, n) * hidden, err));
    FINCH_TRY(plan_matrix(t, n, hidden, false, &m->u, err));
    FINCH_TRY(gemm_f32(false, true, n, hidden, hidden, y, hidden, t->hidden_head.w, hidden, 0.0f, m->slope, hidden, err));
    train_activate act = {
        .width = hidden, .kind = trainable_activation(t), .x = m->slope, .bias = t->hidden_head.b, .h = m->sum};
    forward_activate(t, &act, n);
    train_norm norm = {.width = hidden,
                       .x = m->sum,
                       .keep_scale = 1.0f,
                       .gain = t->head_norm.gain,
                       .shift = t->head_norm.shift,
                       .eps = t->config.layer_norm_eps,
                       .stats = m->stats,
                       .out_scale = 1.0f,
                       .out = m->u.f,
                       .out16 = m->u.h};
    forward_norm(t, &norm, n);
    return FINCH_OK;
}

/* Softmax and loss of rows [first, first + n); logits become their gradient where backward. losses, hits [n]. */
static void vocab_rows(const trainable *t, matrix logits, const int32_t *target_ids, size_t n, double scale, bool backward,
                       double *losses, bool *hits)
{
    size_t vocab = t->config.vocab_size;
#pragma omp parallel for schedule(static)
    for (size_t i = 0; i < n; i++) {
        train_vocab_row row = {.x = logits.f + i * vocab,
                               .x16 = logits.h == NULL ? NULL : logits.h + i * vocab,
                               .bias = t->output_head.b,
                               .n = vocab,
                               .target = (size_t)target_ids[i],
                               .scale = (float)scale,
                               .grad = backward};
        t->ops->vocab_row(&row);
        losses[i] = row.loss;
        hits[i] = row.hit;
    }
}

/* db += column sums, a strip of columns a thread. */
static void vocab_bias_back(const trainable *t, const float *dlogits, size_t n)
{
    size_t vocab = t->config.vocab_size, strip = 16 * TRAINABLE_STRIP, n_strips = (vocab + strip - 1) / strip;
#pragma omp parallel for schedule(static)
    for (size_t i = 0; i < n_strips; i++) {
        size_t begin = i * strip, width = vocab - begin < strip ? vocab - begin : strip;
        t->ops->column_sum(dlogits + begin, n, width, vocab, t->output_head.db + begin);
    }
}

static matrix rows_from(matrix m, size_t items)
{
    return (matrix){m.f == NULL ? NULL : m.f + items, m.h == NULL ? NULL : m.h + items};
}

static finch_status vocab_step(trainable *t, const mlm_pass *m, const int32_t *target_ids, size_t n_rows, double scale,
                               bool backward, double *loss_sum, size_t *n_correct, finch_error *err)
{
    size_t vocab = t->config.vocab_size, hidden = t->config.hidden_size;
    size_t most = plan_room(t, n_rows < MLM_ROWS ? n_rows : MLM_ROWS);
    matrix logits = {NULL, NULL};
    double losses[MLM_ROWS];
    bool hits[MLM_ROWS];
    FINCH_TRY(ARENA_NEW(&t->scratch, &logits.f, most * vocab, err));
    if (t->bf16 && backward) FINCH_TRY(ARENA_NEW(&t->scratch, &logits.h, most * vocab, err));
    for (size_t first = 0; first < n_rows; first += MLM_ROWS) {
        size_t n = n_rows - first < MLM_ROWS ? n_rows - first : MLM_ROWS, room = plan_room(t, n);
        matrix u = rows_from(m->u, first * hidden);
        FINCH_TRY(step_product(t, false, true, room, vocab, hidden, u, hidden, dense_weight(&t->output_head, 0), hidden,
                               0.0f, logits.f, vocab, err));
        vocab_rows(t, logits, target_ids + first, n, scale, backward, losses, hits);
        for (size_t i = 0; i < n; i++) {
            *loss_sum += losses[i];
            *n_correct += hits[i] ? 1 : 0;
        }
        if (!backward) continue;
        if (logits.h != NULL) memset(logits.h + n * vocab, 0, (room - n) * vocab * sizeof *logits.h);
        vocab_bias_back(t, logits.f, n);
        float beta = first == 0 ? step_beta(t) : 1.0f;
        FINCH_TRY(step_product(t, true, false, vocab, hidden, room, logits, vocab, u, hidden, beta, t->output_head.dw,
                               hidden, err));
        FINCH_TRY(step_product(t, false, false, room, hidden, vocab, logits, vocab, dense_weight(&t->output_head, 0), hidden,
                               0.0f, m->du + first * hidden, hidden, err));
    }
    return FINCH_OK;
}

static finch_status mlm_backward(trainable *t, step_pass *p, const float *y, const mlm_pass *m, finch_error *err)
{
    size_t hidden = t->config.hidden_size, n = p->n_selected;
    float *dy;
    FINCH_TRY(ARENA_NEW(&t->scratch, &dy, plan_room(t, n) * hidden, err));
    train_norm_back norm = {.width = hidden,
                            .dy = m->du,
                            .s = m->sum,
                            .stats = m->stats,
                            .gain = t->head_norm.gain,
                            .out_scale = 1.0f,
                            .ds = m->du,
                            .keep_scale = 1.0f};
    FINCH_TRY(backward_norm(t, &norm, n, &t->head_norm, NULL, err));
    train_activate_back act = {.width = hidden, .dh = m->du, .slope = m->slope, .dx = m->du};
    FINCH_TRY(backward_activate(t, &act, n, t->hidden_head.db, err));
    FINCH_TRY(
        gemm_f32(true, false, hidden, hidden, n, m->du, hidden, y, hidden, step_beta(t), t->hidden_head.dw, hidden, err));
    FINCH_TRY(gemm_f32(false, false, n, hidden, hidden, m->du, hidden, t->hidden_head.w, hidden, 0.0f, dy, hidden, err));
    gradients_final(t, 0);
    return backward_run(t, p, dy, err);
}

finch_status mlm_step(trainable *t, step_pass *p, const int32_t *target_ids, double scale, bool backward, double *loss_sum,
                      size_t *n_correct, finch_error *err)
{
    const float *y = p->layers[t->config.n_layers - 1].y2.f;
    mlm_pass m;
    FINCH_TRY(mlm_forward(t, p, y, &m, err));
    FINCH_TRY(vocab_step(t, &m, target_ids, p->n_selected, scale, backward, loss_sum, n_correct, err));
    return backward ? mlm_backward(t, p, y, &m, err) : FINCH_OK;
}
