/* vdpbf16ps adds two bf16 products to an f32 lane. Tile as the f32 product's. */
#include "tensor/kernels/kernels.h"
#include "tensor/kernels/v16.h"

#include <string.h>

#define PRODUCT_NAME product_bf16_avx512
#define PRODUCT_ROWS 14
typedef kernel_product_bf16 product_args;
typedef uint16_t product_input;
typedef uint16_t product_weight;
typedef v16 product_sums;
typedef v16i product_lanes;
#define PRODUCT_GROUP 2
#define PRODUCT_NEXT(p) (KERNEL_PANEL * PRODUCT_GROUP)

KERNEL_INLINE v16 product_zero(void) { return v16_zero(); }

KERNEL_INLINE v16i product_spread(const uint16_t *a)
{
    int32_t x;
    memcpy(&x, a, sizeof x);
    return v16i_set(x);
}

KERNEL_INLINE v16i product_weights(const uint16_t *b) { return v16i_load((const int32_t *)(const void *)b); }

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

#include "tensor/kernels/product_tile.h"
