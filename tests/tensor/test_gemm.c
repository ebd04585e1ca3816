/* The generic products against a loop in double: every transposition, ragged shapes, leading dimensions, beta. */
#include "harness.h"

#include "base/rng.h"
#include "tensor/gemm.h"
#include "tensor/linear.h"
#include "tensor/tensor.h"

static float *floats(rng *r, size_t n)
{
    float *x = NULL;
    finch_error err = {0};
    CHECK_OK(mem_alloc(n + 1, sizeof *x, (void **)&x, &err), &err);
    for (size_t i = 0; i < n; i++) x[i] = (float)rng_normal(r);
    return x;
}

static double reference(bool ta, bool tb, size_t k, const float *a, size_t lda, const float *b, size_t ldb, size_t i,
                        size_t j)
{
    double sum = 0.0;
    for (size_t x = 0; x < k; x++)
        sum += (double)(ta ? a[x * lda + i] : a[i * lda + x]) * (double)(tb ? b[j * ldb + x] : b[x * ldb + j]);
    return sum;
}

static void product_round(rng *r, bool ta, bool tb, bool bf16, float beta)
{
    size_t m = 1 + rng_below(r, 40), n = 1 + rng_below(r, 70), k = 1 + rng_below(r, 90);
    size_t lda = (ta ? m : k) + rng_below(r, 3), ldb = (tb ? k : n) + rng_below(r, 3), ldc = n + rng_below(r, 3);
    size_t a_items = lda * (ta ? k : m), b_items = ldb * (tb ? n : k);
    float *a = floats(r, a_items), *b = floats(r, b_items), *c = floats(r, m * ldc), *before = floats(r, m * ldc);
    finch_error err = {0};
    memcpy(before, c, m * ldc * sizeof *c);
    if (bf16) {
        uint16_t *a16 = NULL, *b16 = NULL;
        CHECK_OK(MEM_NEW(&a16, a_items, &err), &err);
        CHECK_OK(MEM_NEW(&b16, b_items, &err), &err);
        tensor_bf16_from_f32(a, a16, a_items), tensor_f32_from_bf16(a16, a, a_items);
        tensor_bf16_from_f32(b, b16, b_items), tensor_f32_from_bf16(b16, b, b_items);
        CHECK_OK(gemm_bf16(ta, tb, m, n, k, a16, lda, b16, ldb, beta, c, ldc, &err), &err);
        mem_free(a16), mem_free(b16);
    } else {
        CHECK_OK(gemm_f32(ta, tb, m, n, k, a, lda, b, ldb, beta, c, ldc, &err), &err);
    }
    for (size_t i = 0; i < m; i++)
        for (size_t j = 0; j < ldc; j++) {
            double wanted = j < n ? reference(ta, tb, k, a, lda, b, ldb, i, j) + (double)beta * (double)before[i * ldc + j]
                                  : (double)before[i * ldc + j];
            CHECK_NEAR(wanted, c[i * ldc + j], j < n ? 1e-6 * (double)k + 1e-5 : 0.0);
        }
    mem_free(a), mem_free(b), mem_free(c), mem_free(before);
}

TEST(products_are_right_in_every_transposition)
{
    rng r = {.seed = 1};
    for (int round = 0; round < 80; round++) product_round(&r, round & 1, round & 2, round & 4, round & 8 ? 1.0f : 0.0f);
}

/* Rounding of the sum, and 2^-17 of each item three times over. */
static const double BF16X3_TOLERANCE = 3.0 / 131072.0;

static void split_round(rng *r, bool ta, bool tb, float beta, gemm_room *room)
{
    size_t m = 1 + rng_below(r, 100), n = 1 + rng_below(r, 150), k = 1 + rng_below(r, 500);
    size_t lda = (ta ? m : k) + rng_below(r, 3), ldb = (tb ? k : n) + rng_below(r, 3), ldc = n + rng_below(r, 3);
    float *a = floats(r, lda * (ta ? k : m)), *b = floats(r, ldb * (tb ? n : k)), *c = floats(r, m * ldc),
          *before = floats(r, m * ldc);
    finch_error err = {0};
    memcpy(before, c, m * ldc * sizeof *c);
    CHECK_OK(gemm_bf16x3(ta, tb, m, n, k, a, lda, b, ldb, beta, c, ldc, room, &err), &err);
    for (size_t i = 0; i < m; i++)
        for (size_t j = 0; j < ldc; j++) {
            double was = (double)before[i * ldc + j], sizes = 1.0;
            for (size_t x = 0; j < n && x < k; x++)
                sizes += fabs((double)(ta ? a[x * lda + i] : a[i * lda + x]) *
                              (double)(tb ? b[j * ldb + x] : b[x * ldb + j]));
            if (j < n)
                CHECK_NEAR(reference(ta, tb, k, a, lda, b, ldb, i, j) + (double)beta * was, c[i * ldc + j],
                           BF16X3_TOLERANCE * sizes);
            else CHECK_NEAR(was, c[i * ldc + j], 0.0);
        }
    mem_free(a), mem_free(b), mem_free(c), mem_free(before);
}

