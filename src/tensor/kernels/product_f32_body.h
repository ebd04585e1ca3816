/* The f32 product over v16.h. The includer defines PRODUCT_NAME and PRODUCT_ROWS. */
#ifndef FINCH_TENSOR_KERNELS_PRODUCT_F32_BODY_H
#define FINCH_TENSOR_KERNELS_PRODUCT_F32_BODY_H

#include "tensor/kernels/kernels.h"
#include "tensor/kernels/product_tile.h"
#include "tensor/kernels/v16.h"

KERNEL_INLINE void product_store(const kernel_product_f32 *p, size_t row, size_t col, v16 sum)
{
    v16 y = p->bias == NULL ? sum : v16_add(sum, v16_load(p->bias + col));
    float *c = p->c + row * p->ldc + col;
    if (p->n_cols - col >= 16) v16_store(c, y);
    else v16_store_part(c, p->n_cols - col, y);
}

KERNEL_INLINE void product_tile(const kernel_product_f32 *p, size_t row, size_t col, const size_t n_rows,
                                const size_t n_vectors)
{
    const float *a = p->a + row * p->lda;
    const float *b = p->b + (col / KERNEL_PANEL) * p->panel_stride;
    const char *ahead = PRODUCT_AHEAD(p, row, col, b);
#define PRODUCT_BEGIN(r)                                   \
    const float *a##r = a + (r < n_rows ? r : 0) * p->lda; \
    v16 left##r = v16_zero(), right##r = v16_zero();
#define PRODUCT_STEP(r)                                                   \
    if (r < n_rows) {                                                     \
        v16 x = v16_set(a##r[k]);                                         \
        left##r = v16_fma(x, weight_left, left##r);                       \
        if (n_vectors > 1) right##r = v16_fma(x, weight_right, right##r); \
    }
#define PRODUCT_END(r)                                                    \
    if (r < n_rows) {                                                     \
        product_store(p, row + r, col, left##r);                          \
        if (n_vectors > 1) product_store(p, row + r, col + 16, right##r); \
    }
    PRODUCT_EACH_ROW(PRODUCT_BEGIN)
    for (size_t k = 0; k < p->k; k++) {
        v16 weight_left = v16_load(b);
        v16 weight_right = n_vectors > 1 ? v16_load(b + 16) : v16_zero();
        PRODUCT_EACH_ROW(PRODUCT_STEP)
        b += p->ldb;
        _mm_prefetch(ahead, _MM_HINT_T1);
        ahead += 64;
    }
    PRODUCT_EACH_ROW(PRODUCT_END)
#undef PRODUCT_BEGIN
#undef PRODUCT_STEP
#undef PRODUCT_END
}

PRODUCT_WALK(PRODUCT_NAME, kernel_product_f32)

#endif
