/* What the kernels share: items of T as floats, sums over a warp or a block, and the functions of the activations. */
#ifndef FINCH_TENSOR_CUDA_VALUES_H
#define FINCH_TENSOR_CUDA_VALUES_H

#include "tensor/cuda/launch.h"

#include <math.h>

#define GPU_ALL_LANES 0xffffffffu

typedef struct bf16 {
    uint16_t bits;
} bf16;

GPU_DEVICE float value_of(float x) { return x; }
GPU_DEVICE float value_of(bf16 x) { return __uint_as_float((uint32_t)x.bits << 16); }

GPU_DEVICE void round_to(float x, float *y) { *y = x; }
/* To nearest even; a NaN stays one. */
GPU_DEVICE void round_to(float x, bf16 *y)
{
    uint32_t bits = __float_as_uint(x);
    y->bits = (uint16_t)(x != x ? (bits >> 16) | 0x40u : (bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16);
}

template <typename T> GPU_DEVICE T rounded(float x)
{
    T y;
    round_to(x, &y);
    return y;
}

/* V items that lie together, read or written at once. */
template <typename T, int V> struct alignas(sizeof(T) * V) items {
    T at[V];
};

template <int V, typename T> GPU_DEVICE void load(const T *from, float out[V])
{
    items<T, V> x = *reinterpret_cast<const items<T, V> *>(from);
#pragma unroll
    for (int i = 0; i < V; i++) out[i] = value_of(x.at[i]);
}

template <int V, typename T> GPU_DEVICE void store(T *to, const float x[V])
{
    items<T, V> y;
#pragma unroll
    for (int i = 0; i < V; i++) y.at[i] = rounded<T>(x[i]);
    *reinterpret_cast<items<T, V> *>(to) = y;
}

/* Every lane gets the same bits: a tree by the lanes' numbers. */
GPU_DEVICE float warp_sum(float x)
{
#pragma unroll
    for (uint32_t mask = GPU_WARP / 2; mask > 0; mask /= 2) x += __shfl_xor_sync(GPU_ALL_LANES, x, mask);
    return x;
}

GPU_DEVICE float warp_most(float x)
{
#pragma unroll
    for (uint32_t mask = GPU_WARP / 2; mask > 0; mask /= 2) x = fmaxf(x, __shfl_xor_sync(GPU_ALL_LANES, x, mask));
    return x;
}

/* Over a block; room [GPU_WARP] is the block's. All threads call it. */
GPU_DEVICE float block_sum(float x, float *room)
{
    x = warp_sum(x);
    __syncthreads();
    if (threadIdx.x % GPU_WARP == 0) room[threadIdx.x / GPU_WARP] = x;
    __syncthreads();
    return warp_sum(threadIdx.x % GPU_WARP < blockDim.x / GPU_WARP ? room[threadIdx.x % GPU_WARP] : 0.0f);
}

GPU_DEVICE float block_most(float x, float *room)
{
    x = warp_most(x);
    __syncthreads();
    if (threadIdx.x % GPU_WARP == 0) room[threadIdx.x / GPU_WARP] = x;
    __syncthreads();
    return warp_most(threadIdx.x % GPU_WARP < blockDim.x / GPU_WARP ? room[threadIdx.x % GPU_WARP] : -INFINITY);
}

/* ---- activations and their slopes ---- */

#define GELU_ROOT_HALF 0.70710678118654752f
#define GELU_DENSITY 0.39894228040143268f /* 1 / sqrt(2 pi) */
#define GELU_TANH_A 0.79788456080286536f  /* sqrt(2 / pi) */
#define GELU_TANH_B 0.044715f

GPU_DEVICE float activated(gpu_function f, float x)
{
    if (f == GPU_GELU) return 0.5f * x * (1.0f + erff(x * GELU_ROOT_HALF));
    if (f == GPU_GELU_TANH) return 0.5f * x * (1.0f + tanhf(GELU_TANH_A * fmaf(GELU_TANH_B * x * x, x, x)));
    if (f == GPU_RELU) return x > 0.0f ? x : x * 0.0f; /* a NaN stays one */
    return tanhf(x);
}

GPU_DEVICE float slope(gpu_function f, float x)
{
    if (f == GPU_GELU) return fmaf(x * GELU_DENSITY, expf(-0.5f * x * x), 0.5f * (1.0f + erff(x * GELU_ROOT_HALF)));
    if (f == GPU_RELU) return x > 0.0f ? 1.0f : 0.0f;
    if (f == GPU_TANH) {
        float t = tanhf(x);
        return fmaf(-t, t, 1.0f);
    }
    float t = tanhf(GELU_TANH_A * fmaf(GELU_TANH_B * x * x, x, x));
    float inner = GELU_TANH_A * fmaf(3.0f * GELU_TANH_B * x, x, 1.0f);
    return fmaf(0.5f * x * fmaf(-t, t, 1.0f), inner, 0.5f * (1.0f + t));
}

#endif
