#include "tensor/kernels/peak_kernels.h"

#include <immintrin.h>

#define BEGIN_F32(i) __m256 sum##i = _mm256_setzero_ps();
#define STEP_F32(i)                         \
    sum##i = _mm256_fmadd_ps(a, b, sum##i); \
    PEAK_HIDE(sum##i);

double peak_f32_avx2(size_t n_rounds)
{
    __m256 a = _mm256_set1_ps(1.0f), b = _mm256_set1_ps(0.5f);
    PEAK_EACH(BEGIN_F32)
    for (size_t round = 0; round < n_rounds; round++) {
        PEAK_EACH(STEP_F32)
    }
    return 2.0 * 8 * PEAK_CHAINS;
}

/* Without VNNI a product of bytes is three instructions: to pairs, to fours, to the sum. */
#define BEGIN_INT8(i) __m256i sum##i = _mm256_setzero_si256();
#define STEP_INT8(i)                                                   \
    pairs = _mm256_maddubs_epi16(a, b);                                \
    PEAK_HIDE(pairs);                                                  \
    sum##i = _mm256_add_epi32(sum##i, _mm256_madd_epi16(pairs, ones)); \
    PEAK_HIDE(sum##i);

double peak_int8_avx2(size_t n_rounds)
{
    __m256i a = _mm256_set1_epi8(1), b = _mm256_set1_epi8(2), ones = _mm256_set1_epi16(1), pairs;
    PEAK_EACH(BEGIN_INT8)
    for (size_t round = 0; round < n_rounds; round++) {
        PEAK_EACH(STEP_INT8)
    }
    return 2.0 * 32 * PEAK_CHAINS;
}
