/* Register tiles of the products: each row's sums are named variables, because gcc 12 keeps an array of vectors in
 * memory. A tile's sums stay in registers over all of k, so a row's bits do not depend on the rows beside it. The includer
 * defines, before it includes this at its end,
 *   PRODUCT_NAME, PRODUCT_ROWS  the function; 3 or 14 rows of a tile
 *   product_args                the argument struct (kernels.h)
 *   product_input, product_weight, product_sums, product_lanes  items of a and b; sixteen sums, sixteen operands
 *   PRODUCT_GROUP               neighbouring k in one operand
 *   PRODUCT_NEXT(p)             items of b from one group of k to the next
 *   product_zero(), product_spread(a), product_weights(b), product_dot(sums, x, w), product_store(p, row, col, sums). */
#ifndef FINCH_TENSOR_KERNELS_PRODUCT_TILE_H
#define FINCH_TENSOR_KERNELS_PRODUCT_TILE_H

#if PRODUCT_ROWS == 14
#define PRODUCT_EACH_ROW(X) X(0) X(1) X(2) X(3) X(4) X(5) X(6) X(7) X(8) X(9) X(10) X(11) X(12) X(13)
#define PRODUCT_EACH_REST(X) X(1) X(2) X(3) X(4) X(5) X(6) X(7) X(8) X(9) X(10) X(11) X(12) X(13)
#else
#define PRODUCT_EACH_ROW(X) X(0) X(1) X(2)
#define PRODUCT_EACH_REST(X) X(1) X(2)
#endif

/* Where a tile's prefetches begin, a line a step: the first two tiles of a panel bring half of the next panel each into
 * the second-level cache, from where the caches' own prefetchers take it; others name what is there already. */
#define PRODUCT_AHEAD(p, row, col, b)                                                                   \
    ((row) < 2 * PRODUCT_ROWS && (col) + KERNEL_PANEL < (p)->n_cols                                     \
         ? (const char *)((b) + (p)->panel_stride + ((row) < PRODUCT_ROWS ? 0 : (p)->panel_stride / 2)) \
         : (const char *)(b))

#define PRODUCT_END(r)                                                     \
    if (r < n_rows) {                                                      \
        product_store(&p, row + r, col, left##r);                          \
        if (n_vectors > 1) product_store(&p, row + r, col + 16, right##r); \
    }

#ifdef PRODUCT_OP

#include "tensor/kernels/avx512/product_loop.h"

#define PRODUCT_SUMS(r) product_sums left##r, right##r;
#define PRODUCT_LOOP(n)                        \
    case n:                                    \
        if (n_vectors > 1) LOOP_RUN(&s, n, 2); \
        else LOOP_RUN(&s, n, 1);               \
        break;

KERNEL_INLINE void product_tile(const product_args *args, size_t row, size_t col, const size_t n_rows,
                                const size_t n_vectors)
{
    const product_args p = *args; /* no store to c can change this one */
    const product_input *a = p.a + row * p.lda;
    const product_weight *b = p.b + (col / KERNEL_PANEL) * p.panel_stride;
    const product_steps s = {.row0 = a,
                             .row3 = n_rows > 3 ? a + 3 * p.lda : a,
                             .row5 = n_rows > 5 ? a + 5 * p.lda : a,
                             .row10 = n_rows > 10 ? a + 10 * p.lda : a,
                             .row_stride = p.lda * sizeof *a,
                             .panel = b,
                             .panel_stride = PRODUCT_NEXT(&p) * sizeof *b,
                             .ahead = PRODUCT_AHEAD(&p, row, col, b),
                             .n_steps = (p.k + PRODUCT_GROUP - 1) / PRODUCT_GROUP};
    PRODUCT_EACH_ROW(PRODUCT_SUMS)
    switch (n_rows) {
        PRODUCT_LOOP(PRODUCT_ROWS)
        PRODUCT_EACH_REST(PRODUCT_LOOP)
    default: return;
    }
    PRODUCT_EACH_ROW(PRODUCT_END)
}

#undef PRODUCT_SUMS
#undef PRODUCT_LOOP

#else

KERNEL_INLINE void product_tile(const product_args *args, size_t row, size_t col, const size_t n_rows,
                                const size_t n_vectors)
{
    const product_args p = *args;
    const product_input *a = p.a + row * p.lda;
    const product_weight *b = p.b + (col / KERNEL_PANEL) * p.panel_stride;
    const char *ahead = PRODUCT_AHEAD(&p, row, col, b);
#define PRODUCT_BEGIN(r)                                          \
    const product_input *a##r = a + (r < n_rows ? r : 0) * p.lda; \
    product_sums left##r = product_zero(), right##r = product_zero();
#define PRODUCT_STEP(r)                                                       \
    if (r < n_rows) {                                                         \
        product_lanes x = product_spread(a##r + k);                           \
        left##r = product_dot(left##r, x, weight_left);                       \
        if (n_vectors > 1) right##r = product_dot(right##r, x, weight_right); \
    }
    PRODUCT_EACH_ROW(PRODUCT_BEGIN)
    for (size_t k = 0; k < p.k; k += PRODUCT_GROUP) {
        product_lanes weight_left = product_weights(b);
        product_lanes weight_right = product_weights(n_vectors > 1 ? b + 16 * PRODUCT_GROUP : b);
        PRODUCT_EACH_ROW(PRODUCT_STEP)
        b += PRODUCT_NEXT(&p);
        _mm_prefetch(ahead, _MM_HINT_T1);
        ahead += 64;
    }
    PRODUCT_EACH_ROW(PRODUCT_END)
#undef PRODUCT_BEGIN
#undef PRODUCT_STEP
}

#endif
#undef PRODUCT_END

#define PRODUCT_TILE(n)                        \
    if (wide) product_tile(p, row, col, n, 2); \
    else product_tile(p, row, col, n, 1);

#define PRODUCT_CASE(n) \
    case n: PRODUCT_TILE(n) break;

static void product_last_rows(const product_args *p, size_t row, size_t col, size_t n_rows, bool wide)
{
    switch (n_rows) {
        PRODUCT_EACH_REST(PRODUCT_CASE)
    default: break;
    }
}

void PRODUCT_NAME(const product_args *p)
{
    for (size_t col = 0; col < p->n_cols; col += KERNEL_PANEL) {
        bool wide = p->n_cols - col > 16;
        size_t row = 0;
        for (; row + PRODUCT_ROWS <= p->n_rows; row += PRODUCT_ROWS) {
            PRODUCT_TILE(PRODUCT_ROWS)
        }
        product_last_rows(p, row, col, p->n_rows - row, wide);
    }
}

#endif
