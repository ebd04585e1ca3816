/* The device's context, for kernels' host code under nvcc. */
#ifndef FINCH_TENSOR_CUDA_DEVICE_H
#define FINCH_TENSOR_CUDA_DEVICE_H

#include "tensor/cuda/table.h"

#include <cuda_runtime.h>

cudaStream_t gpu_stream(gpu_context *c);
/* 0 where status is cudaSuccess. */
int gpu_tell(cudaError_t status, char *why);

#endif
