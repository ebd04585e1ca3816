/* A weight matrix as its file has it, and products with it where it lies: floats of any type, int8 with a scale a row
 * (compressed-tensors), or GGUF's blocks. Nothing is copied to floats whole: a panel of rows is, for the length of a product.
 *
 * A view: the weights or gguf it came from must outlive it. Threads: immutable, shared by all. */
#ifndef FINCH_TENSOR_STORED_H
#define FINCH_TENSOR_STORED_H

#include "tensor/compressed.h"
#include "tensor/gguf.h"
#include "tensor/linear.h"

typedef struct stored_matrix {
    compressed_matrix plain;   /* all NULL where blocks is set */
    const gguf_tensor *blocks; /* NULL where plain is set */
    size_t rows;
    size_t columns;
} stored_matrix;

/* The matrix of that name with exactly that shape; all its scales are checked. Errors: FINCH_E_DATA naming file and tensor;
 * FINCH_E_MEMORY. *out is then zeroed. */
finch_status stored_from_weights(const weights *w, const char *name, size_t rows, size_t columns, stored_matrix *out,
                                 finch_error *err);
/* path is for messages. */
finch_status stored_from_gguf(const gguf *g, const char *path, const char *name, size_t rows, size_t columns,
                              stored_matrix *out, finch_error *err);

/* Floats in memory: *out refers to items [rows, columns] and to *view, which is filled; both must outlive it. They are not a file's:
 * no stored_pack and no stored_forget. */
void stored_from_memory(const float *items, size_t rows, size_t columns, tensor *view, stored_matrix *out);

/* "Q4_K", "BF16"; static. */
const char *stored_type_name(const stored_matrix *m);
/* Bytes in the file. */
size_t stored_bytes(const stored_matrix *m);

/* Rows [first, first + n) as f32 into out [n, columns]; they must be there. */
void stored_rows(const stored_matrix *m, size_t first, size_t n, float *out);
/* Gives read pages back to the system: a later read finds the file. */
void stored_forget(const stored_matrix *m);

/* Packs all rows into outputs [first, first + rows) of l, a few at a time, and gives their pages back. int8 rows go into an
 * int8 layer as they are. Errors: FINCH_E_DATA where an item is not finite, FINCH_E_MEMORY. */
finch_status stored_pack(const stored_matrix *m, linear *l, size_t first, finch_error *err);

/* y [n_rows, ldy] columns [32 panel_begin, 32 panel_end) (cut at rows) of x W^T, in f32; y at column 0. The bits of a row are
 * those of linear_run over the same numbers in f32.
 * scratch  stored_scratch_floats(m), 64-byte aligned. */
void stored_product(const ops *o, const stored_matrix *m, const float *x, size_t ldx, size_t n_rows, size_t panel_begin,
                    size_t panel_end, float *scratch, float *y, size_t ldy);
size_t stored_scratch_floats(const stored_matrix *m);

/* The same with x in bf16 and W rounded to it, sums in f32: the bits of linear_run over the same numbers in bf16.
 * x        [n_rows, columns rounded up to 2], what is past columns 0.  scratch  as above. */
void stored_product_bf16(const ops *o, const stored_matrix *m, const uint16_t *x, size_t ldx, size_t n_rows,
                         size_t panel_begin, size_t panel_end, float *scratch, float *y, size_t ldy);

/* The product with W itself, for gradients: columns [256 part_begin, 256 part_end) (cut at columns) of y [n_rows, columns],
 * y = x W, or y += x W where add is set; x [n_rows, rows]. Order: kernel_product_f32's over all rows of W, then the addition.
 * scratch  stored_back_floats(m, n_rows), 64-byte aligned. */
void stored_product_back(const ops *o, const stored_matrix *m, const float *x, size_t ldx, size_t n_rows, size_t part_begin,
                         size_t part_end, bool add, float *scratch, float *y, size_t ldy);
/* The same with x in bf16 [n_rows, rows rounded up to 2] and W rounded to it. */
void stored_product_back_bf16(const ops *o, const stored_matrix *m, const uint16_t *x, size_t ldx, size_t n_rows,
                              size_t part_begin, size_t part_end, bool add, float *scratch, float *y, size_t ldy);
size_t stored_back_floats(const stored_matrix *m, size_t n_rows);
size_t stored_back_parts(const stored_matrix *m);

#endif
