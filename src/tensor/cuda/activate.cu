/* Activations with their bias, and the gate of a decoder's wide half: one pass over memory, a thread V items. */
#include "tensor/cuda/operators.h"
#include "tensor/cuda/values.h"

enum { ACTIVATE_THREADS = 256 };

/* The row and column of this thread's items; false past the end. */
template <int V> GPU_DEVICE bool find_items(uint32_t n_rows, uint32_t width, size_t *row, uint32_t *column)
{
    size_t i = (size_t)blockIdx.x * blockDim.x + threadIdx.x, each = width / V;
    *row = i / each;
    *column = (uint32_t)(i % each) * V;
    return *row < n_rows;
}

template <typename T, int V> static __global__ void __launch_bounds__(ACTIVATE_THREADS) activate_kernel(const gpu_activate a)
{
    size_t row;
    uint32_t at;
    if (!find_items<V>(a.n_rows, a.width, &row, &at)) return;
    float x[V], up[V];
    load<V>((const T *)a.x + row * a.ldx + at, x);
    if (a.up != NULL) load<V>((const T *)a.up + row * a.ldup + at, up);
#pragma unroll
    for (int i = 0; i < V; i++) {
        x[i] = activated(a.function, a.bias != NULL ? x[i] + a.bias[at + i] : x[i]);
        if (a.up != NULL) x[i] *= up[i];
    }
    store<V>((T *)a.y + row * a.ldy + at, x);
}

template <typename T, int V>
static __global__ void __launch_bounds__(ACTIVATE_THREADS) activate_back_kernel(const gpu_activate_back a)
{
    size_t row;
    uint32_t at;
    if (!find_items<V>(a.n_rows, a.width, &row, &at)) return;
    float dy[V], x[V], up[V], dup[V];
    load<V>((const T *)a.dy + row * a.width + at, dy);
    load<V>((const T *)a.x + row * a.ldx + at, x);
    if (a.up != NULL) load<V>((const T *)a.up + row * a.ldup + at, up);
#pragma unroll
    for (int i = 0; i < V; i++) {
        float in = a.bias != NULL ? x[i] + a.bias[at + i] : x[i];
        dup[i] = dy[i] * activated(a.function, in);
        x[i] = dy[i] * slope(a.function, in);
        if (a.up != NULL) x[i] *= up[i];
    }
    store<V>((T *)a.dx + row * a.ldx + at, x);
    if (a.up != NULL) store<V>((T *)a.dup + row * a.ldup + at, dup);
}

template <typename A>
static int run_items(gpu_context *c, const A *a, void (*wide)(A), void (*single)(A), uint32_t all_widths, char *why)
{
    bool fours = all_widths % 4 == 0;
    gpu_grid grid = {gpu_blocks((uint64_t)a->n_rows * (a->width / (fours ? 4 : 1)), ACTIVATE_THREADS), 1, ACTIVATE_THREADS};
    return gpu_launch(c, fours ? wide : single, grid, *a, why);
}

int gpu_run_activate(gpu_context *c, const gpu_activate *a, char *why)
{
    uint32_t widths = a->width | a->ldx | a->ldy | (a->up != NULL ? a->ldup : 0);
    if (a->type == GPU_BF16) return run_items(c, a, activate_kernel<bf16, 4>, activate_kernel<bf16, 1>, widths, why);
    return run_items(c, a, activate_kernel<float, 4>, activate_kernel<float, 1>, widths, why);
}

int gpu_run_activate_back(gpu_context *c, const gpu_activate_back *a, char *why)
{
    uint32_t widths = a->width | a->ldx | (a->up != NULL ? a->ldup : 0);
    if (a->type == GPU_BF16)
        return run_items(c, a, activate_back_kernel<bf16, 4>, activate_back_kernel<bf16, 1>, widths, why);
    return run_items(c, a, activate_back_kernel<float, 4>, activate_back_kernel<float, 1>, widths, why);
}
