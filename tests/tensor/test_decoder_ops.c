/* The decoder's operators: every variant against the scalar definition on ragged shapes, the definition against double
 * precision, and causal attention against what it means. */
#include "harness.h"

#include "base/rng.h"
#include "tensor/causal.h"
#include "tensor/decoder_ops.h"
#include "tensor/stored.h"

#include <stdlib.h>

enum { ROUNDS = 60, GUARD = 24 };

static const char *const variants[] = {"avx2", "avx512"};

static float *floats(rng *r, size_t n)
{
    float *x = NULL;
    finch_error err = {0};
    CHECK_OK(mem_alloc(n + GUARD, sizeof *x, (void **)&x, &err), &err);
    for (size_t i = 0; i < n + GUARD; i++) x[i] = (float)rng_normal(r);
    return x;
}

static float *copy(const float *x, size_t n)
{
    float *y = NULL;
    finch_error err = {0};
    CHECK_OK(mem_alloc(n + GUARD, sizeof *y, (void **)&y, &err), &err);
    memcpy(y, x, (n + GUARD) * sizeof *y);
    return y;
}

static size_t between(rng *r, size_t low, size_t high) { return low + (size_t)rng_below(r, high - low + 1); }

/* Same bits, what lies behind the end included. */
static void check_bits(const float *expected, const float *actual, size_t n)
{
    CHECK(memcmp(expected, actual, (n + GUARD) * sizeof *expected) == 0);
}

TEST(norms_have_the_same_bits_in_every_variant_and_are_right)
{
    rng r = {.seed = 1};
    for (int round = 0; round < ROUNDS; round++) {
        size_t n_rows = between(&r, 1, 4), width = between(&r, 1, 200), ldx = width + between(&r, 0, 3),
               ldy = width + between(&r, 0, 3);
        float *x = floats(&r, n_rows * ldx), *gain = floats(&r, width), *residual = floats(&r, n_rows * ldy),
              *y = floats(&r, n_rows * ldy);
        decoder_norm p = {.x = x,
                          .ldx = ldx,
                          .n_rows = n_rows,
                          .width = width,
                          .gain = gain,
                          .eps = 1e-6f,
                          .residual = round % 2 == 0 ? NULL : residual,
                          .ldy = ldy};
        float *expected = copy(y, n_rows * ldy);
        p.y = expected;
        decoder_ops_find("scalar")->norm(&p);
        for (size_t row = 0; row < n_rows; row++) {
            double sum = 0;
            for (size_t i = 0; i < width; i++) sum += (double)x[row * ldx + i] * (double)x[row * ldx + i];
            for (size_t i = 0; i < width; i++) {
                double value = (double)x[row * ldx + i] / sqrt(sum / (double)width + 1e-6) * (double)gain[i];
                if (p.residual != NULL) value += (double)residual[row * ldy + i];
                CHECK_NEAR(value, expected[row * ldy + i], 1e-5);
            }
        }
        for (size_t v = 0; v < 2; v++) {
            const decoder_ops *o = decoder_ops_find(variants[v]);
            if (o == NULL) continue;
            p.y = copy(y, n_rows * ldy);
            o->norm(&p);
            check_bits(expected, p.y, n_rows * ldy);
            mem_free(p.y);
        }
        mem_free(x), mem_free(gain), mem_free(residual), mem_free(y), mem_free(expected);
    }
}

