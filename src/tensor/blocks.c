#include "tensor/blocks.h"

#include "tensor/gguf_blocks.h"

#include <string.h>

enum {
    CHUNK_BLOCKS = 24, /* of a panel's depth: 24 KiB of items and their scales beside some rows */
    CHUNK_WHOLE = GGUF_BLOCK_ITEMS_MAX / BLOCK_ITEMS, /* chunks are whole blocks of every type */
    CHUNK_ITEMS = CHUNK_BLOCKS * BLOCK_ITEMS,
    FEW_ROWS = 2, /* more are worth turning a panel for */
    QUANTIZE_ROWS = 64
};

/* Some blocks of 32 outputs: where they lie, and as block_multiply reads them. rows: items whose last block is not whole. */
typedef struct chunk {
    uint8_t items[CHUNK_ITEMS * KERNEL_PANEL];
    float scale[CHUNK_BLOCKS * BLOCK_PARTS * KERNEL_PANEL];
    float low[CHUNK_BLOCKS * KERNEL_PANEL];
    int8_t rows[CHUNK_ITEMS * KERNEL_PANEL];
    const unsigned char *lines[KERNEL_PANEL];
} chunk;

size_t blocks_scratch_bytes(void) { return sizeof(chunk); }

bool blocks_fit(const stored_matrix *m)
{
    return m->blocks != NULL ? gguf_block_of(m->blocks)->take != NULL : m->plain.weight->dtype == TENSOR_I8;
}

bool blocks_need_parts(const stored_matrix *m)
{
    const gguf_block *b = m->blocks == NULL ? NULL : gguf_block_of(m->blocks);
    return b != NULL && (b->has_low || b->n_scaled < BLOCK_ITEMS);
}

/* ---- rows ------------------------------------------------------------------------------------------------------ */

finch_status blocks_alloc(arena *a, size_t n_rows, size_t width, bool parts, block_rows *out, finch_error *err)
{
    size_t n_blocks = (width + BLOCK_ITEMS - 1) / BLOCK_ITEMS, n, items;
    *out = (block_rows){.n_rows = n_rows, .n_blocks = n_blocks};
    if (!size_mul(n_rows, n_blocks, &n) || !size_mul(n, BLOCK_ITEMS, &items))
        return finch_fail(err, FINCH_E_MEMORY, "%zu rows of %zu items do not fit memory", n_rows, width);
    FINCH_TRY(ARENA_NEW(a, &out->q, items, err));
    FINCH_TRY(ARENA_NEW(a, &out->scale, n, err));
    FINCH_TRY(ARENA_NEW(a, &out->start, n, err));
    if (!parts) return FINCH_OK;
    FINCH_TRY(ARENA_NEW(a, &out->part_start, BLOCK_PARTS * n, err));
    return ARENA_NEW(a, &out->mass, n, err);
}

block_rows blocks_part(const block_rows *rows, size_t first, size_t n)
{
    block_rows part = *rows;
    size_t at = first * rows->n_blocks;
    part.n_rows = n;
    part.q += at * BLOCK_ITEMS;
    part.scale += at;
    part.start += at;
    if (part.part_start != NULL) part.part_start += BLOCK_PARTS * at;
    if (part.mass != NULL) part.mass += at;
    return part;
}

/* ---- a chunk of a panel ---------------------------------------------------------------------------------------- */

/* Which outputs, and which blocks of their depth. picked NULL: rows first_row and on. */
typedef struct place {
    const int32_t *picked;
    size_t first_row, n_rows;
    size_t first_block, n_blocks;
} place;

static size_t row_of(const place *at, size_t i) { return at->picked != NULL ? (size_t)at->picked[i] : at->first_row + i; }

/* Panels are whole: behind its last output stands that one again. */
static void find_lines(const stored_matrix *m, const place *at, chunk *c)
{
    const unsigned char *data = m->blocks != NULL ? m->blocks->data : m->plain.weight->data;
    size_t row_bytes = stored_bytes(m) / m->rows;
    for (size_t i = 0; i < KERNEL_PANEL; i++) c->lines[i] = data + row_of(at, size_least(i, at->n_rows - 1)) * row_bytes;
}

