/* libfinch_cuda.so's device: finding it, its stream, its memory, and the module's table.
 * Memory comes from CUDA's own stream-ordered pool, which keeps what was released: after the first batches nothing is asked of the driver. */
#include "tensor/cuda/device.h"
#include "tensor/cuda/launch.h"
#include "tensor/cuda/operators.h"

#include <new>
#include <stdio.h>

struct gpu_context {
    int device;
    cudaStream_t stream;
    cudaMemPool_t pool;
};

int gpu_tell(cudaError_t status, char *why)
{
    return status == cudaSuccess ? 0 : gpu_fail(why, "CUDA: %s (%s)", cudaGetErrorString(status), cudaGetErrorName(status));
}

cudaStream_t gpu_stream(gpu_context *c) { return c->stream; }

static gpu_state count(int *n, char *why)
{
    int driver = 0, runtime = 0;
    *n = 0;
    cudaRuntimeGetVersion(&runtime);
    if (cudaDriverGetVersion(&driver) != cudaSuccess || driver == 0) {
        gpu_fail(why, "NVIDIA's driver is not installed (libcuda.so.1 was not found)");
        return GPU_NO_DRIVER;
    }
    cudaError_t status = cudaGetDeviceCount(n);
    if (status == cudaSuccess && *n > 0) return GPU_READY;
    if (status == cudaErrorInsufficientDriver) {
        gpu_fail(why, "NVIDIA's driver is for CUDA %d.%d, and finch was built with %d.%d", driver / 1000, driver % 1000 / 10,
                 runtime / 1000, runtime % 1000 / 10);
        return GPU_NO_DRIVER;
    }
    if (gpu_tell(status, why) == 0) gpu_fail(why, "the driver shows no device");
    return GPU_NO_DEVICE;
}

static int describe(int device, gpu_device *out, char *why)
{
    cudaDeviceProp p;
    *out = {};
    if (gpu_tell(cudaGetDeviceProperties(&p, device), why) != 0) return 1;
    snprintf(out->name, sizeof out->name, "%.*s", GPU_NAME_BYTES - 1, p.name);
    out->capability = p.major * 10 + p.minor;
    out->n_multiprocessors = p.multiProcessorCount;
    out->memory_bytes = p.totalGlobalMem;
    cudaDriverGetVersion(&out->driver);
    cudaRuntimeGetVersion(&out->runtime);
    return 0;
}

static void close_context(gpu_context *c)
{
    if (c == nullptr) return;
    if (c->stream != nullptr) {
        cudaStreamSynchronize(c->stream);
        cudaStreamDestroy(c->stream);
    }
    if (c->pool != nullptr) cudaMemPoolDestroy(c->pool);
    delete c;
}

static cudaError_t begin(gpu_context *c)
{
    cudaMemPoolProps props = {};
    uint64_t keep = UINT64_MAX;
    props.allocType = cudaMemAllocationTypePinned;
    props.location.type = cudaMemLocationTypeDevice;
    props.location.id = c->device;
    cudaError_t status = cudaSetDevice(c->device);
    if (status == cudaSuccess) status = cudaStreamCreateWithFlags(&c->stream, cudaStreamNonBlocking);
    if (status == cudaSuccess) status = cudaMemPoolCreate(&c->pool, &props);
    if (status == cudaSuccess) status = cudaMemPoolSetAttribute(c->pool, cudaMemPoolAttrReleaseThreshold, &keep);
    return status;
}

static int open_context(int device, gpu_context **out, char *why)
{
    *out = nullptr;
    gpu_context *c = new (std::nothrow) gpu_context();
    if (c == nullptr) return gpu_fail(why, "out of memory");
    c->device = device;
    if (gpu_tell(begin(c), why) == 0) {
        *out = c;
        return 0;
    }
    close_context(c);
    return 1;
}

static int alloc(gpu_context *c, size_t size_bytes, void **out, char *why)
{
    *out = nullptr;
    return gpu_tell(cudaMallocFromPoolAsync(out, size_bytes > 0 ? size_bytes : 1, c->pool, c->stream), why);
}

static void release(gpu_context *c, void *memory)
{
    if (memory != nullptr) cudaFreeAsync(memory, c->stream);
}

static int pin(gpu_context *, size_t size_bytes, void **out, char *why)
{
    *out = nullptr;
    return gpu_tell(cudaMallocHost(out, size_bytes > 0 ? size_bytes : 1), why);
}

static void unpin(gpu_context *, void *memory)
{
    if (memory != nullptr) cudaFreeHost(memory);
}

static int upload(gpu_context *c, void *to, const void *from, size_t size_bytes, char *why)
{
    return gpu_tell(cudaMemcpyAsync(to, from, size_bytes, cudaMemcpyHostToDevice, c->stream), why);
}

static int download(gpu_context *c, void *to, const void *from, size_t size_bytes, char *why)
{
    return gpu_tell(cudaMemcpyAsync(to, from, size_bytes, cudaMemcpyDeviceToHost, c->stream), why);
}

static int wait_stream(gpu_context *c, char *why) { return gpu_tell(cudaStreamSynchronize(c->stream), why); }

extern "C" __attribute__((visibility("default"))) const gpu_table finch_cuda_table;
const gpu_table finch_cuda_table = GPU_TABLE(count, describe, open_context, close_context, alloc, release, pin, unpin,
                                             upload, download, wait_stream);
