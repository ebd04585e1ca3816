/* Without VNNI: bytes 0 and 2 of a group, then 1 and 3, widened to 16 bits and multiplied exactly. */
#include "tensor/kernels/v16.h"

KERNEL_INLINE __m256i block_dot_half(__m256i sum, __m256i items, __m256i x)
{
    __m256i even = _mm256_madd_epi16(_mm256_and_si256(items, _mm256_set1_epi16(255)),
                                     _mm256_srai_epi16(_mm256_slli_epi16(x, 8), 8));
    __m256i odd = _mm256_madd_epi16(_mm256_srli_epi16(items, 8), _mm256_srai_epi16(x, 8));
    return _mm256_add_epi32(sum, _mm256_add_epi32(even, odd));
}

KERNEL_INLINE v16i block_dot(v16i sum, v16i items, v16i x)
{
    return v16i_make(block_dot_half(sum.lo, items.lo, x.lo), block_dot_half(sum.hi, items.hi, x.hi));
}

KERNEL_INLINE v16i block_held(v16i items) { return items; }

#define BLOCK_OPS block_ops_avx2
#define BLOCK_NAME "avx2"
#define BLOCK_ROWS 1
#include "tensor/kernels/block_body.h"
