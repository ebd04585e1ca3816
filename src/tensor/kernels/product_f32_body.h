/* The f32 product over v16.h. The includer defines PRODUCT_NAME and PRODUCT_ROWS. */
#ifndef FINCH_TENSOR_KERNELS_PRODUCT_F32_BODY_H
#define FINCH_TENSOR_KERNELS_PRODUCT_F32_BODY_H

#include "tensor/kernels/kernels.h"
#include "tensor/kernels/v16.h"

typedef kernel_product_f32 product_args;
typedef float product_input;
typedef float product_weight;
typedef v16 product_sums;
typedef v16 product_lanes;
#define PRODUCT_GROUP 1
#define PRODUCT_NEXT(p) ((p)->ldb)

KERNEL_INLINE v16 product_zero(void) { return v16_zero(); }
KERNEL_INLINE v16 product_spread(const float *a) { return v16_set(*a); }
KERNEL_INLINE v16 product_weights(const float *b) { return v16_load(b); }
KERNEL_INLINE v16 product_dot(v16 sums, v16 x, v16 w) { return v16_fma(x, w, sums); }

KERNEL_INLINE void product_store(const kernel_product_f32 *p, size_t row, size_t col, v16 sum)
{
    v16 y = p->bias == NULL ? sum : v16_add(sum, v16_load(p->bias + col));
    float *c = p->c + row * p->ldc + col;
    if (p->n_cols - col >= 16) v16_store(c, y);
    else v16_store_part(c, p->n_cols - col, y);
}

#include "tensor/kernels/product_tile.h"

#endif
