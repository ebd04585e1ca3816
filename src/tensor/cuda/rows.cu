/* What reads or turns whole rows: the embeddings' gather and rotary positions. */
#include "tensor/cuda/operators.h"
#include "tensor/cuda/values.h"

enum { ROW_THREADS = 128, ROWS_A_BLOCK = ROW_THREADS / GPU_WARP };

/* A warp a row. */
template <typename T, int V> static __global__ void __launch_bounds__(ROW_THREADS) gather_kernel(const gpu_gather a)
{
    uint32_t n = blockIdx.x * ROWS_A_BLOCK + threadIdx.x / GPU_WARP;
    if (n >= a.n_rows) return;
    uint32_t id = a.id[n], place = a.places != NULL ? a.place[n] : 0;
    bool there = id < a.n_words && (a.places == NULL || place < a.n_places);
    for (uint32_t at = threadIdx.x % GPU_WARP * V; at < a.width; at += GPU_WARP * V) {
        float y[V], p[V];
        if (there) load<V>((const T *)a.words + (size_t)id * a.width + at, y);
        if (there && a.places != NULL) load<V>((const T *)a.places + (size_t)place * a.width + at, p);
#pragma unroll
        for (int i = 0; i < V; i++) {
            y[i] = there ? y[i] * a.scale : NAN;
            if (there && a.places != NULL) y[i] += p[i];
        }
        store<V>((T *)a.y + (size_t)n * a.width + at, y);
    }
}

/* A thread a pair. */
template <typename T> static __global__ void __launch_bounds__(ROW_THREADS) rotate_kernel(const gpu_rotate a)
{
    uint32_t half = a.width / 2, each = a.n_heads * half;
    size_t i = (size_t)blockIdx.x * blockDim.x + threadIdx.x, row = i / each;
    if (row >= a.n_rows) return;
    uint32_t head = (uint32_t)(i % each) / half, pair = (uint32_t)(i % each) % half;
    size_t angle = (size_t)a.position[row] * half + pair;
    float cosine = a.cosine[angle], sine = a.inverse ? -a.sine[angle] : a.sine[angle];
    T *low = (T *)a.x + row * a.ldx + (size_t)head * a.width + pair, *high = low + half;
    float x = value_of(*low), y = value_of(*high);
    *low = rounded<T>(x * cosine - y * sine);
    *high = rounded<T>(y * cosine + x * sine);
}

template <typename T> static int run_gather(gpu_context *c, const gpu_gather *a, char *why)
{
    gpu_grid grid = {gpu_blocks(a->n_rows, ROWS_A_BLOCK), 1, ROW_THREADS};
    return gpu_launch(c, a->width % 4 == 0 ? gather_kernel<T, 4> : gather_kernel<T, 1>, grid, *a, why);
}

int gpu_run_gather(gpu_context *c, const gpu_gather *a, char *why)
{
    return a->type == GPU_BF16 ? run_gather<bf16>(c, a, why) : run_gather<float>(c, a, why);
}

int gpu_run_rotate(gpu_context *c, const gpu_rotate *a, char *why)
{
    if (a->width == 0 || a->width % 2 != 0) return gpu_fail(why, "heads of %u items have no pairs to rotate", a->width);
    gpu_grid grid = {gpu_blocks((uint64_t)a->n_rows * a->n_heads * (a->width / 2), ROW_THREADS), 1, ROW_THREADS};
    return gpu_launch(c, a->type == GPU_BF16 ? rotate_kernel<bf16> : rotate_kernel<float>, grid, *a, why);
}
