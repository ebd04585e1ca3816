#include "tensor/stored.h"

#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum { PACK_ROWS = 64, BACK_COLUMNS = 256 /* a whole number of every type's blocks */ };

/* ---- from a file ---------------------------------------------------------------------------------------------- */

static finch_status check_scales(const compressed_matrix *m, finch_error *err)
{
    float *scale;
    if (m->scale == NULL) return FINCH_OK;
    FINCH_TRY(MEM_NEW(&scale, m->rows, err));
    finch_status st = compressed_scales(m, scale, err);
    mem_free(scale);
    return st;
}

finch_status stored_from_weights(const weights *w, const char *name, size_t rows, size_t columns, stored_matrix *out,
                                 finch_error *err)
{
    compressed_matrix plain;
    *out = (stored_matrix){0};
    FINCH_TRY(compressed_require(w, name, rows, columns, &plain, err));
    if (check_scales(&plain, err) != FINCH_OK) return finch_fail_prefix(err, "%s", weights_path(w));
    *out = (stored_matrix){.plain = plain, .rows = rows, .columns = columns};
    return FINCH_OK;
}

finch_status stored_from_gguf(const gguf *g, const char *path, const char *name, size_t rows, size_t columns,
                              stored_matrix *out, finch_error *err)
{
    const gguf_tensor *t = gguf_find(g, name);
    *out = (stored_matrix){0};
    if (t == NULL) return finch_fail(err, FINCH_E_DATA, "%s: the tensor %s is missing", path, name);
    if (t->n_dims != 2 || t->dims[0] != rows || t->dims[1] != columns) {
        char found[TENSOR_SHAPE_TEXT_BYTES];
        return finch_fail(err, FINCH_E_DATA, "%s: the tensor %s has the shape %s; the configuration needs [%zu, %zu]", path,
                          name, tensor_shape_text(t->dims, t->n_dims, found), rows, columns);
    }
    *out = (stored_matrix){.blocks = t, .rows = rows, .columns = columns};
    return FINCH_OK;
}

void stored_from_memory(const float *items, size_t rows, size_t columns, tensor *view, stored_matrix *out)
{
    *view = (tensor){.name = "", .dtype = TENSOR_F32, .n_dims = 2, .dims = {rows, columns}, .n_items = rows * columns};
    view->data = items;
    view->size_bytes = rows * columns * sizeof *items;
    *out = (stored_matrix){.plain = {view, NULL, rows, columns}, .rows = rows, .columns = columns};
}

const char *stored_type_name(const stored_matrix *m)
{
    return m->blocks != NULL ? gguf_type_name(m->blocks->type) : tensor_dtype_name(m->plain.weight->dtype);
}

size_t stored_bytes(const stored_matrix *m)
{
    return m->blocks != NULL ? m->blocks->size_bytes : m->plain.weight->size_bytes;
}

/* ---- its items ------------------------------------------------------------------------------------------------ */

void stored_rows(const stored_matrix *m, size_t first, size_t n, float *out)
{
    /* Shape, blocks and scales were checked when the view was made: neither can fail. */
    if (m->blocks != NULL) (void)gguf_to_f32(m->blocks, first * m->columns, n * m->columns, out, NULL);
    else (void)compressed_rows_to_f32(&m->plain, first, n, out, NULL);
}

void stored_forget(const stored_matrix *m)
{
    const void *data = m->blocks != NULL ? m->blocks->data : m->plain.weight->data;
    uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);
    uintptr_t begin = ((uintptr_t)data + page - 1) / page * page;
    uintptr_t end = ((uintptr_t)data + stored_bytes(m)) / page * page;
    if (begin < end) (void)madvise((void *)begin, end - begin, MADV_DONTNEED); /* a hint: nothing is lost where it fails */
}

static finch_status pack_floats(const stored_matrix *m, linear *l, size_t first, finch_error *err)
{
    float *rows;
    finch_status st = FINCH_OK;
    FINCH_TRY(mem_alloc(PACK_ROWS * m->columns, sizeof *rows, (void **)&rows, err));
    for (size_t row = 0; row < m->rows && st == FINCH_OK; row += PACK_ROWS) {
        size_t n = size_least(PACK_ROWS, m->rows - row);
        stored_rows(m, row, n, rows);
        st = linear_pack(l, first + row, n, rows, NULL, 1.0f, err);
    }
    mem_free(rows);
    return st;
}

