/* The int8 product over v16.h. The includer defines PRODUCT_NAME, PRODUCT_ROWS and product_dot(sum, x, w), which adds to
 * each int32 lane the exact sum of four u8 x s8 products.
 * Integer sums are exact, so no order matters; the float part is one conversion, one product and one fused step. */
#ifndef FINCH_TENSOR_KERNELS_PRODUCT_INT8_BODY_H
#define FINCH_TENSOR_KERNELS_PRODUCT_INT8_BODY_H

#include "tensor/kernels/kernels.h"
#include "tensor/kernels/product_tile.h"
#include "tensor/kernels/v16.h"

#include <string.h>

KERNEL_INLINE v16i product_four(const uint8_t *a)
{
    int32_t x;
    memcpy(&x, a, sizeof x);
    return v16i_set(x);
}

KERNEL_INLINE void product_store(const kernel_product_int8 *p, size_t row, size_t col, v16i sum)
{
    v16 zero = v16_set(-((float)p->zero[row] * p->row_scale[row]));
    v16 scale = v16_mul(v16_set(p->row_scale[row]), v16_load(p->column_scale + col));
    v16 y = v16_fma(v16_from_int(sum), scale, v16_fma(zero, v16_load(p->column_sum + col), v16_load(p->bias + col)));
    float *c = p->c + row * p->ldc + col;
    if (p->n_cols - col >= 16) v16_store(c, y);
    else v16_store_part(c, p->n_cols - col, y);
}

KERNEL_INLINE void product_tile(const kernel_product_int8 *p, size_t row, size_t col, const size_t n_rows,
                                const size_t n_vectors)
{
    const uint8_t *a = p->a + row * p->lda;
    const int8_t *b = p->b + (col / KERNEL_PANEL) * p->panel_stride;
    const char *ahead = PRODUCT_AHEAD(p, row, col, b);
#define PRODUCT_BEGIN(r)                                     \
    const uint8_t *a##r = a + (r < n_rows ? r : 0) * p->lda; \
    v16i left##r = v16i_zero(), right##r = v16i_zero();
#define PRODUCT_STEP(r)                                                       \
    if (r < n_rows) {                                                         \
        v16i x = product_four(a##r + k);                                      \
        left##r = product_dot(left##r, x, weight_left);                       \
        if (n_vectors > 1) right##r = product_dot(right##r, x, weight_right); \
    }
#define PRODUCT_END(r)                                                    \
    if (r < n_rows) {                                                     \
        product_store(p, row + r, col, left##r);                          \
        if (n_vectors > 1) product_store(p, row + r, col + 16, right##r); \
    }
    PRODUCT_EACH_ROW(PRODUCT_BEGIN)
    for (size_t k = 0; k < p->k; k += 4) {
        v16i weight_left = v16i_load((const int32_t *)(const void *)b);
        v16i weight_right = n_vectors > 1 ? v16i_load((const int32_t *)(const void *)(b + 64)) : v16i_zero();
        PRODUCT_EACH_ROW(PRODUCT_STEP)
        b += KERNEL_PANEL * 4;
        _mm_prefetch(ahead, _MM_HINT_T1);
        ahead += 64;
    }
    PRODUCT_EACH_ROW(PRODUCT_END)
#undef PRODUCT_BEGIN
#undef PRODUCT_STEP
#undef PRODUCT_END
}

PRODUCT_WALK(PRODUCT_NAME, kernel_product_int8)

#endif