/* A row's one scale stands at each of its blocks. */
static void take_scales(const stored_matrix *m, const place *at, chunk *c)
{
    for (size_t i = 0; i < at->n_rows; i++) {
        size_t row = row_of(at, i);
        if (m->plain.scale->dtype == TENSOR_F32)
            memcpy(c->scale + i, (const unsigned char *)m->plain.scale->data + row * sizeof(float), sizeof(float));
        else (void)compressed_row_scale(&m->plain, row, c->scale + i, NULL); /* checked when the view was made */
    }
    for (size_t b = 1; b < at->n_blocks; b++) memcpy(c->scale + b * KERNEL_PANEL, c->scale, KERNEL_PANEL * sizeof *c->scale);
}

/* Items whose last block ends before its end, with zeros. */
static void pad_lines(const stored_matrix *m, const place *at, chunk *c)
{
    size_t first = at->first_block * BLOCK_ITEMS, n = m->columns - first;
    for (size_t i = 0; i < KERNEL_PANEL; i++) {
        int8_t *to = c->rows + i * CHUNK_ITEMS;
        memcpy(to, c->lines[i] + first, n);
        memset(to + n, 0, at->n_blocks * BLOCK_ITEMS - n);
        c->lines[i] = (const unsigned char *)to;
    }
}

/* The blocks of a chunk where they lie; the last chunk's lines may be copies. */
static block_lines lines_of(const stored_matrix *m, const place *at, chunk *c)
{
    block_lines lines = {.at = c->lines, .first_block = at->first_block, .n_blocks = at->n_blocks};
    lines.type = m->blocks != NULL ? (int)m->blocks->type : BLOCK_INT8;
    if ((at->first_block + at->n_blocks) * BLOCK_ITEMS <= m->columns) return lines;
    pad_lines(m, at, c);
    lines.first_block = 0;
    return lines;
}

/* ---- products -------------------------------------------------------------------------------------------------- */

/* Depth of a chunk: as even as whole blocks of every type allow. */
static size_t chunk_blocks(size_t n_blocks)
{
    size_t n_chunks = (n_blocks + CHUNK_BLOCKS - 1) / CHUNK_BLOCKS, even = (n_blocks + n_chunks - 1) / n_chunks;
    return (even + CHUNK_WHOLE - 1) / CHUNK_WHOLE * CHUNK_WHOLE;
}

/* What a panel's next chunk, or behind its last one the next panel, begins to read. */
static void look_ahead(const stored_matrix *m, const place *at, size_t n_blocks, block_multiply *p)
{
    size_t row_bytes = stored_bytes(m) / m->rows, end = at->first_row + at->n_rows;
    if (at->picked != NULL || at->n_blocks < n_blocks || end >= m->rows) return;
    p->ahead = (const unsigned char *)(m->blocks != NULL ? m->blocks->data : m->plain.weight->data) + end * row_bytes;
    p->ahead_bytes = row_bytes * size_least(KERNEL_PANEL, m->rows - end);
}

/* One chunk of a panel; p says of which columns and rows. */
static void chunk_product(const block_ops *o, const stored_matrix *m, const place *at, chunk *c, block_multiply *p)
{
    block_lines lines = lines_of(m, at, c);
    if (m->blocks == NULL) take_scales(m, at, c);
    if (p->a->n_rows <= FEW_ROWS) {
        if (at->picked == NULL && at->first_row + 2 * KERNEL_PANEL <= m->rows)
            lines.ahead = KERNEL_PANEL * (stored_bytes(m) / m->rows);
        o->few(&lines, p);
        return;
    }
    if (m->blocks != NULL) o->scales(&lines, c->scale, c->low);
    o->shape(&lines, c->items);
    look_ahead(m, at, p->a->n_blocks, p);
    o->multiply(p);
}

