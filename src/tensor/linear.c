#include "tensor/linear.h"

#include "tensor/tensor.h"

#include <math.h>
#include <stdint.h>
#include <string.h>

enum {
    LINEAR_K_MULTIPLE = 4,
    LINEAR_INT8_K_MAX = 65536 /* 255 x 127 x this is below 2^31 */
};

static size_t round_up(size_t n, size_t to) { return (n + to - 1) / to * to; }

static size_t item_bytes(linear_type type)
{
    return type == LINEAR_F32 ? sizeof(float) : type == LINEAR_INT8 ? 1 : sizeof(uint16_t);
}

/* Neighbouring k that lie together in a panel. */
static size_t k_group(linear_type type) { return type == LINEAR_F32 ? 1 : type == LINEAR_INT8 ? 4 : 2; }

/* How often n_in lies one after the other in a packed row. */
static size_t k_parts(linear_type type) { return type == LINEAR_BF16X3 ? 3 : 1; }

/* Bytes of a layer's parts, each a multiple of a cache line. */
typedef struct linear_sizes {
    size_t panels;
    size_t column; /* of bias, column_scale, column_sum, column_total */
} linear_sizes;

static size_t column_parts(linear_type type) { return type == LINEAR_INT8 ? 4 : 1; }

static finch_status shape_of(linear *l, linear_type type, size_t n_out, size_t n_in, linear_sizes *sizes, finch_error *err)
{
    size_t items;
    size_t columns = round_up(n_out, KERNEL_PANEL);
    *l = (linear){.type = type, .n_in = n_in, .n_out = n_out};
    if (!size_mul(round_up(n_in, LINEAR_K_MULTIPLE), k_parts(type), &l->k))
        return finch_fail(err, FINCH_E_MEMORY, "a layer of %zu x %zu does not fit memory", n_out, n_in);
    l->panel_stride = l->k * KERNEL_PANEL;
    if (type == LINEAR_INT8 && l->k > LINEAR_INT8_K_MAX)
        return finch_fail(err, FINCH_E_UNSUPPORTED, "an int8 layer has %zu inputs; at most %d are possible", n_in,
                          LINEAR_INT8_K_MAX);
    if (!size_mul(columns, l->k, &items) || !size_mul(items, item_bytes(type), &sizes->panels))
        return finch_fail(err, FINCH_E_MEMORY, "a layer of %zu x %zu does not fit memory", n_out, n_in);
    sizes->column = columns * sizeof(float);
    return FINCH_OK;
}

/* The parts in block [linear_room], zeroed. */
static void place_parts(linear *l, const linear_sizes *sizes, unsigned char *block)
{
    memset(block, 0, sizes->panels + column_parts(l->type) * sizes->column);
    l->panels = block;
    l->bias = (float *)(void *)(block + sizes->panels);
    if (l->type != LINEAR_INT8) return;
    l->column_scale = (float *)(void *)(block + sizes->panels + sizes->column);
    l->column_sum = (float *)(void *)(block + sizes->panels + 2 * sizes->column);
    l->column_total = (int32_t *)(void *)(block + sizes->panels + 3 * sizes->column);
}

static size_t whole_size(linear_type type, const linear_sizes *sizes)
{
    size_t size;
    return size_add(sizes->panels, column_parts(type) * sizes->column, &size) ? size : SIZE_MAX;
}

size_t linear_room(linear_type type, size_t n_out, size_t n_in)
{
    linear l;
    linear_sizes sizes;
    return shape_of(&l, type, n_out, n_in, &sizes, NULL) == FINCH_OK ? whole_size(type, &sizes) : SIZE_MAX;
}

finch_status linear_init(linear *l, linear_type type, size_t n_out, size_t n_in, finch_error *err)
{
    linear_sizes sizes;
    void *block;
    FINCH_TRY(shape_of(l, type, n_out, n_in, &sizes, err));
    FINCH_TRY(mem_alloc(whole_size(type, &sizes), 1, &block, err));
    place_parts(l, &sizes, block);
    return FINCH_OK;
}

finch_status linear_init_in(arena *a, linear *l, linear_type type, size_t n_out, size_t n_in, finch_error *err)
{
    linear_sizes sizes;
    void *block;
    FINCH_TRY(shape_of(l, type, n_out, n_in, &sizes, err));
    FINCH_TRY(arena_alloc(a, whole_size(type, &sizes), 1, &block, err));
    place_parts(l, &sizes, block);
    return FINCH_OK;
}

void linear_free(linear *l)
{
    mem_free(l->panels);
    *l = (linear){0};
}

size_t linear_bytes(const linear *l) { return round_up(l->n_out, KERNEL_PANEL) * l->k * item_bytes(l->type); }

