#include "tensor/safetensors.h"

#include "base/json.h"

#include <stdlib.h>
#include <string.h>

/* ---- one entry of the header ------------------------------------------------------------------------------------ */

static finch_status read_dtype(const char *path, const char *name, const json_t *entry, tensor_dtype *out, finch_error *err)
{
    const json_t *field = json_object_get(entry, "dtype");
    if (!json_is_string(field)) return finch_fail(err, FINCH_E_DATA, "%s: the tensor %s has no \"dtype\" text", path, name);
    if (tensor_dtype_find(json_string_value(field), out)) return FINCH_OK;
    return finch_fail(err, FINCH_E_UNSUPPORTED,
                      "%s: the tensor %s has the element type %s, which finch does not read; save it as F32, F16 or BF16",
                      path, name, json_string_value(field));
}

static finch_status read_shape(const char *path, const char *name, const json_t *entry, tensor *t, finch_error *err)
{
    const json_t *shape = json_object_get(entry, "shape");
    if (!json_is_array(shape)) return finch_fail(err, FINCH_E_DATA, "%s: the tensor %s has no \"shape\" list", path, name);
    if (json_array_size(shape) > TENSOR_DIMS_MAX)
        return finch_fail(err, FINCH_E_UNSUPPORTED, "%s: the tensor %s has %zu dimensions; finch reads up to %d", path, name,
                          json_array_size(shape), TENSOR_DIMS_MAX);
    t->n_dims = json_array_size(shape);
    for (size_t i = 0; i < t->n_dims; i++) {
        const json_t *dim = json_array_get(shape, i);
        if (!json_is_integer(dim) || json_integer_value(dim) < 0)
            return finch_fail(err, FINCH_E_DATA,
                              "%s: the tensor %s has a size in its \"shape\" that is no whole number from 0", path, name);
        t->dims[i] = (size_t)json_integer_value(dim);
    }
    if (!tensor_shape_size(t->dtype, t->dims, t->n_dims, &t->n_items, &t->size_bytes)) {
        char text[TENSOR_SHAPE_TEXT_BYTES];
        return finch_fail(err, FINCH_E_DATA, "%s: the tensor %s has the shape %s, more than memory can address", path, name,
                          tensor_shape_text(t->dims, t->n_dims, text));
    }
    return FINCH_OK;
}

static finch_status read_range(const char *path, const char *name, const json_t *entry, bytes data, tensor *t,
                               finch_error *err)
{
    const json_t *offsets = json_object_get(entry, "data_offsets");
    const json_t *begin = json_array_get(offsets, 0), *end = json_array_get(offsets, 1);
    if (json_array_size(offsets) != 2 || !json_is_integer(begin) || !json_is_integer(end) || json_integer_value(begin) < 0 ||
        json_integer_value(end) < 0)
        return finch_fail(err, FINCH_E_DATA, "%s: the tensor %s has no \"data_offsets\" of two whole numbers from 0", path,
                          name);
    uint64_t from = (uint64_t)json_integer_value(begin), to = (uint64_t)json_integer_value(end);
    bytes range;
    if (!bytes_range(data, from, to, &range))
        return finch_fail(err, FINCH_E_DATA,
                          "%s: the tensor %s lies at bytes %llu to %llu of the data, which has %zu; the file is cut or "
                          "damaged: get it again",
                          path, name, (unsigned long long)from, (unsigned long long)to, data.size);
    if (range.size != t->size_bytes) {
        char text[TENSOR_SHAPE_TEXT_BYTES];
        return finch_fail(err, FINCH_E_DATA, "%s: the tensor %s is %s %s, %zu bytes, but its range has %zu", path, name,
                          tensor_dtype_name(t->dtype), tensor_shape_text(t->dims, t->n_dims, text), t->size_bytes,
                          range.size);
    }
    t->data = range.at;
    return FINCH_OK;
}

static finch_status read_entry(const char *path, const char *name, const json_t *entry, bytes data, tensor_list *out,
                               finch_error *err)
{
    tensor t = {.name = name};
    if (!json_is_object(entry))
        return finch_fail(err, FINCH_E_DATA, "%s: the entry %s of the header is no object", path, name);
    FINCH_TRY(read_dtype(path, name, entry, &t.dtype, err));
    FINCH_TRY(read_shape(path, name, entry, &t, err));
    FINCH_TRY(read_range(path, name, entry, data, &t, err));
    return tensor_list_add(out, path, name, strlen(name), &t, err);
}

