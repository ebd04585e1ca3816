/* Without an instruction for bf16: both halves of a pair widened to f32, which is a shift or a mask, and two fused steps, in
 * the order of k. Tile as the f32 product's. */
#include "tensor/kernels/v16.h"

KERNEL_INLINE __m256 product_first(__m256i pair) { return _mm256_castsi256_ps(_mm256_slli_epi32(pair, 16)); }

KERNEL_INLINE __m256 product_second(__m256i pair)
{
    return _mm256_castsi256_ps(_mm256_and_si256(pair, _mm256_set1_epi32((int32_t)0xffff0000)));
}

KERNEL_INLINE __m256 product_dot_half(__m256 sum, __m256i x, __m256i w)
{
    sum = _mm256_fmadd_ps(product_first(x), product_first(w), sum);
    return _mm256_fmadd_ps(product_second(x), product_second(w), sum);
}

KERNEL_INLINE v16 product_dot(v16 sum, v16i x, v16i w)
{
    return v16_make(product_dot_half(sum.lo, x.lo, w.lo), product_dot_half(sum.hi, x.hi, w.hi));
}

#define PRODUCT_NAME product_bf16_avx2
#define PRODUCT_ROWS 3
#include "tensor/kernels/product_bf16_body.h"
