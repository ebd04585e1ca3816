/* Rows to int8 and products back: kernel_quantize's and kernel_product_int8's arithmetic, operation by operation, so that a row's
 * numbers are the CPU's, less 128. */
#include "tensor/cuda/operators.h"
#include "tensor/cuda/values.h"

enum { QUANTIZE_THREADS = 128, QUANTIZE_ROWS = QUANTIZE_THREADS / GPU_WARP, DEQUANTIZE_THREADS = 256 };

/* A warp a row. A NaN counts neither as least nor as most, as on the CPU. */
template <typename T> static __global__ void __launch_bounds__(QUANTIZE_THREADS) quantize_kernel(const gpu_quantize a)
{
    uint32_t lane = threadIdx.x % GPU_WARP, n = blockIdx.x * QUANTIZE_ROWS + threadIdx.x / GPU_WARP;
    if (n >= a.n_rows) return;
    const T *x = (const T *)a.x + (size_t)n * a.width;
    int8_t *q = a.q + (size_t)n * a.ldq;
    float low = 0.0f, high = 0.0f;
    for (uint32_t i = lane; i < a.width; i += GPU_WARP) {
        low = fminf(low, value_of(x[i]));
        high = fmaxf(high, value_of(x[i]));
    }
    low = -warp_most(-low);
    high = warp_most(high);
    float range = high - low, inverse = range > 0.0f ? 255.0f / range : 0.0f;
    float zero = rintf(fminf(-low * inverse, 255.0f));
    for (uint32_t i = lane; i < a.ldq; i += GPU_WARP) {
        int value = i < a.width ? (int)rintf(fminf(fmaxf(fmaf(value_of(x[i]), inverse, zero), 0.0f), 255.0f)) - 128 : 0;
        q[i] = (int8_t)value;
    }
    if (lane != 0) return;
    a.scale[n] = range / 255.0f;
    a.zero[n] = (int32_t)zero - 128;
}

template <typename T> static __global__ void __launch_bounds__(DEQUANTIZE_THREADS) dequantize_kernel(const gpu_dequantize a)
{
    size_t at = (size_t)blockIdx.x * blockDim.x + threadIdx.x, row = at / a.width, column = at % a.width;
    if (row >= a.n_rows) return;
    float scale = a.row_scale[row], bias = a.bias != NULL ? a.bias[column] : 0.0f;
    float rest = fmaf(-((float)a.zero[row] * scale), a.column_sum[column], bias);
    ((T *)a.y)[at] = rounded<T>(fmaf((float)a.product[at], scale * a.column_scale[column], rest));
}

int gpu_run_quantize(gpu_context *c, const gpu_quantize *a, char *why)
{
    gpu_grid grid = {gpu_blocks(a->n_rows, QUANTIZE_ROWS), 1, QUANTIZE_THREADS};
    return gpu_launch(c, a->type == GPU_BF16 ? quantize_kernel<bf16> : quantize_kernel<float>, grid, *a, why);
}

int gpu_run_dequantize(gpu_context *c, const gpu_dequantize *a, char *why)
{
    gpu_grid grid = {gpu_blocks((uint64_t)a->n_rows * a->width, DEQUANTIZE_THREADS), 1, DEQUANTIZE_THREADS};
    return gpu_launch(c, a->type == GPU_BF16 ? dequantize_kernel<bf16> : dequantize_kernel<float>, grid, *a, why);
}
