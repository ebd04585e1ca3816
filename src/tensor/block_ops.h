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
    BLOCK_PARTS = 2, /* of sixteen items, where weights have a scale for each */
    BLOCK_INT8 = 256 /* beside the types of GGUF */
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

/* Blocks [first_block, first_block + n_blocks) of 32 outputs where they lie in a file: a whole number of the type's own.
 * type   a gguf_type of whole numbers, or BLOCK_INT8: items alone.
 * at     [32] where each output's first block lies.
 * ahead  of outputs that lie end to end: bytes from each to what will be read next in its place, a hint for the caches; 0: none. */
typedef struct block_lines {
    int type;
    const unsigned char *const *at;
    size_t first_block, n_blocks;
    size_t ahead;
} block_lines;

/* c[r, j] (+)= sum over blocks of scale[j] * a.scale[r] * (sum over k of a.q[r, k] * item[k, j]) + low[j] * a.mass[r], by fused
 * multiply-adds of rising blocks onto 0 or, with add, onto c. What a whole number is multiplied by is one rounded product.
 * a       rows; the product takes n_blocks of theirs from first_block on.
 * items   [n_blocks][8][32][4] as shape leaves them.
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

/* quantize  above.
 * shape     items[b][k / 4][output][k % 4] = the item + BLOCK_ZERO.
 * scales    scale[b][part][output] and, where the type has them, low[b][output]; of BLOCK_INT8 nothing.
 * multiply  above.
 * few       multiply with items and scales read where they lie, for every row anew: the same bits, faster for a row or two. Of its
 *           scales only those of BLOCK_INT8 are the caller's. */
typedef struct block_ops {
    const char *name;
    void (*quantize)(const block_quantize *p);
    void (*shape)(const block_lines *lines, uint8_t *items);
    void (*scales)(const block_lines *lines, float *scale, float *low);
    void (*multiply)(const block_multiply *p);
    void (*few)(const block_lines *lines, const block_multiply *p);
} block_ops;

/* The best for this machine (cpu.h). */
const block_ops *block_ops_get(void);
/* "scalar", "avx2", "avx512": NULL where this machine has not got it. For tests. */
const block_ops *block_ops_find(const char *name);

#endif
