#include "tensor/gguf_write.h"

#include "base/file.h"
#include "tensor/tensor.h"

#include <math.h>
#include <string.h>

/* The file's value types that are written (gguf.c has them all). */
enum { KIND_U32 = 4, KIND_I32 = 5, KIND_F32 = 6, KIND_BOOL = 7, KIND_TEXT = 8, KIND_ARRAY = 9 };

enum { VERSION = 3, ALIGNMENT = 32, Q8_ITEMS = 32, Q8_BYTES = 34 };

/* ---- metadata ------------------------------------------------------------------------------------------------------ */

void gguf_meta_free(gguf_meta *m)
{
    str_free(&m->bytes);
    m->n_keys = 0;
}

static finch_status put(str *s, const void *data, size_t size, finch_error *err) { return str_add(s, data, size, err); }

static finch_status put_u32(str *s, uint32_t value, finch_error *err) { return put(s, &value, sizeof value, err); }

static finch_status put_u64(str *s, uint64_t value, finch_error *err) { return put(s, &value, sizeof value, err); }

static finch_status put_text(str *s, finch_text text, finch_error *err)
{
    FINCH_TRY(put_u64(s, text.size_bytes, err));
    return text.size_bytes > 0 ? put(s, text.at, text.size_bytes, err) : FINCH_OK;
}

static finch_status put_key(gguf_meta *m, const char *key, uint32_t kind, finch_error *err)
{
    FINCH_TRY(put_text(&m->bytes, (finch_text){key, strlen(key)}, err));
    m->n_keys++;
    return put_u32(&m->bytes, kind, err);
}

finch_status gguf_meta_text(gguf_meta *m, const char *key, finch_text value, finch_error *err)
{
    FINCH_TRY(put_key(m, key, KIND_TEXT, err));
    return put_text(&m->bytes, value, err);
}

finch_status gguf_meta_u32(gguf_meta *m, const char *key, uint32_t value, finch_error *err)
{
    FINCH_TRY(put_key(m, key, KIND_U32, err));
    return put_u32(&m->bytes, value, err);
}

finch_status gguf_meta_f32(gguf_meta *m, const char *key, float value, finch_error *err)
{
    FINCH_TRY(put_key(m, key, KIND_F32, err));
    return put(&m->bytes, &value, sizeof value, err);
}

finch_status gguf_meta_bool(gguf_meta *m, const char *key, bool value, finch_error *err)
{
    const unsigned char byte = value;
    FINCH_TRY(put_key(m, key, KIND_BOOL, err));
    return put(&m->bytes, &byte, 1, err);
}

static finch_status put_list(gguf_meta *m, const char *key, uint32_t kind, size_t n, finch_error *err)
{
    FINCH_TRY(put_key(m, key, KIND_ARRAY, err));
    FINCH_TRY(put_u32(&m->bytes, kind, err));
    return put_u64(&m->bytes, n, err);
}

finch_status gguf_meta_texts(gguf_meta *m, const char *key, const finch_text *values, size_t n, finch_error *err)
{
    FINCH_TRY(put_list(m, key, KIND_TEXT, n, err));
    for (size_t i = 0; i < n; i++) FINCH_TRY(put_text(&m->bytes, values[i], err));
    return FINCH_OK;
}

finch_status gguf_meta_f32s(gguf_meta *m, const char *key, const float *values, size_t n, finch_error *err)
{
    FINCH_TRY(put_list(m, key, KIND_F32, n, err));
    return put(&m->bytes, values, n * sizeof *values, err);
}

finch_status gguf_meta_i32s(gguf_meta *m, const char *key, const int32_t *values, size_t n, finch_error *err)
{
    FINCH_TRY(put_list(m, key, KIND_I32, n, err));
    return put(&m->bytes, values, n * sizeof *values, err);
}

/* ---- items --------------------------------------------------------------------------------------------------------- */

finch_status gguf_row_bytes(gguf_type type, size_t columns, size_t *out, finch_error *err)
{
    switch (type) {
    case GGUF_F32: return size_mul(columns, 4, out) ? FINCH_OK : finch_fail(err, FINCH_E_USAGE, "a row is too long");
    case GGUF_F16:
    case GGUF_BF16: return size_mul(columns, 2, out) ? FINCH_OK : finch_fail(err, FINCH_E_USAGE, "a row is too long");
    case GGUF_Q8_0: break;
    default: return finch_fail(err, FINCH_E_USAGE, "finch writes F32, F16, BF16 and Q8_0, not %s", gguf_type_name(type));
    }
    if (columns % Q8_ITEMS != 0)
        return finch_fail(err, FINCH_E_USAGE, "a row of %zu items is no whole number of Q8_0's blocks of %d", columns,
                          Q8_ITEMS);
    *out = columns / Q8_ITEMS * Q8_BYTES;
    return FINCH_OK;
}

/* quantize_row_q8_0_ref of ggml-quants.c; of a tie the item away from zero. */
static void write_q8(const float *in, unsigned char *out)
{
    float largest = 0.0f;
    for (size_t i = 0; i < Q8_ITEMS; i++) largest = fmaxf(largest, fabsf(in[i]));
    const float scale = largest / 127.0f, inverse = scale > 0.0f ? 1.0f / scale : 0.0f;
    uint16_t half;
    tensor_f16_from_f32(&scale, &half, 1);
    memcpy(out, &half, sizeof half);
    for (size_t i = 0; i < Q8_ITEMS; i++) out[sizeof half + i] = (unsigned char)(int8_t)roundf(in[i] * inverse);
}

