/* Linear layers whose weights stay: packed once for the machine's registers, run many times.
 *
 *   y = x W^T + bias     W [n_out, n_in] as checkpoints have it, x [n_rows, n_in], y [n_rows, n_out]
 *
 * Why products of our own here: oneDNN's reach the same share of the CPU's peak, but a row's bits may depend on how many
 * rows run beside it, int8 sums go through memory before they are scaled, and a primitive must be made for every row
 * count. Here a tile of sums stays in registers from the first k to the scaled, biased store (docs/tensor-ops.md).
 *
 * In int8 the weights have a scale per output and inputs a scale and a zero point per row (linear_input_quantize). */
#ifndef FINCH_TENSOR_LINEAR_H
#define FINCH_TENSOR_LINEAR_H

#include "base/arena.h"
#include "tensor/ops.h"

/* BF16X3: inputs and weights as two bf16 each (kernel split), and three of the four products: x_high w_high + x_low w_high
 * + x_high w_low. They are one bf16 product of three times the depth. As near to f32 as 16 bits of mantissa are. */
typedef enum linear_type { LINEAR_F32, LINEAR_BF16, LINEAR_INT8, LINEAR_BF16X3 } linear_type;

/* Floats to leave between wide rows (inputs read where they lie, outputs): rows a multiple of 4 KiB apart, as those of most
 * models' wide layers are, would share a few sets of the first-level cache. */
enum { LINEAR_APART = 16 };

typedef struct linear {
    linear_type type;
    size_t n_in;
    size_t n_out;
    size_t k;             /* n_in rounded up to 4 (times three in BF16X3): the packed depth */
    size_t panel_stride;  /* items from panel to panel */
    void *panels;
    float *bias;          /* [n_out rounded up to 32] */
    float *column_scale;  /* int8 only, as bias */
    float *column_sum;    /* int8 only, as bias: scale times column_total */
    int32_t *column_total; /* int8 only, as bias: the sum of the row's int8 weights */
} linear;

/* Room for the weights, all zero. linear_free takes a zeroed or half-built one.
 * Errors: FINCH_E_UNSUPPORTED (n_in so large that int32 sums could overflow), FINCH_E_MEMORY. */
finch_status linear_init(linear *l, linear_type type, size_t n_out, size_t n_in, finch_error *err);
/* The same in memory of the arena, which keeps it: no linear_free. Many layers in one block can lie in huge pages. */
finch_status linear_init_in(arena *a, linear *l, linear_type type, size_t n_out, size_t n_in, finch_error *err);
/* What linear_init_in takes from the arena, at most; SIZE_MAX where that does not fit. */
size_t linear_room(linear_type type, size_t n_out, size_t n_in);
void linear_free(linear *l);

/* Packs rows [first, first + n) of W: w [n, n_in], bias [n] or NULL, both multiplied by factor.
 * Into int8: scale = largest magnitude / 127 of each row, rounded to nearest even.
 * Errors: FINCH_E_DATA where an item is not finite (err->row is its 1-based row among the n). */
finch_status linear_pack(linear *l, size_t first, size_t n, const float *w, const float *bias, float factor,
                         finch_error *err);
/* The same from int8 rows with their scales [n]; l is LINEAR_INT8. */
void linear_pack_int8(linear *l, size_t first, size_t n, const int8_t *w, const float *scale, const float *bias,
                      float factor);

/* Rows as a linear layer of one type reads them. Which members are set follows from type. */
typedef struct linear_input {
    linear_type type;
    size_t n_rows;
    size_t stride;      /* items from row to row */
    const float *f32;
    uint16_t *bf16;
    uint8_t *u8;
    float *scale;       /* [n_rows] */
    int32_t *zero;      /* [n_rows] */
} linear_input;

/* Room for rows of n_in items in the layer's type; in f32 nothing is needed, rows are read where they lie. */
finch_status linear_input_alloc(arena *a, linear_type type, size_t n_rows, size_t n_in, linear_input *out, finch_error *err);
/* Converts rows [first, first + n) of x (row 0 of x is row `first`), stride ldx, into in; in f32 in only points to x. For
 * linear_run with the same ops: what its product does not read may be left out. */
void linear_input_fill(const ops *o, linear_input *in, size_t first, size_t n, const float *x, size_t ldx, size_t n_in);
/* Rows [first, first + n) of in. */
linear_input linear_input_rows(const linear_input *in, size_t first, size_t n);

/* y [n_rows, ldy] columns [col_begin, col_end) of the product; col_begin a multiple of 32, y at column 0. */
void linear_run(const ops *o, const linear *l, const linear_input *in, size_t col_begin, size_t col_end, float *y,
                size_t ldy);

/* Bytes of the packed weights. */
size_t linear_bytes(const linear *l);

#endif