TEST(products_of_three_parts_are_near_f32_in_every_transposition)
{
    rng r = {.seed = 4};
    gemm_room room = {0};
    for (int round = 0; round < 64; round++) split_round(&r, round & 1, round & 2, round & 4 ? 1.0f : 0.0f, &room);
    gemm_room_free(&room);
}

/* Whole squares, ragged ones and several runs of k: the bits of an item are those of its row and column alone. */
TEST(products_of_three_parts_have_the_same_bits_alone_and_among_others)
{
    enum { M = 70, N = 101, K = 900 };
    rng r = {.seed = 5};
    gemm_room room = {0};
    finch_error err = {0};
    float *a = floats(&r, M * K), *b = floats(&r, N * K), *whole = floats(&r, M * N), *one = floats(&r, N);
    if (!gemm_bf16x3_is_native()) { /* f32 products of oneDNN promise no such thing */
        printf("no AMX: bf16x3 is f32 here\n");
    } else {
        CHECK_OK(gemm_bf16x3(false, true, M, N, K, a, K, b, K, 0.0f, whole, N, &room, &err), &err);
        for (size_t row = 0; row < M; row++) {
            CHECK_OK(gemm_bf16x3(false, true, 1, N, K, a + row * K, K, b, K, 0.0f, one, N, &room, &err), &err);
            CHECK(memcmp(one, whole + row * N, N * sizeof *one) == 0);
        }
    }
    gemm_room_free(&room);
    mem_free(a), mem_free(b), mem_free(whole), mem_free(one);
}

TEST(more_shapes_than_the_cache_holds_are_right_too)
{
    rng r = {.seed = 2};
    for (int round = 0; round < 200; round++) product_round(&r, false, true, true, 0.0f);
}

TEST(products_from_several_threads_at_once_are_right)
{
    int wrong = 0;
#pragma omp parallel for num_threads(4) reduction(+ : wrong)
    for (int round = 0; round < 64; round++) {
        uint16_t one[64 * 64], two[64 * 64];
        float c[64 * 64];
        size_t n = 8 + (size_t)(round % 50);
        for (size_t i = 0; i < 64 * 64; i++) one[i] = 0x3f80, two[i] = 0x4000; /* 1 and 2 */
        wrong += gemm_bf16(false, false, n, n, n, one, 64, two, 64, 0.0f, c, 64, NULL) != FINCH_OK;
        for (size_t i = 0; i < n; i++) wrong += c[i * 64 + i] != 2.0f * (float)n;
    }
    CHECK_EQUAL(0, wrong);
}

TEST(impossible_products_are_refused)
{
    float x[4] = {0};
    uint16_t y[4] = {0};
    finch_error err = {0};
    CHECK_STATUS(FINCH_E_USAGE, gemm_f32(false, false, 2, 2, 2, x, 1, x, 2, 0.0f, x, 2, &err), &err);
    CHECK_STATUS(FINCH_E_USAGE, gemm_bf16(false, false, 1, 1, 1, y, 1, y, 1, 0.5f, x, 1, &err), &err);
    gemm_room room = {0};
    CHECK_STATUS(FINCH_E_USAGE, gemm_bf16x3(false, false, 2, 2, 2, x, 1, x, 2, 0.0f, x, 2, &room, &err), &err);
    CHECK_STATUS(FINCH_E_USAGE, gemm_bf16x3(false, false, 1, 1, 1, x, 1, x, 1, 0.5f, x, 1, &room, &err), &err);
}

TEST(a_product_over_nothing_scales_what_was_there)
{
    float c[2] = {3.0f, 5.0f}, none[1] = {0};
    finch_error err = {0};
    CHECK_OK(gemm_f32(false, false, 1, 2, 0, none, 1, none, 2, 1.0f, c, 2, &err), &err);
    CHECK_NEAR(3.0, c[0], 0.0);
    CHECK_OK(gemm_f32(false, false, 1, 2, 0, none, 1, none, 2, 0.0f, c, 2, &err), &err);
    CHECK_NEAR(0.0, c[1], 0.0);
}

/* ---- linear layers ------------------------------------------------------------------------------------------------- */

/* How far a packed layer may be from the exact product, over the sum of |x| |w|: rounding of f32; 2^-8 of each bf16
 * input; for int8 half a step of each of 255 input and 127 weight levels. */
