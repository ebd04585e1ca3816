/* One kernel source, two compilers. nvcc makes device code of it; any C++17 compiler makes the same kernels for the CPU, where emulate.cpp runs a launch's
 * blocks one after another and a block's threads as fibers that change at __syncthreads and at the warp's exchanges and nowhere else.
 * So a test without a GPU proves a kernel's arithmetic and indexing, and threads run in another order
 * (finch_emulated_order) its barriers: a kernel that lacks one gives other bits. Nothing here says anything about speed.
 *
 * Rules for kernels, which keep both the same
 *  1. A kernel takes one struct by value. Blocks and grids are (x, y) and (x); all lanes of a warp meet at every exchange.
 *  2. Block memory is declared with GPU_SHARED at the kernel's top level.
 *  3. The module is compiled without contraction and without fast mathematics: fmaf where a fused product is meant. */
#ifndef FINCH_TENSOR_CUDA_LAUNCH_H
#define FINCH_TENSOR_CUDA_LAUNCH_H

#include "tensor/cuda/table.h"

enum { GPU_WARP = 32 };

typedef struct gpu_grid {
    uint32_t x, y; /* blocks */
    uint32_t block; /* threads, a multiple of GPU_WARP */
} gpu_grid;

#ifdef __CUDACC__
#include "tensor/cuda/device.h"
#define GPU_DEVICE static __device__ __forceinline__
#define GPU_SHARED(type, name, n) __shared__ type name[n]

template <typename A> static int gpu_launch(gpu_context *c, void (*kernel)(A), gpu_grid grid, const A &a, char *why)
{
    if (grid.x == 0 || grid.y == 0) return 0;
    kernel<<<dim3(grid.x, grid.y), grid.block, 0, gpu_stream(c)>>>(a);
    return gpu_tell(cudaGetLastError(), why);
}
#else
#include "tensor/cuda/emulate.h"
#define GPU_DEVICE static inline
#define GPU_SHARED(type, name, n)       \
    static const char name##_place = 0; \
    type *const name = (type *)emulated_shared(&name##_place, (n) * sizeof(type))

template <typename A> static int gpu_launch(gpu_context *, void (*kernel)(A), gpu_grid grid, const A &a, char *why)
{
    struct call {
        void (*kernel)(A);
        const A *a;
        static void run(const void *self) { ((const call *)self)->kernel(*((const call *)self)->a); }
    } one = {kernel, &a};
    return emulate(grid, call::run, &one, why);
}
#endif

/* Blocks that share n things, `each` a block. */
static inline uint32_t gpu_blocks(uint64_t n, uint64_t each) { return (uint32_t)((n + each - 1) / each); }

int gpu_fail(char *why, const char *format, ...) __attribute__((format(printf, 2, 3)));

#endif