static bool fits_half(const float *in, size_t n)
{
    static const float most = 65519.996f; /* larger ones round to infinity */
    bool fits = true;
    for (size_t i = 0; i < n; i++) fits &= fabsf(in[i]) <= most;
    return fits;
}

static void write_halves(gguf_type type, const float *in, size_t n, unsigned char *out)
{
    for (size_t i = 0; i < n; i++) {
        uint16_t half;
        if (type == GGUF_BF16) tensor_bf16_from_f32(in + i, &half, 1);
        else tensor_f16_from_f32(in + i, &half, 1);
        memcpy(out + i * sizeof half, &half, sizeof half);
    }
}

finch_status gguf_from_f32(gguf_type type, const float *in, size_t n, unsigned char *out, finch_error *err)
{
    if (type == GGUF_F32) {
        memcpy(out, in, n * sizeof *in);
        return FINCH_OK;
    }
    if (type == GGUF_Q8_0) {
        for (size_t i = 0; i < n; i += Q8_ITEMS, out += Q8_BYTES) write_q8(in + i, out);
        return FINCH_OK;
    }
    if (type == GGUF_F16 && !fits_half(in, n))
        return finch_fail(err, FINCH_E_DATA, "an item is not finite or too large for F16; choose bf16 or f32");
    write_halves(type, in, n, out);
    return FINCH_OK;
}

/* ---- the file ------------------------------------------------------------------------------------------------------ */

static size_t aligned(size_t size) { return (size + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT; }

static finch_status entry_bytes(const gguf_entry *entry, size_t *out, finch_error *err)
{
    size_t row = 0;
    if (entry->n_dims == 0 || entry->n_dims > GGUF_DIMS_MAX)
        return finch_fail(err, FINCH_E_USAGE, "the tensor %s has %zu dimensions; GGUF has 1 to %d", entry->name,
                          entry->n_dims, GGUF_DIMS_MAX);
    if (gguf_row_bytes(entry->type, entry->dims[entry->n_dims - 1], &row, err) != FINCH_OK)
        return finch_fail_prefix(err, "the tensor %s", entry->name);
    *out = row;
    for (size_t i = 0; i + 1 < entry->n_dims; i++)
        if (!size_mul(*out, entry->dims[i], out))
            return finch_fail(err, FINCH_E_USAGE, "the tensor %s has an impossible shape", entry->name);
    return FINCH_OK;
}

static finch_status put_entry(str *head, const gguf_entry *entry, size_t offset, finch_error *err)
{
    FINCH_TRY(put_text(head, (finch_text){entry->name, strlen(entry->name)}, err));
    FINCH_TRY(put_u32(head, (uint32_t)entry->n_dims, err));
    for (size_t i = entry->n_dims; i-- > 0;) FINCH_TRY(put_u64(head, entry->dims[i], err));
    FINCH_TRY(put_u32(head, (uint32_t)entry->type, err));
    return put_u64(head, offset, err);
}

static finch_status make_head(const gguf_meta *meta, const gguf_entry *entries, size_t n, str *head, finch_error *err)
{
    size_t offset = 0, size;
    FINCH_TRY(put(head, "GGUF", 4, err));
    FINCH_TRY(put_u32(head, VERSION, err));
    FINCH_TRY(put_u64(head, n, err));
    FINCH_TRY(put_u64(head, meta->n_keys, err));
    if (meta->bytes.size > 0) FINCH_TRY(put(head, meta->bytes.at, meta->bytes.size, err));
    for (size_t i = 0; i < n; i++) {
        FINCH_TRY(entry_bytes(&entries[i], &size, err));
        FINCH_TRY(put_entry(head, &entries[i], offset, err));
        if (size > SIZE_MAX - ALIGNMENT || !size_add(offset, aligned(size), &offset))
            return finch_fail(err, FINCH_E_USAGE, "the file would be too large to write");
    }
    while (head->size % ALIGNMENT != 0) FINCH_TRY(put(head, "", 1, err));
    return FINCH_OK;
}

static finch_status write_entry(file_writer *out, const gguf_entry *entry, size_t index, gguf_fill fill, void *context,
                                finch_error *err)
{
    static const unsigned char zeros[ALIGNMENT];
    size_t total;
    FINCH_TRY(entry_bytes(entry, &total, err));
    for (size_t done = 0, size = 0; done < total; done += size) {
        const void *data = NULL;
        FINCH_TRY(fill(context, index, done, &data, &size, err));
        FINCH_TRY(file_writer_write(out, data, size, err));
    }
    return file_writer_write(out, zeros, aligned(total) - total, err);
}

finch_status gguf_stream(const char *path, const gguf_meta *meta, const gguf_entry *entries, size_t n, gguf_fill fill,
                         void *context, finch_error *err)
{
    str head = {0};
    file_writer out;
    finch_status st = make_head(meta, entries, n, &head, err);
    if (st == FINCH_OK) st = file_writer_open(path, &out, err);
    if (st != FINCH_OK) goto done;
    st = file_writer_write(&out, head.at, head.size, err);
    for (size_t i = 0; st == FINCH_OK && i < n; i++) st = write_entry(&out, &entries[i], i, fill, context, err);
    if (st == FINCH_OK) st = file_writer_commit(&out, err);
    else file_writer_abort(&out);
done:
    str_free(&head);
    return st;
}
