/* CUDA's words for kernels compiled for the CPU (launch.h). */
#ifndef FINCH_TENSOR_CUDA_EMULATE_H
#define FINCH_TENSOR_CUDA_EMULATE_H

#include "tensor/cuda/table.h"

#include <math.h>
#include <string.h>

#define __global__
#define __device__
#define __launch_bounds__(...)

struct gpu_grid;

/* The running thread's place. */
typedef struct emulated_place {
    struct {
        uint32_t x, y;
    } block, n_blocks;
    struct {
        uint32_t x;
    } thread, n_threads;
} emulated_place;
extern emulated_place emulated;
#define blockIdx (emulated.block)
#define gridDim (emulated.n_blocks)
#define threadIdx (emulated.thread)
#define blockDim (emulated.n_threads)

/* Runs body for every thread of every block. Fails where a thread waits for others that will not come. */
int emulate(const gpu_grid &grid, void (*body)(const void *), const void *arguments, char *why);
/* The block's memory for this place in the source, filled with NaN at the block's start. */
void *emulated_shared(const void *place, size_t size_bytes);
void emulated_block_wait(void);
void emulated_warp_wait(void);
/* Each lane gives a word and gets that of `lane`. */
uint32_t emulated_exchange(uint32_t word, uint32_t lane);

static inline void __syncthreads(void) { emulated_block_wait(); }
static inline void __syncwarp(void) { emulated_warp_wait(); }

static inline uint32_t __float_as_uint(float x)
{
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    return bits;
}

static inline float __uint_as_float(uint32_t bits)
{
    float x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

static inline float __shfl_sync(uint32_t, float x, uint32_t lane)
{
    return __uint_as_float(emulated_exchange(__float_as_uint(x), lane));
}
static inline float __shfl_xor_sync(uint32_t, float x, uint32_t mask)
{
    return __uint_as_float(emulated_exchange(__float_as_uint(x), (threadIdx.x % 32u) ^ mask));
}
static inline uint32_t __shfl_xor_sync(uint32_t, uint32_t x, uint32_t mask)
{
    return emulated_exchange(x, (threadIdx.x % 32u) ^ mask);
}

#endif
