#include "tensor/kernels/peak_kernels.h"

#include <immintrin.h>

#define BEGIN(i) __m512 sum##i = _mm512_setzero_ps();
#define STEP(i)                              \
    sum##i = _mm512_dpbf16_ps(sum##i, a, b); \
    PEAK_HIDE(sum##i);

double peak_bf16_avx512(size_t n_rounds)
{
    __m512bh a = _mm512_cvtne2ps_pbh(_mm512_set1_ps(1.0f), _mm512_set1_ps(1.0f));
    __m512bh b = _mm512_cvtne2ps_pbh(_mm512_set1_ps(0.5f), _mm512_set1_ps(0.5f));
    PEAK_EACH(BEGIN)
    for (size_t round = 0; round < n_rounds; round++) {
        PEAK_EACH(STEP)
    }
    return 2.0 * 32 * PEAK_CHAINS;
}
