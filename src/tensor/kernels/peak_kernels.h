/* Chains of multiply-adds that never leave the registers. Each does n_rounds rounds and returns the operations of one. */
#ifndef FINCH_TENSOR_KERNELS_PEAK_KERNELS_H
#define FINCH_TENSOR_KERNELS_PEAK_KERNELS_H

#include <stddef.h>

typedef double (*peak_kernel)(size_t n_rounds);

double peak_f32_scalar(size_t n_rounds);
double peak_int8_scalar(size_t n_rounds);
double peak_f32_avx2(size_t n_rounds);
double peak_int8_avx2(size_t n_rounds);
double peak_f32_avx512(size_t n_rounds);
double peak_int8_avx512_vnni(size_t n_rounds);
double peak_bf16_avx512(size_t n_rounds);

/* Independent chains: two units of latency five need ten. */
enum { PEAK_CHAINS = 12 };

/* Keeps the compiler from seeing what is in a register: chains of constants would be folded away. */
#define PEAK_HIDE(value) __asm__ volatile("" : "+x"(value))

#endif
