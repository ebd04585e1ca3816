/* Every variant of every forward kernel against its scalar definition: random shapes with ragged edges, the same bits
 * where kernels.h promises them, nothing written outside. */
#include "harness.h"

#include "base/rng.h"
#include "tensor/kernels/kernels.h"
#include "tensor/ops.h"

#include <stdlib.h>

enum { ROUNDS = 60, GUARD = 40 };

static const cpu_feature features[] = {CPU_AVX2, CPU_AVX512, CPU_AVX512_VNNI, CPU_AVX512_BF16, CPU_AMX_INT8, CPU_AMX_BF16};
enum { N_FEATURES = sizeof features / sizeof features[0] };
static const float GUARD_VALUE = 12345.0f;

static void *room(size_t n, size_t item)
{
    void *p = NULL;
    finch_error err = {0};
    CHECK_OK(mem_alloc_zero(n + 64, item, &p, &err), &err);
    return p;
}

static float *random_floats(rng *r, size_t n, double size)
{
    float *x = room(n, sizeof *x);
    for (size_t i = 0; i < n; i++) x[i] = (float)(rng_normal(r) * size);
    return x;
}

static float *guarded(size_t n)
{
    float *x = room(n + GUARD, sizeof *x);
    for (size_t i = 0; i < n + GUARD; i++) x[i] = GUARD_VALUE;
    return x;
}

static size_t between(rng *r, size_t low, size_t high) { return low + (size_t)rng_below(r, high - low + 1); }

static size_t round_up(size_t n, size_t to) { return (n + to - 1) / to * to; }

/* Same bits, the guard included: what is past the row or the end is as it was. */
static void check_bits(const float *expected, const float *actual, size_t n)
{
    for (size_t i = 0; i < n + GUARD; i++) {
        if (memcmp(&expected[i], &actual[i], sizeof *expected) == 0) continue;
        print_message("item %zu of %zu: %.9g, should be %.9g\n", i, n, (double)actual[i], (double)expected[i]);
        CHECK(false);
    }
}

TEST(f32_products_have_the_same_bits_in_every_variant)
{
    rng r = {.seed = 1};
    ops scalar = ops_choose_for(CPU_SCALAR);
    for (int round = 0; round < ROUNDS; round++) {
        size_t n_rows = between(&r, 1, 33), k = between(&r, 1, 70), n_cols = between(&r, 1, 90);
        size_t lda = k + between(&r, 0, 3), ldc = n_cols + between(&r, 0, 5), panels = round_up(n_cols, 32) / 32;
        float *a = random_floats(&r, n_rows * lda, 1.0), *b = random_floats(&r, panels * 32 * k, 1.0);
        float *bias = random_floats(&r, panels * 32, 1.0), *expected = guarded(n_rows * ldc);
        kernel_product_f32 p = {.a = a,
                                .lda = lda,
                                .n_rows = n_rows,
                                .k = k,
                                .b = b,
                                .ldb = 32,
                                .panel_stride = 32 * k,
                                .n_cols = n_cols,
                                .bias = round % 3 == 0 ? NULL : bias,
                                .c = expected,
                                .ldc = ldc};
        scalar.product_f32(&p);
        for (size_t f = 0; f < N_FEATURES; f++) {
            p.c = guarded(n_rows * ldc);
            ops_choose_for(features[f]).product_f32(&p);
            check_bits(expected, p.c, n_rows * ldc);
            mem_free(p.c);
        }
        mem_free(a), mem_free(b), mem_free(bias), mem_free(expected);
    }
}

TEST(a_row_of_an_f32_product_does_not_depend_on_how_many_run_beside_it)
{
    rng r = {.seed = 2};
    size_t k = 384, n = 64, rows = 45;
    float *a = random_floats(&r, rows * k, 1.0), *b = random_floats(&r, n * k, 1.0), *whole = guarded(rows * n),
          *one = guarded(n);
    ops o = ops_choose();
    kernel_product_f32 p = {.a = a,
                            .lda = k,
                            .n_rows = rows,
                            .k = k,
                            .b = b,
                            .ldb = 32,
                            .panel_stride = 32 * k,
                            .n_cols = n,
                            .c = whole,
                            .ldc = n};
    o.product_f32(&p);
    for (size_t i = 0; i < rows; i++) {
        kernel_product_f32 q = p;
        q.a = a + i * k, q.n_rows = 1, q.c = one;
        o.product_f32(&q);
        CHECK(memcmp(whole + i * n, one, n * sizeof *one) == 0);
    }
    mem_free(a), mem_free(b), mem_free(whole), mem_free(one);
}

