/* The bf16 product over v16.h. The includer defines PRODUCT_NAME, PRODUCT_ROWS and product_dot(sum, x, w), which adds to each f32
 * lane the two products of a pair. */
#ifndef FINCH_TENSOR_KERNELS_PRODUCT_BF16_BODY_H
#define FINCH_TENSOR_KERNELS_PRODUCT_BF16_BODY_H

#include "tensor/kernels/kernels.h"
#include "tensor/kernels/v16.h"

#include <string.h>

typedef kernel_product_bf16 product_args;
typedef uint16_t product_input;
typedef uint16_t product_weight;
typedef v16 product_sums;
typedef v16i product_lanes;
#define PRODUCT_GROUP 2
#define PRODUCT_NEXT(p) (KERNEL_PANEL * PRODUCT_GROUP)

KERNEL_INLINE v16 product_zero(void) { return v16_zero(); }

KERNEL_INLINE v16i product_spread(const uint16_t *a)
{
    int32_t x;
    memcpy(&x, a, sizeof x);
    return v16i_set(x);
}

KERNEL_INLINE v16i product_weights(const uint16_t *b) { return v16i_load((const int32_t *)(const void *)b); }

KERNEL_INLINE void product_store(const kernel_product_bf16 *p, size_t row, size_t col, v16 sum)
{
    v16 y = p->bias == NULL ? sum : v16_add(sum, v16_load(p->bias + col));
    float *c = p->c + row * p->ldc + col;
    if (p->n_cols - col >= 16) v16_store(c, y);
    else v16_store_part(c, p->n_cols - col, y);
}

#include "tensor/kernels/product_tile.h"

#endif
