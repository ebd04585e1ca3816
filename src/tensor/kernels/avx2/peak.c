#include "tensor/kernels/peak_kernels.h"

#include <immintrin.h>

double peak_f32_avx2(size_t n_rounds)
{
    __m256 sum[PEAK_CHAINS], a = _mm256_set1_ps(1.0f), b = _mm256_set1_ps(0.5f);
    for (int i = 0; i < PEAK_CHAINS; i++) sum[i] = _mm256_setzero_ps();
    for (size_t round = 0; round < n_rounds; round++) {
        for (int i = 0; i < PEAK_CHAINS; i++) {
            sum[i] = _mm256_fmadd_ps(a, b, sum[i]);
            PEAK_HIDE(sum[i]);
        }
    }
    return 2.0 * 8 * PEAK_CHAINS;
}

/* Without VNNI a product of bytes is three instructions: to pairs, to fours, to the sum. */
double peak_int8_avx2(size_t n_rounds)
{
    __m256i sum[PEAK_CHAINS], a = _mm256_set1_epi8(1), b = _mm256_set1_epi8(2), ones = _mm256_set1_epi16(1);
    for (int i = 0; i < PEAK_CHAINS; i++) sum[i] = _mm256_setzero_si256();
    for (size_t round = 0; round < n_rounds; round++) {
        for (int i = 0; i < PEAK_CHAINS; i++) {
            __m256i pairs = _mm256_maddubs_epi16(a, b);
            PEAK_HIDE(pairs);
            sum[i] = _mm256_add_epi32(sum[i], _mm256_madd_epi16(pairs, ones));
            PEAK_HIDE(sum[i]);
        }
    }
    return 2.0 * 32 * PEAK_CHAINS;
}
