#include "tensor/kernels/peak_kernels.h"

#include <immintrin.h>

#define BEGIN(i) __m512i sum##i = _mm512_setzero_si512();
#define STEP(i)                                 \
    sum##i = _mm512_dpbusd_epi32(sum##i, a, b); \
    PEAK_HIDE(sum##i);

double peak_int8_avx512_vnni(size_t n_rounds)
{
    __m512i a = _mm512_set1_epi8(1), b = _mm512_set1_epi8(2);
    PEAK_EACH(BEGIN)
    for (size_t round = 0; round < n_rounds; round++) {
        PEAK_EACH(STEP)
    }
    return 2.0 * 64 * PEAK_CHAINS;
}
