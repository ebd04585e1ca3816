/* vdpbf16ps adds two bf16 products to an f32 lane. Tile as the f32 product's. */
#include "tensor/kernels/v16.h"

KERNEL_INLINE v16 product_dot(v16 sum, v16i x, v16i w)
{
    /* As the intrinsic, without gcc 12's copies of the sums (see product_int8_vnni.c). */
    __asm__("vdpbf16ps %2, %1, %0" : "+v"(sum) : "v"(x), "v"(w));
    return sum;
}

#define PRODUCT_NAME product_bf16_avx512
#define PRODUCT_ROWS 14
#include "tensor/kernels/product_bf16_body.h"