finch_status stored_pack(const stored_matrix *m, linear *l, size_t first, finch_error *err)
{
    finch_status st;
    if (m->blocks == NULL && m->plain.weight->dtype == TENSOR_I8 && l->type == LINEAR_INT8) {
        float *scale;
        FINCH_TRY(MEM_NEW(&scale, m->rows, err));
        st = compressed_scales(&m->plain, scale, err);
        if (st == FINCH_OK) linear_pack_int8(l, first, m->rows, m->plain.weight->data, scale, NULL, 1.0f);
        mem_free(scale);
    } else {
        st = pack_floats(m, l, first, err);
    }
    stored_forget(m);
    return st;
}

/* ---- products ------------------------------------------------------------------------------------------------- */

size_t stored_scratch_floats(const stored_matrix *m) { return 2 * KERNEL_PANEL * m->columns; }

/* rows [n <= 32, columns] to a panel [columns, 32]; missing rows are zeros. Four columns at a time keep whole lines in use. */
static void to_panel(const float *rows, size_t n, size_t columns, float *panel)
{
    for (size_t at = 0; at < columns; at += 4) {
        size_t width = size_least(4, columns - at);
        for (size_t k = 0; k < width; k++) {
            float *to = panel + (at + k) * KERNEL_PANEL;
            for (size_t row = 0; row < n; row++) to[row] = rows[row * columns + at + k];
            for (size_t row = n; row < KERNEL_PANEL; row++) to[row] = 0.0f;
        }
    }
}

void stored_product(const ops *o, const stored_matrix *m, const float *x, size_t ldx, size_t n_rows, size_t panel_begin,
                    size_t panel_end, float *scratch, float *y, size_t ldy)
{
    float *rows = scratch, *panel = scratch + KERNEL_PANEL * m->columns;
    for (size_t at = panel_begin; at < panel_end; at++) {
        size_t first = at * KERNEL_PANEL, n = size_least(KERNEL_PANEL, m->rows - first);
        stored_rows(m, first, n, rows);
        to_panel(rows, n, m->columns, panel);
        o->product_f32(&(kernel_product_f32){.a = x,
                                             .lda = ldx,
                                             .n_rows = n_rows,
                                             .k = m->columns,
                                             .b = panel,
                                             .ldb = KERNEL_PANEL,
                                             .panel_stride = KERNEL_PANEL * m->columns,
                                             .n_cols = n,
                                             .c = y + first,
                                             .ldc = ldy});
    }
}

/* rows [n <= 32, columns] of floats to a panel of bf16 pairs [columns / 2, 32, 2]; missing rows and an odd depth's last are 0. */
static void to_panel_bf16(const ops *o, const float *rows, size_t n, size_t columns, uint16_t *panel)
{
    enum { CHUNK = 64 };
    uint16_t narrow[CHUNK];
    for (size_t row = 0; row < KERNEL_PANEL; row++)
        for (size_t at = 0; at < columns; at += CHUNK) {
            size_t width = size_least(CHUNK, columns - at), pairs = (width + 1) / 2;
            for (size_t k = 0; k < CHUNK; k++) narrow[k] = 0;
            if (row < n) o->narrow(rows + row * columns + at, narrow, width);
            uint16_t *to = panel + at * KERNEL_PANEL + 2 * row;
            for (size_t k = 0; k < pairs; k++, to += 2 * KERNEL_PANEL) to[0] = narrow[2 * k], to[1] = narrow[2 * k + 1];
        }
}

void stored_product_bf16(const ops *o, const stored_matrix *m, const uint16_t *x, size_t ldx, size_t n_rows,
                         size_t panel_begin, size_t panel_end, float *scratch, float *y, size_t ldy)
{
    size_t depth = m->columns + m->columns % 2;
    float *rows = scratch;
    uint16_t *panel = (uint16_t *)(void *)(scratch + KERNEL_PANEL * m->columns);
    for (size_t at = panel_begin; at < panel_end; at++) {
        size_t first = at * KERNEL_PANEL, n = size_least(KERNEL_PANEL, m->rows - first);
        stored_rows(m, first, n, rows);
        to_panel_bf16(o, rows, n, m->columns, panel);
        o->product_bf16(&(kernel_product_bf16){.a = x,
                                               .lda = ldx,
                                               .n_rows = n_rows,
                                               .k = depth,
                                               .parts = 1,
                                               .b = panel,
                                               .panel_stride = KERNEL_PANEL * depth,
                                               .n_cols = n,
                                               .c = y + first,
                                               .ldc = ldy});
    }
}

/* ---- products with W itself ------------------------------------------------------------------------------------ */

size_t stored_back_parts(const stored_matrix *m) { return (m->columns + BACK_COLUMNS - 1) / BACK_COLUMNS; }

size_t stored_back_floats(const stored_matrix *m, size_t n_rows) { return (2 * m->rows + 1 + n_rows) * BACK_COLUMNS; }

