/* Products on AMX tiles: two by two sums of 16 x 16, so that a step of 64 bytes of k is four loads and four products.
 * The packed panels (kernels.h) are in the order the tiles want: a row of a weights' tile is 64 bytes, 16 columns' group
 * of 4 bytes of k, and lies 128 bytes below the one before.
 *
 * The sums of a block of rows go through a buffer of the stack; they are scaled and stored while the tile unit already
 * works on the next block (a slice of the rows behind each step of k), which hides most of that work. A row's sums depend
 * on nothing but that row and the panel: bits do not depend on how many rows run.
 *
 * The includer defines the types tile_args, tile_weight and tile_item (a sum), TILE_DOT(sums, rows, weights),
 * TILE_PARTS(p) (kernels.h, parts) and
 *   tile_finish(p, sums, end): rows [sums->n_done, end) of a block scaled, biased and stored. */
#ifndef FINCH_TENSOR_KERNELS_AMX_TILES_H
#define FINCH_TENSOR_KERNELS_AMX_TILES_H

#include "tensor/kernels/amx/tile_config.h"
#include "tensor/kernels/kernels.h"
#include "tensor/kernels/v16.h"

#include <stdbool.h>
#include <string.h>

enum {
    TILE_BLOCK_ROWS = 2 * TILE_ROWS,
    TILE_PANEL_STRIDE = 2 * TILE_BYTES,  /* from a group of k to the next in a panel */
    TILE_STEP_BYTES = TILE_ROWS * TILE_PANEL_STRIDE, /* of a panel for TILE_BYTES of k */
    TILE_GROUP_BYTES = 640 << 10,        /* of panels that all rows run past before the next ones */
    TILE_SETTLE_STEPS = 2, /* until sums that a tile stored are in the cache: a load before that waits, and all behind it */
};

/* Tiles 0 to 3 hold sums (upper left, upper right, lower left, lower right), 4 and 5 rows, 6 and 7 weights. */

/* Tiles for a block of n_rows; a tile without rows is given one, of which nothing is used. */
static void tile_configure(size_t n_rows)
{
    tile_config c = {.palette = 1};
    size_t upper = n_rows < TILE_ROWS ? n_rows : TILE_ROWS, lower = n_rows - upper;
    static const bool is_lower[TILE_COUNT] = {false, false, true, true, false, true, false, false};
    for (size_t i = 0; i < TILE_COUNT; i++) {
        c.row_bytes[i] = TILE_BYTES;
        c.rows[i] = (uint8_t)(i >= 6 ? TILE_ROWS : !is_lower[i] ? upper : lower > 0 ? lower : 1);
    }
    tile_load_config(&c);
}

/* What is not a whole step of k, padded with zeros. */
typedef struct tile_rest {
    _Alignas(64) unsigned char a[TILE_BLOCK_ROWS * TILE_BYTES];
    _Alignas(64) unsigned char b[TILE_STEP_BYTES];
} tile_rest;

/* One block's sums, waiting to be stored. */
typedef struct tile_sums {
    _Alignas(64) tile_item at[TILE_BLOCK_ROWS * KERNEL_PANEL];
    size_t row, col;
    size_t n_rows, n_done;
} tile_sums;

/* What a block reads, in bytes. */
typedef struct tile_block {
    const unsigned char *a;
    size_t lda;
    const unsigned char *b;
    const char *ahead; /* a step's share of the next panel, fetched into the second-level cache */
    size_t n_rows;
    size_t k;
    size_t depth; /* of a part, where k is three (kernels.h) and whole steps deep; else 0 */
} tile_block;

/* The first n_cols of a row's 32. A masked store of all lanes takes longer than a plain one. */
KERNEL_INLINE void tile_store(float *c, size_t n_cols, v16 left, v16 right)
{
    if (n_cols >= 32) {
        v16_store(c, left);
        v16_store(c + 16, right);
    } else if (n_cols > 16) {
        v16_store(c, left);
        v16_store_part(c + 16, n_cols - 16, right);
    } else if (n_cols == 16) {
        v16_store(c, left);
    } else {
        v16_store_part(c, n_cols, left);
    }
}

static void tile_finish(const tile_args *p, const tile_sums *sums, size_t end);

