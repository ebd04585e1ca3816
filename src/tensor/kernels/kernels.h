/* The forward kernels' contracts: what each computes, in which order, on which shapes. kernels/scalar holds the
 * definition of each; avx2, avx512 and amx give the same bits where it is said. ops.c picks among them.
 *
 * Common rules
 *  1. Rows are row-major with a stride in items; columns of a row are contiguous. Nothing overlaps unless it is said.
 *  2. "n lanes": item i of a row goes to lane i mod n in rising order; lanes are then added as a tree (i and i + n / 2,
 *     then n / 4, ... 1). Missing items add nothing.
 *  3. Every sum's order depends on the shape of one row only, never on how many rows there are. */
#ifndef FINCH_TENSOR_KERNELS_KERNELS_H
#define FINCH_TENSOR_KERNELS_KERNELS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    KERNEL_PANEL = 32,       /* columns of a packed panel */
    KERNEL_HEAD_MAX = 256,   /* widest attention head */
    KERNEL_SKIP_DEPTH = 32   /* parts of a bf16 product of whole multiples of this deep may be read once (see there) */
};

/* c[r, j] = bias[j] + sum over k of a[r, k] * b[k, j], by fused multiply-adds from 0 with rising k, the bias last.
 * a     [n_rows, k], stride lda.
 * b     panels of KERNEL_PANEL columns: b[k, j] is at b[(j / 32) * panel_stride + k * ldb + j % 32]. All of a panel's
 *       columns may be read; the columns past n_cols must be there and are not stored.
 * bias  [panels * 32] or NULL.
 * Same bits in every variant. */
typedef struct kernel_product_f32 {
    const float *a;
    size_t lda;
    size_t n_rows;
    size_t k;
    const float *b;
    size_t ldb;
    size_t panel_stride;
    size_t n_cols;
    const float *bias;
    float *c;
    size_t ldc;
} kernel_product_f32;

/* c[r, j] = row_scale[r] * column_scale[j] * (sum over k of (a[r, k] - zero[r]) * b[k, j]) + bias[j], computed as
 *   fma(float(sum over k of a * b), row_scale[r] * column_scale[j], fma(-(zero[r] * row_scale[r]), column_sum[j], bias[j]))
 * with the sum exact in int32, column_total[j] = sum over k of b[k, j] (for variants that shift a; the definition does not
 * read it) and column_sum[j] = column_scale[j] * column_total[j].
 * a     [n_rows, k] u8, stride lda; k a multiple of 4.
 * b     panels: b[k, j] is at b[(j / 32) * panel_stride + (k / 4) * 128 + (j % 32) * 4 + k % 4].
 * Same bits in every variant. */
typedef struct kernel_product_int8 {
    const uint8_t *a;
    size_t lda;
    size_t n_rows;
    size_t k;
    const int8_t *b;
    size_t panel_stride;
    size_t n_cols;
    const float *row_scale;
    const int32_t *zero;
    const float *column_scale;
    const float *column_sum;
    const int32_t *column_total;
    const float *bias;
    float *c;
    size_t ldc;
} kernel_product_int8;

/* c[r, j] = bias[j] + sum over k of a[r, k] * b[k, j], bf16 inputs, f32 sums over k rising in pairs.
 * b     panels: b[k, j] is at b[(j / 32) * panel_stride + (k / 2) * 64 + (j % 32) * 2 + k % 2]; k even.
 * parts 3: k is three parts of equal depth, of a: x, x', x again, of b: w, w again, w'. Where the depth is a multiple of
 *       KERNEL_SKIP_DEPTH a variant may leave the copies unread (it must say so: ops.h) and add up in another order.
 *       Else parts is 1.
 * The CPU's instruction rounds and flushes its own way: variants agree to rounding, each is the same for any n_rows. */
typedef struct kernel_product_bf16 {
    const uint16_t *a;
    size_t lda;
    size_t n_rows;
    size_t k;
    size_t parts;
    const uint16_t *b;
    size_t panel_stride;
    size_t n_cols;
    const float *bias;
    float *c;
    size_t ldc;
} kernel_product_bf16;

/* y = (s - mean) / sqrt(var + eps) * gain + bias with s = x + residual (residual may be NULL). mean and var of a row by
 * 64 lanes, var over (s - mean)^2. y may be x or residual. Rows dense ([n_rows, width]).
 * mean, rstd  [n_rows] or NULL: kept for a backward pass. Same bits in every variant. */
