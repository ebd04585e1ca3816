/* vdpbf16ps adds two bf16 products to an f32 lane. Tile as the f32 product's. */
#include "tensor/kernels/kernels.h"
#define PRODUCT_ROWS 14
#include "tensor/kernels/product_tile.h"
#include "tensor/kernels/v16.h"

#include <string.h>

KERNEL_INLINE v16i product_pair(const uint16_t *a)
{
    int32_t x;
    memcpy(&x, a, sizeof x);
    return v16i_set(x);
}

KERNEL_INLINE v16 product_dot(v16 sum, v16i x, v16i w)
{
    /* As the intrinsic, without gcc 12's copies of the sums (see product_int8_vnni.c). */
    __asm__("vdpbf16ps %2, %1, %0" : "+v"(sum) : "v"(x), "v"(w));
    return sum;
}

KERNEL_INLINE void product_store(const kernel_product_bf16 *p, size_t row, size_t col, v16 sum)
{
    v16 y = p->bias == NULL ? sum : v16_add(sum, v16_load(p->bias + col));
    float *c = p->c + row * p->ldc + col;
    if (p->n_cols - col >= 16) v16_store(c, y);
    else v16_store_part(c, p->n_cols - col, y);
}

KERNEL_INLINE void product_tile(const kernel_product_bf16 *p, size_t row, size_t col, const size_t n_rows,
                                const size_t n_vectors)
{
    const uint16_t *a = p->a + row * p->lda;
    const uint16_t *b = p->b + (col / KERNEL_PANEL) * p->panel_stride;
    const char *ahead = PRODUCT_AHEAD(p, row, col, b);
#define PRODUCT_BEGIN(r)                                      \
    const uint16_t *a##r = a + (r < n_rows ? r : 0) * p->lda; \
    v16 left##r = v16_zero(), right##r = v16_zero();
#define PRODUCT_STEP(r)                                                       \
    if (r < n_rows) {                                                         \
        v16i x = product_pair(a##r + k);                                      \
        left##r = product_dot(left##r, x, weight_left);                       \
        if (n_vectors > 1) right##r = product_dot(right##r, x, weight_right); \
    }
#define PRODUCT_END(r)                                                    \
    if (r < n_rows) {                                                     \
        product_store(p, row + r, col, left##r);                          \
        if (n_vectors > 1) product_store(p, row + r, col + 16, right##r); \
    }
    PRODUCT_EACH_ROW(PRODUCT_BEGIN)
    for (size_t k = 0; k < p->k; k += 2) {
        v16i weight_left = v16i_load((const int32_t *)(const void *)b);
        v16i weight_right = n_vectors > 1 ? v16i_load((const int32_t *)(const void *)(b + KERNEL_PANEL)) : v16i_zero();
        PRODUCT_EACH_ROW(PRODUCT_STEP)
        b += KERNEL_PANEL * 2;
        _mm_prefetch(ahead, _MM_HINT_T1);
        ahead += 64;
    }
    PRODUCT_EACH_ROW(PRODUCT_END)
#undef PRODUCT_BEGIN
#undef PRODUCT_STEP
#undef PRODUCT_END
}

PRODUCT_WALK(product_bf16_avx512, kernel_product_bf16)