/* The next n rows of what waits. */
KERNEL_INLINE void tile_drain(const tile_args *p, tile_sums *waiting, size_t n)
{
    size_t end = waiting->n_rows - waiting->n_done < n ? waiting->n_rows : waiting->n_done + n;
    if (end > waiting->n_done) tile_finish(p, waiting, end);
    waiting->n_done = end;
}

#define TILE_DOTS(both)    \
    TILE_DOT(0, 4, 6);     \
    TILE_DOT(1, 4, 7);     \
    if (both) {            \
        TILE_DOT(2, 5, 6); \
        TILE_DOT(3, 5, 7); \
    }

KERNEL_INLINE void tile_step(const unsigned char *a, size_t lda, const unsigned char *b, const bool both)
{
    _tile_loadd(6, b, TILE_PANEL_STRIDE);
    _tile_loadd(4, a, lda);
    _tile_loadd(7, b + TILE_BYTES, TILE_PANEL_STRIDE);
    TILE_DOT(0, 4, 6);
    if (both) _tile_loadd(5, a + TILE_ROWS * lda, lda);
    TILE_DOT(1, 4, 7);
    if (both) {
        TILE_DOT(2, 5, 6);
        TILE_DOT(3, 5, 7);
    }
}

/* Three parts at once: each tile is loaded once for the products it is in. */
KERNEL_INLINE void tile_step_parts(const tile_block *t, size_t k, const bool both)
{
    const unsigned char *a = t->a + k, *b = t->b + k / 4 * TILE_PANEL_STRIDE;
    const unsigned char *b_low = b + 2 * t->depth / 4 * TILE_PANEL_STRIDE;
    tile_step(a, t->lda, b_low, both);
    _tile_loadd(6, b, TILE_PANEL_STRIDE);
    _tile_loadd(7, b + TILE_BYTES, TILE_PANEL_STRIDE);
    TILE_DOTS(both)
    _tile_loadd(4, a + t->depth, t->lda);
    if (both) _tile_loadd(5, a + t->depth + TILE_ROWS * t->lda, t->lda);
    TILE_DOTS(both)
}

/* The rest of k, from copies: neither a row nor the panel may be read past its end. */
static void tile_last_step(const tile_block *t, size_t done, bool both)
{
    tile_rest rest;
    size_t left = t->k - done;
    memset(&rest, 0, sizeof rest);
    for (size_t r = 0; r < t->n_rows; r++) memcpy(rest.a + r * TILE_BYTES, t->a + r * t->lda + done, left);
    memcpy(rest.b, t->b + done / 4 * TILE_PANEL_STRIDE, left / 4 * TILE_PANEL_STRIDE);
    __asm__ volatile("" ::: "memory"); /* the loads of tiles do not tell the compiler what they read */
    if (both) tile_step(rest.a, TILE_BYTES, rest.b, true);
    else tile_step(rest.a, TILE_BYTES, rest.b, false);
}

KERNEL_INLINE void tile_fetch(const char *from)
{
    for (size_t i = 0; i < TILE_STEP_BYTES; i += 64) _mm_prefetch(from + i, _MM_HINT_T1);
}

/* The sums of a block over all of k, and meanwhile the rows that wait, `slice` behind each step but the first ones. */
KERNEL_INLINE void tile_run(const tile_args *p, const tile_block *t, tile_sums *waiting, size_t slice, const bool both)
{
    size_t k = 0, end = t->depth > 0 ? t->depth : t->k;
    _tile_zero(0);
    _tile_zero(1);
    if (both) {
        _tile_zero(2);
        _tile_zero(3);
    }
    for (; k + TILE_BYTES <= end; k += TILE_BYTES) {
        if (t->depth > 0) tile_step_parts(t, k, both);
        else tile_step(t->a + k, t->lda, t->b + k / 4 * TILE_PANEL_STRIDE, both);
        if (t->ahead != NULL) tile_fetch(t->ahead + k / 4 * TILE_PANEL_STRIDE);
        if (t->ahead != NULL && t->depth > 0) tile_fetch(t->ahead + (2 * t->depth + k) / 4 * TILE_PANEL_STRIDE);
        if (k >= TILE_SETTLE_STEPS * TILE_BYTES) tile_drain(p, waiting, slice);
    }
    if (k < end) tile_last_step(t, k, both);
}

