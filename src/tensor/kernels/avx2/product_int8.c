/* Without VNNI: bytes 0 and 2 of a group, then 1 and 3, widened to 16 bits and multiplied exactly (vpmaddubsw would
 * saturate at 255 x 127 x 2). Also serves AVX-512 CPUs that have no VNNI. */
#include "tensor/kernels/v16.h"

KERNEL_INLINE __m256i product_dot_half(__m256i sum, __m256i x, __m256i w)
{
    __m256i even = _mm256_madd_epi16(_mm256_and_si256(x, _mm256_set1_epi16(255)),
                                     _mm256_srai_epi16(_mm256_slli_epi16(w, 8), 8));
    __m256i odd = _mm256_madd_epi16(_mm256_srli_epi16(x, 8), _mm256_srai_epi16(w, 8));
    return _mm256_add_epi32(sum, _mm256_add_epi32(even, odd));
}

KERNEL_INLINE v16i product_dot(v16i sum, v16i x, v16i w)
{
    return v16i_make(product_dot_half(sum.lo, x.lo, w.lo), product_dot_half(sum.hi, x.hi, w.hi));
}

#define PRODUCT_NAME product_int8_avx2
#define PRODUCT_ROWS 3
#include "tensor/kernels/product_int8_body.h"
