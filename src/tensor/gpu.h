/* The way to a GPU: libfinch_cuda.so (cuda/table.h), which is built where CUDA's compiler is and opened when something asks for a GPU.
 * Without it, a driver or a device nothing else changes. */
#ifndef FINCH_TENSOR_GPU_H
#define FINCH_TENSOR_GPU_H

#include "base/status.h"
#include "tensor/cuda/table.h"

/* A device in use. Zeroed: none. */
typedef struct gpu {
    const gpu_table *table;
    void *module;
    gpu_context *context;
    gpu_device device;
} gpu;

/* What is there, for finch doctor: GPU_READY with *device filled, else why [GPU_WHY_BYTES] says what is missing. Begins nothing that stays. */
gpu_state gpu_look(gpu_device *device, char *why);

/* The first device. Errors: FINCH_E_FAILED with what is missing and what to do. gpu_close takes what failed, too. */
finch_status gpu_open(gpu *out, finch_error *err);
/* The same by a module at this path: tests. */
finch_status gpu_open_module(gpu *out, const char *path, finch_error *err);
void gpu_close(gpu *g);

/* The tiles of attention over packed texts: offsets [n_texts + 1] rising. Returns their number; fills out unless it is NULL. */
size_t gpu_tiles(const uint32_t *offsets, size_t n_texts, gpu_tile *out);

#endif
