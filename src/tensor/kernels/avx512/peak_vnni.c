#include "tensor/kernels/peak_kernels.h"

#include <immintrin.h>

double peak_int8_avx512_vnni(size_t n_rounds)
{
    __m512i sum[PEAK_CHAINS], a = _mm512_set1_epi8(1), b = _mm512_set1_epi8(2);
    for (int i = 0; i < PEAK_CHAINS; i++) sum[i] = _mm512_setzero_si512();
    for (size_t round = 0; round < n_rounds; round++) {
        for (int i = 0; i < PEAK_CHAINS; i++) {
            sum[i] = _mm512_dpbusd_epi32(sum[i], a, b);
            PEAK_HIDE(sum[i]);
        }
    }
    return 2.0 * 64 * PEAK_CHAINS;
}
