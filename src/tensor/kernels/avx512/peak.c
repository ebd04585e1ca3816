#include "tensor/kernels/peak_kernels.h"

#include <immintrin.h>

double peak_f32_avx512(size_t n_rounds)
{
    __m512 sum[PEAK_CHAINS], a = _mm512_set1_ps(1.0f), b = _mm512_set1_ps(0.5f);
    for (int i = 0; i < PEAK_CHAINS; i++) sum[i] = _mm512_setzero_ps();
    for (size_t round = 0; round < n_rounds; round++) {
        for (int i = 0; i < PEAK_CHAINS; i++) {
            sum[i] = _mm512_fmadd_ps(a, b, sum[i]);
            PEAK_HIDE(sum[i]);
        }
    }
    return 2.0 * 16 * PEAK_CHAINS;
}
