#include "tensor/blocks.h"

#include "tensor/gguf_blocks.h"

#include <string.h>

enum {
    CHUNK_BLOCKS = 24, /* of a panel's depth: 24 KiB of items and their scales beside some rows */
    CHUNK_WHOLE = GGUF_BLOCK_ITEMS_MAX / BLOCK_ITEMS, /* chunks are whole blocks of every type */
    CHUNK_ITEMS = CHUNK_BLOCKS * BLOCK_ITEMS,
    QUANTIZE_ROWS = 64
};

/* Some blocks of 32 outputs in the shape of block_multiply, and what they come from where that is not read as it lies. */
typedef struct chunk {
    uint8_t items[CHUNK_ITEMS * KERNEL_PANEL];
    float scale[CHUNK_BLOCKS * BLOCK_PARTS * KERNEL_PANEL];
    float low[CHUNK_BLOCKS * KERNEL_PANEL];
    int8_t rows[CHUNK_ITEMS * KERNEL_PANEL];
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

/* One output's blocks of a GGUF type into the chunk. */
static void take_row(const gguf_block *type, const unsigned char *row, const place *at, size_t i, size_t n_parts, chunk *c)
{
    size_t wide = type->n_items / BLOCK_ITEMS, n_scales = type->n_items / type->n_scaled;
    float scale[GGUF_BLOCK_SCALES_MAX], low[GGUF_BLOCK_SCALES_MAX];
    for (size_t b = 0; b < at->n_blocks; b += wide) {
        type->take(row + (at->first_block + b) / wide * type->size_bytes, c->rows + i * CHUNK_ITEMS + b * BLOCK_ITEMS, scale,
                   low);
        for (size_t s = 0; s < n_scales; s++) c->scale[(b * n_parts + s) * KERNEL_PANEL + i] = scale[s];
        for (size_t s = 0; s < n_scales && type->has_low; s++) c->low[(b + s) * KERNEL_PANEL + i] = low[s];
    }
}

static void take_blocks(const stored_matrix *m, const place *at, size_t n_parts, chunk *c)
{
    const gguf_block *type = gguf_block_of(m->blocks);
    size_t row_bytes = m->columns / type->n_items * type->size_bytes;
    for (size_t i = 0; i < at->n_rows; i++) take_row(type, m->blocks->data + row_of(at, i) * row_bytes, at, i, n_parts, c);
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

static void take_int8(const stored_matrix *m, const place *at, chunk *c)
{
    const int8_t *data = m->plain.weight->data;
    size_t first = at->first_block * BLOCK_ITEMS, n = size_least(at->n_blocks * BLOCK_ITEMS, m->columns - first);
    for (size_t i = 0; i < at->n_rows; i++) {
        int8_t *to = c->rows + i * CHUNK_ITEMS;
        memcpy(to, data + row_of(at, i) * m->columns + first, n);
        memset(to + n, 0, at->n_blocks * BLOCK_ITEMS - n);
    }
}

/* Where whole panels of these items lie in the file as block_shape reads them; scales are taken. */
static bool as_it_lies(const block_ops *o, const stored_matrix *m, const place *at, block_shape *shape, chunk *c)
{
    if (at->picked != NULL || at->n_rows < KERNEL_PANEL) return false;
    if (m->blocks == NULL) {
        if ((at->first_block + at->n_blocks) * BLOCK_ITEMS > m->columns) return false;
        *shape = (block_shape){.from = (const int8_t *)m->plain.weight->data + at->first_row * m->columns +
                                       at->first_block * BLOCK_ITEMS,
                               .row_stride = m->columns,
                               .block_stride = BLOCK_ITEMS};
        take_scales(m, at, c);
        return true;
    }
    if (m->blocks->type != GGUF_Q8_0) return false;
    const size_t block_bytes = gguf_block_of(m->blocks)->size_bytes, scale_bytes = block_bytes - BLOCK_ITEMS;
    const size_t row_bytes = m->columns / BLOCK_ITEMS * block_bytes;
    const unsigned char *from = m->blocks->data + at->first_row * row_bytes + at->first_block * block_bytes;
    o->scales(&(block_scales){from, row_bytes, block_bytes, at->n_blocks, c->scale});
    *shape = (block_shape){.from = (const int8_t *)from + scale_bytes, .row_stride = row_bytes, .block_stride = block_bytes};
    return true;
}

/* Fills c. What is past n_rows is whatever was there: no one reads those columns. */
static void fill_chunk(const block_ops *o, const stored_matrix *m, const place *at, size_t n_parts, chunk *c)
{
    block_shape shape;
    if (!as_it_lies(o, m, at, &shape, c)) {
        if (m->blocks != NULL) take_blocks(m, at, n_parts, c);
        else take_int8(m, at, c), take_scales(m, at, c);
        shape = (block_shape){.from = c->rows, .row_stride = CHUNK_ITEMS, .block_stride = BLOCK_ITEMS};
    }
    shape.n_blocks = at->n_blocks;
    shape.items = c->items;
    o->shape(&shape);
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

/* Columns [0, at->n_rows) of y. */
static void panel_product(const block_ops *o, const stored_matrix *m, const block_rows *x, place at, chunk *c, float *y,
                          size_t ldy)
{
    const gguf_block *type = m->blocks == NULL ? NULL : gguf_block_of(m->blocks);
    size_t n_parts = type != NULL && type->n_scaled < BLOCK_ITEMS ? BLOCK_PARTS : 1, most = chunk_blocks(x->n_blocks);
    for (at.first_block = 0; at.first_block < x->n_blocks; at.first_block += most) {
        at.n_blocks = size_least(most, x->n_blocks - at.first_block);
        fill_chunk(o, m, &at, n_parts, c);
        block_multiply p = {.a = x,
                            .first_block = at.first_block,
                            .n_blocks = at.n_blocks,
                            .n_parts = n_parts,
                            .items = c->items,
                            .scale = c->scale,
                            .low = type != NULL && type->has_low ? c->low : NULL,
                            .add = at.first_block > 0,
                            .n_cols = at.n_rows,
                            .c = y,
                            .ldc = ldy};
        look_ahead(m, &at, x->n_blocks, &p);
        o->multiply(&p);
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
