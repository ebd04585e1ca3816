/* tdpbusd: exact int32 sums of u8 x s8 products, so the bits are those of every variant. */
#include "tensor/kernels/kernels.h"

#include <immintrin.h>

typedef kernel_product_int8 tile_args;
typedef int8_t tile_weight;
typedef int32_t tile_item;
#define TILE_PARTS(p) 1
#define TILE_DOT(sum, rows, weights) _tile_dpbusd(sum, rows, weights)
#include "tensor/kernels/amx/tiles.h"

typedef struct column_parts {
    v16 scale, sum, bias;
} column_parts;

KERNEL_INLINE column_parts column_parts_load(const kernel_product_int8 *p, size_t col)
{
    return (column_parts){v16_load(p->column_scale + col), v16_load(p->column_sum + col), v16_load(p->bias + col)};
}

KERNEL_INLINE v16 finish(const int32_t *sums, column_parts column, v16 row_scale, v16 zero)
{
    return v16_fma(v16_from_int(v16i_load(sums)), v16_mul(row_scale, column.scale), v16_fma(zero, column.sum, column.bias));
}

static void tile_finish(const kernel_product_int8 *p, const tile_sums *sums, size_t end)
{
    const column_parts left = column_parts_load(p, sums->col), right = column_parts_load(p, sums->col + 16);
    const size_t n_cols = p->n_cols - sums->col, ldc = p->ldc;
    const float *row_scale = p->row_scale + sums->row;
    const int32_t *zero = p->zero + sums->row;
    float *c = p->c + sums->row * ldc + sums->col;
    for (size_t i = sums->n_done; i < end; i++) {
        const int32_t *at = sums->at + i * KERNEL_PANEL;
        v16 scale = v16_set(row_scale[i]), shift = v16_set(-((float)zero[i] * row_scale[i]));
        tile_store(c + i * ldc, n_cols, finish(at, left, scale, shift), finish(at + 16, right, scale, shift));
    }
}

void product_int8_amx(const kernel_product_int8 *p) { tile_product(p); }
