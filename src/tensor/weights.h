/* Every tensor of a checkpoint, memory-mapped: opened once, immutable, shared by threads.
 *
 * weights_open takes one file (*.safetensors, a PyTorch zip checkpoint, or an index *.index.json) or a folder, where it
 * takes the first of: model.safetensors, model.safetensors.index.json, pytorch_model.bin, pytorch_model.bin.index.json,
 * adapter_model.safetensors, adapter_model.bin. Nothing in a checkpoint is executed; every offset is checked at opening,
 * so that a tensor handed out is inside its file. */
#ifndef FINCH_TENSOR_WEIGHTS_H
#define FINCH_TENSOR_WEIGHTS_H

#include "tensor/tensor.h"

typedef struct weights weights;

/* *out is NULL on failure. Errors: FINCH_E_NOT_FOUND, FINCH_E_IO, FINCH_E_DATA (the file, tensor or byte that is wrong),
 * FINCH_E_UNSUPPORTED (a foreign pickle global, a compressed zip entry, an element type finch does not know), FINCH_E_MEMORY. */
finch_status weights_open(const char *path, weights **out, finch_error *err);
void weights_close(weights *w);

/* The path weights_open got, for messages. */
const char *weights_path(const weights *w);
/* Tensors in the byte order of their names. */
size_t weights_count(const weights *w);
const tensor *weights_at(const weights *w, size_t index);
/* NULL where absent. Binary search over the sorted names: no input makes it slow. */
const tensor *weights_find(const weights *w, const char *name);

/* The tensor of that name with a float type and exactly that shape. Errors: FINCH_E_DATA naming file and tensor, the
 * shape found and the one wanted; *out is then NULL. */
finch_status weights_require(const weights *w, const char *name, size_t n_dims, const size_t *dims, const tensor **out,
                             finch_error *err);

/* One tensor to write: n_dims <= TENSOR_DIMS_MAX, data contiguous and borrowed during the call. */
typedef struct safetensors_entry {
    const char *name;
    tensor_dtype dtype;
    size_t n_dims;
    size_t dims[TENSOR_DIMS_MAX];
    const void *data;
} safetensors_entry;

/* Writes the entries (in any order) as one safetensors file, whole or not at all, in the order and with the bytes of the
 * reference implementation under metadata {"format": "pt"}.
 * Errors: FINCH_E_USAGE (a name twice or empty, an impossible shape), FINCH_E_IO, FINCH_E_MEMORY. */
finch_status safetensors_write(const char *path, const safetensors_entry *entries, size_t n_entries, finch_error *err);

#endif
