/* Layer norm and RMS norm, forward and backward: a warp a row, so that no row's sums leave its registers.
 * The row is read again for each pass: it is short enough to stay in the first cache. */
#include "tensor/cuda/operators.h"
#include "tensor/cuda/values.h"

enum { NORM_THREADS = 128, NORM_ROWS = NORM_THREADS / GPU_WARP, COLUMN_WARPS = 8 };

template <typename T, int V> GPU_DEVICE void load_sum(const gpu_norm &a, size_t at, float s[V])
{
    load<V>((const T *)a.x + at, s);
    if (a.residual == NULL) return;
    float r[V];
    load<V>((const T *)a.residual + at, r);
#pragma unroll
    for (int i = 0; i < V; i++) s[i] += r[i];
}

/* Of the rounded sum, where it is kept: then the backward pass sees the same row. */
template <typename T, int V> GPU_DEVICE void write_row(const gpu_norm &a, size_t row, uint32_t lane, float mean, float rstd)
{
    for (uint32_t at = lane * V; at < a.width; at += GPU_WARP * V) {
        float s[V], more[V] = {}, y[V];
        load_sum<T, V>(a, row + at, s);
        if (a.after != NULL) load<V>((const T *)a.after + row + at, more);
#pragma unroll
        for (int i = 0; i < V; i++) {
            y[i] = (s[i] - mean) * rstd * (a.gain[at + i] + a.gain_offset);
            if (a.bias != NULL) y[i] += a.bias[at + i];
            y[i] += more[i];
        }
        if (a.sum != NULL) store<V>((T *)a.sum + row + at, s);
        store<V>((T *)a.y + row + at, y);
    }
}

template <typename T, int V> static __global__ void __launch_bounds__(NORM_THREADS) norm_kernel(const gpu_norm a)
{
    uint32_t lane = threadIdx.x % GPU_WARP, n = blockIdx.x * NORM_ROWS + threadIdx.x / GPU_WARP;
    if (n >= a.n_rows) return;
    size_t row = (size_t)n * a.width;
    float mean = 0.0f, square = 0.0f;
    if (a.kind == GPU_LAYER_NORM) {
        for (uint32_t at = lane * V; at < a.width; at += GPU_WARP * V) {
            float s[V];
            load_sum<T, V>(a, row + at, s);
#pragma unroll
            for (int i = 0; i < V; i++) mean += s[i];
        }
        mean = warp_sum(mean) / (float)a.width;
    }
    for (uint32_t at = lane * V; at < a.width; at += GPU_WARP * V) {
        float s[V];
        load_sum<T, V>(a, row + at, s);
#pragma unroll
        for (int i = 0; i < V; i++) square = fmaf(s[i] - mean, s[i] - mean, square);
    }
    float rstd = 1.0f / sqrtf(warp_sum(square) / (float)a.width + a.eps);
    write_row<T, V>(a, row, lane, mean, rstd);
    if (a.stats == NULL || lane != 0) return;
    a.stats[2 * (size_t)n] = mean;
    a.stats[2 * (size_t)n + 1] = rstd;
}

/* Items [at, at + V) of a row: g, the gradient of the scaled row, and h, the row as it was normalised. */
template <typename T, int V>
GPU_DEVICE void load_gradient(const gpu_norm_back &a, size_t row, uint32_t at, float mean, float rstd, float g[V],
                              float h[V])
{
    load<V>((const T *)a.dy + row + at, g);
    load<V>((const T *)a.s + row + at, h);
#pragma unroll
    for (int i = 0; i < V; i++) {
        g[i] *= a.gain[at + i] + a.gain_offset;
        h[i] = (h[i] - mean) * rstd;
    }
}

