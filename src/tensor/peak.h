/* The most this CPU can multiply and add, measured in registers alone: what a matrix product is held against.
 * Kernels are in kernels/<set>/peak*.c. */
#ifndef FINCH_TENSOR_PEAK_H
#define FINCH_TENSOR_PEAK_H

#include <stddef.h>

/* What is held against a peak runs rounds of the same length, and of as many the best counts too. */
#define PEAK_ROUND_SECONDS 0.004
enum { PEAK_TRIES = 5 };

typedef enum peak_type { PEAK_F32, PEAK_BF16, PEAK_INT8 } peak_type;

/* Operations a second of n_threads together, a multiplication and an addition being two; the best of a few short rounds,
 * because a shared machine only ever takes away. The instructions are those the kernels of that type use here (FINCH_ISA
 * lowers both); 0 where the CPU has none for the type (bf16 without AVX-512 BF16). */
double peak_measure(peak_type type, size_t n_threads);

#endif
