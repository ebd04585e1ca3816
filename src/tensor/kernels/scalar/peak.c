/* What plain C reaches: the chains as the compiler vectorises them for the baseline. */
#include "tensor/kernels/peak_kernels.h"

#include <stdint.h>

enum { LANES = 64 };

double peak_f32_scalar(size_t n_rounds)
{
    float sum[LANES] = {0}, a[LANES], b = 0.5f;
    for (size_t i = 0; i < LANES; i++) a[i] = (float)i;
    for (size_t round = 0; round < n_rounds; round++) {
        for (size_t i = 0; i < LANES; i++) sum[i] = sum[i] * b + a[i];
        __asm__ volatile("" : : "r"(sum) : "memory");
    }
    return 2.0 * LANES;
}

double peak_int8_scalar(size_t n_rounds)
{
    int32_t sum[LANES] = {0}, a[LANES], b = 3;
    for (size_t i = 0; i < LANES; i++) a[i] = (int32_t)i;
    for (size_t round = 0; round < n_rounds; round++) {
        for (size_t i = 0; i < LANES; i++) sum[i] += a[i] * b;
        __asm__ volatile("" : "+r"(b) : "r"(sum) : "memory");
    }
    return 2.0 * LANES;
}
