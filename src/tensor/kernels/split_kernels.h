/* Products of f32 as three products of bf16 on AMX tiles: each item is the sum of a high and a low bf16 (what is left is
 * below 2^-17 of it), and high x high, high x low and low x high are summed in f32. tensor/gemm_split.c drives these.
 *
 * An operand is packed by squares of 32 rows (of A; columns of B) by 32 of k, each of four tiles: high, first half and
 * second half, then low. A tile of A has a row of 32 bf16 of k a line; one of B has a pair of k a line, of 16 columns. */
#ifndef FINCH_TENSOR_KERNELS_SPLIT_KERNELS_H
#define FINCH_TENSOR_KERNELS_SPLIT_KERNELS_H

#include <stdbool.h>
#include <stddef.h>

enum {
    SPLIT_SIDE = 32,
    SPLIT_SQUARE_BYTES = 4096,
};

/* A square of a row-major matrix: n_lines by width items are there, at most 32 each; the others count as 0. */
typedef struct split_square {
    const float *x;
    size_t ld;
    size_t n_lines, width;
} split_square;

/* out [SPLIT_SQUARE_BYTES], 64-byte aligned. lines_are_depth: a line of x is one of k, else k runs along the lines.
 * for_rows: a square of A, else of B. */
void split_pack_amx(const split_square *s, bool lines_are_depth, bool for_rows, unsigned char *out);

/* Begins and ends a thread's use of tiles. */
void split_begin_amx(void);
void split_end_amx(void);

/* The first n_rows by n_cols of a block of 32 x 32: c = a b, or c + a b where add. a, b: n_squares squares each, k rising.
 * An item's bits depend on its row, its column and c alone. */
typedef struct split_block {
    const unsigned char *a, *b;
    size_t n_squares;
    float *c;
    size_t ldc;
    size_t n_rows, n_cols;
    bool add;
} split_block;

void split_block_amx(const split_block *s);

#endif
