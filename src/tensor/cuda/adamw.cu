/* AdamW (arXiv:1711.05101) for all tensors in one launch: a column of blocks a tensor, each striding through it. The operations and their
 * order are train_ops' adamw, so the weights are the CPU's to the bit. */
#include "tensor/cuda/operators.h"
#include "tensor/cuda/values.h"

enum { ADAMW_THREADS = 256, ADAMW_BLOCKS = 128, ADAMW_TENSORS_MOST = 65535 };

static __global__ void __launch_bounds__(ADAMW_THREADS) adamw_kernel(const gpu_adamw a)
{
    const gpu_adamw_tensor t = a.tensors[blockIdx.y];
    for (uint64_t i = (uint64_t)blockIdx.x * blockDim.x + threadIdx.x; i < t.n; i += (uint64_t)gridDim.x * blockDim.x) {
        float grad = t.g[i] * a.clip, mean = t.m[i];
        mean = fmaf(grad - mean, a.one_minus_beta1, mean);
        float square = fmaf(a.one_minus_beta2 * grad, grad, t.v[i] * a.beta2);
        float p = t.p[i] * a.decay - a.step_size * (mean / fmaf(sqrtf(square), a.correction, a.epsilon));
        t.m[i] = mean;
        t.v[i] = square;
        t.p[i] = p;
        if (t.p16 != NULL) t.p16[i] = rounded<bf16>(p).bits;
    }
}

int gpu_run_adamw(gpu_context *c, const gpu_adamw *a, char *why)
{
    if (a->n_tensors > ADAMW_TENSORS_MOST)
        return gpu_fail(why, "%u tensors are more than %d", a->n_tensors, (int)ADAMW_TENSORS_MOST);
    return gpu_launch(c, adamw_kernel, {ADAMW_BLOCKS, a->n_tensors, ADAMW_THREADS}, *a, why);
}