/* Where item k of output `row` lies, in items. */
static size_t panel_place(const linear *l, size_t row, size_t k)
{
    size_t group = k_group(l->type);
    return row / KERNEL_PANEL * l->panel_stride + k / group * (KERNEL_PANEL * group) + row % KERNEL_PANEL * group +
           k % group;
}

static void pack_bias(linear *l, size_t first, size_t n, const float *bias, float factor)
{
    for (size_t i = 0; i < n; i++) l->bias[first + i] = bias == NULL ? 0.0f : bias[i] * factor;
}

static void pack_f32(linear *l, size_t row, const float *w, float factor)
{
    float *panels = l->panels;
    for (size_t k = 0; k < l->n_in; k++) panels[panel_place(l, row, k)] = w[k] * factor;
}

static void pack_bf16(linear *l, size_t row, const float *w, float factor)
{
    uint16_t *panels = l->panels;
    for (size_t k = 0; k < l->n_in; k++) {
        float scaled = w[k] * factor;
        tensor_bf16_from_f32(&scaled, &panels[panel_place(l, row, k)], 1);
    }
}

/* In the order of the inputs' parts: high, low, high (linear_input_fill). */
static void pack_bf16x3(linear *l, size_t row, const float *w, float factor)
{
    uint16_t *panels = l->panels;
    size_t depth = l->k / 3;
    for (size_t k = 0; k < l->n_in; k++) {
        float scaled = w[k] * factor, rounded;
        uint16_t high;
        tensor_bf16_from_f32(&scaled, &high, 1);
        tensor_f32_from_bf16(&high, &rounded, 1);
        scaled -= rounded;
        panels[panel_place(l, row, k)] = panels[panel_place(l, row, depth + k)] = high;
        tensor_bf16_from_f32(&scaled, &panels[panel_place(l, row, 2 * depth + k)], 1);
    }
}

/* One row of int8 weights: from q, or where that is NULL from w times inverse. */
static void pack_int8(linear *l, size_t row, const int8_t *q, const float *w, float inverse, float scale)
{
    int8_t *panels = l->panels;
    int32_t sum = 0;
    for (size_t k = 0; k < l->n_in; k++) {
        int8_t item = q != NULL ? q[k] : (int8_t)lrintf(w[k] * inverse); /* NOLINT: one of the two is there */
        panels[panel_place(l, row, k)] = item;
        sum += item;
    }
    l->column_scale[row] = scale;
    l->column_sum[row] = scale * (float)sum;
    l->column_total[row] = sum;
}

/* The largest magnitude of a row; infinite or NaN where an item is. */
static float row_largest(const float *w, size_t n)
{
    float largest = 0.0f;
    for (size_t k = 0; k < n; k++) {
        if (!isfinite(w[k])) return w[k];
        if (fabsf(w[k]) > largest) largest = fabsf(w[k]);
    }
    return largest;
}

finch_status linear_pack(linear *l, size_t first, size_t n, const float *w, const float *bias, float factor,
                         finch_error *err)
{
    for (size_t i = 0; i < n; i++) {
        const float *row = w + i * l->n_in;
        float largest = row_largest(row, l->n_in);
        if (!isfinite(largest) || (bias != NULL && !isfinite(bias[i])))
            return finch_fail_row(err, FINCH_E_DATA, i + 1, "row %zu of the weights holds a value that is not finite",
                                  i + 1);
        if (l->type == LINEAR_F32) pack_f32(l, first + i, row, factor);
        else if (l->type == LINEAR_BF16) pack_bf16(l, first + i, row, factor);
        else if (l->type == LINEAR_BF16X3) pack_bf16x3(l, first + i, row, factor);
        else pack_int8(l, first + i, NULL, row, largest > 0.0f ? 127.0f / largest : 0.0f, largest / 127.0f * factor);
    }
    pack_bias(l, first, n, bias, factor);
    return FINCH_OK;
}

void linear_pack_int8(linear *l, size_t first, size_t n, const int8_t *w, const float *scale, const float *bias,
                      float factor)
{
    for (size_t i = 0; i < n; i++) pack_int8(l, first + i, w + i * l->n_in, NULL, 0.0f, scale[i] * factor);
    pack_bias(l, first, n, bias, factor);
}

