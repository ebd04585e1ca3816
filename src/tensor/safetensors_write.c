/* The writer: the same bytes as the reference's save_file, so that a file finch writes can be compared byte by byte.
 * Order: element types by the rank below, largest alignment first, then names by their bytes. */
#include "tensor/safetensors.h"

#include "base/file.h"

#include <stdlib.h>
#include <string.h>

enum { HEADER_ALIGN = 8 };

/* The reference's order of its element types, which is the order of the data: later first. */
static const unsigned char dtype_rank[TENSOR_DTYPE_COUNT] = {
    [TENSOR_BOOL] = 0, [TENSOR_U8] = 1,  [TENSOR_I8] = 2,  [TENSOR_I16] = 3, [TENSOR_F16] = 4,
    [TENSOR_BF16] = 5, [TENSOR_I32] = 6, [TENSOR_F32] = 7, [TENSOR_F64] = 8, [TENSOR_I64] = 9,
};

typedef struct slot {
    const safetensors_entry *entry;
    size_t index; /* in the caller's array */
    size_t size_bytes;
} slot;

static int by_rank_and_name(const void *a, const void *b)
{
    const safetensors_entry *x = ((const slot *)a)->entry, *y = ((const slot *)b)->entry;
    int rank_x = dtype_rank[x->dtype], rank_y = dtype_rank[y->dtype];
    return rank_x != rank_y ? rank_y - rank_x : strcmp(x->name, y->name);
}

static finch_status slot_fill(const char *path, const safetensors_entry *entry, size_t index, slot *out, finch_error *err)
{
    size_t n_items;
    if (entry->name[0] == '\0' || strcmp(entry->name, "__metadata__") == 0)
        return finch_fail(err, FINCH_E_USAGE, "%s: a tensor can not be named \"%s\"", path, entry->name);
    *out = (slot){.entry = entry, .index = index};
    if (entry->n_dims > TENSOR_DIMS_MAX ||
        !tensor_shape_size(entry->dtype, entry->dims, entry->n_dims, &n_items, &out->size_bytes))
        return finch_fail(err, FINCH_E_USAGE, "%s: the tensor %s has an impossible shape", path, entry->name);
    return FINCH_OK;
}

static int by_name(const void *a, const void *b)
{
    return strcmp(((const slot *)a)->entry->name, ((const slot *)b)->entry->name);
}

static finch_status plan(const char *path, const safetensors_entry *entries, size_t n, slot *slots, finch_error *err)
{
    for (size_t i = 0; i < n; i++) FINCH_TRY(slot_fill(path, &entries[i], i, &slots[i], err));
    if (n > 0) qsort(slots, n, sizeof *slots, by_name);
    for (size_t i = 1; i < n; i++) {
        if (by_name(&slots[i - 1], &slots[i]) == 0)
            return finch_fail(err, FINCH_E_USAGE, "%s: the tensor %s is given twice", path, slots[i].entry->name);
    }
    if (n > 0) qsort(slots, n, sizeof *slots, by_rank_and_name);
    return FINCH_OK;
}

/* A JSON text as serde_json writes it: short escapes where JSON has them, \u00xx for the other control characters. */
static finch_status add_json_text(str *s, const char *text, finch_error *err)
{
    static const char shorts[] = "\"\"\\\\\bb\ff\nn\rr\tt";
    FINCH_TRY(str_add_text(s, "\"", err));
    for (; *text != '\0'; text++) {
        const char *found = NULL;
        for (const char *pair = shorts; *pair != '\0' && found == NULL; pair += 2) {
            if (*pair == *text) found = pair + 1;
        }
        if (found != NULL) FINCH_TRY(str_add_format(s, err, "\\%c", *found));
        else if ((unsigned char)*text < 0x20) FINCH_TRY(str_add_format(s, err, "\\u%04x", (unsigned)*text));
        else FINCH_TRY(str_add(s, text, 1, err));
    }
    return str_add_text(s, "\"", err);
}