TEST(int8_products_have_the_same_bits_in_every_variant)
{
    rng r = {.seed = 3};
    ops scalar = ops_choose_for(CPU_SCALAR);
    for (int round = 0; round < ROUNDS; round++) {
        /* Some rounds are larger than the parts that a variant may cut its work into. */
        bool large = round % 10 == 9;
        size_t n_rows = large ? between(&r, 50, 70) : between(&r, 1, 33), n_cols = between(&r, 1, large ? 300 : 90);
        size_t k = 4 * (large ? between(&r, 90, 230) : between(&r, 1, 40));
        size_t lda = k + 4 * between(&r, 0, 2), ldc = n_cols + between(&r, 0, 5), columns = round_up(n_cols, 32);
        uint8_t *a = room(n_rows * lda, 1);
        int8_t *b = room(columns * k, 1);
        int32_t *zero = room(n_rows, sizeof *zero), *column_total = room(columns, sizeof *column_total);
        /* The first rounds take the extremes, the same in every place: there a 16-bit sum would saturate, of the inputs as
         * they are or shifted to either sign. */
        static const uint8_t extreme_a[] = {0, 127, 128, 255};
        static const int8_t extreme_b[] = {-128, -127, 127};
        for (size_t i = 0; i < n_rows * lda; i++) a[i] = round < 12 ? extreme_a[round % 4] : (uint8_t)rng_below(&r, 256);
        for (size_t i = 0; i < columns * k; i++) {
            b[i] = round < 12 ? extreme_b[round / 4] : (int8_t)((int)rng_below(&r, 256) - 128);
            column_total[i / (32 * k) * 32 + i % 128 / 4] += b[i];
        }
        for (size_t i = 0; i < n_rows; i++) zero[i] = (int32_t)rng_below(&r, 256);
        float *row_scale = random_floats(&r, n_rows, 0.1), *column_scale = random_floats(&r, columns, 0.1);
        float *column_sum = random_floats(&r, columns, 1.0), *bias = random_floats(&r, columns, 1.0),
              *expected = guarded(n_rows * ldc);
        kernel_product_int8 p = {.a = a,
                                 .lda = lda,
                                 .n_rows = n_rows,
                                 .k = k,
                                 .b = b,
                                 .panel_stride = 32 * k,
                                 .n_cols = n_cols,
                                 .row_scale = row_scale,
                                 .zero = zero,
                                 .column_scale = column_scale,
                                 .column_sum = column_sum,
                                 .column_total = column_total,
                                 .bias = bias,
                                 .c = expected,
                                 .ldc = ldc};
        scalar.product_int8(&p);
        for (size_t f = 0; f < N_FEATURES; f++) {
            p.c = guarded(n_rows * ldc);
            ops_choose_for(features[f]).product_int8(&p);
            check_bits(expected, p.c, n_rows * ldc);
            mem_free(p.c);
        }
        mem_free(a), mem_free(b), mem_free(zero), mem_free(row_scale), mem_free(column_scale);
        mem_free(column_sum), mem_free(column_total), mem_free(bias), mem_free(expected);
    }
}

