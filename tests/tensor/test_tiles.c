/* The products on AMX tiles beyond what test_ops.c asks of every variant: many blocks and panels, every number of rows, a
 * row alone against the row among others, oneDNN's tiles between ours. Skipped where the CPU or the system has none. */
#include "harness.h"

#include "base/rng.h"
#include "tensor/gemm.h"
#include "tensor/linear.h"
#include "tensor/tensor.h"

#include <stdlib.h>

enum { ROWS_MAX = 100, GUARD = 16 };

static const linear_type types[] = {LINEAR_INT8, LINEAR_BF16, LINEAR_BF16X3};
static const cpu_feature needs[] = {CPU_AMX_INT8, CPU_AMX_BF16, CPU_AMX_BF16};
static const cpu_feature without[] = {CPU_AVX512_VNNI, CPU_AVX512_BF16, CPU_AVX512_BF16};
enum { N_TYPES = sizeof types / sizeof types[0] };

static void need_tiles(void)
{
    if (cpu_has(CPU_AMX_INT8) && cpu_has(CPU_AMX_BF16)) return;
    print_message("skipped: no AMX tiles for this process (the CPU has none, the system keeps them, or FINCH_ISA is set)\n");
    skip();
}

/* A layer and rows for it. */
typedef struct layer {
    linear weights;
    linear_input in;
    arena memory;
    float *x, *y, *expected;
    size_t n_rows, n_in, n_out;
} layer;

static void layer_open(layer *l, rng *r, linear_type type, size_t n_rows, size_t n_in, size_t n_out)
{
    finch_error err = {0};
    float *w;
    *l = (layer){.n_rows = n_rows, .n_in = n_in, .n_out = n_out};
    arena_init(&l->memory);
    CHECK_OK(ARENA_NEW(&l->memory, &w, (n_in + 1) * n_out, &err), &err);
    CHECK_OK(ARENA_NEW(&l->memory, &l->x, n_rows * n_in, &err), &err);
    CHECK_OK(ARENA_NEW(&l->memory, &l->y, n_rows * n_out + GUARD, &err), &err);
    CHECK_OK(ARENA_NEW(&l->memory, &l->expected, n_rows * n_out + GUARD, &err), &err);
    for (size_t i = 0; i < (n_in + 1) * n_out; i++) w[i] = (float)rng_normal(r);
    for (size_t i = 0; i < n_rows * n_in; i++) l->x[i] = (float)rng_normal(r);
    CHECK_OK(linear_init(&l->weights, type, n_out, n_in, &err), &err);
    CHECK_OK(linear_pack(&l->weights, 0, n_out, w, w + n_in * n_out, 1.0f, &err), &err);
    CHECK_OK(linear_input_alloc(&l->memory, type, n_rows, n_in, &l->in, &err), &err);
    ops o = ops_choose_for(CPU_AVX512_BF16);
    linear_input_fill(&o, &l->in, 0, n_rows, l->x, n_in, n_in);
}

static void layer_close(layer *l)
{
    linear_free(&l->weights);
    arena_free(&l->memory);
}

static void run(const layer *l, cpu_feature most, const linear_input *in, float *y)
{
    ops o = ops_choose_for(most);
    for (size_t i = 0; i < in->n_rows * l->n_out + GUARD; i++) y[i] = 12345.0f;
    linear_run(&o, &l->weights, in, 0, l->n_out, y, l->n_out);
    for (size_t i = 0; i < GUARD; i++) CHECK(y[in->n_rows * l->n_out + i] == 12345.0f);
}

/* As the tiles' own choice fills it: what it leaves out is NaN. */
static void fill_again(layer *l)
{
    ops o = ops_choose();
    if (l->in.type == LINEAR_BF16X3) memset(l->in.bf16, 0xff, l->n_rows * l->in.stride * sizeof *l->in.bf16);
    linear_input_fill(&o, &l->in, 0, l->n_rows, l->x, l->n_in, l->n_in);
}

/* int8 to the bit; bf16 to the rounding of k / 2 sums of numbers around 1. */
static void check_layer(const layer *l, linear_type type)
{
    for (size_t i = 0; i < l->n_rows * l->n_out; i++) {
        if (type == LINEAR_INT8) CHECK(memcmp(&l->expected[i], &l->y[i], sizeof *l->y) == 0);
        else CHECK_NEAR(l->expected[i], l->y[i], 2e-6 * (double)l->n_in + 1e-5);
    }
}

TEST(tiles_give_what_vectors_give_for_every_number_of_rows)
{
    rng r = {.seed = 1};
    need_tiles();
    for (size_t t = 0; t < N_TYPES; t++) {
        for (size_t n_rows = 1; n_rows <= ROWS_MAX; n_rows++) {
            layer l;
            size_t n_in = n_rows % 4 == 0 ? 64 * (1 + n_rows % 5) : 1 + (size_t)rng_below(&r, 300); /* also whole steps */
            layer_open(&l, &r, types[t], n_rows, n_in, 1 + (size_t)rng_below(&r, 200));
            run(&l, without[t], &l.in, l.expected);
            fill_again(&l);
            run(&l, needs[t], &l.in, l.y);
            check_layer(&l, types[t]);
            layer_close(&l);
        }
    }
}

TEST(a_row_on_tiles_does_not_depend_on_how_many_run_beside_it)
{
    rng r = {.seed = 2};
    need_tiles();
    for (size_t t = 0; t < N_TYPES; t++) {
        layer l;
        layer_open(&l, &r, types[t], 77, 390, 96);
        run(&l, needs[t], &l.in, l.expected);
        for (size_t first = 0; first < l.n_rows; first++) {
            size_t n = 1 + (size_t)rng_below(&r, l.n_rows - first);
            linear_input part = linear_input_rows(&l.in, first, n);
            run(&l, needs[t], &part, l.y);
            CHECK(memcmp(l.expected + first * l.n_out, l.y, n * l.n_out * sizeof *l.y) == 0);
        }
        layer_close(&l);
    }
}

/* oneDNN configures tiles of its own on the same thread. */
TEST(tiles_of_onednn_and_ours_do_not_disturb_each_other)
{
    enum { M = 40, N = 70, K = 96 };
    static uint16_t a[M * K], b[K * N];
    static float first[M * N], again[M * N];
    finch_error err = {0};
    rng r = {.seed = 3};
    layer l;
    need_tiles();
    for (size_t i = 0; i < M * K; i++) tensor_bf16_from_f32(&(float){(float)rng_normal(&r)}, &a[i], 1);
    for (size_t i = 0; i < K * N; i++) tensor_bf16_from_f32(&(float){(float)rng_normal(&r)}, &b[i], 1);
    CHECK_OK(gemm_bf16(false, false, M, N, K, a, K, b, N, 0.0f, first, N, &err), &err);
    layer_open(&l, &r, LINEAR_INT8, 45, 200, 64);
    run(&l, CPU_AVX512_VNNI, &l.in, l.expected);
    for (int round = 0; round < 5; round++) {
        run(&l, CPU_AMX_INT8, &l.in, l.y);
        check_layer(&l, LINEAR_INT8);
        CHECK_OK(gemm_bf16(false, false, M, N, K, a, K, b, N, 0.0f, again, N, &err), &err);
        CHECK(memcmp(first, again, sizeof first) == 0);
    }
    layer_close(&l);
}
