/* The module's operators, one file a kind; the device's module and the emulated one make the same table of them. */
#ifndef FINCH_TENSOR_CUDA_OPERATORS_H
#define FINCH_TENSOR_CUDA_OPERATORS_H

#include "tensor/cuda/table.h"

#define GPU_DECLARE(name) int gpu_run_##name(gpu_context *c, const gpu_##name *a, char *why);
GPU_OPERATORS(GPU_DECLARE)
#undef GPU_DECLARE

/* The members in the table's order, the operators last. */
#define GPU_RUN(name) , gpu_run_##name
#define GPU_TABLE(...) {GPU_MODULE_VERSION, sizeof(gpu_table), __VA_ARGS__ GPU_OPERATORS(GPU_RUN)}

#endif