/* bf16 x bf16 is exact in f32, so what differs is the rounding of k / 2 sums and flushed subnormals. */
TEST(bf16_products_agree_to_rounding)
{
    rng r = {.seed = 4};
    for (int round = 0; round < ROUNDS; round++) {
        size_t n_rows = between(&r, 1, 30), k = 4 * between(&r, 1, 40), n_cols = between(&r, 1, 70),
               columns = round_up(n_cols, 32);
        uint16_t *a = room(n_rows * k, 2), *b = room(columns * k, 2);
        for (size_t i = 0; i < n_rows * k; i++) a[i] = (uint16_t)(0x3f00 + rng_below(&r, 0x100) + (rng_below(&r, 2) << 15));
        for (size_t i = 0; i < columns * k; i++) b[i] = (uint16_t)(0x3e80 + rng_below(&r, 0x100) + (rng_below(&r, 2) << 15));
        float *bias = random_floats(&r, columns, 1.0), *expected = guarded(n_rows * n_cols),
              *actual = guarded(n_rows * n_cols);
        kernel_product_bf16 p = {.a = a,
                                 .lda = k,
                                 .n_rows = n_rows,
                                 .k = k,
                                 .b = b,
                                 .panel_stride = 32 * k,
                                 .n_cols = n_cols,
                                 .bias = bias,
                                 .c = expected,
                                 .ldc = n_cols};
        ops_choose_for(CPU_SCALAR).product_bf16(&p);
        p.c = actual;
        bool exact = round % 3 == 0; /* AVX2 sums one by one as the definition does */
        ops_choose_for(exact ? CPU_AVX2 : round % 3 == 1 ? CPU_AVX512_BF16 : CPU_AMX_BF16).product_bf16(&p);
        for (size_t i = 0; i < n_rows * n_cols; i++) CHECK_NEAR(expected[i], actual[i], exact ? 0.0 : 1e-6 * (double)k);
        for (size_t i = n_rows * n_cols; i < n_rows * n_cols + GUARD; i++) CHECK(actual[i] == GUARD_VALUE);
        mem_free(a), mem_free(b), mem_free(bias), mem_free(expected), mem_free(actual);
    }
}

static void norm_round(rng *r, bool with_residual)
{
    size_t n_rows = between(r, 1, 9), width = between(r, 1, 200), n = n_rows * width;
    float *x = random_floats(r, n, 3.0), *residual = random_floats(r, n, 2.0), *gain = random_floats(r, width, 1.0);
    float *bias = random_floats(r, width, 1.0), *expected = guarded(n), *mean = guarded(n_rows), *rstd = guarded(n_rows);
    kernel_layer_norm p = {.x = x,
                           .residual = with_residual ? residual : NULL,
                           .n_rows = n_rows,
                           .width = width,
                           .gain = gain,
                           .bias = bias,
                           .eps = 1e-5f,
                           .y = expected,
                           .mean = mean,
                           .rstd = rstd};
    ops_choose_for(CPU_SCALAR).layer_norm(&p);
    for (size_t row = 0; row < n_rows; row++) { /* the definition itself, against double */
        double sum = 0.0, squares = 0.0;
        for (size_t i = 0; i < width; i++)
            sum += (double)x[row * width + i] + (with_residual ? (double)residual[row * width + i] : 0.0);
        for (size_t i = 0; i < width; i++) {
            double d = (double)x[row * width + i] + (with_residual ? (double)residual[row * width + i] : 0.0) -
                       sum / (double)width;
            squares += d * d;
        }
        CHECK_NEAR(sum / (double)width, mean[row], 1e-5);
        CHECK_NEAR(1.0, (double)rstd[row] * sqrt(squares / (double)width + 1e-5), 1e-4);
    }
    for (size_t f = 0; f < N_FEATURES; f++) {
        float *m = guarded(n_rows), *s = guarded(n_rows);
        p.y = guarded(n), p.mean = m, p.rstd = s;
        ops_choose_for(features[f]).layer_norm(&p);
        check_bits(expected, p.y, n);
        check_bits(mean, m, n_rows);
        check_bits(rstd, s, n_rows);
        mem_free(p.y), mem_free(m), mem_free(s);
    }
    mem_free(x), mem_free(residual), mem_free(gain), mem_free(bias), mem_free(expected), mem_free(mean), mem_free(rstd);
}

TEST(layer_norm_has_the_same_bits_in_every_variant)
{
    rng r = {.seed = 5};
    for (int round = 0; round < ROUNDS; round++) norm_round(&r, round % 2 == 0);
}

