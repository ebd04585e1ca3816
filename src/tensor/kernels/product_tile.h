/* Register tiles of the products: each row's sums are named variables, because gcc 12 keeps an array of vectors in
 * memory. The includer defines PRODUCT_ROWS as 3 or 14, PRODUCT_ARGS (the argument struct) and, as functions over
 * constants n_rows and n_vectors, product_tile(p, row, col, n_rows, n_vectors); this gives it the list of rows and the
 * walk over tiles. A tile's sums stay in registers over all of k, so a row's bits do not depend on the rows beside it. */
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

#define PRODUCT_TILE(n)                        \
    if (wide) product_tile(p, row, col, n, 2); \
    else product_tile(p, row, col, n, 1);

#define PRODUCT_CASE(n) \
    case n: PRODUCT_TILE(n) break;

#define PRODUCT_WALK(name, args)                                                                   \
    static void product_last_rows(const args *p, size_t row, size_t col, size_t n_rows, bool wide) \
    {                                                                                              \
        switch (n_rows) {                                                                          \
            PRODUCT_EACH_REST(PRODUCT_CASE)                                                        \
        default: break;                                                                            \
        }                                                                                          \
    }                                                                                              \
                                                                                                   \
    void name(const args *p)                                                                       \
    {                                                                                              \
        for (size_t col = 0; col < p->n_cols; col += KERNEL_PANEL) {                               \
            bool wide = p->n_cols - col > 16;                                                      \
            size_t row = 0;                                                                        \
            for (; row + PRODUCT_ROWS <= p->n_rows; row += PRODUCT_ROWS) {                         \
                PRODUCT_TILE(PRODUCT_ROWS)                                                         \
            }                                                                                      \
            product_last_rows(p, row, col, p->n_rows - row, wide);                                 \
        }                                                                                          \
    }

#endif
