/* The products' definitions. */
#include "tensor/kernels/kernels.h"

#include <math.h>
#include <string.h>

void product_f32_scalar(const kernel_product_f32 *p)
{
    for (size_t r = 0; r < p->n_rows; r++) {
        for (size_t j = 0; j < p->n_cols; j++) {
            const float *b = p->b + (j / KERNEL_PANEL) * p->panel_stride + j % KERNEL_PANEL;
            float sum = 0.0f;
            for (size_t k = 0; k < p->k; k++) sum = fmaf(p->a[r * p->lda + k], b[k * p->ldb], sum);
            p->c[r * p->ldc + j] = p->bias == NULL ? sum : sum + p->bias[j];
        }
    }
}

void product_int8_scalar(const kernel_product_int8 *p)
{
    for (size_t r = 0; r < p->n_rows; r++) {
        for (size_t j = 0; j < p->n_cols; j++) {
            const int8_t *b = p->b + (j / KERNEL_PANEL) * p->panel_stride + j % KERNEL_PANEL * 4;
            int32_t sum = 0;
            for (size_t k = 0; k < p->k; k++)
                sum += (int32_t)p->a[r * p->lda + k] * (int32_t)b[k / 4 * (KERNEL_PANEL * 4) + k % 4];
            float zero = -((float)p->zero[r] * p->row_scale[r]);
            p->c[r * p->ldc + j] = fmaf((float)sum, p->row_scale[r] * p->column_scale[j],
                                        fmaf(zero, p->column_sum[j], p->bias[j]));
        }
    }
}

static float bf16_widen(uint16_t x)
{
    uint32_t bits = (uint32_t)x << 16;
    float y;
    memcpy(&y, &bits, sizeof y);
    return y;
}

void product_bf16_scalar(const kernel_product_bf16 *p)
{
    for (size_t r = 0; r < p->n_rows; r++) {
        for (size_t j = 0; j < p->n_cols; j++) {
            const uint16_t *b = p->b + (j / KERNEL_PANEL) * p->panel_stride + j % KERNEL_PANEL * 2;
            float sum = 0.0f;
            for (size_t k = 0; k < p->k; k++)
                sum = fmaf(bf16_widen(p->a[r * p->lda + k]), bf16_widen(b[k / 2 * (KERNEL_PANEL * 2) + k % 2]), sum);
            p->c[r * p->ldc + j] = p->bias == NULL ? sum : sum + p->bias[j];
        }
    }
}