TEST(quantisation_has_the_same_bits_and_stays_within_half_a_step)
{
    rng r = {.seed = 6};
    for (int round = 0; round < ROUNDS; round++) {
        size_t n_rows = between(&r, 1, 9), width = between(&r, 1, 200), ldq = round_up(width, 4) + 4 * between(&r, 0, 1);
        float *x = random_floats(&r, n_rows * width, round % 4 == 0 ? 0.0 : 2.0), scale[9], wanted_scale[9];
        uint8_t *expected = room(n_rows * ldq, 1);
        int32_t zero[9], wanted_zero[9];
        if (round % 4 == 1) /* one sign only: the range still holds 0 */
            for (size_t i = 0; i < n_rows * width; i++) x[i] = fabsf(x[i]) + 1.0f;
        kernel_quantize p = {.x = x,
                             .ldx = width,
                             .n_rows = n_rows,
                             .width = width,
                             .q = expected,
                             .ldq = ldq,
                             .scale = wanted_scale,
                             .zero = wanted_zero};
        ops_choose_for(CPU_SCALAR).quantize(&p);
        for (size_t row = 0; row < n_rows; row++)
            for (size_t i = 0; i < ldq; i++) {
                int32_t level = (int32_t)expected[row * ldq + i] - wanted_zero[row];
                if (i >= width) CHECK_EQUAL(0, expected[row * ldq + i]);
                else
                    CHECK_NEAR(x[row * width + i], (double)level * (double)wanted_scale[row],
                               0.5001 * (double)wanted_scale[row] + 1e-6);
            }
        for (size_t f = 0; f < N_FEATURES; f++) {
            p.q = room(n_rows * ldq, 1), p.scale = scale, p.zero = zero;
            memset(p.q, 7, n_rows * ldq);
            ops_choose_for(features[f]).quantize(&p);
            CHECK(memcmp(expected, p.q, n_rows * ldq) == 0);
            CHECK(memcmp(scale, wanted_scale, n_rows * sizeof *scale) == 0);
            CHECK(memcmp(zero, wanted_zero, n_rows * sizeof *zero) == 0);
            mem_free(p.q);
        }
        mem_free(x), mem_free(expected);
    }
}

/* The least item of a row may come out half a step below 0: zero was rounded, and so was what it was rounded from. One row
 * in half a million of random ones is so; a conversion that takes -1 for 255 would turn its least item into its largest. */
TEST(quantisation_of_a_rows_least_item_never_wraps)
{
    enum { WANTED = 8, TRIES_MAX = 1 << 24, WIDTH = 64 + 16 + 4 }; /* the ways a row is written */
    rng r = {.seed = 10};
    size_t found = 0;
    for (size_t tries = 0; tries < TRIES_MAX && found < WANTED; tries++) {
        float low = -4.0f * (float)rng_unit(&r), high = 4.0f * (float)rng_unit(&r);
        float inverse = 255.0f / (high - low), middle = rintf(-low * inverse);
        if (rintf(fmaf(low, inverse, middle)) >= 0.0f) continue;
        found++;
        float x[WIDTH], scale;
        uint8_t expected[WIDTH], q[WIDTH];
        int32_t zero;
        for (size_t i = 0; i < WIDTH; i++) x[i] = i % 3 == 0 ? low : i % 3 == 1 ? high : 0.0f;
        kernel_quantize p = {
            .x = x, .ldx = WIDTH, .n_rows = 1, .width = WIDTH, .q = expected, .ldq = WIDTH, .scale = &scale, .zero = &zero};
        ops_choose_for(CPU_SCALAR).quantize(&p);
        CHECK_EQUAL(0, expected[0]);
        p.q = q;
        for (size_t f = 0; f < N_FEATURES; f++) {
            ops_choose_for(features[f]).quantize(&p);
            CHECK(memcmp(expected, q, sizeof q) == 0);
        }
    }
    CHECK_EQUAL(WANTED, found);
}

