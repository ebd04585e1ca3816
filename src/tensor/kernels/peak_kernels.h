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
double peak_int8_amx(size_t n_rounds);
double peak_bf16_amx(size_t n_rounds);

/* Independent chains: two units of latency five need ten. Each is a variable of its own, sum0 to sum11: gcc keeps an
 * array of them in memory, and then measures that. */
enum { PEAK_CHAINS = 12 };
#define PEAK_EACH(X) X(0) X(1) X(2) X(3) X(4) X(5) X(6) X(7) X(8) X(9) X(10) X(11)

/* Keeps the compiler from seeing what is in a register: chains of constants would be folded away. */
#define PEAK_HIDE(value) __asm__ volatile("" : "+x"(value))

#endif
