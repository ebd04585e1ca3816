#include "tensor/kernels/v16.h"

static void attention_transpose(const float *from, size_t stride, size_t n_rows, size_t width, float *to)
{
    for (size_t d = 0; d < width; d++) {
        for (size_t j = 0; j < n_rows; j++) to[d * 32 + j] = from[j * stride + d];
        for (size_t j = n_rows; j < 32; j++) to[d * 32 + j] = 0.0f;
    }
}

#define ATTENTION_NAME attention_avx2
#define ATTENTION_PRODUCT product_f32_avx2
#include "tensor/kernels/attention_body.h"