TEST(narrowing_and_splitting_to_bf16_have_the_same_bits_in_every_variant)
{
    rng r = {.seed = 8};
    for (int round = 0; round < ROUNDS; round++) {
        size_t n = between(&r, 1, 100);
        float *x = random_floats(&r, n, 1.0);
        uint16_t *expected = room(n + GUARD, 2), *actual = room(n + GUARD, 2);
        uint16_t *low = room(n + GUARD, 2), *actual_low = room(n + GUARD, 2);
        for (size_t i = 0; i < n; i++) { /* any bits: subnormals, infinities, NaNs, ties among them */
            uint32_t bits = (uint32_t)rng_below(&r, 1ull << 32);
            if (i % 3 == 0) bits = (bits & 0xffff0000u) | 0x8000u;
            if (i % 2 == 0) memcpy(&x[i], &bits, sizeof bits);
        }
        ops_choose_for(CPU_SCALAR).split(x, expected, low, n);
        ops_choose_for(CPU_SCALAR).narrow(x, actual, n);
        CHECK(memcmp(expected, actual, n * sizeof *actual) == 0);
        for (size_t f = 0; f < N_FEATURES; f++) {
            memset(actual, 0, (n + GUARD) * sizeof *actual);
            ops_choose_for(features[f]).narrow(x, actual, n);
            CHECK(memcmp(expected, actual, (n + GUARD) * sizeof *actual) == 0);
            memset(actual, 0, (n + GUARD) * sizeof *actual);
            ops_choose_for(features[f]).split(x, actual, actual_low, n);
            CHECK(memcmp(expected, actual, (n + GUARD) * sizeof *actual) == 0);
            CHECK(memcmp(low, actual_low, (n + GUARD) * sizeof *actual) == 0);
        }
        mem_free(x), mem_free(expected), mem_free(actual), mem_free(low), mem_free(actual_low);
    }
}

TEST(quantisation_of_what_is_no_number_stays_inside_its_rows)
{
    float x[20], scale;
    uint8_t q[64];
    int32_t zero;
    for (size_t f = 0; f < N_FEATURES; f++) {
        for (size_t i = 0; i < 20; i++) x[i] = i % 3 == 0 ? NAN : i % 3 == 1 ? INFINITY : -1.0f;
        memset(q, 9, sizeof q);
        ops_choose_for(features[f])
            .quantize(&(kernel_quantize){
                .x = x, .ldx = 20, .n_rows = 1, .width = 20, .q = q, .ldq = 20, .scale = &scale, .zero = &zero});
        CHECK(zero >= 0 && zero <= 255);
        for (size_t i = 20; i < sizeof q; i++) CHECK_EQUAL(9, q[i]);
    }
}

static void attention_round(rng *r, bool with_bias)
{
    size_t n = between(r, 1, 90), width = round_up(between(r, 1, 64), between(r, 1, 2) == 1 ? 1 : 32),
           ld = 3 * width + between(r, 0, 3);
    size_t n_queries = between(r, 1, n), ldout = width + between(r, 0, 4);
    float *qkv = random_floats(r, n * ld, 1.0), *bias = random_floats(r, 2 * n, 1.0), *expected = guarded(n_queries * ldout);
    float *scratch = room(kernel_attention_scratch(n, width), sizeof *scratch);
    kernel_attention p = {.q = qkv,
                          .k = qkv + width,
                          .v = qkv + 2 * width,
                          .ldqkv = ld,
                          .n_tokens = n,
                          .n_queries = n_queries,
                          .width = width,
                          .bias = with_bias ? bias + n - 1 : NULL,
                          .scratch = scratch,
                          .out = expected,
                          .ldout = ldout};
    ops_choose_for(CPU_SCALAR).attention(&p);
    double most = -1e30, sum = 0.0, out = 0.0; /* the definition itself: output 0 of the last query, in double */
    size_t i = n_queries - 1;
    double s[90];
    for (size_t j = 0; j < n; j++) {
        s[j] = with_bias ? (double)bias[n - 1 + j - i] : 0.0;
        for (size_t d = 0; d < width; d++) s[j] += (double)p.q[i * ld + d] * (double)p.k[j * ld + d];
        most = s[j] > most ? s[j] : most;
    }
    for (size_t j = 0; j < n; j++) {
        sum += exp(s[j] - most);
        out += exp(s[j] - most) * (double)p.v[j * ld];
    }
    CHECK_NEAR(out / sum, expected[i * ldout], 2e-5);
    for (size_t f = 0; f < N_FEATURES; f++) {
        p.out = guarded(n_queries * ldout);
        ops_choose_for(features[f]).attention(&p);
        check_bits(expected, p.out, n_queries * ldout);
        mem_free(p.out);
    }
    mem_free(qkv), mem_free(bias), mem_free(expected), mem_free(scratch);
}