static void tile_keep(tile_sums *sums, bool both)
{
    enum { STRIDE = KERNEL_PANEL * sizeof(tile_item), LOWER = TILE_ROWS * KERNEL_PANEL };
    _tile_stored(0, sums->at, STRIDE);
    _tile_stored(1, sums->at + TILE_ROWS, STRIDE);
    if (!both) return;
    _tile_stored(2, sums->at + LOWER, STRIDE);
    _tile_stored(3, sums->at + LOWER + TILE_ROWS, STRIDE);
}

/* A walk over blocks: sums[turn % 2] takes a block's sums, the other holds those of the block before. */
typedef struct tile_walk {
    tile_sums sums[2];
    size_t turn;
} tile_walk;

static void tile_block_run(const tile_args *p, tile_walk *w, const tile_block *t, size_t row, size_t col)
{
    bool both = t->n_rows > TILE_ROWS;
    tile_sums *mine = &w->sums[w->turn % 2], *waiting = &w->sums[(w->turn + 1) % 2];
    size_t steps = (t->depth > 0 ? t->depth : t->k) / TILE_BYTES,
           behind = steps > TILE_SETTLE_STEPS ? steps - TILE_SETTLE_STEPS : 1,
           slice = (TILE_BLOCK_ROWS + behind - 1) / behind;
    if (both) tile_run(p, t, waiting, slice, true);
    else tile_run(p, t, waiting, slice, false);
    tile_drain(p, waiting, TILE_BLOCK_ROWS);
    tile_keep(mine, both);
    mine->row = row, mine->col = col, mine->n_rows = t->n_rows, mine->n_done = 0;
    w->turn++;
}

/* Rows [row, row + n_rows), a block as configured, of columns [col, end). The block of rows stays in the first-level
 * cache and the panels stream past it: they lie in one piece, rows do not. The first block fetches ahead. */
static void tile_row(const tile_args *p, tile_walk *w, size_t row, size_t n_rows, size_t col, size_t end)
{
    size_t item = sizeof *p->a;
    tile_block t = {.lda = p->lda * item, .n_rows = n_rows, .k = p->k * item};
    if (TILE_PARTS(p) == 3 && t.k / 3 % (KERNEL_SKIP_DEPTH * item) == 0) t.depth = t.k / 3;
    t.a = (const unsigned char *)(p->a + row * p->lda);
    for (; col < end; col += KERNEL_PANEL) {
        const tile_weight *b = p->b + col / KERNEL_PANEL * p->panel_stride;
        t.b = (const unsigned char *)b;
        t.ahead = row == 0 && col + KERNEL_PANEL < p->n_cols ? (const char *)(b + p->panel_stride) : NULL;
        tile_block_run(p, w, &t, row, col);
    }
}

/* Groups of panels that fit the second-level cache beside the rows. The tiles are left released: a thread's state is not
 * kept large, and who comes next configures his own. */
static void tile_product(const tile_args *p)
{
    size_t panel_bytes = p->panel_stride * sizeof *p->b,
           n = panel_bytes < TILE_GROUP_BYTES ? TILE_GROUP_BYTES / panel_bytes : 1;
    size_t whole = p->n_rows / TILE_BLOCK_ROWS * TILE_BLOCK_ROWS, left = p->n_rows - whole;
    tile_walk w;
    w.turn = w.sums[0].n_rows = w.sums[0].n_done = w.sums[1].n_rows = w.sums[1].n_done = 0;
    for (size_t col = 0; col < p->n_cols; col += n * KERNEL_PANEL) {
        size_t end = p->n_cols - col > n * KERNEL_PANEL ? col + n * KERNEL_PANEL : p->n_cols;
        if (whole > 0) tile_configure(TILE_BLOCK_ROWS);
        for (size_t row = 0; row < whole; row += TILE_BLOCK_ROWS) tile_row(p, &w, row, TILE_BLOCK_ROWS, col, end);
        if (left == 0) continue;
        tile_configure(left);
        tile_row(p, &w, whole, left, col, end);
    }
    tile_drain(p, &w.sums[(w.turn + 1) % 2], TILE_BLOCK_ROWS);
    _tile_release();
}

#endif
