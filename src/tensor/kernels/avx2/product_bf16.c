/* Without an instruction for bf16: both halves of a pair widened to f32, which is a shift or a mask, and two fused steps, in
 * the order of k. Tile as the f32 product's. */
#include "tensor/kernels/kernels.h"
#include "tensor/kernels/v16.h"

#include <string.h>

#define PRODUCT_NAME product_bf16_avx2
#define PRODUCT_ROWS 3
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

KERNEL_INLINE void product_store(const kernel_product_bf16 *p, size_t row, size_t col, v16 sum)
{
    v16 y = p->bias == NULL ? sum : v16_add(sum, v16_load(p->bias + col));
    float *c = p->c + row * p->ldc + col;
    if (p->n_cols - col >= 16) v16_store(c, y);
    else v16_store_part(c, p->n_cols - col, y);
}

#include "tensor/kernels/product_tile.h"
