/* vpdpbusd adds four u8 x s8 products to a lane without saturating. Tile as the f32 product's. */
#include "tensor/kernels/v16.h"

KERNEL_INLINE v16i product_dot(v16i sum, v16i x, v16i w)
{
    /* As the intrinsic, but gcc 12 copies and spills its sums around that one: 2.5 times slower. */
    __asm__("vpdpbusd %2, %1, %0" : "+v"(sum) : "v"(x), "v"(w));
    return sum;
}

#define PRODUCT_NAME product_int8_avx512
#define PRODUCT_ROWS 14
#include "tensor/kernels/product_int8_body.h"
