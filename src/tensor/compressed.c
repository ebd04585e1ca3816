#include "tensor/compressed.h"

#include "base/str.h"

#include <float.h>
#include <math.h>
#include <string.h>

/* ---- which weights ---------------------------------------------------------------------------------------------- */

/* Whether the dotted name has that part; the last part ("weight") counts as well, as no module is named so. */
static bool has_part(const char *name, const char *part)
{
    size_t size = strlen(part);
    for (const char *at = name; at != NULL; at = strchr(at, '.')) {
        at += *at == '.';
        if (strncmp(at, part, size) == 0 && (at[size] == '.' || at[size] == '\0')) return true;
    }
    return false;
}

static bool is_kept_module(const char *name)
{
#define COMPRESSED_KEPT_TEST(part) \
    if (has_part(name, part)) return true;
    COMPRESSED_KEPT_LIST(COMPRESSED_KEPT_TEST)
#undef COMPRESSED_KEPT_TEST
    return false;
}

compressed_role compressed_role_of(const tensor *t)
{
    static const char suffix[] = ".weight";
    size_t size = strlen(t->name), suffix_size = sizeof suffix - 1;
    bool matrix = t->n_dims == 2 && t->n_items > 0 && tensor_dtype_is_float(t->dtype);
    if (!matrix || size <= suffix_size || strcmp(t->name + size - suffix_size, suffix) != 0 || is_kept_module(t->name))
        return COMPRESSED_KEPT;
    size_t module_end = size - suffix_size, module = module_end;
    while (module > 0 && t->name[module - 1] != '.') module--;
    for (size_t i = module; i + 5 <= module_end; i++) {
        if (strncmp(t->name + i, "embed", 5) == 0) return COMPRESSED_EMBEDDING;
    }
    return COMPRESSED_LINEAR;
}

/* ---- rows to int8 ----------------------------------------------------------------------------------------------- */

static bool row_largest(const float *row, size_t n, float *out)
{
    float largest = 0.0f;
    bool finite = true;
    for (size_t i = 0; i < n; i++) {
        float size = fabsf(row[i]);
        finite &= size <= FLT_MAX; /* false for NaN too */
        largest = size > largest ? size : largest;
    }
    *out = largest;
    return finite;
}

/* Half to even by the adder: 1.5 * 2^23 leaves no bit below 1. The clamp only matters where scale is subnormal. */
static void quantize_row(const float *row, size_t n, float scale, int8_t *q)
{
    static const float shift = 12582912.0f;
    for (size_t i = 0; i < n; i++) {
        float rounded = (row[i] / scale + shift) - shift;
        rounded = rounded > 127.0f ? 127.0f : rounded < -127.0f ? -127.0f : rounded;
        q[i] = (int8_t)rounded;
    }
}

finch_status compressed_quantize_rows(const float *w, size_t rows, size_t columns, int8_t *q, float *scale, finch_error *err)
{
    for (size_t r = 0; r < rows; r++) {
        float largest;
        if (!row_largest(w + r * columns, columns, &largest))
            return finch_fail_row(err, FINCH_E_DATA, r + 1,
                                  "row %zu holds an item that is not finite; the weights are damaged", r + 1);
        scale[r] = largest / 127.0f;
        if (scale[r] == 0.0f) scale[r] = 1.0f;
        quantize_row(w + r * columns, columns, scale[r], q + r * columns);
    }
    return FINCH_OK;
}

/* ---- a matrix of a checkpoint ----------------------------------------------------------------------------------- */

static bool is_scale_of(const tensor *scale, size_t rows)
{
    bool vector = scale->n_dims == 1 || (scale->n_dims == 2 && scale->dims[1] == 1);
    return vector && scale->dims[0] == rows && tensor_dtype_is_float(scale->dtype);
}

static finch_status find_scale(const weights *w, const char *name, size_t rows, const tensor **out, finch_error *err)
{
    str scale_name = {0};
    finch_status st = str_add_format(&scale_name, err, "%s_scale", name);
    *out = NULL;
    if (st == FINCH_OK) {
        const tensor *scale = weights_find(w, scale_name.at);
        if (scale != NULL && is_scale_of(scale, rows)) *out = scale;
        else
            st = finch_fail(err, FINCH_E_DATA, "%s: the int8 tensor %s needs %s_scale, floating-point of shape [%zu, 1]",
                            weights_path(w), name, name, rows);
    }
    str_free(&scale_name);
    return st;
}

