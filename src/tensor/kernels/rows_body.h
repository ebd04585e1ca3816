/* The row kernels and element-wise functions over v16.h. The includer defines ROWS_NAME(kernel). */
#ifndef FINCH_TENSOR_KERNELS_ROWS_BODY_H
#define FINCH_TENSOR_KERNELS_ROWS_BODY_H

#include "tensor/kernels/functions.h"
#include "tensor/kernels/kernels.h"
#include "tensor/kernels/v16_train.h"

#include <math.h>
#include <string.h>

KERNEL_INLINE v16 row_load(const float *p, size_t left) { return left >= 16 ? v16_load(p) : v16_load_part(p, left); }

KERNEL_INLINE void row_store(float *p, size_t left, v16 x)
{
    if (left >= 16) v16_store(p, x);
    else v16_store_part(p, left, x);
}

#define ROWS_MAP(name, expression)                 \
    void ROWS_NAME(name)(float *x, size_t n)       \
    {                                              \
        for (size_t i = 0; i < n; i += 16) {       \
            v16 value = row_load(x + i, n - i);    \
            row_store(x + i, n - i, (expression)); \
        }                                          \
    }

ROWS_MAP(gelu, v16_gelu(gelu_erf, value))
ROWS_MAP(gelu_tanh, v16_gelu(gelu_tanh, value))
ROWS_MAP(relu, v16_max(v16_zero(), value))
ROWS_MAP(tanh, v16_sub(v16_set(1.0f), v16_div(v16_set(2.0f), v16_add(v16_exp(v16_add(value, value)), v16_set(1.0f)))))

void ROWS_NAME(narrow)(const float *x, uint16_t *y, size_t n)
{
    for (size_t i = 0; i < n; i += 16) v16_store_bf16(y + i, V16_REST(n, i), row_load(x + i, n - i));
}

void ROWS_NAME(split)(const float *x, uint16_t *high, uint16_t *low, size_t n)
{
    for (size_t i = 0; i < n; i += 16) {
        v16 value = row_load(x + i, n - i);
        v16_store_bf16(high + i, V16_REST(n, i), value);
        v16_store_bf16(low + i, V16_REST(n, i), v16_sub(value, v16_round_bf16(value)));
    }
}

/* Sixty-four lanes as four vectors: long sums without waiting for the one before. */
typedef struct lanes {
    v16 at[4];
} lanes;

KERNEL_INLINE lanes lanes_set(v16 x)
{
    lanes l = {{x, x, x, x}};
    return l;
}

KERNEL_INLINE float lanes_sum64(lanes l) { return v16_sum(v16_add(v16_add(l.at[0], l.at[2]), v16_add(l.at[1], l.at[3]))); }

/* Runs body(i, left, lane) over a row: whole groups of four vectors with left = 16, then what remains, vector by vector. */
#define ROW_EACH(width, body)                                                                      \
    do {                                                                                           \
        size_t each = 0;                                                                           \
        for (; each + 64 <= (width); each += 64) {                                                 \
            body(each, 16, 0) body(each + 16, 16, 1) body(each + 32, 16, 2) body(each + 48, 16, 3) \
        }                                                                                          \
        if (each < (width))                                                                        \
            body(each, (width) - each, 0) if (each + 16 < (width))                                 \
                body(each + 16, (width) - each - 16, 1) if (each + 32 < (width))                   \
                    body(each + 32, (width) - each - 32, 2) if (each + 48 < (width))               \
                        body(each + 48, (width) - each - 48, 3)                                    \
    } while (0)

/* Rows that go through a kernel's passes together: a row's sum or range takes a while to come down to one number, and
 * meanwhile the CPU works on the next one. */
enum { ROWS_TOGETHER = 4 };

static size_t rows_together(size_t n_rows, size_t first)
{
    return n_rows - first < ROWS_TOGETHER ? n_rows - first : ROWS_TOGETHER;
}

/* y = x + residual; returns the mean. */
static float norm_add(const kernel_layer_norm *p, size_t row)
{
    const size_t width = p->width;
    const float *x = p->x + row * width;
    const float *residual = p->residual == NULL ? NULL : p->residual + row * width;
    float *y = p->y + row * width;
    lanes l = lanes_set(v16_zero());
#define NORM_SUM(i, left, lane)                                               \
    {                                                                         \
        v16 s = row_load(x + (i), left);                                      \
        if (residual != NULL) s = v16_add(s, row_load(residual + (i), left)); \
        row_store(y + (i), left, s);                                          \
        l.at[lane] = v16_add(l.at[lane], s);                                  \
    }
    ROW_EACH(width, NORM_SUM);
    return lanes_sum64(l) / (float)width;
}

