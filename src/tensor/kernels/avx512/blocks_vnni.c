/* vpdpbusd adds four u8 x s8 products to a lane without saturating. */
#include "tensor/kernels/v16.h"

#include <stdbool.h>

KERNEL_INLINE v16i block_dot(v16i sum, v16i items, v16i x)
{
    /* As in product_int8_vnni.c: gcc 12 copies and spills its sums around the intrinsic. */
    __asm__("vpdpbusd %2, %1, %0" : "+v"(sum) : "v"(items), "v"(x));
    return sum;
}

/* Loads are as scarce as products here. */
KERNEL_INLINE v16i block_held(v16i items)
{
    __asm__("" : "+v"(items));
    return items;
}

KERNEL_INLINE __m256i block_line_dot(__m256i items, __m256i x, const bool wide)
{
    __m256i sum = _mm256_setzero_si256();
    (void)wide;
    __asm__("vpdpbusd %2, %1, %0" : "+v"(sum) : "v"(items), "v"(x));
    return sum;
}

#define BLOCK_ROWS 6
#include "tensor/kernels/block_body.h"

const block_ops block_ops_avx512 = {"avx512",           block_quantize_rows, block_shape_lines,
                                    block_scales_lines, block_multiply_rows, block_few_rows};
