/* What attention's forward and backward kernels share: which keys a query sees, and a chunk of rows in block memory. */
#ifndef FINCH_TENSOR_CUDA_ATTENTION_H
#define FINCH_TENSOR_CUDA_ATTENTION_H

#include "tensor/cuda/values.h"

enum {
    ATTENTION_WARPS = 4,
    ATTENTION_THREADS = ATTENTION_WARPS * GPU_WARP,
    ATTENTION_OWN = GPU_TILE_QUERIES / ATTENTION_WARPS, /* rows of the tile that are one warp's */
    ATTENTION_CHUNK = GPU_WARP                          /* rows of the other side at a time: a lane each */
};

#define LOG2_E 1.44269504088896341f
#define LN_2 0.69314718055994531f

/* The items that query `i` sees, of a text in [begin, end): [*first, *last). */
GPU_DEVICE void keys_of(const gpu_attention &a, const gpu_tile &t, uint32_t i, uint32_t *first, uint32_t *last)
{
    bool narrow = a.window > 0;
    *first = narrow && i - t.begin >= a.window ? i - a.window + 1 : t.begin;
    *last = a.causal ? i + 1 : narrow && t.end - i > a.window ? i + a.window : t.end;
}

/* The queries that see key `j`, the other way round. */
GPU_DEVICE void queries_of(const gpu_attention &a, const gpu_tile &t, uint32_t j, uint32_t *first, uint32_t *last)
{
    bool narrow = a.window > 0;
    *first = a.causal ? j : narrow && j - t.begin >= a.window ? j - a.window + 1 : t.begin;
    *last = narrow && t.end - j > a.window ? j + a.window : t.end;
}

/* The score of key j for query i in units of log2 e, so that exp2f makes the exponential. */
GPU_DEVICE float score_of(const gpu_attention &a, uint32_t head, uint32_t i, uint32_t j, float dot)
{
    float s = dot * a.scale;
    if (a.relative != NULL) s += a.relative[(size_t)head * (2 * a.relative_reach + 1) + (j + a.relative_reach - i)];
    return s * LOG2_E;
}

typedef items<float, 4> float4_part; /* block memory that fours are read from */

/* Where item d of row r lies in a chunk: groups of four change places with the row's number, so that neither 8 lanes that read one group of 8
 * rows nor 32 lanes that read 32 items of one row meet in a bank. */
GPU_DEVICE uint32_t chunk_at(uint32_t width, uint32_t r, uint32_t d) { return r * width + ((d / 4) ^ (r % 8)) * 4 + d % 4; }

/* All threads bring rows [from, from + ATTENTION_CHUNK) of one head, as f32; rows from `end` on are zeros. Waits before, for who still reads the
 * last chunk, and after. */
template <typename T, int WIDTH>
GPU_DEVICE void load_chunk(float *chunk, const void *base, size_t ld, uint32_t head, uint32_t from, uint32_t end)
{
    __syncthreads();
    for (uint32_t i = threadIdx.x * 4; i < ATTENTION_CHUNK * WIDTH; i += ATTENTION_THREADS * 4) {
        uint32_t r = i / WIDTH, d = i % WIDTH;
        float x[4] = {0.0f, 0.0f, 0.0f, 0.0f};
        if (from + r < end) load<4>((const T *)base + (from + r) * ld + (size_t)head * WIDTH + d, x);
        store<4>(chunk + chunk_at(WIDTH, r, d), x);
    }
    __syncthreads();
}

/* dot[n] += row `lane` of the chunk times each of N rows that lie in block memory or in device memory, `ld` apart. */
template <typename T, int WIDTH, int N>
GPU_DEVICE void dot_chunk(const float *chunk, uint32_t lane, const T *rows, size_t ld, float dot[N])
{
#pragma unroll 2
    for (uint32_t d = 0; d < WIDTH; d += 4) {
        float x[4];
        load<4>(chunk + chunk_at(WIDTH, lane, d), x);
#pragma unroll
        for (int n = 0; n < N; n++) {
            float y[4];
            load<4>(rows + n * ld + d, y);
#pragma unroll
            for (int i = 0; i < 4; i++) dot[n] = fmaf(x[i], y[i], dot[n]);
        }
    }
}

/* sum[n][k] += the chunk's column lane + 32 k, each row times its lane's weight[n]. */
template <int WIDTH, int N>
GPU_DEVICE void add_chunk(const float *chunk, uint32_t lane, const float weight[N], float sum[N][WIDTH / GPU_WARP])
{
#pragma unroll 2
    for (uint32_t r = 0; r < ATTENTION_CHUNK; r++) {
        float w[N];
#pragma unroll
        for (int n = 0; n < N; n++) w[n] = __shfl_sync(GPU_ALL_LANES, weight[n], r);
#pragma unroll
        for (int k = 0; k < WIDTH / GPU_WARP; k++) {
            float x = chunk[chunk_at(WIDTH, r, lane + k * GPU_WARP)];
#pragma unroll
            for (int n = 0; n < N; n++) sum[n][k] = fmaf(w[n], x, sum[n][k]);
        }
    }
}

/* The kernel for a type and a width that gpu_attention_check has passed. */
#define ATTENTION_OF(kernel, T, width) ((width) == 32 ? kernel<T, 32> : (width) == 64 ? kernel<T, 64> : kernel<T, 256>)
#define ATTENTION_PICK(kernel, type, width) \
    ((type) == GPU_BF16 ? ATTENTION_OF(kernel, bf16, width) : ATTENTION_OF(kernel, float, width))

int gpu_attention_check(const gpu_attention *a, char *why);

#endif