static finch_status check_metadata(const char *path, const json_t *metadata, finch_error *err)
{
    bool texts = json_is_object(metadata);
    const char *key;
    const json_t *value;
    /* jansson's own loop takes a json_t that may be changed. */
    json_object_foreach((json_t *)(uintptr_t)metadata, key, value) texts = texts && json_is_string(value);
    if (texts) return FINCH_OK;
    return finch_fail(err, FINCH_E_DATA, "%s: \"__metadata__\" is not an object of texts", path);
}

/* ---- the whole ------------------------------------------------------------------------------------------------- */

static int by_place(const void *a, const void *b)
{
    const tensor *x = a, *y = b;
    uintptr_t at_x = (uintptr_t)x->data, at_y = (uintptr_t)y->data;
    if (at_x != at_y) return at_x < at_y ? -1 : 1;
    return (x->size_bytes > y->size_bytes) - (x->size_bytes < y->size_bytes);
}

/* The ranges are inside the data; they must also touch end to end and fill it. */
static finch_status check_cover(const char *path, bytes data, const tensor_list *list, size_t first, finch_error *err)
{
    const unsigned char *reached = data.at;
    size_t n = list->n - first;
    tensor *tensors = n > 0 ? list->at + first : NULL;
    if (n > 0) qsort(tensors, n, sizeof *tensors, by_place);
    for (size_t i = 0; i < n; i++) {
        const unsigned char *at = tensors[i].data;
        if (at != reached)
            return finch_fail(err, FINCH_E_DATA, "%s: the tensor %s %s at byte %zu of the data; the file is damaged", path,
                              tensors[i].name, at < reached ? "overlaps the one before it" : "leaves a hole before it",
                              (size_t)(at - data.at));
        reached = at + tensors[i].size_bytes;
    }
    size_t used = (size_t)(reached - data.at);
    if (used == data.size) return FINCH_OK;
    return finch_fail(err, FINCH_E_DATA, "%s holds %zu bytes of data and its tensors use %zu; the file is damaged", path,
                      data.size, used);
}

static finch_status read_header(const char *path, bytes header, bytes data, tensor_list *out, finch_error *err)
{
    json_t *root = NULL;
    finch_status st = FINCH_OK;
    size_t first = out->n;
    if (header.size == 0 || header.at[0] != '{')
        return finch_fail(err, FINCH_E_DATA, "%s: the header does not begin with '{': this is no safetensors file", path);
    FINCH_TRY(json_parse((const char *)header.at, header.size, path, &root, err));
    const char *name;
    json_t *entry;
    json_object_foreach(root, name, entry)
    {
        if (strcmp(name, "__metadata__") == 0) FINCH_GO(done, st, check_metadata(path, entry, err));
        else FINCH_GO(done, st, read_entry(path, name, entry, data, out, err));
    }
    st = check_cover(path, data, out, first, err);
done:
    json_decref(root);
    return st;
}

finch_status safetensors_read(bytes file, const char *path, tensor_list *out, finch_error *err)
{
    uint64_t header_bytes;
    bytes rest = file, header;
    if (!bytes_take_u64(&rest, &header_bytes))
        return finch_fail(err, FINCH_E_DATA, "%s has %zu bytes, too few for a safetensors file; get it again", path,
                          file.size);
    if (header_bytes > SAFETENSORS_HEADER_BYTES_MAX)
        return finch_fail(err, FINCH_E_DATA,
                          "%s: its header would have %llu bytes, more than the %d it may have; this is no safetensors file",
                          path, (unsigned long long)header_bytes, SAFETENSORS_HEADER_BYTES_MAX);
    if (!bytes_take(&rest, header_bytes, &header))
        return finch_fail(err, FINCH_E_DATA, "%s ends inside its header (%llu bytes needed, %zu there); get it again", path,
                          (unsigned long long)header_bytes, rest.size);
    return read_header(path, header, rest, out, err);
}