TEST(attention_has_the_same_bits_in_every_variant)
{
    rng r = {.seed = 7};
    for (int round = 0; round < ROUNDS; round++) attention_round(&r, round % 2 == 0);
}

static double gelu_exact(double x) { return 0.5 * x * (1.0 + erf(x / sqrt(2.0))); }

static double gelu_tanh_exact(double x)
{
    return 0.5 * x * (1.0 + tanh(sqrt(2.0 / 3.14159265358979323846) * (x + 0.044715 * x * x * x)));
}

static double relu_exact(double x) { return x > 0.0 ? x : 0.0; }

static void check_map(size_t offset, double (*exact)(double), double tolerance)
{
    enum { N = 4013 };
    float *x = room(N, sizeof *x), *expected = guarded(N), *actual = guarded(N);
    for (size_t i = 0; i < N; i++) x[i] = expected[i] = -12.0f + 24.0f * (float)i / (float)(N - 1);
    ops scalar = ops_choose_for(CPU_SCALAR);
    (*(kernel_map *)(void *)((char *)&scalar + offset))(expected, N);
    for (size_t i = 0; i < N; i++) CHECK_NEAR(exact((double)x[i]), expected[i], tolerance);
    for (size_t f = 0; f < N_FEATURES; f++) {
        ops o = ops_choose_for(features[f]);
        memcpy(actual, x, N * sizeof *x);
        (*(kernel_map *)(void *)((char *)&o + offset))(actual, N);
        check_bits(expected, actual, N);
    }
    mem_free(x), mem_free(expected), mem_free(actual);
}

/* 1e-6: the table's 1.3e-7 on the function g, times |x| <= 5.5 where it matters. */
TEST(gelu_is_exact_to_a_millionth)
{
    check_map(offsetof(ops, gelu), gelu_exact, 1e-6);
}

TEST(gelu_tanh_is_exact_to_a_millionth)
{
    check_map(offsetof(ops, gelu_tanh), gelu_tanh_exact, 1e-6);
}

TEST(tanh_is_exact_to_a_millionth)
{
    check_map(offsetof(ops, tanh), tanh, 5e-7);
}

TEST(relu_is_exact)
{
    check_map(offsetof(ops, relu), relu_exact, 0.0);
}

TEST(the_table_of_operators_names_a_variant_that_this_cpu_has)
{
    ops_line line;
    size_t n = 0;
    for (; ops_describe(n, &line); n++) {
        CHECK(cpu_has(line.needs));
        CHECK(line.operation[0] != '\0' && line.variant[0] != '\0');
    }
    CHECK_EQUAL(12, n);
}

TEST(finch_isa_lowers_the_choice)
{
    CHECK_EQUAL(0, setenv("FINCH_ISA", "scalar", 1));
    ops_line line;
    for (size_t i = 0; ops_describe(i, &line); i++) CHECK_TEXT("scalar", line.variant);
    CHECK_TEXT("scalar", cpu_isa());
    CHECK_EQUAL(0, unsetenv("FINCH_ISA"));
}

TEST(a_misspelt_finch_isa_is_told)
{
    static const char *const good[] = {"", "scalar", "avx2", "avx512", "amx"};
    finch_error err;
    CHECK_OK(cpu_check(&err), &err);
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
        CHECK_EQUAL(0, setenv("FINCH_ISA", good[i], 1));
        CHECK_OK(cpu_check(&err), &err);
    }
    CHECK_EQUAL(0, setenv("FINCH_ISA", "AVX2", 1));
    CHECK_EQUAL(FINCH_E_USAGE, cpu_check(&err));
    CHECK(strstr(err.message, "\"AVX2\"") != NULL);
    CHECK_EQUAL(0, unsetenv("FINCH_ISA"));
}
