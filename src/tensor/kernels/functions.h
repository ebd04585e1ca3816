/* exp and GELU over v16.h; scalar/rows.c holds their definitions, with the same bits. */
#ifndef FINCH_TENSOR_KERNELS_FUNCTIONS_H
#define FINCH_TENSOR_KERNELS_FUNCTIONS_H

#include "tensor/kernels/constants.h"
#include "tensor/kernels/gelu_table.h"
#include "tensor/kernels/v16.h"

KERNEL_INLINE v16 v16_exp(v16 x)
{
    x = v16_min(v16_set(EXP_MOST), v16_max(v16_set(EXP_LEAST), x)); /* NaN stays NaN */
    v16i n = v16_to_int(v16_mul(x, v16_set(EXP_LOG2_E)));
    v16 r = v16_fma(v16_from_int(n), v16_set(-EXP_LN2_HIGH), x);
    r = v16_fma(v16_from_int(n), v16_set(-EXP_LN2_LOW), r);
    v16 p = v16_fma(v16_set(EXP_C0), r, v16_set(EXP_C1));
    p = v16_fma(p, r, v16_set(EXP_C2));
    p = v16_fma(p, r, v16_set(EXP_C3));
    p = v16_fma(p, r, v16_set(EXP_C4));
    p = v16_fma(p, r, v16_set(EXP_C5));
    p = v16_add(v16_fma(p, v16_mul(r, r), r), v16_set(1.0f));
    return v16_mul(p, v16_power_of_two(n));
}

KERNEL_INLINE v16 v16_gelu(const float table[GELU_DEGREE + 1][16], v16 x)
{
    v16 size = v16_abs(x);
    v16 at = v16_mul(size, v16_set(GELU_SCALE));
    v16i index = v16_truncate(v16_min(at, v16_set(GELU_LAST)));
    v16 t = v16_sub(v16_sub(at, v16_from_int(index)), v16_set(0.5f));
    v16 g = v16_look_up(v16_table_load(table[GELU_DEGREE]), index);
    KERNEL_UNROLL
    for (int k = GELU_DEGREE - 1; k >= 0; k--) g = v16_fma(g, t, v16_look_up(v16_table_load(table[k]), index));
    return v16_fma(size, g, v16_mul(v16_set(0.5f), x));
}

#endif
