/* The row kernels and element-wise functions over v16.h. The includer defines ROWS_NAME(kernel). */
#include "tensor/kernels/functions.h"
#include "tensor/kernels/kernels.h"

#include <math.h>
#include <string.h>

KERNEL_INLINE v16 row_load(const float *p, size_t left)
{
    return left >= 16 ? v16_load(p) : v16_load_part(p, left);
}

KERNEL_INLINE void row_store(float *p, size_t left, v16 x)
{
    if (left >= 16) v16_store(p, x);
    else v16_store_part(p, left, x);
}

#define ROWS_MAP(name, expression)                                       \
    void ROWS_NAME(name)(float *x, size_t n)                             \
    {                                                                    \
        for (size_t i = 0; i < n; i += 16) {                             \
            v16 value = row_load(x + i, n - i);                          \
            row_store(x + i, n - i, (expression));                       \
        }                                                                \
    }

ROWS_MAP(gelu, v16_gelu(gelu_erf, value))
ROWS_MAP(gelu_tanh, v16_gelu(gelu_tanh, value))
ROWS_MAP(relu, v16_max(value, v16_zero()))
ROWS_MAP(tanh, v16_sub(v16_set(1.0f), v16_div(v16_set(2.0f), v16_add(v16_exp(v16_add(value, value)), v16_set(1.0f)))))

static void layer_norm_row(const kernel_layer_norm *p, size_t row)
{
    const size_t width = p->width;
    const float *x = p->x + row * width;
    const float *residual = p->residual == NULL ? NULL : p->residual + row * width;
    float *y = p->y + row * width;
    v16 lane = v16_zero();
    for (size_t i = 0; i < width; i += 16) {
        v16 s = row_load(x + i, width - i);
        if (residual != NULL) s = v16_add(s, row_load(residual + i, width - i));
        row_store(y + i, width - i, s);
        lane = v16_add(lane, s);
    }
    float mean = v16_sum(lane) / (float)width;
    lane = v16_zero();
    for (size_t i = 0; i < width; i += 16) {
        v16 d = v16_sub(row_load(y + i, width - i), v16_set(mean));
        if (width - i < 16) d = v16_keep(d, width - i, v16_zero());
        lane = v16_fma(d, d, lane);
    }
    float rstd = 1.0f / sqrtf(v16_sum(lane) / (float)width + p->eps);
    for (size_t i = 0; i < width; i += 16) {
        v16 d = v16_mul(v16_sub(row_load(y + i, width - i), v16_set(mean)), v16_set(rstd));
        row_store(y + i, width - i, v16_fma(d, row_load(p->gain + i, width - i), row_load(p->bias + i, width - i)));
    }
    if (p->mean != NULL) p->mean[row] = mean;
    if (p->rstd != NULL) p->rstd[row] = rstd;
}

void ROWS_NAME(layer_norm)(const kernel_layer_norm *p)
{
    for (size_t row = 0; row < p->n_rows; row++) layer_norm_row(p, row);
}

static void quantize_row(const kernel_quantize *p, size_t row)
{
    const float *x = p->x + row * p->ldx;
    uint8_t *q = p->q + row * p->ldq;
    v16 low = v16_zero(), high = v16_zero();
    for (size_t i = 0; i < p->width; i += 16) {
        v16 value = row_load(x + i, p->width - i);
        low = v16_min(value, low);
        high = v16_max(value, high);
    }
    float least = v16_least(low);
    float range = v16_largest(high) - least;
    float inverse = range > 0.0f ? 255.0f / range : 0.0f;
    float zero = -least * inverse;
    zero = rintf(zero < 255.0f ? zero : 255.0f);
    p->scale[row] = range / 255.0f;
    p->zero[row] = (int32_t)zero;
    for (size_t i = 0; i < p->width; i += 16) {
        v16 scaled = v16_mul(row_load(x + i, p->width - i), v16_set(inverse));
        scaled = v16_min(v16_max(scaled, v16_set(-zero)), v16_set(255.0f - zero));
        v16i level = v16i_add(v16_to_int(scaled), v16i_set((int32_t)zero));
        if (p->width - i >= 16) {
            v16i_store_u8(q + i, level);
        } else {
            uint8_t last[16];
            v16i_store_u8(last, level);
            memcpy(q + i, last, p->width - i);
        }
    }
    memset(q + p->width, 0, p->ldq - p->width);
}

void ROWS_NAME(quantize)(const kernel_quantize *p)
{
    for (size_t row = 0; row < p->n_rows; row++) quantize_row(p, row);
}
