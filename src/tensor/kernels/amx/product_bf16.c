/* tdpbf16ps: f32 sums of bf16 products, pairs of k in rising order. */
#include "tensor/kernels/kernels.h"

#include <immintrin.h>

typedef kernel_product_bf16 tile_args;
typedef uint16_t tile_weight;
typedef float tile_item;
#define TILE_PARTS(p) ((p)->parts)
#define TILE_DOT(sum, rows, weights) _tile_dpbf16ps(sum, rows, weights)
#include "tensor/kernels/amx/tiles.h"

static void tile_finish(const kernel_product_bf16 *p, const tile_sums *sums, size_t end)
{
    const v16 left = p->bias == NULL ? v16_zero() : v16_load(p->bias + sums->col);
    const v16 right = p->bias == NULL ? v16_zero() : v16_load(p->bias + sums->col + 16);
    const size_t n_cols = p->n_cols - sums->col, ldc = p->ldc;
    float *c = p->c + sums->row * ldc + sums->col;
    for (size_t i = sums->n_done; i < end; i++) {
        const float *at = sums->at + i * KERNEL_PANEL;
        tile_store(c + i * ldc, n_cols, v16_add(v16_load(at), left), v16_add(v16_load(at + 16), right));
    }
}

void product_bf16_amx(const kernel_product_bf16 *p) { tile_product(p); }