/* With g = dy * gain and h = (s - mean) / deviation: ds = (g - mean(g) - h * mean(g h)) / deviation, without mean(g) for RMS. */
template <typename T, int V> static __global__ void __launch_bounds__(NORM_THREADS) norm_back_kernel(const gpu_norm_back a)
{
    uint32_t lane = threadIdx.x % GPU_WARP, n = blockIdx.x * NORM_ROWS + threadIdx.x / GPU_WARP;
    if (n >= a.n_rows) return;
    size_t row = (size_t)n * a.width;
    float mean = a.stats[2 * (size_t)n], rstd = a.stats[2 * (size_t)n + 1], sum = 0.0f, dot = 0.0f;
    for (uint32_t at = lane * V; at < a.width; at += GPU_WARP * V) {
        float g[V], h[V];
        load_gradient<T, V>(a, row, at, mean, rstd, g, h);
#pragma unroll
        for (int i = 0; i < V; i++) {
            sum += g[i];
            dot = fmaf(g[i], h[i], dot);
        }
    }
    sum = a.kind == GPU_LAYER_NORM ? warp_sum(sum) / (float)a.width : 0.0f;
    dot = warp_sum(dot) / (float)a.width;
    for (uint32_t at = lane * V; at < a.width; at += GPU_WARP * V) {
        float g[V], h[V];
        load_gradient<T, V>(a, row, at, mean, rstd, g, h);
#pragma unroll
        for (int i = 0; i < V; i++) g[i] = rstd * (g[i] - sum - h[i] * dot);
        store<V>((T *)a.ds + row + at, g);
    }
}

/* Columns: a block takes GPU_WARP columns through all rows, its warps every COLUMN_WARPS-th row each; warps are then added in their order. */
template <typename T> static __global__ void __launch_bounds__(GPU_WARP *COLUMN_WARPS) columns_kernel(const gpu_columns a)
{
    GPU_SHARED(float, plain, GPU_WARP *COLUMN_WARPS);
    GPU_SHARED(float, scaled, GPU_WARP *COLUMN_WARPS);
    uint32_t column = blockIdx.x * GPU_WARP + threadIdx.x % GPU_WARP;
    float sum = 0.0f, weighted = 0.0f;
    for (size_t row = threadIdx.x / GPU_WARP; row < a.n_rows && column < a.width; row += COLUMN_WARPS) {
        size_t at = row * a.width + column;
        float dy = value_of(((const T *)a.dy)[at]);
        sum += dy;
        if (a.scaled != NULL)
            weighted = fmaf(dy, (value_of(((const T *)a.s)[at]) - a.stats[2 * row]) * a.stats[2 * row + 1], weighted);
    }
    plain[threadIdx.x] = sum;
    scaled[threadIdx.x] = weighted;
    __syncthreads();
    if (threadIdx.x >= GPU_WARP || column >= a.width) return;
    for (uint32_t i = 1; i < COLUMN_WARPS; i++) {
        sum += plain[i * GPU_WARP + threadIdx.x];
        weighted += scaled[i * GPU_WARP + threadIdx.x];
    }
    if (a.sum != NULL) a.sum[column] += sum;
    if (a.scaled != NULL) a.scaled[column] += weighted;
}

template <typename T> static int run_norm(gpu_context *c, const gpu_norm *a, char *why)
{
    gpu_grid grid = {gpu_blocks(a->n_rows, NORM_ROWS), 1, NORM_THREADS};
    return gpu_launch(c, a->width % 4 == 0 ? norm_kernel<T, 4> : norm_kernel<T, 1>, grid, *a, why);
}

template <typename T> static int run_norm_back(gpu_context *c, const gpu_norm_back *a, char *why)
{
    gpu_grid grid = {gpu_blocks(a->n_rows, NORM_ROWS), 1, NORM_THREADS};
    return gpu_launch(c, a->width % 4 == 0 ? norm_back_kernel<T, 4> : norm_back_kernel<T, 1>, grid, *a, why);
}

int gpu_run_norm(gpu_context *c, const gpu_norm *a, char *why)
{
    return a->type == GPU_BF16 ? run_norm<bf16>(c, a, why) : run_norm<float>(c, a, why);
}

int gpu_run_norm_back(gpu_context *c, const gpu_norm_back *a, char *why)
{
    return a->type == GPU_BF16 ? run_norm_back<bf16>(c, a, why) : run_norm_back<float>(c, a, why);
}

int gpu_run_columns(gpu_context *c, const gpu_columns *a, char *why)
{
    gpu_grid grid = {gpu_blocks(a->width, GPU_WARP), 1, GPU_WARP * COLUMN_WARPS};
    return gpu_launch(c, a->type == GPU_BF16 ? columns_kernel<bf16> : columns_kernel<float>, grid, *a, why);
}