finch_status linear_input_alloc(arena *a, linear_type type, size_t n_rows, size_t n_in, linear_input *out, finch_error *err)
{
    *out = (linear_input){.type = type, .n_rows = n_rows, .stride = round_up(n_in, LINEAR_K_MULTIPLE) * k_parts(type)};
    if (type == LINEAR_F32) return FINCH_OK;
    size_t items;
    if (!size_mul(n_rows, out->stride, &items))
        return finch_fail(err, FINCH_E_MEMORY, "%zu rows of %zu items do not fit memory", n_rows, n_in);
    if (type != LINEAR_INT8) return ARENA_NEW(a, &out->bf16, items, err);
    FINCH_TRY(ARENA_NEW(a, &out->u8, items, err));
    FINCH_TRY(ARENA_NEW(a, &out->scale, n_rows, err));
    return ARENA_NEW(a, &out->zero, n_rows, err);
}

/* High, low, and high again: each depth items, zeros past n_in. The copy is left out where no one reads it. */
static void fill_split(const ops *o, uint16_t *row, size_t depth, const float *x, size_t n_in)
{
    uint16_t *low = row + depth;
    o->split(x, row, low, n_in);
    memset(row + n_in, 0, (depth - n_in) * sizeof *row);
    memset(low + n_in, 0, (depth - n_in) * sizeof *row);
    if (!o->product_bf16_skips_copies || depth % KERNEL_SKIP_DEPTH != 0) memcpy(low + depth, row, depth * sizeof *row);
}

void linear_input_fill(const ops *o, linear_input *in, size_t first, size_t n, const float *x, size_t ldx, size_t n_in)
{
    if (in->type == LINEAR_F32) {
        in->f32 = x - first * ldx;
        in->stride = ldx;
    } else if (in->type == LINEAR_INT8) {
        o->quantize(&(kernel_quantize){.x = x,
                                       .ldx = ldx,
                                       .n_rows = n,
                                       .width = n_in,
                                       .q = in->u8 + first * in->stride,
                                       .ldq = in->stride,
                                       .scale = in->scale + first,
                                       .zero = in->zero + first});
    } else if (in->type == LINEAR_BF16X3) {
        for (size_t i = 0; i < n; i++) fill_split(o, in->bf16 + (first + i) * in->stride, in->stride / 3, x + i * ldx, n_in);
    } else {
        for (size_t i = 0; i < n; i++) {
            uint16_t *row = in->bf16 + (first + i) * in->stride;
            o->narrow(x + i * ldx, row, n_in);
            memset(row + n_in, 0, (in->stride - n_in) * sizeof *row);
        }
    }
}

linear_input linear_input_rows(const linear_input *in, size_t first, size_t n)
{
    linear_input part = *in;
    part.n_rows = n;
    if (in->type == LINEAR_F32) {
        part.f32 += first * in->stride;
    } else if (in->type != LINEAR_INT8) {
        part.bf16 += first * in->stride;
    } else {
        part.u8 += first * in->stride;
        part.scale += first;
        part.zero += first;
    }
    return part;
}

void linear_run(const ops *o, const linear *l, const linear_input *in, size_t col_begin, size_t col_end, float *y,
                size_t ldy)
{
    size_t panel = col_begin / KERNEL_PANEL * l->panel_stride;
    size_t n_cols = col_end - col_begin;
    if (l->type == LINEAR_F32)
        o->product_f32(&(kernel_product_f32){.a = in->f32,
                                             .lda = in->stride,
                                             .n_rows = in->n_rows,
                                             .k = l->n_in,
                                             .b = (const float *)l->panels + panel,
                                             .ldb = KERNEL_PANEL,
                                             .panel_stride = l->panel_stride,
                                             .n_cols = n_cols,
                                             .bias = l->bias + col_begin,
                                             .c = y + col_begin,
                                             .ldc = ldy});
    else if (l->type != LINEAR_INT8)
        o->product_bf16(&(kernel_product_bf16){.a = in->bf16,
                                               .lda = in->stride,
                                               .n_rows = in->n_rows,
                                               .k = l->k,
                                               .parts = k_parts(l->type),
                                               .b = (const uint16_t *)l->panels + panel,
                                               .panel_stride = l->panel_stride,
                                               .n_cols = n_cols,
                                               .bias = l->bias + col_begin,
                                               .c = y + col_begin,
                                               .ldc = ldy});
    else
        o->product_int8(&(kernel_product_int8){.a = in->u8,
                                               .lda = in->stride,
                                               .n_rows = in->n_rows,
                                               .k = l->k,
                                               .b = (const int8_t *)l->panels + panel,
                                               .panel_stride = l->panel_stride,
                                               .n_cols = n_cols,
                                               .row_scale = in->scale,
                                               .zero = in->zero,
                                               .column_scale = l->column_scale + col_begin,
                                               .column_sum = l->column_sum + col_begin,
                                               .column_total = l->column_total + col_begin,
                                               .bias = l->bias + col_begin,
                                               .c = y + col_begin,
                                               .ldc = ldy});
}
