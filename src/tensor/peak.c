#include "tensor/peak.h"

#include "base/clock.h"
#include "tensor/cpu.h"
#include "tensor/kernels/peak_kernels.h"

enum { FIRST_ROUNDS = 1 << 12 };

static peak_kernel pick(peak_type type)
{
#if defined(__x86_64__)
    if (type == PEAK_F32 && cpu_has(CPU_AVX512)) return peak_f32_avx512;
    if (type == PEAK_F32 && cpu_has(CPU_AVX2)) return peak_f32_avx2;
    if (type == PEAK_INT8 && cpu_has(CPU_AMX_INT8)) return peak_int8_amx;
    if (type == PEAK_INT8 && cpu_has(CPU_AVX512_VNNI)) return peak_int8_avx512_vnni;
    if (type == PEAK_INT8 && cpu_has(CPU_AVX2)) return peak_int8_avx2;
    if (type == PEAK_BF16 && cpu_has(CPU_AMX_BF16)) return peak_bf16_amx;
    if (type == PEAK_BF16 && cpu_has(CPU_AVX512_BF16)) return peak_bf16_avx512;
#endif
    if (type == PEAK_F32) return peak_f32_scalar;
    return type == PEAK_INT8 ? peak_int8_scalar : NULL;
}

/* Seconds that all threads need for n_rounds each. */
static double run_rounds(peak_kernel kernel, size_t n_threads, size_t n_rounds, double *operations)
{
    double one = 0;
    double begin = clock_seconds();
#pragma omp parallel for schedule(static, 1) num_threads((int)n_threads) reduction(max : one)
    for (size_t i = 0; i < n_threads; i++) one = kernel(n_rounds);
    *operations = one * (double)n_rounds * (double)n_threads;
    return clock_seconds() - begin;
}

double peak_measure(peak_type type, size_t n_threads)
{
    peak_kernel kernel = pick(type);
    double best = 0, operations;
    size_t n_rounds = FIRST_ROUNDS;
    if (kernel == NULL || n_threads == 0) return 0;
    /* Also wakes the threads and brings the clock of the cores up. */
    while (run_rounds(kernel, n_threads, n_rounds, &operations) < PEAK_ROUND_SECONDS) n_rounds *= 2;
    for (int i = 0; i < PEAK_TRIES; i++) {
        double seconds = run_rounds(kernel, n_threads, n_rounds, &operations);
        if (operations / seconds > best) best = operations / seconds;
    }
    return best;
}