static finch_status add_entry(str *s, const slot *item, size_t begin, finch_error *err)
{
    const safetensors_entry *entry = item->entry;
    FINCH_TRY(str_add_text(s, ",", err));
    FINCH_TRY(add_json_text(s, entry->name, err));
    FINCH_TRY(str_add_format(s, err, ":{\"dtype\":\"%s\",\"shape\":[", tensor_dtype_name(entry->dtype)));
    for (size_t i = 0; i < entry->n_dims; i++) FINCH_TRY(str_add_format(s, err, i == 0 ? "%zu" : ",%zu", entry->dims[i]));
    return str_add_format(s, err, "],\"data_offsets\":[%zu,%zu]}", begin, begin + item->size_bytes);
}

/* The whole front of the file: the header's size and the header, padded so that the data begins aligned. */
static finch_status make_front(const char *path, const slot *slots, size_t n, str *s, finch_error *err)
{
    size_t at = 0, end;
    uint64_t size = 0;
    FINCH_TRY(str_add(s, (const char *)&size, sizeof size, err));
    FINCH_TRY(str_add_text(s, "{\"__metadata__\":{\"format\":\"pt\"}", err));
    for (size_t i = 0; i < n; i++) {
        if (!size_add(at, slots[i].size_bytes, &end))
            return finch_fail(err, FINCH_E_USAGE, "%s would be too large to write", path);
        FINCH_TRY(add_entry(s, &slots[i], at, err));
        at = end;
    }
    FINCH_TRY(str_add_text(s, "}", err));
    while (s->size % HEADER_ALIGN != 0) FINCH_TRY(str_add_text(s, " ", err));
    size = s->size - sizeof size;
    if (size > SAFETENSORS_HEADER_BYTES_MAX)
        return finch_fail(err, FINCH_E_USAGE, "%s: the names of its tensors need more than %d bytes", path,
                          SAFETENSORS_HEADER_BYTES_MAX);
    memcpy(s->at, &size, sizeof size);
    return FINCH_OK;
}

static finch_status write_data(file_writer *writer, const slot *slots, size_t n, safetensors_fill fill, void *context,
                               finch_error *err)
{
    for (size_t i = 0; i < n; i++) {
        for (size_t done = 0, size; done < slots[i].size_bytes; done += size) {
            const void *data = slots[i].entry->data;
            size = slots[i].size_bytes;
            if (fill != NULL) FINCH_TRY(fill(context, slots[i].index, done, &data, &size, err));
            FINCH_TRY(file_writer_write(writer, data, size, err));
        }
    }
    return FINCH_OK;
}

static finch_status write_file(const char *path, const slot *slots, size_t n, const str *front, safetensors_fill fill,
                               void *context, finch_error *err)
{
    file_writer writer;
    FINCH_TRY(file_writer_open(path, &writer, err));
    finch_status st = file_writer_write(&writer, front->at, front->size, err);
    if (st == FINCH_OK) st = write_data(&writer, slots, n, fill, context, err);
    if (st == FINCH_OK) return file_writer_commit(&writer, err);
    file_writer_abort(&writer);
    return st;
}

finch_status safetensors_stream(const char *path, const safetensors_entry *entries, size_t n_entries, safetensors_fill fill,
                                void *context, finch_error *err)
{
    slot *slots = NULL;
    str front = {0};
    finch_status st;
    FINCH_GO(done, st, MEM_NEW(&slots, n_entries, err));
    FINCH_GO(done, st, plan(path, entries, n_entries, slots, err));
    FINCH_GO(done, st, make_front(path, slots, n_entries, &front, err));
    st = write_file(path, slots, n_entries, &front, fill, context, err);
done:
    str_free(&front);
    mem_free(slots);
    return st;
}

finch_status safetensors_write(const char *path, const safetensors_entry *entries, size_t n_entries, finch_error *err)
{
    return safetensors_stream(path, entries, n_entries, NULL, NULL, err);
}