static double linear_tolerance(linear_type type, size_t k)
{
    return type == LINEAR_F32 ? 1e-7 * (double)k : type == LINEAR_BF16 ? 0.008 : 0.02;
}

static void linear_round(rng *r, linear_type type)
{
    size_t rows = 1 + rng_below(r, 30), n_in = 1 + rng_below(r, 200), n_out = 1 + rng_below(r, 80);
    float *w = floats(r, n_out * n_in), *bias = floats(r, n_out), *x = floats(r, rows * n_in), *y = floats(r, rows * n_out);
    finch_error err = {0};
    arena a;
    linear l;
    linear_input in;
    ops o = ops_choose();
    arena_init(&a);
    CHECK_OK(linear_init(&l, type, n_out, n_in, &err), &err);
    CHECK_OK(linear_pack(&l, 0, n_out, w, bias, 0.5f, &err), &err);
    CHECK_OK(linear_input_alloc(&a, type, rows, n_in, &in, &err), &err);
    linear_input_fill(&o, &in, 0, rows, x, n_in, n_in);
    size_t split = n_out > 32 ? 32 : 0;
    linear_run(&o, &l, &in, split, n_out, y, n_out);
    if (split > 0) linear_run(&o, &l, &in, 0, split, y, n_out);
    for (size_t i = 0; i < rows; i++)
        for (size_t j = 0; j < n_out; j++) {
            double size = 1.0, largest_x = 0.0, largest_w = 0.0;
            for (size_t k = 0; k < n_in; k++) {
                size += fabs((double)x[i * n_in + k] * (double)w[j * n_in + k]);
                largest_x = fmax(largest_x, fabs((double)x[i * n_in + k]));
                largest_w = fmax(largest_w, fabs((double)w[j * n_in + k]));
            }
            if (type == LINEAR_INT8) size += largest_x * largest_w * sqrt((double)n_in);
            double wanted = 0.5 * (reference(false, true, n_in, x, n_in, w, n_in, i, j) + (double)bias[j]);
            CHECK_NEAR(wanted, y[i * n_out + j], linear_tolerance(type, n_in) * size + 1e-6);
        }
    linear_free(&l);
    arena_free(&a);
    mem_free(w), mem_free(bias), mem_free(x), mem_free(y);
}

TEST(packed_layers_are_right_in_every_type)
{
    rng r = {.seed = 3};
    for (int round = 0; round < 45; round++) linear_round(&r, (linear_type)(round % 3));
}

TEST(packing_int8_rows_gives_what_quantising_their_values_gives)
{
    int8_t q[2 * 6] = {127, -3, 0, 5, -127, 9, 1, 127, 3, 4, 5, 6};
    float scale[2] = {0.5f, 0.25f}, w[2 * 6], bias[2] = {1.0f, 2.0f};
    finch_error err = {0};
    linear from_int8, from_float;
    for (size_t i = 0; i < 12; i++) w[i] = (float)q[i] * scale[i / 6];
    CHECK_OK(linear_init(&from_int8, LINEAR_INT8, 2, 6, &err), &err);
    CHECK_OK(linear_init(&from_float, LINEAR_INT8, 2, 6, &err), &err);
    linear_pack_int8(&from_int8, 0, 2, q, scale, bias, 1.0f);
    CHECK_OK(linear_pack(&from_float, 0, 2, w, bias, 1.0f, &err), &err);
    CHECK(memcmp(from_int8.panels, from_float.panels, linear_bytes(&from_int8)) == 0);
    for (size_t i = 0; i < 2; i++) {
        CHECK_NEAR(from_int8.column_scale[i], from_float.column_scale[i], 1e-8);
        CHECK_NEAR(from_int8.column_sum[i], from_float.column_sum[i], 1e-5);
        CHECK_NEAR(bias[i], from_int8.bias[i], 0.0);
    }
    linear_free(&from_int8);
    linear_free(&from_float);
}

TEST(weights_that_are_not_finite_are_refused_with_their_row)
{
    float w[6] = {1.0f, 2.0f, 3.0f, 4.0f, NAN, 6.0f};
    finch_error err = {0};
    linear l;
    CHECK_OK(linear_init(&l, LINEAR_F32, 3, 2, &err), &err);
    CHECK_STATUS(FINCH_E_DATA, linear_pack(&l, 0, 3, w, NULL, 1.0f, &err), &err);
    CHECK_EQUAL(3, err.row);
    linear_free(&l);
    CHECK_STATUS(FINCH_E_UNSUPPORTED, linear_init(&l, LINEAR_INT8, 1, 1 << 20, &err), &err);
    linear_free(&l);
}