/* One over the deviation. */
static float norm_deviation(const kernel_layer_norm *p, size_t row, float row_mean)
{
    const size_t width = p->width;
    const float *y = p->y + row * width;
    const v16 mean = v16_set(row_mean);
    lanes l = lanes_set(v16_zero());
#define NORM_SQUARES(i, left, lane)                         \
    {                                                       \
        v16 d = v16_sub(row_load(y + (i), left), mean);     \
        if ((left) < 16) d = v16_keep(d, left, v16_zero()); \
        l.at[lane] = v16_fma(d, d, l.at[lane]);             \
    }
    ROW_EACH(width, NORM_SQUARES);
    return 1.0f / sqrtf(lanes_sum64(l) / (float)width + p->eps);
}

static void norm_write(const kernel_layer_norm *p, size_t row, float row_mean, float row_rstd)
{
    float *y = p->y + row * p->width;
    const v16 mean = v16_set(row_mean), rstd = v16_set(row_rstd);
#define NORM_WRITE(i, left, lane)                                                                           \
    {                                                                                                       \
        v16 d = v16_mul(v16_sub(row_load(y + (i), left), mean), rstd);                                      \
        row_store(y + (i), left, v16_fma(d, row_load(p->gain + (i), left), row_load(p->bias + (i), left))); \
    }
    ROW_EACH(p->width, NORM_WRITE);
    if (p->mean != NULL) p->mean[row] = row_mean;
    if (p->rstd != NULL) p->rstd[row] = row_rstd;
}

static void norm_together(const kernel_layer_norm *p, size_t first, size_t n)
{
    float mean[ROWS_TOGETHER], rstd[ROWS_TOGETHER];
    for (size_t i = 0; i < n; i++) mean[i] = norm_add(p, first + i);
    for (size_t i = 0; i < n; i++) rstd[i] = norm_deviation(p, first + i, mean[i]);
    for (size_t i = 0; i < n; i++) norm_write(p, first + i, mean[i], rstd[i]);
}

void ROWS_NAME(layer_norm)(const kernel_layer_norm *p)
{
    for (size_t row = 0; row < p->n_rows; row += ROWS_TOGETHER) norm_together(p, row, rows_together(p->n_rows, row));
}

/* What a row's levels follow from: level = round(x * inverse + zero). */
typedef struct quantize_levels {
    float inverse, zero;
} quantize_levels;

static quantize_levels quantize_range(const kernel_quantize *p, size_t row)
{
    const float *x = p->x + row * p->ldx;
    lanes low = lanes_set(v16_zero()), high = low;
#define QUANTIZE_RANGE(i, left, lane)                  \
    {                                                  \
        v16 value = row_load(x + (i), left);           \
        low.at[lane] = v16_min(value, low.at[lane]);   \
        high.at[lane] = v16_max(value, high.at[lane]); \
    }
    ROW_EACH(p->width, QUANTIZE_RANGE);
    float least = v16_least(v16_min(v16_min(low.at[0], low.at[1]), v16_min(low.at[2], low.at[3])));
    float range = v16_largest(v16_max(v16_max(high.at[0], high.at[1]), v16_max(high.at[2], high.at[3]))) - least;
    float inverse = range > 0.0f ? 255.0f / range : 0.0f;
    float zero = -least * inverse;
    zero = rintf(zero < 255.0f ? zero : 255.0f);
    p->scale[row] = range / 255.0f;
    p->zero[row] = (int32_t)zero;
    return (quantize_levels){inverse, zero};
}

KERNEL_INLINE v16i quantize_vector(const float *x, size_t left, v16 inverse, v16 zero)
{
    return v16_to_int(v16_fma(row_load(x, left), inverse, zero));
}

static void quantize_write(const kernel_quantize *p, size_t row, quantize_levels levels)
{
    const float *x = p->x + row * p->ldx;
    uint8_t *q = p->q + row * p->ldq;
    const v16 inverse = v16_set(levels.inverse), zero = v16_set(levels.zero);
    size_t i = 0;
    for (; i + 64 <= p->width; i += 64)
        v16i_store_u8_64(q + i, quantize_vector(x + i, 16, inverse, zero), quantize_vector(x + i + 16, 16, inverse, zero),
                         quantize_vector(x + i + 32, 16, inverse, zero), quantize_vector(x + i + 48, 16, inverse, zero));
    for (; i + 16 <= p->width; i += 16) v16i_store_u8(q + i, quantize_vector(x + i, 16, inverse, zero));
    if (i < p->width) {
        uint8_t last[16];
        v16i_store_u8(last, quantize_vector(x + i, p->width - i, inverse, zero));
        memcpy(q + i, last, p->width - i);
    }
    memset(q + p->width, 0, p->ldq - p->width);
}

static void quantize_together(const kernel_quantize *p, size_t first, size_t n)
{
    quantize_levels levels[ROWS_TOGETHER];
    for (size_t i = 0; i < n; i++) levels[i] = quantize_range(p, first + i);
    for (size_t i = 0; i < n; i++) quantize_write(p, first + i, levels[i]);
}

void ROWS_NAME(quantize)(const kernel_quantize *p)
{
    for (size_t row = 0; row < p->n_rows; row += ROWS_TOGETHER) quantize_together(p, row, rows_together(p->n_rows, row));
}

#endif
