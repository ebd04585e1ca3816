/* Integer products over blocks: weights as small whole numbers with a scale for each 32 (or 16) inputs of an output, as GGUF's
 * types have them, times rows of int8 with a scale for each 32 items. kernels/scalar/blocks.c holds the definitions; AVX2 and
 * AVX-512 with VNNI give the same bits (tests/tensor/test_blocks.c). Sums inside a block are exact; a row's bits depend neither
 * on how many rows there are nor on how its depth is cut into calls. */
#ifndef FINCH_TENSOR_BLOCK_OPS_H
#define FINCH_TENSOR_BLOCK_OPS_H

#include "tensor/cpu.h"
#include "tensor/kernels/kernels.h"

enum {
    BLOCK_ITEMS = 32,
    BLOCK_GROUP = 4, /* neighbouring inputs of an output in a panel */
    BLOCK_ZERO = 128, /* a panel's items are above it by their value: one factor of the instruction is unsigned */
    BLOCK_PARTS = 2 /* of sixteen items, where weights have a scale for each */
};

/* Rows as the product reads them; x = q * scale of its block. Blocks that a row does not fill end in zeros.
 * start  BLOCK_ZERO times less the sum of a block: where its sums with a panel begin.
 * part_start, mass  the same of each half of a block; scale times the sum. Both NULL, or for weights that need them. */
typedef struct block_rows {
    size_t n_rows;
    size_t n_blocks;
    int8_t *q; /* [n_rows, 32 n_blocks] */
    float *scale; /* [n_rows, n_blocks] */
    int32_t *start; /* [n_rows, n_blocks] */
    int32_t *part_start; /* [n_rows, 2 n_blocks] */
    float *mass; /* [n_rows, n_blocks] */
} block_rows;

/* scale = largest magnitude / 127; q = x * (127 / largest magnitude), to the nearest, halves to even; a block of magnitudes
 * up to 1e-30 is zeros. An item that is not finite makes its block's scale so. x is row 0 of to, [n_rows, width], stride ldx. */
typedef struct block_quantize {
    const float *x;
    size_t ldx;
    size_t width;
    const block_rows *to;
} block_quantize;

/* Rows of weights to a panel: items[b][k / 4][row][k % 4] = from[row * row_stride + b * block_stride + k] + BLOCK_ZERO for 32
 * rows, k in a block. */
typedef struct block_shape {
    const int8_t *from;
    size_t row_stride, block_stride;
    size_t n_blocks;
    uint8_t *items;
} block_shape;

/* scale[b][row] = the half float at from[row * row_stride + b * block_stride], for 32 rows. */
typedef struct block_scales {
    const unsigned char *from;
    size_t row_stride, block_stride;
    size_t n_blocks;
    float *scale;
} block_scales;

/* c[r, j] (+)= sum over blocks of scale[j] * a.scale[r] * (sum over k of a.q[r, k] * item[k, j]) + low[j] * a.mass[r], by fused
 * multiply-adds of rising blocks onto 0 or, with add, onto c. What a whole number is multiplied by is one rounded product.
 * a       rows; the product takes n_blocks of theirs from first_block on.
 * items   [n_blocks][8][32][4] as block_shape leaves them.
 * scale   [n_blocks][n_parts][32]; n_parts 1, or 2: a scale for each 16 inputs (a.part_start is there).
 * low     [n_blocks][32]; NULL: none (else n_parts is 1 and a.mass is there).
 * n_cols  at most 32 columns are stored. */
typedef struct block_multiply {
    const block_rows *a;
    size_t first_block, n_blocks, n_parts;
    const uint8_t *items;
    const float *scale;
    const float *low;
    bool add;
    size_t n_cols;
    float *c;
    size_t ldc;
    const void *ahead; /* [ahead_bytes] that will be read next: a hint for the caches */
    size_t ahead_bytes;
} block_multiply;

typedef struct block_ops {
    const char *name;
    void (*quantize)(const block_quantize *p);
    void (*shape)(const block_shape *p);
    void (*scales)(const block_scales *p);
    void (*multiply)(const block_multiply *p);
} block_ops;

/* The best for this machine (cpu.h). */
const block_ops *block_ops_get(void);
/* "scalar", "avx2", "avx512": NULL where this machine has not got it. For tests. */
const block_ops *block_ops_find(const char *name);

#endif