finch_status compressed_require(const weights *w, const char *name, size_t rows, size_t columns, compressed_matrix *out,
                                finch_error *err)
{
    const size_t wanted[2] = {rows, columns};
    const tensor *weight = weights_find(w, name), *scale = NULL;
    *out = (compressed_matrix){0};
    if (weight == NULL || weight->dtype != TENSOR_I8) {
        FINCH_TRY(weights_require(w, name, 2, wanted, &weight, err));
    } else {
        if (weight->n_dims != 2 || weight->dims[0] != rows || weight->dims[1] != columns) {
            char found[TENSOR_SHAPE_TEXT_BYTES], needed[TENSOR_SHAPE_TEXT_BYTES];
            return finch_fail(err, FINCH_E_DATA, "%s: the tensor %s has the shape %s; the configuration needs %s",
                              weights_path(w), name, tensor_shape_text(weight->dims, weight->n_dims, found),
                              tensor_shape_text(wanted, 2, needed));
        }
        FINCH_TRY(find_scale(w, name, rows, &scale, err));
    }
    *out = (compressed_matrix){weight, scale, rows, columns};
    return FINCH_OK;
}

/* Items [first, first + n) of a tensor as a flat view. */
static tensor slice_of(const tensor *t, size_t first, size_t n)
{
    size_t item_bytes = tensor_dtype_bytes(t->dtype);
    tensor slice = {.name = t->name, .dtype = t->dtype, .n_dims = 1, .dims = {n}, .n_items = n};
    slice.data = (const unsigned char *)t->data + first * item_bytes;
    slice.size_bytes = n * item_bytes;
    return slice;
}

static finch_status read_scales(const compressed_matrix *m, size_t first, size_t n, float *out, finch_error *err)
{
    tensor slice = slice_of(m->scale, first, n);
    FINCH_TRY(tensor_to_f32(&slice, out, err));
    for (size_t i = 0; i < n; i++) {
        if (!(out[i] > 0.0f && out[i] <= FLT_MAX))
            return finch_fail(err, FINCH_E_DATA, "the tensor %s: scale %zu is not a finite number above 0", m->scale->name,
                              first + i);
    }
    return FINCH_OK;
}

finch_status compressed_scales(const compressed_matrix *m, float *out, finch_error *err)
{
    return read_scales(m, 0, m->rows, out, err);
}

finch_status compressed_row_scale(const compressed_matrix *m, size_t row, float *out, finch_error *err)
{
    return read_scales(m, row, 1, out, err);
}

finch_status compressed_rows_to_f32(const compressed_matrix *m, size_t first, size_t n, float *out, finch_error *err)
{
    if (first > m->rows || n > m->rows - first)
        return finch_fail(err, FINCH_E_USAGE, "rows %zu to %zu of %s, which has %zu", first, first + n, m->weight->name,
                          m->rows);
    tensor slice = slice_of(m->weight, first * m->columns, n * m->columns);
    if (m->scale == NULL) return tensor_to_f32(&slice, out, err);
    const int8_t *q = slice.data;
    for (size_t r = 0; r < n; r++) {
        float scale;
        FINCH_TRY(read_scales(m, first + r, 1, &scale, err));
        for (size_t i = 0; i < m->columns; i++) out[r * m->columns + i] = (float)q[r * m->columns + i] * scale;
    }
    return FINCH_OK;
}

finch_status compressed_to_f32(const compressed_matrix *m, float *out, finch_error *err)
{
    return compressed_rows_to_f32(m, 0, m->rows, out, err);
}

/* ---- the configuration: written --------------------------------------------------------------------------------- */

static json_t *kept_patterns(void)
{
    json_t *list = json_array();
    bool whole = list != NULL;
#define COMPRESSED_KEPT_PATTERN(part) \
    whole = whole && json_array_append_new(list, json_string("re:(.*[.])?" part "([.].*)?$")) == 0;
    COMPRESSED_KEPT_LIST(COMPRESSED_KEPT_PATTERN)
#undef COMPRESSED_KEPT_PATTERN
    if (whole) return list;
    json_decref(list);
    return NULL;
}

