/* What the GPU's tests share. A check runs on the kernels compiled for the CPU, with a block's threads in three orders (a kernel that lacks a
 * barrier then reads what is not there yet), and on the first device where there is one; else it says why not. */
#ifndef FINCH_TESTS_GPU_CASE_H
#define FINCH_TESTS_GPU_CASE_H

#include "harness.h"

#include "base/rng.h"
#include "tensor/gpu.h"
#include "tensor/kernels/kernels.h"

#include <dlfcn.h>
#include <stdlib.h>
#include <unistd.h>

/* Numbers on the host, as rounded as the type has them, and on the device. */
typedef struct values {
    float *host;
    void *device;
    size_t n;
    gpu_type type;
} values;

static inline float widen(uint16_t bits)
{
    uint32_t word = (uint32_t)bits << 16;
    float x;
    memcpy(&x, &word, sizeof x);
    return x;
}

static inline void *upload(gpu *g, const void *from, size_t size_bytes)
{
    char why[GPU_WHY_BYTES] = "";
    void *to = NULL;
    if (g->table->alloc(g->context, size_bytes, &to, why) != 0 ||
        g->table->upload(g->context, to, from, size_bytes, why) != 0 || g->table->wait(g->context, why) != 0)
        fail_msg("%s", why);
    return to;
}

static inline void download(gpu *g, void *to, const void *from, size_t size_bytes)
{
    char why[GPU_WHY_BYTES] = "";
    if (g->table->download(g->context, to, from, size_bytes, why) != 0 || g->table->wait(g->context, why) != 0)
        fail_msg("%s", why);
}

static inline void *room(size_t n, size_t size)
{
    void *at = NULL;
    finch_error err = {0};
    CHECK_OK(mem_alloc(n > 0 ? n : 1, size, &at, &err), &err);
    return at;
}

/* n normal numbers times scale, plus offset. */
static inline values values_make(gpu *g, rng *r, size_t n, gpu_type type, double scale, double offset)
{
    values v = {.host = room(n, sizeof(float)), .n = n, .type = type};
    for (size_t i = 0; i < n; i++) v.host[i] = (float)(rng_normal(r) * scale + offset);
    if (type == GPU_F32) {
        v.device = upload(g, v.host, n * sizeof(float));
        return v;
    }
    uint16_t *narrow = room(n, sizeof *narrow);
    narrow_scalar(v.host, narrow, n);
    for (size_t i = 0; i < n; i++) v.host[i] = widen(narrow[i]);
    v.device = upload(g, narrow, n * sizeof *narrow);
    mem_free(narrow);
    return v;
}

/* What the device has now. */
static inline float *values_read(gpu *g, const values *v)
{
    float *out = room(v->n, sizeof *out);
    if (v->type == GPU_F32) {
        download(g, out, v->device, v->n * sizeof *out);
        return out;
    }
    uint16_t *narrow = room(v->n, sizeof *narrow);
    download(g, narrow, v->device, v->n * sizeof *narrow);
    for (size_t i = 0; i < v->n; i++) out[i] = widen(narrow[i]);
    mem_free(narrow);
    return out;
}

static inline void values_free(gpu *g, values *v)
{
    g->table->release(g->context, v->device);
    mem_free(v->host);
}

/* The device has the expected numbers within tolerance, and the rounding of bf16 where they are that (half of 2^-7, twice: of what went in
 * between and of the result). */
static inline void check_values(gpu *g, const float *expected, const values *v, double tolerance)
{
    float *actual = values_read(g, v);
    for (size_t i = 0; i < v->n; i++)
        CHECK_NEAR(expected[i], actual[i], tolerance + (v->type == GPU_BF16 ? fabs((double)expected[i]) / 128 : 0.0));
    mem_free(actual);
}

#define GPU_RUNS(g, name, arguments)                                                                 \
    do {                                                                                             \
        char why_[GPU_WHY_BYTES] = "";                                                               \
        if ((g)->table->name((g)->context, (arguments), why_) != 0) fail_msg("%s: %s", #name, why_); \
    } while (0)

/* A module's file: where it was built, or in the folder that FINCH_GPU_MODULES names (bench/gpu.sh takes the tests to another machine). */
static inline const char *module_file(const char *built, char *room_for, size_t size_bytes)
{
    const char *folder = getenv("FINCH_GPU_MODULES");
    if (folder == NULL) return built;
    snprintf(room_for, size_bytes, "%s/%s", folder, strrchr(built, '/') + 1);
    return room_for;
}

static inline void on_every_module(void (*check)(gpu *g))
{
    static const int orders[] = {0, 1, 7};
    gpu g;
    finch_error err = {0};
    char emulated[1024], real[1024];
    const char *module = module_file(GPU_MODULE, real, sizeof real);
    CHECK_OK(gpu_open_module(&g, module_file(EMULATED_MODULE, emulated, sizeof emulated), &err), &err);
    int *order = dlsym(g.module, "finch_emulated_order");
    CHECK(order != NULL);
    for (size_t i = 0; i < sizeof orders / sizeof orders[0]; i++) {
        *order = orders[i];
        check(&g);
    }
    gpu_close(&g);
    if (access(module, F_OK) != 0) print_message("skipped on a device: libfinch_cuda.so was not built\n");
    else if (gpu_open_module(&g, module, &err) != FINCH_OK) print_message("skipped on a device: %s\n", err.message);
    else {
        check(&g);
        print_message("ran on %s\n", g.device.name);
    }
    gpu_close(&g);
}

#endif
