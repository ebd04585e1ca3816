/* What a decoder needs between its products: RMS norms, rotary positions, the gate of its wide half, and the softmax of a
 * row that may look at some keys only. kernels/scalar/decoder.c holds the definitions; AVX2 and AVX-512 give the same bits
 * (tests/tensor/test_decoder_ops.c). Every sum's order follows from one row's shape alone (kernels.h, rules 2 and 3). */
#ifndef FINCH_TENSOR_DECODER_OPS_H
#define FINCH_TENSOR_DECODER_OPS_H

#include "tensor/cpu.h"

#include <stdint.h>

/* y = x / sqrt(mean of x^2 + eps) * gain, plus residual where there is one. The mean by 64 lanes of fused multiply-adds.
 * x         [n_rows, width], stride ldx; y the same with ldy and may be x.
 * gain      [width], Gemma's one already added.
 * residual  [n_rows, width], stride ldy, may be y; NULL: none. */
typedef struct decoder_norm {
    const float *x;
    size_t ldx;
    size_t n_rows;
    size_t width;
    const float *gain;
    float eps;
    const float *residual;
    float *y;
    size_t ldy;
} decoder_norm;

/* Rotates pairs (x[i], x[i + width / 2]) of each row by the angle i: (a cos - b sin, b cos + a sin), products rounded before
 * the sum as transformers has it. x [n_rows, width] dense, width even; cosine, sine [width / 2], the same for all rows. */
typedef struct decoder_rotate {
    float *x;
    size_t n_rows;
    size_t width;
    const float *cosine;
    const float *sine;
} decoder_rotate;

typedef struct decoder_ops {
    const char *name;
    void (*norm)(const decoder_norm *p);
    void (*rotate)(const decoder_rotate *p);
    /* gate[i] = gelu_tanh(gate[i]) * up[i] (the gelu of kernels.h). */
    void (*gate)(float *gate, const float *up, size_t n);
    /* Scores of the keys [0, n) to exponentials of their distance to the largest in [first, n), zeros before first; first < n.
     * Returns 1 / their sum, taken over 16 lanes by the key's index mod 16. x has room to the next multiple of 16, which is
     * written with zeros. */
    float (*softmax)(float *x, size_t first, size_t n);
} decoder_ops;

/* The best for this machine (cpu.h). */
const decoder_ops *decoder_ops_get(void);
/* "scalar", "avx2", "avx512": NULL where this machine has not got it. For tests. */
const decoder_ops *decoder_ops_find(const char *name);

#endif