TEST(rotations_and_gates_have_the_same_bits_in_every_variant)
{
    rng r = {.seed = 2};
    const decoder_ops *scalar = decoder_ops_find("scalar");
    for (int round = 0; round < ROUNDS; round++) {
        size_t n_rows = between(&r, 1, 4), half = between(&r, 1, 70), n = n_rows * 2 * half;
        float *x = floats(&r, n), *angles = floats(&r, 2 * half), *up = floats(&r, n);
        float *turned = copy(x, n), *gated = copy(x, n);
        scalar->rotate(&(decoder_rotate){turned, n_rows, 2 * half, angles, angles + half});
        scalar->gate(gated, up, n);
        CHECK_NEAR(x[0] * angles[0] - x[half] * angles[half], turned[0], 1e-6);
        CHECK_NEAR(x[half] * angles[0] + x[0] * angles[half], turned[half], 1e-6);
        double inner = 0.7978845608028654 * ((double)x[0] + 0.044715 * pow((double)x[0], 3.0));
        CHECK_NEAR(0.5 * (double)x[0] * (1.0 + tanh(inner)) * (double)up[0], gated[0], 1e-5);
        for (size_t v = 0; v < 2; v++) {
            const decoder_ops *o = decoder_ops_find(variants[v]);
            if (o == NULL) continue;
            float *y = copy(x, n), *z = copy(x, n);
            o->rotate(&(decoder_rotate){y, n_rows, 2 * half, angles, angles + half});
            o->gate(z, up, n);
            check_bits(turned, y, n);
            check_bits(gated, z, n);
            mem_free(y), mem_free(z);
        }
        mem_free(x), mem_free(angles), mem_free(up), mem_free(turned), mem_free(gated);
    }
}

TEST(a_softmax_of_some_keys_has_the_same_bits_in_every_variant)
{
    rng r = {.seed = 3};
    for (int round = 0; round < ROUNDS; round++) {
        size_t n = between(&r, 1, 100), first = (size_t)rng_below(&r, n), room = (n + 15) / 16 * 16;
        float *x = floats(&r, room), *expected = copy(x, room);
        float factor = decoder_ops_find("scalar")->softmax(expected, first, n);
        double sum = 0;
        for (size_t j = 0; j < room; j++) {
            if (j < first || j >= n) CHECK(expected[j] == 0.0f);
            sum += (double)expected[j];
        }
        CHECK_NEAR(1.0, sum * (double)factor, 1e-5);
        for (size_t v = 0; v < 2; v++) {
            const decoder_ops *o = decoder_ops_find(variants[v]);
            if (o == NULL) continue;
            float *y = copy(x, room);
            float other = o->softmax(y, first, n);
            CHECK(memcmp(&factor, &other, sizeof factor) == 0);
            check_bits(expected, y, room);
            mem_free(y);
        }
        mem_free(x), mem_free(expected);
    }
}

/* ---- causal attention ------------------------------------------------------------------------------------------ */

typedef struct heads {
    size_t n, width, window;
    float *q, *k, *v, *out;
} heads;

static heads heads_make(rng *r, size_t n, size_t width, size_t window)
{
    return (heads){n, width, window, floats(r, n * width), floats(r, n * width), floats(r, n * width), floats(r, n * width)};
}

static void heads_free(heads *h) { mem_free(h->q), mem_free(h->k), mem_free(h->v), mem_free(h->out); }

/* Queries [first, n) into out, the keys put in shape in two parts as a prefix and what continues it. */
static void attend(const heads *h, const char *isa, size_t first, size_t cut, size_t room, float *out)
{
    finch_error err = {0};
    ops products = ops_choose_for(strcmp(isa, "scalar") == 0 ? CPU_SCALAR : CPU_AVX2);
    float *memory = NULL, *scratch = NULL;
    CHECK_OK(mem_alloc(causal_keys_floats(room, h->width), sizeof *memory, (void **)&memory, &err), &err);
    CHECK_OK(mem_alloc(causal_scratch_floats(room), sizeof *scratch, (void **)&scratch, &err), &err);
    causal_keys keys = causal_keys_place(memory, room, h->width);
    causal_keys_fill(&keys, 0, cut, h->k, h->v, h->width);
    causal_keys_fill(&keys, cut, h->n - cut, h->k + cut * h->width, h->v + cut * h->width, h->width);
    causal_attend(&(causal_attention){.products = &products,
                                      .rows = decoder_ops_find(isa),
                                      .keys = &keys,
                                      .q = h->q + first * h->width,
                                      .ldq = h->width,
                                      .first = first,
                                      .n_queries = h->n - first,
                                      .window = h->window,
                                      .scratch = scratch,
                                      .out = out + first * h->width,
                                      .ldo = h->width});
    mem_free(memory), mem_free(scratch);
}

