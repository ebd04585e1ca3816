/* Writing GGUF version 3: metadata are put together first, then the tensors come piece by piece, so that no model needs to fit
 * memory. What is written is laid out as the gguf package lays it out (tests/tensor/test_gguf_write.c, tests/parity/test_convert.py). */
#ifndef FINCH_TENSOR_GGUF_WRITE_H
#define FINCH_TENSOR_GGUF_WRITE_H

#include "base/str.h"
#include "tensor/gguf.h"

/* Keys and values as the file has them; zeroed to begin with. Each key once. */
typedef struct gguf_meta {
    str bytes;
    uint64_t n_keys;
} gguf_meta;

void gguf_meta_free(gguf_meta *m);

finch_status gguf_meta_text(gguf_meta *m, const char *key, finch_text value, finch_error *err);
finch_status gguf_meta_u32(gguf_meta *m, const char *key, uint32_t value, finch_error *err);
finch_status gguf_meta_f32(gguf_meta *m, const char *key, float value, finch_error *err);
finch_status gguf_meta_bool(gguf_meta *m, const char *key, bool value, finch_error *err);
finch_status gguf_meta_texts(gguf_meta *m, const char *key, const finch_text *values, size_t n, finch_error *err);
finch_status gguf_meta_f32s(gguf_meta *m, const char *key, const float *values, size_t n, finch_error *err);
finch_status gguf_meta_i32s(gguf_meta *m, const char *key, const int32_t *values, size_t n, finch_error *err);

/* A tensor to write; dims row-major, as everywhere in finch. Types that can be written: F32, F16, BF16, Q8_0. */
typedef struct gguf_entry {
    const char *name;
    gguf_type type;
    size_t n_dims;
    size_t dims[GGUF_DIMS_MAX];
} gguf_entry;

/* Bytes of one row of `columns` items. Errors: FINCH_E_USAGE (no whole number of blocks, a type that is not written). */
finch_status gguf_row_bytes(gguf_type type, size_t columns, size_t *out, finch_error *err);
/* n items, whole blocks, as the type has them into out; the bits are those of the gguf package. Errors: FINCH_E_DATA where an
 * item does not fit F16. */
finch_status gguf_from_f32(gguf_type type, const float *in, size_t n, unsigned char *out, finch_error *err);

/* Gives bytes of entries[index] from offset on, *size of them, at least 1; borrowed until the next call. */
typedef finch_status (*gguf_fill)(void *context, size_t index, size_t offset, const void **data, size_t *size,
                                  finch_error *err);

/* The whole file, which appears whole or not at all. Errors: FINCH_E_USAGE (an impossible shape or type), FINCH_E_IO,
 * FINCH_E_MEMORY, and what fill gives. */
finch_status gguf_stream(const char *path, const gguf_meta *meta, const gguf_entry *entries, size_t n, gguf_fill fill,
                         void *context, finch_error *err);

#endif
