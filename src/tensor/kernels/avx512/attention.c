#include "tensor/kernels/avx512/transpose.h"

static void attention_transpose(const float *from, size_t stride, size_t n_rows, size_t width, float *to)
{
    for (size_t d = 0; d < width; d += 16) {
        transpose_block(from + d, stride, n_rows, width - d, to + d * 32, 32);
        transpose_block(from + 16 * stride + d, stride, n_rows > 16 ? n_rows - 16 : 0, width - d, to + d * 32 + 16, 32);
    }
}

#define ATTENTION_NAME attention_avx512
#define ATTENTION_PRODUCT product_f32_avx512
#include "tensor/kernels/attention_body.h"