typedef struct kernel_layer_norm {
    const float *x;
    const float *residual;
    size_t n_rows;
    size_t width;
    const float *gain;
    const float *bias;
    float eps;
    float *y;
    float *mean;
    float *rstd;
} kernel_layer_norm;

/* Rows to u8 with a scale and a zero point each: lo = min(0, row), hi = max(0, row); scale = (hi - lo) / 255,
 * zero = round(-lo * (255 / (hi - lo))), q = clamp(round(fma(x, 255 / (hi - lo), zero))); an all-zero row has scale 0.
 * Rounding is to nearest even. x [n_rows, width] stride ldx; q stride ldq, columns [width, ldq) are zeroed.
 * Same bits in every variant. */
typedef struct kernel_quantize {
    const float *x;
    size_t ldx;
    size_t n_rows;
    size_t width;
    uint8_t *q;
    size_t ldq;
    float *scale;
    int32_t *zero;
} kernel_quantize;

/* Attention of one head over one text: out = softmax(q k^T + bias) v, one row a token. q is scaled already.
 * q, k, v  [n_tokens, width], stride ldqkv; out stride ldout.
 * bias     the bias of key j for query i is bias[j - i]; NULL for none.
 * scratch  kernel_attention_scratch(n_tokens, width) floats, 64-byte aligned.
 * Order: scores and outputs as kernel_product_f32; exponentials by kernel exp, summed by 16 lanes; out is divided last.
 * Same bits in every variant. */
typedef struct kernel_attention {
    const float *q;
    const float *k;
    const float *v;
    size_t ldqkv;
    size_t n_tokens;
    size_t n_queries; /* the first rows for which out is wanted */
    size_t width;
    const float *bias;
    float *scratch;
    float *out;
    size_t ldout;
} kernel_attention;

size_t kernel_attention_scratch(size_t n_tokens, size_t width);

/* Element-wise functions in place over n items. Same bits in every variant.
 * gelu: x/2 + |x| g(|x|), g = erf(|x| / sqrt 2) / 2 (or the tanh form) by 16 polynomials of degree 4; at most 1e-6 off.
 * tanh: 1 - 2 / (exp(2x) + 1). */
typedef void (*kernel_map)(float *x, size_t n);

/* y = x in bf16, rounded to nearest even; a NaN stays one. Same bits in every variant. */
typedef void (*kernel_narrow)(const float *x, uint16_t *y, size_t n);

/* high = x in bf16, low = what is left of it (x - high) in bf16: together 16 bits of x. Same bits in every variant. */
typedef void (*kernel_split)(const float *x, uint16_t *high, uint16_t *low, size_t n);

typedef void (*kernel_product_f32_fn)(const kernel_product_f32 *p);
typedef void (*kernel_product_int8_fn)(const kernel_product_int8 *p);
typedef void (*kernel_product_bf16_fn)(const kernel_product_bf16 *p);
typedef void (*kernel_layer_norm_fn)(const kernel_layer_norm *p);
typedef void (*kernel_quantize_fn)(const kernel_quantize *p);
typedef void (*kernel_attention_fn)(const kernel_attention *p);

#define KERNEL_DECLARE(isa)                                   \
    void product_f32_##isa(const kernel_product_f32 *p);      \
    void product_int8_##isa(const kernel_product_int8 *p);    \
    void layer_norm_##isa(const kernel_layer_norm *p);        \
    void quantize_##isa(const kernel_quantize *p);            \
    void attention_##isa(const kernel_attention *p);          \
    void gelu_##isa(float *x, size_t n);                      \
    void gelu_tanh_##isa(float *x, size_t n);                 \
    void relu_##isa(float *x, size_t n);                      \
    void tanh_##isa(float *x, size_t n);                      \
    void narrow_##isa(const float *x, uint16_t *y, size_t n); \
    void split_##isa(const float *x, uint16_t *high, uint16_t *low, size_t n);

KERNEL_DECLARE(scalar)
KERNEL_DECLARE(avx2)
KERNEL_DECLARE(avx512)
void product_bf16_scalar(const kernel_product_bf16 *p);
void product_bf16_avx2(const kernel_product_bf16 *p);
void product_bf16_avx512(const kernel_product_bf16 *p);
void product_int8_amx(const kernel_product_int8 *p);
void product_bf16_amx(const kernel_product_bf16 *p);
#undef KERNEL_DECLARE

#endif
