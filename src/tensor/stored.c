#include "tensor/stored.h"

#include <stdint.h>
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

/* ---- products with W itself ------------------------------------------------------------------------------------ */

size_t stored_back_parts(const stored_matrix *m) { return (m->columns + BACK_COLUMNS - 1) / BACK_COLUMNS; }

size_t stored_back_floats(const stored_matrix *m, size_t n_rows) { return (m->rows + n_rows) * BACK_COLUMNS; }

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
        for (size_t row = 0; row < n_rows; row++)
            for (size_t i = 0; i < n; i++)
                y[row * ldy + first + i] = add ? y[row * ldy + first + i] + sum[row * BACK_COLUMNS + i]
                                               : sum[row * BACK_COLUMNS + i];
    }
}