/* {"targets": [target], "weights": int8 per row, "input_activations": int8 per token or null} */
static json_t *group_json(const char *target, bool activations)
{
    json_t *inputs = activations ? json_pack("{s:i, s:s, s:b, s:s, s:b}", "num_bits", 8, "type", "int", "symmetric", 1,
                                             "strategy", "token", "dynamic", 1)
                                 : json_null();
    return json_pack("{s:[s], s:{s:i, s:s, s:b, s:s, s:b}, s:o, s:n, s:s}", "targets", target, "weights", "num_bits", 8,
                     "type", "int", "symmetric", 1, "strategy", "channel", "dynamic", 0, "input_activations", inputs,
                     "output_activations", "format", "int-quantized");
}

json_t *compressed_config_json(void)
{
    return json_pack("{s:s, s:s, s:s, s:{s:o, s:o}, s:o, s:n}", "quant_method", "compressed-tensors", "format",
                     "int-quantized", "quantization_status", "compressed", "config_groups", "group_0",
                     group_json("Linear", true), "group_1", group_json("Embedding", false), "ignore", kept_patterns(),
                     "kv_cache_scheme");
}

/* ---- the configuration: read ------------------------------------------------------------------------------------ */

static finch_status unsupported(const char *name, const char *field, const char *wanted, finch_error *err)
{
    return finch_fail(err, FINCH_E_UNSUPPORTED,
                      "%s: quantization_config: finch reads weights with %s %s only; use the float checkpoint", name, field,
                      wanted);
}

static finch_status expect_text(const json_t *object, const char *name, const char *field, const char *wanted,
                                finch_error *err)
{
    const json_t *value = json_object_get(object, field);
    if (json_is_string(value) && strcmp(json_string_value(value), wanted) == 0) return FINCH_OK;
    return unsupported(name, field, wanted, err);
}

/* What a scheme must say for the engine's int8 products to be its meaning. */
static finch_status check_args(const json_t *args, const char *name, const char *strategy, bool dynamic, finch_error *err)
{
    const json_t *bits = json_object_get(args, "num_bits"), *is_dynamic = json_object_get(args, "dynamic");
    if (!json_is_integer(bits) || json_integer_value(bits) != 8) return unsupported(name, "num_bits", "8", err);
    FINCH_TRY(expect_text(args, name, "type", "int", err));
    FINCH_TRY(expect_text(args, name, "strategy", strategy, err));
    if (json_is_true(is_dynamic) != dynamic) return unsupported(name, "dynamic", dynamic ? "true" : "false", err);
    return FINCH_OK;
}

static finch_status check_group(const json_t *group, const char *name, finch_error *err)
{
    const json_t *w = json_object_get(group, "weights");
    FINCH_TRY(check_args(w, name, "channel", false, err));
    if (!json_is_true(json_object_get(w, "symmetric"))) return unsupported(name, "symmetric", "true", err);
    if (json_has(w, "group_size")) return unsupported(name, "group_size", "null", err);
    if (json_has(group, "output_activations")) return unsupported(name, "output_activations", "null", err);
    if (!json_has(group, "input_activations")) return FINCH_OK;
    return check_args(json_object_get(group, "input_activations"), name, "token", true, err);
}

finch_status compressed_config_check(const json_t *config, const char *name, bool *out, finch_error *err)
{
    json_t *quantization = json_object_get(config, "quantization_config");
    *out = false;
    if (quantization == NULL || json_is_null(quantization)) return FINCH_OK;
    FINCH_TRY(expect_text(quantization, name, "quant_method", "compressed-tensors", err));
    FINCH_TRY(expect_text(quantization, name, "format", "int-quantized", err));
    json_t *groups = json_object_get(quantization, "config_groups");
    if (json_object_size(groups) == 0) return unsupported(name, "config_groups", "of at least one group", err);
    const char *key;
    json_t *group;
    json_object_foreach(groups, key, group) FINCH_TRY(check_group(group, name, err));
    *out = true;
    return FINCH_OK;
}
