/* The operators of training, fused: what stands between two matrix products is one pass over memory.
 *
 * Every operator works on a part of the rows (or one head of one text), so that callers spread it over threads in fixed
 * blocks; nothing in a result depends on which thread did what. Sums run over 16 lanes (item i goes to lane i mod 16,
 * lanes are added as a tree) or over rows in rising order, with fused multiply-adds where written. The bodies are
 * written once over 16 lanes (kernels/train_body.h): plain C defines them, AVX2 and AVX-512 give the same bits
 * (tests/tensor/test_train_ops.c).
 *
 * Common rules
 *  1. Matrices are dense and row-major unless a leading dimension (ld*) is named. Rows and columns may be ragged.
 *  2. *16 outputs are bf16 (rounded to nearest even); where both forms of an output are offered, NULL means not wanted.
 *  3. keep: dropout's bits, one word of 16 columns, ceil(width / 16) words a row, bit set = kept (times keep_scale);
 *     NULL: no dropout. Made by dropout_words. */
#ifndef FINCH_TENSOR_TRAIN_OPS_H
#define FINCH_TENSOR_TRAIN_OPS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef enum train_activation { TRAIN_GELU, TRAIN_GELU_TANH, TRAIN_RELU } train_activation;

/* s = dropout(x + bias) + residual; out = dropout(layer_norm(s) * gain + shift). Source: arXiv:1607.06450.
 * x       [rows, width] in, s on return.      bias, residual  NULL: none.
 * stats   [rows, 2] mean and 1 / standard deviation, for the backward pass. */
typedef struct train_norm {
    size_t width;
    float *x;
    const float *bias;
    const uint16_t *keep;
    float keep_scale;
    const float *residual;
    const float *gain;
    const float *shift;
    float eps;
    float *stats;
    const uint16_t *out_keep;
    float out_scale;
    float *out;
    uint16_t *out16;
} train_norm;

/* From dy, the gradient of out: ds (may be dy), that of s and of the residual; dx or dx16, that of x (ds through
 * dropout). partial [3, width]: this block's sums for gain, shift and bias, written. */
typedef struct train_norm_back {
    size_t width;
    const float *dy;
    const float *s;
    const float *stats;
    const float *gain;
    const uint16_t *out_keep;
    float out_scale;
    float *ds;
    const uint16_t *keep;
    float keep_scale;
    float *dx;
    uint16_t *dx16;
} train_norm_back;

/* h = f(x + bias); x is left holding f'(x + bias), which is all that the backward pass needs.
 * gelu is exact (erf, at most 2e-7 off; Abramowitz and Stegun 7.1.26) or its tanh form. */
typedef struct train_activate {
    size_t width;
    train_activation kind;
    float *x;
    const float *bias;
    float *h;
    uint16_t *h16;
} train_activate;

/* dx = dh * slope (dx may be dh). partial [width]: this block's sums for bias, written. */
typedef struct train_activate_back {
    size_t width;
    const float *dh;
    const float *slope;
    float *dx;
    uint16_t *dx16;
} train_activate_back;

/* One head of one text. out = dropout(softmax(scale q k^T + relative)) v.
 * q, k, v      [n_queries | n_keys, width] with leading dimensions; the forward pass adds the biases in place.
 * place        [n_queries] place of each query in its text, or NULL: query i is at i.
 * relative     the bias of a key d places after the query is relative[d], d in (-n_keys, n_keys); NULL: none.
 * probs        [n_queries, ldp] before dropout, kept for the backward pass; ldp a multiple of 16, the rest of a row is 0.
 * keep         ldp / 16 words a row.
 * scratch      train_attention_scratch floats. */
typedef struct train_attention {
    size_t n_queries, n_keys, width;
    float *q, *k, *v;
    size_t ldq, ldk;
    const float *bias_q, *bias_k, *bias_v;
    float scale;
    const uint32_t *place;
    const float *relative;
    float *probs;
    size_t ldp;
    const uint16_t *keep;
    float keep_scale;
    float *out;
    uint16_t *out16;
    size_t ldo;
    float *scratch;
    /* Backward: dout [n_queries, width] ldo; the gradients of q, k, v with the same leading dimensions, as f32 or bf16.
     * sum_q, sum_k, sum_v  [width] column sums for the biases, written.
     * relative_grad        as relative, added to; NULL: none. */
    const float *dout;
    float *dq, *dk, *dv;
    uint16_t *dq16, *dk16, *dv16;
    float *sum_q, *sum_k, *sum_v;
    float *relative_grad;
} train_attention;

/* One row of a softmax over a vocabulary: x += bias, loss -log softmax(x)[target], then x = scale * (softmax(x) - onehot).
 * grad false leaves x + bias. */
typedef struct train_vocab_row {
    float *x;
    uint16_t *x16;
    const float *bias;
    size_t n;
    size_t target;
    float scale;
    bool grad;
    double loss; /* out */
    bool hit;    /* out: no other id has a larger logit, and no earlier one the same */
} train_vocab_row;

/* A step of AdamW in f32, the constants prepared in double: m += (g - m) * (1 - beta1); v = v * beta2 + (1 - beta2) g^2;
 * p = p * decay - step_size * (m / (sqrt(v) * correction + epsilon)), g multiplied by clip first. Subnormals count as 0. */
typedef struct train_adamw {
    float clip, one_minus_beta1, beta2, one_minus_beta2, epsilon;
    float decay, step_size, correction;
} train_adamw;

/* What a missed step needs of train_adamw. */
typedef struct train_adamw_past {
    float decay, step_size, correction;
} train_adamw_past;

typedef struct train_ops {
    const char *name;
    void (*norm)(const train_norm *a, size_t begin, size_t end);
    void (*norm_back)(const train_norm_back *a, size_t begin, size_t end, float *partial);
    void (*activate)(const train_activate *a, size_t begin, size_t end);
    void (*activate_back)(const train_activate_back *a, size_t begin, size_t end, float *partial);
    void (*attention)(const train_attention *a);
    void (*attention_back)(const train_attention *a);
    void (*vocab_row)(train_vocab_row *a);
    void (*bf16)(const float *in, uint16_t *out, size_t n);
    /* out[c] += sum over rows of x[row, c]. */
    void (*column_sum)(const float *x, size_t n_rows, size_t width, size_t ld, float *out);
    /* Sum of squares of n items: lanes of 1,024 items in f32, those in double. */
    double (*square_sum)(const float *x, size_t n);
    void (*adamw)(const train_adamw *a, float *p, const float *g, float *m, float *v, size_t n);
    /* The steps past[0 .. n_past) with gradient 0. */
    void (*adamw_replay)(const train_adamw *a, const train_adamw_past *past, size_t n_past, float *p, float *m, float *v,
                         size_t n);
    /* words [8 * n_groups]: from word w of the Philox blocks (seed, stream, 16 * group + lane), word 8 * group + 2 * w + half
     * has bit `lane` set where that half (low first) is at least threshold. Groups begin at first_group. */
    void (*dropout_words)(uint64_t seed, uint64_t stream, size_t first_group, size_t n_groups, uint32_t threshold,
                          uint16_t *words);
} train_ops;

/* Floats of scratch for one call of attention or attention_back. */
size_t train_attention_scratch(size_t n_queries, size_t n_keys, size_t width);

/* The variant for this CPU (FINCH_ISA lowers it). */
const train_ops *train_ops_get(void);
/* "scalar", "avx2", "avx512"; NULL where this CPU has not got it. */
const train_ops *train_ops_find(const char *name);

#endif
