/* The way to a GPU: what is told of a module that is not there, or is none of ours, and of a real one without a device. */
#include "gpu_case.h"

static finch_status open_emulated(gpu *g, finch_error *err)
{
    char file[1024];
    return gpu_open_module(g, module_file(EMULATED_MODULE, file, sizeof file), err);
}

static void opens_not(const char *path, const char *what)
{
    gpu g;
    finch_error err = {0};
    CHECK_STATUS(FINCH_E_FAILED, gpu_open_module(&g, path, &err), &err);
    if (strstr(err.message, what) == NULL) fail_msg("\"%s\" does not say \"%s\"", err.message, what);
    gpu_close(&g);
}

TEST(a_module_that_is_not_there_is_named)
{
    opens_not("absent/libfinch_cuda.so", "absent/libfinch_cuda.so");
}
TEST(another_library_is_of_another_version)
{
    opens_not("libm.so.6", "is of another version of finch; build both together");
}

TEST(its_table_says_what_it_is_and_is_whole)
{
    gpu g;
    finch_error err = {0};
    CHECK_OK(open_emulated(&g, &err), &err);
    CHECK_EQUAL(GPU_MODULE_VERSION, g.table->version);
    CHECK_EQUAL(sizeof *g.table, g.table->size_bytes);
#define HAS(name) CHECK(g.table->name != NULL);
    GPU_OPERATORS(HAS)
    gpu_close(&g);
}

TEST(the_emulated_device_has_a_description)
{
    gpu g;
    finch_error err = {0};
    CHECK_OK(open_emulated(&g, &err), &err);
    CHECK_EQUAL(GPU_LEAST_CAPABILITY, g.device.capability);
    CHECK(strstr(g.device.name, "emulating") != NULL);
    gpu_close(&g);
    CHECK(g.table == NULL && g.context == NULL);
}

TEST(the_real_module_without_a_device_says_why)
{
    gpu g;
    finch_error err = {0};
    char file[1024];
    const char *module = module_file(GPU_MODULE, file, sizeof file);
    if (access(module, F_OK) != 0) {
        print_message("skipped: libfinch_cuda.so was not built\n");
        return;
    }
    if (gpu_open_module(&g, module, &err) == FINCH_OK) CHECK(g.device.capability >= GPU_LEAST_CAPABILITY);
    else CHECK(strstr(err.message, "no GPU can be used: ") != NULL && strstr(err.message, "another version") == NULL);
    gpu_close(&g);
}

TEST(copies_go_there_and_back)
{
    gpu g;
    finch_error err = {0};
    char why[GPU_WHY_BYTES] = "", in[] = "there and back", out[sizeof in];
    void *pinned = NULL;
    CHECK_OK(open_emulated(&g, &err), &err);
    CHECK_EQUAL(0, g.table->pin(g.context, sizeof in, &pinned, why));
    memcpy(pinned, in, sizeof in);
    void *device = upload(&g, pinned, sizeof in);
    download(&g, out, device, sizeof out);
    CHECK_TEXT(in, out);
    g.table->unpin(g.context, pinned);
    g.table->release(g.context, device);
    g.table->release(g.context, NULL);
    gpu_close(&g);
}
