/* The decoder's operators over v16.h. The includer defines DECODER_OPS, DECODER_NAME. */
#ifndef FINCH_TENSOR_KERNELS_DECODER_BODY_H
#define FINCH_TENSOR_KERNELS_DECODER_BODY_H

#include "tensor/kernels/decoder_kernels.h"
#include "tensor/kernels/functions.h"

#include <math.h>

KERNEL_INLINE v16 part_load(const float *p, size_t left) { return left >= 16 ? v16_load(p) : v16_load_part(p, left); }

KERNEL_INLINE void part_store(float *p, size_t left, v16 x)
{
    if (left >= 16) v16_store(p, x);
    else v16_store_part(p, left, x);
}

/* Sum of squares over 64 lanes as four vectors. */
static float squares(const float *x, size_t width)
{
    v16 lane[4] = {v16_zero(), v16_zero(), v16_zero(), v16_zero()};
    size_t i = 0;
    for (; i + 64 <= width; i += 64) {
        KERNEL_UNROLL
        for (size_t k = 0; k < 4; k++) {
            v16 value = v16_load(x + i + 16 * k);
            lane[k] = v16_fma(value, value, lane[k]);
        }
    }
    for (size_t k = 0; i < width; i += 16, k++) {
        v16 value = part_load(x + i, width - i);
        lane[k] = v16_fma(value, value, lane[k]);
    }
    return v16_sum(v16_add(v16_add(lane[0], lane[2]), v16_add(lane[1], lane[3])));
}

static void norm_row(const decoder_norm *p, size_t row)
{
    const float *x = p->x + row * p->ldx;
    const float *residual = p->residual == NULL ? NULL : p->residual + row * p->ldy;
    float *y = p->y + row * p->ldy;
    v16 factor = v16_set(1.0f / sqrtf(squares(x, p->width) / (float)p->width + p->eps));
    for (size_t i = 0; i < p->width; i += 16) {
        size_t left = p->width - i;
        v16 value = v16_mul(v16_mul(part_load(x + i, left), factor), part_load(p->gain + i, left));
        if (residual != NULL) value = v16_add(part_load(residual + i, left), value);
        part_store(y + i, left, value);
    }
}

static void norm_rows(const decoder_norm *p)
{
    for (size_t row = 0; row < p->n_rows; row++) norm_row(p, row);
}

static void rotate_rows(const decoder_rotate *p)
{
    size_t half = p->width / 2;
    for (size_t row = 0; row < p->n_rows; row++) {
        float *low = p->x + row * p->width, *high = low + half;
        for (size_t i = 0; i < half; i += 16) {
            size_t left = half - i;
            v16 a = part_load(low + i, left), b = part_load(high + i, left);
            v16 c = part_load(p->cosine + i, left), s = part_load(p->sine + i, left);
            part_store(low + i, left, v16_sub(v16_mul(a, c), v16_mul(b, s)));
            part_store(high + i, left, v16_add(v16_mul(b, c), v16_mul(a, s)));
        }
    }
}

static void gate_items(float *gate, const float *up, size_t n)
{
    for (size_t i = 0; i < n; i += 16) {
        v16 value = v16_gelu(gelu_tanh, part_load(gate + i, n - i));
        part_store(gate + i, n - i, v16_mul(value, part_load(up + i, n - i)));
    }
}

/* Sixteen scores of which [from, to) count; the others become fill. */
KERNEL_INLINE v16 some(const float *x, size_t from, size_t to, float fill)
{
    float all[16];
    for (size_t i = 0; i < 16; i++) all[i] = i >= from && i < to ? x[i] : fill;
    return v16_load(all);
}

static float softmax_row(float *x, size_t first, size_t n)
{
    size_t begin = first / 16 * 16;
    v16 most = v16_set(x[first]), lane = v16_zero();
    for (size_t j = begin; j < n; j += 16) {
        bool whole = j >= first && j + 16 <= n;
        most = v16_max(whole ? v16_load(x + j) : some(x + j, j < first ? first - j : 0, n - j, x[first]), most);
    }
    v16 top = v16_set(v16_largest(most));
    for (size_t j = 0; j < begin; j += 16) v16_store(x + j, v16_zero());
    for (size_t j = begin; j < n; j += 16) {
        v16 e = v16_exp(v16_sub(v16_load(x + j), top));
        v16_store(x + j, e);
        if (j < first || j + 16 > n) v16_store(x + j, some(x + j, j < first ? first - j : 0, n - j, 0.0f));
        lane = v16_add(lane, v16_load(x + j));
    }
    return 1.0f / v16_sum(lane);
}

const decoder_ops DECODER_OPS = {DECODER_NAME, norm_rows, rotate_rows, gate_items, softmax_row};

#endif
