/* What becomes of the int8 products' sums: sixteen of a row's, scaled, shifted by the zero point, biased and stored. */
#ifndef FINCH_TENSOR_KERNELS_PRODUCT_INT8_STORE_H
#define FINCH_TENSOR_KERNELS_PRODUCT_INT8_STORE_H

#include "tensor/kernels/kernels.h"
#include "tensor/kernels/v16.h"

KERNEL_INLINE void product_store(const kernel_product_int8 *p, size_t row, size_t col, v16i sum)
{
    v16 zero = v16_set(-((float)p->zero[row] * p->row_scale[row]));
    v16 scale = v16_mul(v16_set(p->row_scale[row]), v16_load(p->column_scale + col));
    v16 y = v16_fma(v16_from_int(sum), scale, v16_fma(zero, v16_load(p->column_sum + col), v16_load(p->bias + col)));
    float *c = p->c + row * p->ldc + col;
    if (p->n_cols - col >= 16) v16_store(c, y);
    else v16_store_part(c, p->n_cols - col, y);
}

#endif