/* Columns [0, at->n_rows) of y. */
static void panel_product(const block_ops *o, const stored_matrix *m, const block_rows *x, place at, chunk *c, float *y,
                          size_t ldy)
{
    const gguf_block *type = m->blocks == NULL ? NULL : gguf_block_of(m->blocks);
    size_t n_parts = type != NULL && type->n_scaled < BLOCK_ITEMS ? BLOCK_PARTS : 1, most = chunk_blocks(x->n_blocks);
    find_lines(m, &at, c);
    for (at.first_block = 0; at.first_block < x->n_blocks; at.first_block += most) {
        at.n_blocks = size_least(most, x->n_blocks - at.first_block);
        chunk_product(o, m, &at, c,
                      &(block_multiply){.a = x,
                                        .first_block = at.first_block,
                                        .n_blocks = at.n_blocks,
                                        .n_parts = n_parts,
                                        .items = c->items,
                                        .scale = c->scale,
                                        .low = type != NULL && type->has_low ? c->low : NULL,
                                        .add = at.first_block > 0,
                                        .n_cols = at.n_rows,
                                        .c = y,
                                        .ldc = ldy});
    }
}

void blocks_product(const block_ops *o, const stored_matrix *m, const block_rows *x, size_t panel_begin, size_t panel_end,
                    void *scratch, float *y, size_t ldy)
{
    for (size_t panel = panel_begin; panel < panel_end; panel++) {
        size_t first = panel * KERNEL_PANEL;
        place at = {.first_row = first, .n_rows = size_least(KERNEL_PANEL, m->rows - first)};
        panel_product(o, m, x, at, scratch, y + first, ldy);
    }
}

void blocks_product_picked(const block_ops *o, const stored_matrix *m, const block_rows *x, const int32_t *picked,
                           size_t n_picked, void *scratch, float *y, size_t ldy)
{
    for (size_t first = 0; first < n_picked; first += KERNEL_PANEL) {
        place at = {.picked = picked + first, .n_rows = size_least(KERNEL_PANEL, n_picked - first)};
        panel_product(o, m, x, at, scratch, y + first, ldy);
    }
}

/* ---- from floats ----------------------------------------------------------------------------------------------- */

finch_status blocks_from_floats(arena *a, const stored_matrix *m, stored_matrix *out, finch_error *err)
{
    tensor *made;
    int8_t *q;
    float *scale, *some;
    size_t n_items;
    if (!size_mul(m->rows, m->columns, &n_items))
        return finch_fail(err, FINCH_E_MEMORY, "a matrix of %zu x %zu does not fit memory", m->rows, m->columns);
    FINCH_TRY(ARENA_NEW(a, &made, 2, err));
    FINCH_TRY(ARENA_NEW(a, &q, n_items, err));
    FINCH_TRY(ARENA_NEW(a, &scale, m->rows, err));
    FINCH_TRY(mem_alloc(QUANTIZE_ROWS * m->columns, sizeof *some, (void **)&some, err));
    finch_status st = FINCH_OK;
    for (size_t row = 0; row < m->rows && st == FINCH_OK; row += QUANTIZE_ROWS) {
        size_t n = size_least(QUANTIZE_ROWS, m->rows - row);
        stored_rows(m, row, n, some);
        st = compressed_quantize_rows(some, n, m->columns, q + row * m->columns, scale + row, err);
    }
    mem_free(some);
    if (st != FINCH_OK) return st;
    stored_forget(m);
    made[0] = (tensor){.name = "", .dtype = TENSOR_I8, .n_dims = 2, .dims = {m->rows, m->columns}, .n_items = n_items};
    made[0].data = q;
    made[0].size_bytes = n_items;
    made[1] = (tensor){.name = "", .dtype = TENSOR_F32, .n_dims = 1, .dims = {m->rows}, .n_items = m->rows};
    made[1].data = scale;
    made[1].size_bytes = m->rows * sizeof *scale;
    *out = (stored_matrix){.plain = {made, made + 1, m->rows, m->columns}, .rows = m->rows, .columns = m->columns};
    return FINCH_OK;
}
