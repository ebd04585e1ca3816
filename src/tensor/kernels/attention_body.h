/* Attention of one head over one text, over v16.h. The includer defines ATTENTION_NAME, ATTENTION_PRODUCT (the f32
 * product of its instruction set) and attention_transpose(from, stride, n_rows, width, to): rows [n_rows <= 32, width]
 * to a panel [width, 32], columns past n_rows zeroed.
 * Keys are transposed into panels once a head; values are used where they lie, if a head is whole panels wide. */
#ifndef FINCH_TENSOR_KERNELS_ATTENTION_BODY_H
#define FINCH_TENSOR_KERNELS_ATTENTION_BODY_H

#include "tensor/kernels/functions.h"
#include "tensor/kernels/kernels.h"

#include <string.h>

KERNEL_INLINE v16 attention_scores(const float *row, const float *bias, size_t j, size_t left)
{
    v16 s = v16_load(row + j);
    if (bias == NULL) return s;
    return v16_add(s, left >= 16 ? v16_load(bias + j) : v16_load_part(bias + j, left));
}

/* Scores [n] (room to a multiple of 16) to exponentials; returns what to multiply by. */
static float attention_softmax(float *row, const float *bias, size_t n)
{
    v16 most = v16_set(row[0] + (bias == NULL ? 0.0f : bias[0]));
    for (size_t j = 0; j < n; j += 16) {
        v16 s = attention_scores(row, bias, j, n - j);
        v16_store(row + j, s);
        most = v16_max(n - j >= 16 ? s : v16_keep(s, n - j, most), most);
    }
    v16 top = v16_set(v16_largest(most));
    v16 lane = v16_zero();
    for (size_t j = 0; j < n; j += 16) {
        v16 e = v16_exp(v16_sub(v16_load(row + j), top));
        v16_store(row + j, e);
        lane = v16_add(lane, n - j >= 16 ? e : v16_keep(e, n - j, v16_zero()));
    }
    return 1.0f / v16_sum(lane);
}

/* Values in panels of 32 columns, where a head is not whole panels wide. */
static void attention_pack_values(const kernel_attention *p, float *to)
{
    for (size_t panel = 0; panel * KERNEL_PANEL < p->width; panel++) {
        size_t first = panel * KERNEL_PANEL;
        size_t n = p->width - first < KERNEL_PANEL ? p->width - first : KERNEL_PANEL;
        for (size_t j = 0; j < p->n_tokens; j++, to += KERNEL_PANEL) {
            memset(to, 0, KERNEL_PANEL * sizeof *to);
            memcpy(to, p->v + j * p->ldqkv + first, n * sizeof *to);
        }
    }
}

static void attention_divide(const kernel_attention *p, size_t first, size_t n, const float *factor)
{
    for (size_t i = 0; i < n; i++) {
        float *out = p->out + (first + i) * p->ldout;
        size_t d = 0;
        for (; d + 16 <= p->width; d += 16) v16_store(out + d, v16_mul(v16_load(out + d), v16_set(factor[i])));
        for (; d < p->width; d++) out[d] *= factor[i];
    }
}

void ATTENTION_NAME(const kernel_attention *p)
{
    size_t padded = (p->n_tokens + KERNEL_PANEL - 1) / KERNEL_PANEL * KERNEL_PANEL;
    bool in_place = p->width % KERNEL_PANEL == 0;
    float *keys = p->scratch;
    float *values = keys + (padded * p->width + 15) / 16 * 16;
    float *scores = values + ((p->width + KERNEL_PANEL - 1) / KERNEL_PANEL * KERNEL_PANEL * p->n_tokens + 15) / 16 * 16;
    for (size_t j = 0; j < p->n_tokens; j += KERNEL_PANEL) {
        size_t n = p->n_tokens - j < KERNEL_PANEL ? p->n_tokens - j : KERNEL_PANEL;
        attention_transpose(p->k + j * p->ldqkv, p->ldqkv, n, p->width, keys + j * p->width);
    }
    if (!in_place) attention_pack_values(p, values);
    for (size_t first = 0; first < p->n_queries; first += ATTENTION_QUERIES) {
        size_t n = p->n_queries - first < ATTENTION_QUERIES ? p->n_queries - first : ATTENTION_QUERIES;
        float factor[ATTENTION_QUERIES];
        ATTENTION_PRODUCT(&(kernel_product_f32){.a = p->q + first * p->ldqkv,
                                                .lda = p->ldqkv,
                                                .n_rows = n,
                                                .k = p->width,
                                                .b = keys,
                                                .ldb = KERNEL_PANEL,
                                                .panel_stride = KERNEL_PANEL * p->width,
                                                .n_cols = p->n_tokens,
                                                .c = scores,
                                                .ldc = padded});
        for (size_t i = 0; i < n; i++)
            factor[i] = attention_softmax(scores + i * padded, p->bias == NULL ? NULL : p->bias - (first + i), p->n_tokens);
        ATTENTION_PRODUCT(&(kernel_product_f32){.a = scores,
                                                .lda = padded,
                                                .n_rows = n,
                                                .k = p->n_tokens,
                                                .b = in_place ? p->v : values,
                                                .ldb = in_place ? p->ldqkv : KERNEL_PANEL,
                                                .panel_stride = in_place ? KERNEL_PANEL : KERNEL_PANEL * p->n_tokens,
                                                .n_cols = p->width,
                                                .c = p->out + first * p->ldout,
                                                .ldc = p->ldout});
        attention_divide(p, first, n, factor);
    }
}

#endif
