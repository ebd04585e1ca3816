/* GGUF files, as llama.cpp and its kin keep models: metadata by key, and tensors in plain or block-quantised types.
 *
 * File (versions 2 and 3, little-endian): "GGUF", u32 version, u64 n_tensors, u64 n_keys; the keys, each a text, a u32 type and a
 * value; the tensors, each a name, u32 n_dims, u64 dims[n_dims], u32 type, u64 offset; then, from the next multiple of
 * general.alignment (32 where it is not given), the data, which offsets count from. A text is a u64 length and its bytes.
 * Source: docs/gguf.md of ggml-org/ggml; block layouts: ggml-common.h, dequantize_row_* of ggml-quants.c.
 *
 * What holds for every file that was read:
 *  1. Counts, lengths and ranges are inside the file before anything is allocated in proportion to them; no product wrapped.
 *  2. Every tensor's range is inside the data, aligned, as long as its type and shape say, and overlaps no other.
 *  3. A row of a quantised tensor is a whole number of blocks.
 *  4. No key and no name comes twice.
 * Left out: version 1, big-endian files, arrays of arrays, types that are not in GGUF_TYPE_LIST; all refused by name.
 *
 * Threads: immutable once open, shared by all. */
#ifndef FINCH_TENSOR_GGUF_H
#define FINCH_TENSOR_GGUF_H

#include "base/bytes.h"
#include "base/status.h"

/* Types that finch reads.   name  id  items of a block  its bytes */
#define GGUF_TYPE_LIST(X) \
    X(F32, 0, 1, 4)       \
    X(F16, 1, 1, 2)       \
    X(Q4_0, 2, 32, 18)    \
    X(Q4_1, 3, 32, 20)    \
    X(Q5_0, 6, 32, 22)    \
    X(Q5_1, 7, 32, 24)    \
    X(Q8_0, 8, 32, 34)    \
    X(Q4_K, 12, 256, 144) \
    X(Q5_K, 13, 256, 176) \
    X(Q6_K, 14, 256, 210) \
    X(BF16, 30, 1, 2)

typedef enum gguf_type {
#define GGUF_TYPE_ENUM(name, id, items, size_bytes) GGUF_##name = (id),
    GGUF_TYPE_LIST(GGUF_TYPE_ENUM)
#undef GGUF_TYPE_ENUM
} gguf_type;

enum { GGUF_DIMS_MAX = 4, GGUF_KEYS_MAX = 1 << 16 };

/* A view: name belongs to the gguf, data to its mapping. dims are row-major, the last one contiguous: the reverse of the
 * file's order, so a weight is [out, in] as in safetensors. data may be unaligned for its type. */
typedef struct gguf_tensor {
    const char *name; /* NUL-terminated */
    gguf_type type;
    size_t n_dims;
    size_t dims[GGUF_DIMS_MAX];
    size_t n_items;
    const unsigned char *data;
    size_t size_bytes;
} gguf_tensor;

typedef struct gguf gguf;

/* *out is NULL on failure. Errors: FINCH_E_NOT_FOUND, FINCH_E_IO, FINCH_E_DATA (what is wrong and at which byte, key or
 * tensor), FINCH_E_UNSUPPORTED, FINCH_E_MEMORY. */
finch_status gguf_open(const char *path, gguf **out, finch_error *err);
/* The same over bytes in memory, which must outlive it. path is for messages. */
finch_status gguf_read(bytes file, const char *path, gguf **out, finch_error *err);
/* NULL is legal. */
void gguf_close(gguf *g);

/* Tensors in the byte order of their names. find: NULL where absent. */
size_t gguf_count(const gguf *g);
const gguf_tensor *gguf_at(const gguf *g, size_t index);
const gguf_tensor *gguf_find(const gguf *g, const char *name);
/* "Q4_K"; static. */
const char *gguf_type_name(gguf_type type);

/* ---- metadata. Errors: FINCH_E_DATA naming file and key where it is absent or of another kind. ---- */

bool gguf_has(const gguf *g, const char *key);
/* Borrowed from the file; any bytes. */
finch_status gguf_get_text(const gguf *g, const char *key, finch_text *out, finch_error *err);
/* A whole number from 0, of any width and sign. */
finch_status gguf_get_size(const gguf *g, const char *key, size_t *out, finch_error *err);
/* A number of any type; finite. */
finch_status gguf_get_number(const gguf *g, const char *key, double *out, finch_error *err);
finch_status gguf_get_bool(const gguf *g, const char *key, bool *out, finch_error *err);

/* A list being walked: take with the function of its kind until n_left is 0. A plain value: copy it to start over. */
typedef struct gguf_array {
    uint32_t kind; /* of the file's value types */
    size_t n_left;
    bytes rest;
} gguf_array;

finch_status gguf_get_texts(const gguf *g, const char *key, gguf_array *out, finch_error *err);
finch_status gguf_get_numbers(const gguf *g, const char *key, gguf_array *out, finch_error *err);
/* The next item of a list of that kind; false at its end. */
bool gguf_next_text(gguf_array *list, finch_text *out);
bool gguf_next_number(gguf_array *list, double *out);

/* ---- items ---- */

/* Items [first, first + n) as f32, which both are whole blocks of the type: equal to the reference's bits. out [n].
 * Errors: FINCH_E_USAGE past the tensor's end or inside a block. */
finch_status gguf_to_f32(const gguf_tensor *t, size_t first, size_t n, float *out, finch_error *err);

#endif
