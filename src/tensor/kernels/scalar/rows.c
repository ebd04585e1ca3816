/* The definitions of the row kernels and of the element-wise functions. */
#include "tensor/kernels/scalar/scalar.h"

#include "tensor/kernels/constants.h"
#include "tensor/kernels/gelu_table.h"
#include "tensor/tensor.h"

#include <math.h>
#include <string.h>

float lanes_sum(float *lane, size_t n)
{
    for (size_t half = n / 2; half > 0; half /= 2)
        for (size_t i = 0; i < half; i++) lane[i] += lane[i + half];
    return lane[0];
}

static float kernel_min(float a, float b) { return a < b ? a : b; }

static float kernel_max(float a, float b) { return a > b ? a : b; }

float exp_scalar(float x)
{
    x = kernel_min(EXP_MOST, kernel_max(EXP_LEAST, x)); /* NaN stays NaN */
    if (isnan(x)) return x;
    int32_t n = (int32_t)lrintf(x * EXP_LOG2_E);
    float r = fmaf((float)n, -EXP_LN2_HIGH, x);
    r = fmaf((float)n, -EXP_LN2_LOW, r);
    float p = fmaf(EXP_C0, r, EXP_C1);
    p = fmaf(p, r, EXP_C2);
    p = fmaf(p, r, EXP_C3);
    p = fmaf(p, r, EXP_C4);
    p = fmaf(p, r, EXP_C5);
    p = fmaf(p, r * r, r) + 1.0f;
    uint32_t bits = (uint32_t)(n + 127) << 23;
    float power;
    memcpy(&power, &bits, sizeof power);
    return p * power;
}

static float gelu_one(const float table[GELU_DEGREE + 1][16], float x)
{
    float size = fabsf(x);
    float at = size * GELU_SCALE;
    float i = truncf(kernel_min(at, GELU_LAST));
    float t = (at - i) - 0.5f;
    int32_t index = (int32_t)i;
    float g = table[GELU_DEGREE][index];
    for (int k = GELU_DEGREE - 1; k >= 0; k--) g = fmaf(g, t, table[k][index]);
    return fmaf(size, g, 0.5f * x);
}

void gelu_scalar(float *x, size_t n)
{
    for (size_t i = 0; i < n; i++) x[i] = gelu_one(gelu_erf, x[i]);
}

void gelu_tanh_scalar(float *x, size_t n)
{
    for (size_t i = 0; i < n; i++) x[i] = gelu_one(gelu_tanh, x[i]);
}

void relu_scalar(float *x, size_t n)
{
    for (size_t i = 0; i < n; i++) x[i] = kernel_max(0.0f, x[i]);
}

void tanh_scalar(float *x, size_t n)
{
    for (size_t i = 0; i < n; i++) x[i] = 1.0f - 2.0f / (exp_scalar(x[i] + x[i]) + 1.0f);
}

static void layer_norm_row(const kernel_layer_norm *p, size_t row)
{
    const float *x = p->x + row * p->width;
    const float *residual = p->residual == NULL ? NULL : p->residual + row * p->width;
    float *y = p->y + row * p->width;
    float lane[64] = {0};
    for (size_t i = 0; i < p->width; i++) {
        y[i] = residual == NULL ? x[i] : x[i] + residual[i];
        lane[i % 64] += y[i];
    }
    float mean = lanes_sum(lane, 64) / (float)p->width;
    memset(lane, 0, sizeof lane);
    for (size_t i = 0; i < p->width; i++) lane[i % 64] = fmaf(y[i] - mean, y[i] - mean, lane[i % 64]);
    float rstd = 1.0f / sqrtf(lanes_sum(lane, 64) / (float)p->width + p->eps);
    for (size_t i = 0; i < p->width; i++) y[i] = fmaf((y[i] - mean) * rstd, p->gain[i], p->bias[i]);
    if (p->mean != NULL) p->mean[row] = mean;
    if (p->rstd != NULL) p->rstd[row] = rstd;
}

void layer_norm_scalar(const kernel_layer_norm *p)
{
    for (size_t row = 0; row < p->n_rows; row++) layer_norm_row(p, row);
}

void narrow_scalar(const float *x, uint16_t *y, size_t n) { tensor_bf16_from_f32(x, y, n); }

void split_scalar(const float *x, uint16_t *high, uint16_t *low, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        float rounded;
        tensor_bf16_from_f32(x + i, high + i, 1);
        tensor_f32_from_bf16(high + i, &rounded, 1);
        float rest = x[i] - rounded;
        tensor_bf16_from_f32(&rest, low + i, 1);
    }
}

void quantize_scalar(const kernel_quantize *p)
{
    for (size_t row = 0; row < p->n_rows; row++) {
        const float *x = p->x + row * p->ldx;
        uint8_t *q = p->q + row * p->ldq;
        float low = 0.0f, high = 0.0f;
        for (size_t i = 0; i < p->width; i++) {
            low = kernel_min(x[i], low);
            high = kernel_max(x[i], high);
        }
        float range = high - low;
        float inverse = range > 0.0f ? 255.0f / range : 0.0f;
        float zero = rintf(kernel_min(-low * inverse, 255.0f));
        p->scale[row] = range / 255.0f;
        p->zero[row] = (int32_t)zero;
        for (size_t i = 0; i < p->width; i++) {
            q[i] = (uint8_t)lrintf(kernel_min(kernel_max(fmaf(x[i], inverse, zero), 0.0f), 255.0f));
        }
        memset(q + p->width, 0, p->ldq - p->width);
    }
}
