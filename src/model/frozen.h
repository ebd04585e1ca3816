/* Products with weights that stay where they are (tensor/stored.h), forward and back, spread over OpenMP's threads: in the file where
 * they do not learn, or, of a Gemma that learns whole, in memory.
 * What a number is computed from, and in which order, does not depend on their number. Inputs and results are f32; in bf16 inputs
 * and weights are rounded to it, and sums are f32. */
#ifndef FINCH_MODEL_FROZEN_H
#define FINCH_MODEL_FROZEN_H

#include "base/arena.h"
#include "tensor/stored.h"

typedef struct frozen_products {
    ops kernels;
    bool bf16;
    size_t team;
    size_t n_rows, widest; /* the most that there is scratch for */
    size_t thread_bytes;
    unsigned char *scratch;
    uint16_t *narrow; /* [n_rows, widest] in bf16 */
} frozen_products;

/* Scratch for products of n_rows with the matrices [n_matrices], from the arena; kernels and bf16 are set. */
finch_status frozen_plan(frozen_products *f, const stored_matrix *const *matrices, size_t n_matrices, size_t n_rows,
                         size_t team, arena *a, finch_error *err);
/* y [n_rows, ldy] = x W^T, x [n_rows, columns of w]. */
void frozen_product(const frozen_products *f, const stored_matrix *w, const float *x, size_t n_rows, float *y, size_t ldy);
/* dx [n_rows, columns of w] = dy W, or += where add is set; dy with a stride of ld_dy. */
void frozen_product_back(const frozen_products *f, const stored_matrix *w, const float *dy, size_t ld_dy, size_t n_rows,
                         bool add, float *dx);

#endif
