#include "model/frozen.h"

#ifdef _OPENMP
#include <omp.h>
#endif

enum { NARROW_ROWS = 16 };

static size_t larger(size_t a, size_t b) { return a > b ? a : b; }

finch_status frozen_plan(frozen_products *f, const stored_matrix *const *matrices, size_t n_matrices, size_t n_rows,
                         size_t team, arena *a, finch_error *err)
{
    size_t floats = 0;
    f->team = team;
    f->n_rows = n_rows;
    f->widest = 0;
    for (size_t i = 0; i < n_matrices; i++) {
        const stored_matrix *w = matrices[i];
        floats = larger(floats, larger(stored_scratch_floats(w), stored_back_floats(w, n_rows)));
        f->widest = larger(f->widest, larger(w->rows, w->columns) + 1); /* one for an odd depth */
    }
    f->thread_bytes = (floats * sizeof(float) + MEM_ALIGN - 1) / MEM_ALIGN * MEM_ALIGN;
    FINCH_TRY(arena_alloc(a, team * f->thread_bytes, 1, (void **)&f->scratch, err));
    return f->bf16 ? ARENA_NEW(a, &f->narrow, n_rows * f->widest, err) : FINCH_OK;
}

static float *own_scratch(const frozen_products *f)
{
#ifdef _OPENMP
    return (float *)(void *)(f->scratch + (size_t)omp_get_thread_num() * f->thread_bytes);
#else
    return (float *)(void *)f->scratch;
#endif
}

/* x [n_rows, width] with a stride of ldx as bf16 in f->narrow, where a row is as deep as products want it: even. */
static void narrow(const frozen_products *f, const float *x, size_t ldx, size_t n_rows, size_t width)
{
    size_t depth = width + width % 2;
#pragma omp parallel for schedule(static, NARROW_ROWS) num_threads((int)f->team)
    for (size_t row = 0; row < n_rows; row++) {
        f->kernels.narrow(x + row * ldx, f->narrow + row * depth, width);
        if (depth > width) f->narrow[row * depth + width] = 0;
    }
}

void frozen_product(const frozen_products *f, const stored_matrix *w, const float *x, size_t n_rows, float *y, size_t ldy)
{
    size_t n_panels = (w->rows + KERNEL_PANEL - 1) / KERNEL_PANEL, n_parts = size_least(f->team, n_panels);
    size_t depth = w->columns + w->columns % 2;
    if (f->bf16) narrow(f, x, w->columns, n_rows, w->columns);
#pragma omp parallel for schedule(static) num_threads((int)f->team)
    for (size_t part = 0; part < n_parts; part++) {
        size_t begin = n_panels * part / n_parts, end = n_panels * (part + 1) / n_parts;
        if (f->bf16) stored_product_bf16(&f->kernels, w, f->narrow, depth, n_rows, begin, end, own_scratch(f), y, ldy);
        else stored_product(&f->kernels, w, x, w->columns, n_rows, begin, end, own_scratch(f), y, ldy);
    }
}

void frozen_product_back(const frozen_products *f, const stored_matrix *w, const float *dy, size_t ld_dy, size_t n_rows,
                         bool add, float *dx)
{
    size_t n_parts = stored_back_parts(w), depth = w->rows + w->rows % 2;
    if (f->bf16) narrow(f, dy, ld_dy, n_rows, w->rows);
#pragma omp parallel for schedule(dynamic) num_threads((int)f->team)
    for (size_t part = 0; part < n_parts; part++) {
        if (f->bf16)
            stored_product_back_bf16(&f->kernels, w, f->narrow, depth, n_rows, part, part + 1, add, own_scratch(f), dx,
                                     w->columns);
        else stored_product_back(&f->kernels, w, dy, ld_dy, n_rows, part, part + 1, add, own_scratch(f), dx, w->columns);
    }
}
