#include "tensor/gpu.h"

#include "base/module.h"

#include <dlfcn.h>
#include <stdio.h>

#define MODULE_NAME "libfinch_cuda.so"

static gpu_state check_table(void *module, const gpu_table **out, char *why)
{
    const gpu_table *table = dlsym(module, GPU_TABLE_SYMBOL);
    *out = NULL;
    if (table == NULL || table->version != GPU_MODULE_VERSION || table->size_bytes != sizeof *table) {
        snprintf(why, GPU_WHY_BYTES, MODULE_NAME " is of another version of finch; build both together");
        return GPU_WRONG_MODULE;
    }
    *out = table;
    return GPU_READY;
}

static gpu_state check_device(const gpu_table *table, gpu_device *device, char *why)
{
    int n = 0;
    gpu_state state = table->count(&n, why);
    if (state != GPU_READY) return state;
    if (table->describe(0, device, why) != 0) return GPU_NO_DEVICE;
    if (device->capability >= GPU_LEAST_CAPABILITY) return GPU_READY;
    snprintf(why, GPU_WHY_BYTES, "%s has compute capability %d.%d; finch needs %d.%d", device->name, device->capability / 10,
             device->capability % 10, GPU_LEAST_CAPABILITY / 10, GPU_LEAST_CAPABILITY % 10);
    return GPU_OLD_DEVICE;
}

static gpu_state load(void **module, const gpu_table **table, char *why)
{
    snprintf(why, GPU_WHY_BYTES, MODULE_NAME " was not found: finch was built where CUDA's compiler was not");
    *module = module_open(MODULE_NAME, false, why, GPU_WHY_BYTES);
    return *module != NULL ? check_table(*module, table, why) : GPU_NO_MODULE;
}

/* What was opened stays so: a driver that has begun does not take being unloaded. */
gpu_state gpu_look(gpu_device *device, char *why)
{
    void *module = NULL;
    const gpu_table *table = NULL;
    *device = (gpu_device){0};
    gpu_state state = load(&module, &table, why);
    return state == GPU_READY ? check_device(table, device, why) : state;
}

static finch_status finish(gpu *out, gpu_state state, char *why, finch_error *err)
{
    static const char *const remedies[] = {
        [GPU_READY] = "see what else runs on the device", [GPU_NO_MODULE] = "build where nvcc is (docs/gpu.md)",
        [GPU_WRONG_MODULE] = "run make build again",      [GPU_NO_DRIVER] = "install NVIDIA's driver",
        [GPU_NO_DEVICE] = "see what nvidia-smi says",     [GPU_OLD_DEVICE] = "use the CPU",
    };
    if (state == GPU_READY) state = check_device(out->table, &out->device, why);
    if (state == GPU_READY && out->table->open(0, &out->context, why) == 0) return FINCH_OK;
    return finch_fail(err, FINCH_E_FAILED, "no GPU can be used: %s; %s", why, remedies[state]);
}

finch_status gpu_open(gpu *out, finch_error *err)
{
    char why[GPU_WHY_BYTES] = "";
    *out = (gpu){0};
    gpu_state state = load(&out->module, &out->table, why);
    return finish(out, state, why, err);
}

finch_status gpu_open_module(gpu *out, const char *path, finch_error *err)
{
    char why[GPU_WHY_BYTES] = "";
    *out = (gpu){0};
    gpu_state state = GPU_NO_MODULE;
    out->module = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    const char *reason = out->module == NULL ? dlerror() : NULL;
    if (reason != NULL) snprintf(why, sizeof why, "%s", reason);
    else state = check_table(out->module, &out->table, why);
    return finish(out, state, why, err);
}

void gpu_close(gpu *g)
{
    if (g->table != NULL) g->table->close(g->context);
    *g = (gpu){0}; /* the module stays loaded (gpu_look) */
}

size_t gpu_tiles(const uint32_t *offsets, size_t n_texts, gpu_tile *out)
{
    size_t n = 0;
    for (size_t i = 0; i < n_texts; i++)
        for (uint32_t query = offsets[i]; query < offsets[i + 1]; query += GPU_TILE_QUERIES, n++)
            if (out != NULL) out[n] = (gpu_tile){offsets[i], offsets[i + 1], query};
    return n;
}
