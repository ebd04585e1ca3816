/* Softmax cross-entropy, forward and backward in two passes over the row: a block a row. The first pass keeps each thread's largest
 * logit and the sum of exponentials below it (arXiv:1805.02867); the second writes the gradient over the logits. */
#include "tensor/cuda/operators.h"
#include "tensor/cuda/values.h"

enum { ENTROPY_THREADS = 256 };

template <typename T> GPU_DEVICE float logit(const gpu_cross_entropy &a, size_t row, uint32_t i)
{
    float x = value_of(((const T *)a.x)[row + i]);
    return a.bias != NULL ? x + a.bias[i] : x;
}

/* Whether this thread saw a logit that keeps the target from being a hit. */
template <typename T>
GPU_DEVICE bool add_logits(const gpu_cross_entropy &a, size_t row, int32_t target, float own, float *most, float *sum)
{
    bool beaten = false;
    for (uint32_t i = threadIdx.x; i < a.n; i += blockDim.x) {
        float x = logit<T>(a, row, i);
        beaten |= x > own || (x == own && (int32_t)i < target);
        if (x > *most) {
            *sum *= expf(*most - x);
            *most = x;
        }
        *sum += *most == -INFINITY && x == -INFINITY ? 0.0f : expf(x - *most);
    }
    return beaten;
}

template <typename T>
GPU_DEVICE void write_gradient(const gpu_cross_entropy &a, size_t row, int32_t target, float most, float sum)
{
    float factor = target == GPU_IGNORE ? 0.0f : a.scale / sum;
    for (uint32_t i = threadIdx.x; i < a.n; i += blockDim.x) {
        float grad = factor == 0.0f ? 0.0f : expf(logit<T>(a, row, i) - most) * factor;
        ((T *)a.x)[row + i] = rounded<T>((int32_t)i == target ? grad - a.scale : grad);
    }
}

template <typename T>
static __global__ void __launch_bounds__(ENTROPY_THREADS) cross_entropy_kernel(const gpu_cross_entropy a)
{
    GPU_SHARED(float, room, GPU_WARP);
    size_t row = (size_t)blockIdx.x * a.ldx;
    int32_t target = a.target[blockIdx.x];
    bool there = target >= 0 && (uint32_t)target < a.n;
    float own = there ? logit<T>(a, row, (uint32_t)target) : NAN;
    float most = -INFINITY, sum = 0.0f;
    bool beaten = add_logits<T>(a, row, target, own, &most, &sum);
    float top = block_most(most, room);
    sum = block_sum(most == -INFINITY ? sum : sum * expf(most - top), room);
    beaten = block_most(beaten ? 1.0f : 0.0f, room) > 0.0f;
    if (a.grad) write_gradient<T>(a, row, target, top, sum);
    if (threadIdx.x != 0) return;
    a.loss[blockIdx.x] = target == GPU_IGNORE ? 0.0f : logf(sum) - (own - top);
    if (a.hit != NULL) a.hit[blockIdx.x] = there && !beaten;
}

int gpu_run_cross_entropy(gpu_context *c, const gpu_cross_entropy *a, char *why)
{
    gpu_grid grid = {a->n_rows, 1, ENTROPY_THREADS};
    return gpu_launch(c, a->type == GPU_BF16 ? cross_entropy_kernel<bf16> : cross_entropy_kernel<float>, grid, *a, why);
}