/* One query as the formula has it. */
static void check_query(const heads *h, size_t i)
{
    size_t from = h->window == 0 || i + 1 < h->window ? 0 : i + 1 - h->window;
    double weight[256], sum = 0, most = -1e300;
    for (size_t j = from; j <= i; j++) {
        weight[j] = 0;
        for (size_t d = 0; d < h->width; d++) weight[j] += (double)h->q[i * h->width + d] * (double)h->k[j * h->width + d];
        most = weight[j] > most ? weight[j] : most;
    }
    for (size_t j = from; j <= i; j++) sum += weight[j] = exp(weight[j] - most);
    for (size_t d = 0; d < h->width; d++) {
        double value = 0;
        for (size_t j = from; j <= i; j++) value += weight[j] / sum * (double)h->v[j * h->width + d];
        CHECK_NEAR(value, h->out[i * h->width + d], 2e-5);
    }
}

TEST(causal_attention_is_what_it_means_and_its_bits_depend_on_the_text_alone)
{
    rng r = {.seed = 4};
    static const char *const isas[] = {"scalar", "avx2"};
    for (int round = 0; round < 24; round++) {
        size_t n = between(&r, 1, 100), width = between(&r, 2, 40), window = round % 3 == 0 ? 0 : between(&r, 1, 50);
        heads h = heads_make(&r, n, width, window);
        attend(&h, "scalar", 0, 0, n, h.out);
        for (size_t i = 0; i < n; i++) check_query(&h, i);
        for (size_t v = 0; v < 2; v++) {
            size_t first = (size_t)rng_below(&r, n);
            float *out = copy(h.out, n * width);
            if (decoder_ops_find(isas[v]) == NULL) continue;
            attend(&h, isas[v], first, first, n + between(&r, 0, 70), out);
            check_bits(h.out, out, n * width);
            mem_free(out);
        }
        heads_free(&h);
    }
}

/* ---- stored matrices ------------------------------------------------------------------------------------------- */

/* A product with weights where they lie has the bits of one with the same numbers packed. */
TEST(a_stored_product_has_the_bits_of_a_packed_one)
{
    rng r = {.seed = 5};
    ops o = ops_choose();
    for (int round = 0; round < 20; round++) {
        size_t rows = between(&r, 1, 100), columns = between(&r, 1, 70), n = between(&r, 1, 9);
        float *w = floats(&r, rows * columns), *x = floats(&r, n * columns), *y = floats(&r, n * rows),
              *z = copy(y, n * rows), *before = copy(y, n * rows), *scratch;
        finch_error err = {0};
        linear l;
        tensor t = {.name = "w",
                    .dtype = TENSOR_F32,
                    .n_dims = 2,
                    .dims = {rows, columns},
                    .n_items = rows * columns,
                    .data = w,
                    .size_bytes = rows * columns * sizeof *w};
        stored_matrix m = {.plain = {&t, NULL, rows, columns}, .rows = rows, .columns = columns};
        CHECK_OK(linear_init(&l, LINEAR_F32, rows, columns, &err), &err);
        CHECK_OK(linear_pack(&l, 0, rows, w, NULL, 1.0f, &err), &err);
        linear_input in = {.type = LINEAR_F32, .n_rows = n, .stride = columns, .f32 = x};
        linear_run(&o, &l, &in, 0, rows, y, rows);
        CHECK_OK(mem_alloc(stored_scratch_floats(&m), sizeof *scratch, (void **)&scratch, &err), &err);
        size_t panels = (rows + 31) / 32, cut = (size_t)rng_below(&r, panels + 1);
        stored_product(&o, &m, x, columns, n, cut, panels, scratch, z, rows);
        for (size_t i = 0; i < n * rows; i++) /* columns before the cut are another thread's */
            if (i % rows < cut * 32) CHECK(z[i] == before[i]);
        stored_product(&o, &m, x, columns, n, 0, cut, scratch, z, rows);
        for (size_t i = 0; i < n * rows; i++) CHECK(y[i] == z[i]);
        linear_free(&l);
        mem_free(w), mem_free(x), mem_free(y), mem_free(z), mem_free(before), mem_free(scratch);
    }
}
