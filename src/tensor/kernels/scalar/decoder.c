/* The definitions of the decoder's operators. */
#include "tensor/kernels/decoder_kernels.h"
#include "tensor/kernels/scalar/scalar.h"

#include <math.h>

static void norm_row(const decoder_norm *p, size_t row)
{
    const float *x = p->x + row * p->ldx;
    const float *residual = p->residual == NULL ? NULL : p->residual + row * p->ldy;
    float *y = p->y + row * p->ldy;
    float lane[64] = {0};
    for (size_t i = 0; i < p->width; i++) lane[i % 64] = fmaf(x[i], x[i], lane[i % 64]);
    float factor = 1.0f / sqrtf(lanes_sum(lane, 64) / (float)p->width + p->eps);
    for (size_t i = 0; i < p->width; i++) {
        float value = x[i] * factor * p->gain[i];
        y[i] = residual == NULL ? value : residual[i] + value;
    }
}

static void decoder_norm_scalar(const decoder_norm *p)
{
    for (size_t row = 0; row < p->n_rows; row++) norm_row(p, row);
}

static void decoder_rotate_scalar(const decoder_rotate *p)
{
    size_t half = p->width / 2;
    for (size_t row = 0; row < p->n_rows; row++) {
        float *low = p->x + row * p->width, *high = low + half;
        for (size_t i = 0; i < half; i++) {
            float a = low[i], b = high[i];
            low[i] = a * p->cosine[i] - b * p->sine[i];
            high[i] = b * p->cosine[i] + a * p->sine[i];
        }
    }
}

static void decoder_gate_scalar(float *gate, const float *up, size_t n)
{
    gelu_tanh_scalar(gate, n);
    for (size_t i = 0; i < n; i++) gate[i] *= up[i];
}

static float decoder_softmax_scalar(float *x, size_t first, size_t n)
{
    float lane[16] = {0};
    float most = x[first];
    for (size_t j = first + 1; j < n; j++) most = x[j] > most ? x[j] : most;
    for (size_t j = 0; j < first; j++) x[j] = 0.0f;
    for (size_t j = first; j < n; j++) {
        x[j] = exp_scalar(x[j] - most);
        lane[j % 16] += x[j];
    }
    for (size_t j = n; j % 16 != 0; j++) x[j] = 0.0f;
    return 1.0f / lanes_sum(lane, 16);
}

const decoder_ops decoder_ops_scalar = {"scalar", decoder_norm_scalar, decoder_rotate_scalar, decoder_gate_scalar,
                                        decoder_softmax_scalar};
