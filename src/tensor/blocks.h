/* Products with a weight matrix where it lies in its file, in whole numbers: GGUF's blocks, or int8 rows with a scale each
 * (compressed-tensors), times rows quantised by blocks of 32 (block_ops.h). Nothing is packed at load: 32 outputs at a time are
 * put in the shape the registers want, a part of their depth that fits the nearest cache, and all rows pass over it.
 *
 * The bits of a row depend on the row and the matrix alone. Threads: calls for different panels may run at once. */
#ifndef FINCH_TENSOR_BLOCKS_H
#define FINCH_TENSOR_BLOCKS_H

#include "base/arena.h"
#include "tensor/block_ops.h"
#include "tensor/stored.h"

/* Whether its items are whole numbers with scales. */
bool blocks_fit(const stored_matrix *m);
/* Whether block_rows need part_start and mass for it. */
bool blocks_need_parts(const stored_matrix *m);

/* Room for rows of that width. Errors: FINCH_E_MEMORY. */
finch_status blocks_alloc(arena *a, size_t n_rows, size_t width, bool parts, block_rows *out, finch_error *err);
/* Rows [first, first + n) of rows. */
block_rows blocks_part(const block_rows *rows, size_t first, size_t n);

/* Bytes of scratch a product takes; 64-byte aligned. */
size_t blocks_scratch_bytes(void);
/* y [n_rows, ldy] columns [32 panel_begin, 32 panel_end) (cut at m's rows) of x W^T; y at column 0. */
void blocks_product(const block_ops *o, const stored_matrix *m, const block_rows *x, size_t panel_begin, size_t panel_end,
                    void *scratch, float *y, size_t ldy);
/* The outputs of the rows picked [n_picked] of W, in their order: y [n_rows, ldy]. The same bits. */
void blocks_product_picked(const block_ops *o, const stored_matrix *m, const block_rows *x, const int32_t *picked,
                           size_t n_picked, void *scratch, float *y, size_t ldy);

/* A matrix of floats as int8 rows with a scale each (compressed_quantize_rows), in memory of the arena; a few rows at a time, and
 * its pages are given back. Errors: FINCH_E_DATA where an item is not finite, FINCH_E_MEMORY. */
finch_status blocks_from_floats(arena *a, const stored_matrix *m, stored_matrix *out, finch_error *err);

#endif
