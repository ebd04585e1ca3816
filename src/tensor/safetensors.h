/* The safetensors file format, read and written.
 *
 * File: u64 little-endian header size N; N bytes of JSON {"name": {"dtype", "shape", "data_offsets": [begin, end]}, ...,
 * "__metadata__": {text: text}}, space-padded; then the data, offsets counted from its first byte.
 * Source: the format's README and the reference implementation's checks (huggingface/safetensors, src/tensor.rs).
 *
 * What holds for every file that was read:
 *  1. N is at most SAFETENSORS_HEADER_BYTES_MAX and inside the file, and the header is one JSON object.
 *  2. Every range is inside the data and exactly as long as dtype x shape says; no product wrapped.
 *  3. The ranges, sorted, touch end to end and fill the data: no overlap, no hole, nothing behind.
 *  4. No name comes twice; no element type is unknown.
 * Left out: types below a byte, complex and f8 numbers (refused by name). */
#ifndef FINCH_TENSOR_SAFETENSORS_H
#define FINCH_TENSOR_SAFETENSORS_H

#include "base/bytes.h"
#include "tensor/tensor_list.h"
#include "tensor/weights.h"

/* 100,000 tensors need about 12 MiB. */
enum { SAFETENSORS_HEADER_BYTES_MAX = 16 << 20 };

/* Appends the file's tensors, as views into file. path is for messages.
 * Errors: FINCH_E_DATA, FINCH_E_UNSUPPORTED (an element type), FINCH_E_MEMORY. */
finch_status safetensors_read(bytes file, const char *path, tensor_list *out, finch_error *err);

/* Gives bytes of entries[index] from offset on, *size of them, at least 1 and not past the entry's end; borrowed until the
 * next call. */
typedef finch_status (*safetensors_fill)(void *context, size_t index, size_t offset, const void **data, size_t *size,
                                         finch_error *err);

/* safetensors_write for tensors that are made piece by piece: fill is called for each entry until it is whole, in the order
 * of the file; the entries' own data pointers are not used. */
finch_status safetensors_stream(const char *path, const safetensors_entry *entries, size_t n_entries, safetensors_fill fill,
                                void *context, finch_error *err);

/* The same into a folder: model.safetensors, or files of at most shard_bytes (one tensor may be larger) with their index.
 * The entries are taken in the order given. n_files is how many were written. */
finch_status safetensors_write_shards(const char *folder, const safetensors_entry *entries, size_t n_entries,
                                      size_t shard_bytes, safetensors_fill fill, void *context, size_t *n_files,
                                      finch_error *err);

#endif
