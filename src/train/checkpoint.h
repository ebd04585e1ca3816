/* Checkpoints: one safetensors file with the arrays of a training run (parameters, the optimiser's moments, averages)
 * and its state, a JSON text kept as the U8 tensor "finch.state". Written whole or not at all: after a kill at any
 * moment the file is the one before or the one after. */
#ifndef FINCH_TRAIN_CHECKPOINT_H
#define FINCH_TRAIN_CHECKPOINT_H

#include "base/json.h"
#include "tensor/tensor.h"

/* data is read by checkpoint_write and filled by checkpoint_restore. Names are unique, not "finch.state". */
typedef struct checkpoint_array {
    const char *name;
    tensor_dtype dtype;
    size_t n_items;
    void *data;
} checkpoint_array;

/* Errors: FINCH_E_IO, FINCH_E_MEMORY; the file is then still the one of before (or, where only the folder could not be
 * flushed after the rename, the new one). */
finch_status checkpoint_write(const char *path, const checkpoint_array *arrays, size_t n_arrays, const json_t *state,
                              finch_error *err);

/* The state alone. *state is a new reference. Errors: FINCH_E_NOT_FOUND, FINCH_E_DATA, FINCH_E_IO, FINCH_E_MEMORY. */
finch_status checkpoint_read_state(const char *path, json_t **state, finch_error *err);

/* Fills every array, or none: all are checked first. Errors: FINCH_E_DATA naming the array that is missing or has
 * another type or size, FINCH_E_IO, FINCH_E_MEMORY. */
finch_status checkpoint_restore(const char *path, const checkpoint_array *arrays, size_t n_arrays, finch_error *err);

#endif