/* Columns [first, first + n) of all rows, with a row every BACK_COLUMNS floats. */
static void read_columns(const stored_matrix *m, size_t first, size_t n, float *out)
{
    float scale;
    for (size_t row = 0; row < m->rows; row++, out += BACK_COLUMNS) {
        size_t at = row * m->columns + first;
        if (m->blocks != NULL) {
            (void)gguf_to_f32(m->blocks, at, n, out, NULL);
            continue;
        }
        const tensor *t = m->plain.weight;
        size_t item = tensor_dtype_bytes(t->dtype);
        const unsigned char *data = (const unsigned char *)t->data + at * item;
        if (m->plain.scale == NULL) {
            tensor some = {.name = t->name,
                           .dtype = t->dtype,
                           .n_dims = 1,
                           .dims = {n},
                           .n_items = n,
                           .data = data,
                           .size_bytes = n * item};
            (void)tensor_to_f32(&some, out, NULL);
            continue;
        }
        (void)compressed_row_scale(&m->plain, row, &scale, NULL);
        for (size_t i = 0; i < n; i++) out[i] = (float)((const int8_t *)data)[i] * scale;
    }
}

static void put_sums(const float *sum, size_t n_rows, size_t first, size_t n, bool add, float *y, size_t ldy)
{
    for (size_t row = 0; row < n_rows; row++)
        for (size_t i = 0; i < n; i++)
            y[row * ldy + first + i] = add ? y[row * ldy + first + i] + sum[row * BACK_COLUMNS + i]
                                           : sum[row * BACK_COLUMNS + i];
}

void stored_product_back(const ops *o, const stored_matrix *m, const float *x, size_t ldx, size_t n_rows, size_t part_begin,
                         size_t part_end, bool add, float *scratch, float *y, size_t ldy)
{
    float *w = scratch, *sum = scratch + m->rows * BACK_COLUMNS;
    for (size_t part = part_begin; part < part_end; part++) {
        size_t first = part * BACK_COLUMNS, n = size_least(BACK_COLUMNS, m->columns - first);
        read_columns(m, first, n, w);
        o->product_f32(&(kernel_product_f32){.a = x,
                                             .lda = ldx,
                                             .n_rows = n_rows,
                                             .k = m->rows,
                                             .b = w,
                                             .ldb = BACK_COLUMNS,
                                             .panel_stride = KERNEL_PANEL,
                                             .n_cols = n,
                                             .c = sum,
                                             .ldc = BACK_COLUMNS});
        put_sums(sum, n_rows, first, n, add, y, ldy);
    }
}

/* w [rows, BACK_COLUMNS] of floats to panels of bf16 pairs [BACK_COLUMNS / 32, depth / 2, 32, 2]; an odd depth's last row is 0. */
static void to_pairs_bf16(const ops *o, const float *w, size_t rows, size_t depth, uint16_t *panels)
{
    uint16_t pair[2][BACK_COLUMNS];
    for (size_t row = 0; row < rows; row += 2) {
        o->narrow(w + row * BACK_COLUMNS, pair[0], BACK_COLUMNS);
        if (row + 1 < rows) o->narrow(w + (row + 1) * BACK_COLUMNS, pair[1], BACK_COLUMNS);
        else memset(pair[1], 0, sizeof pair[1]);
        for (size_t i = 0; i < BACK_COLUMNS; i++) {
            uint16_t *to = panels + i / KERNEL_PANEL * KERNEL_PANEL * depth + row * KERNEL_PANEL + i % KERNEL_PANEL * 2;
            to[0] = pair[0][i];
            to[1] = pair[1][i];
        }
    }
}

void stored_product_back_bf16(const ops *o, const stored_matrix *m, const uint16_t *x, size_t ldx, size_t n_rows,
                              size_t part_begin, size_t part_end, bool add, float *scratch, float *y, size_t ldy)
{
    size_t depth = m->rows + m->rows % 2;
    float *w = scratch, *sum = scratch + m->rows * BACK_COLUMNS;
    uint16_t *panels = (uint16_t *)(void *)(sum + n_rows * BACK_COLUMNS);
    for (size_t part = part_begin; part < part_end; part++) {
        size_t first = part * BACK_COLUMNS, n = size_least(BACK_COLUMNS, m->columns - first);
        read_columns(m, first, n, w);
        to_pairs_bf16(o, w, m->rows, depth, panels);
        o->product_bf16(&(kernel_product_bf16){.a = x,
                                               .lda = ldx,
                                               .n_rows = n_rows,
                                               .k = depth,
                                               .parts = 1,
                                               .b = panels,
                                               .panel_stride = KERNEL_PANEL * depth,
                                               .n_cols = n,
                                               .c = sum,
                                               .ldc = BACK_COLUMNS});
        put_sums(sum, n_rows, first, n, add, y, ldy);
    }
}
