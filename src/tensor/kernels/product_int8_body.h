/* The int8 product over v16.h. The includer defines PRODUCT_NAME, PRODUCT_ROWS and product_dot(sum, x, w), which adds to
 * each int32 lane the exact sum of four u8 x s8 products.
 * Integer sums are exact, so no order matters; the float part is one conversion, one product and one fused step. */
#ifndef FINCH_TENSOR_KERNELS_PRODUCT_INT8_BODY_H
#define FINCH_TENSOR_KERNELS_PRODUCT_INT8_BODY_H

#include "tensor/kernels/product_int8_store.h"

#include <string.h>

typedef kernel_product_int8 product_args;
typedef uint8_t product_input;
typedef int8_t product_weight;
typedef v16i product_sums;
typedef v16i product_lanes;
#define PRODUCT_GROUP 4
#define PRODUCT_NEXT(p) (KERNEL_PANEL * PRODUCT_GROUP)

KERNEL_INLINE v16i product_zero(void) { return v16i_zero(); }

KERNEL_INLINE v16i product_spread(const uint8_t *a)
{
    int32_t x;
    memcpy(&x, a, sizeof x);
    return v16i_set(x);
}

KERNEL_INLINE v16i product_weights(const int8_t *b) { return v16i_load((const int32_t *)(const void *)b); }

#include "tensor/kernels/product_tile.h"

#endif
