/* The GPU's kernels of rows against the CPU's scalar definitions, on ragged shapes: norms, activations, embeddings, rotary positions,
 * quantisation, cross-entropy and AdamW. */
#include "gpu_case.h"

#include "tensor/decoder_ops.h"
#include "tensor/kernels/train_kernels.h"

/* Sums over a row in another order than the CPU's, of up to 300 items of size 1. */
#define NORM_TOLERANCE 2e-5
/* The CPU's GELU is a table at most 1e-6 off; products with a gate of size 3. */
#define ACTIVATION_TOLERANCE 6e-6
/* The CPU's training GELU: erf at most 2e-7 off, slopes of size 1. */
#define SLOPE_TOLERANCE 4e-6
#define SUM_TOLERANCE 1e-4

static const uint32_t widths[] = {1, 7, 32, 100, 200, 257};
static const gpu_type types[] = {GPU_F32, GPU_BF16};
enum { WIDTHS = sizeof widths / sizeof widths[0], TYPES = 2 };

/* ---- norms ---- */

static void check_layer_norm(gpu *g, rng *r, uint32_t rows, uint32_t width, gpu_type type, bool with_residual)
{
    size_t n = (size_t)rows * width;
    values x = values_make(g, r, n, type, 1, 0.5), residual = values_make(g, r, n, type, 1, 0),
           gain = values_make(g, r, width, GPU_F32, 0.2, 1), bias = values_make(g, r, width, GPU_F32, 1, 0),
           y = values_make(g, r, n, type, 1, 0), sum = values_make(g, r, n, type, 1, 0),
           stats = values_make(g, r, 2 * (size_t)rows, GPU_F32, 1, 0);
    float *expected = room(n, sizeof(float)), *mean = room(rows, sizeof(float)), *rstd = room(rows, sizeof(float)),
          *both = room(2 * (size_t)rows, sizeof(float));
    gpu_norm a = {.type = type,
                  .kind = GPU_LAYER_NORM,
                  .n_rows = rows,
                  .width = width,
                  .x = x.device,
                  .residual = with_residual ? residual.device : NULL,
                  .gain = gain.device,
                  .bias = bias.device,
                  .eps = 1e-5f,
                  .y = y.device,
                  .sum = sum.device,
                  .stats = stats.device};
    GPU_RUNS(g, norm, &a);
    kernel_layer_norm p = {
        x.host, with_residual ? residual.host : NULL, rows, width, gain.host, bias.host, 1e-5f, expected, mean, rstd};
    layer_norm_scalar(&p);
    for (size_t i = 0; i < rows; i++) both[2 * i] = mean[i], both[2 * i + 1] = rstd[i];
    double spread = width == 1
                        ? 1.0
                        : NORM_TOLERANCE; /* one item less its own mean: what is left is rounding, times 1 / sqrt(eps) */
    check_values(g, expected, &y, spread);
    for (size_t i = 0; i < n && with_residual; i++) x.host[i] += residual.host[i];
    check_values(g, x.host, &sum, 1e-6);
    if (width > 1) check_values(g, both, &stats, 1e-3);
    values_free(g, &x), values_free(g, &residual), values_free(g, &gain), values_free(g, &bias), values_free(g, &y),
        values_free(g, &sum), values_free(g, &stats);
    mem_free(expected), mem_free(mean), mem_free(rstd), mem_free(both);
}

static void layer_norms(gpu *g)
{
    rng r = {.seed = 1};
    for (size_t w = 0; w < WIDTHS; w++)
        for (size_t t = 0; t < TYPES; t++)
            for (uint32_t rows = 1; rows < 12; rows += 5) check_layer_norm(g, &r, rows, widths[w], types[t], rows > 1);
}
TEST(layer_norm_is_the_scalar_definition_s)
{
    on_every_module(layer_norms);
}

static void check_rms_norm(gpu *g, rng *r, uint32_t rows, uint32_t width, gpu_type type)
{
    size_t n = (size_t)rows * width;
    values x = values_make(g, r, n, type, 1, 0), after = values_make(g, r, n, type, 1, 0),
           gain = values_make(g, r, width, GPU_F32, 0.2, 0), stats = values_make(g, r, 2 * (size_t)rows, GPU_F32, 1, 0);
    float *expected = room(n, sizeof(float)), *whole_gain = room(width, sizeof(float));
    for (size_t i = 0; i < width; i++) whole_gain[i] = gain.host[i] + 1.0f;
    decoder_norm p = {x.host, width, rows, width, whole_gain, 1e-6f, after.host, expected, width};
    decoder_ops_find("scalar")->norm(&p);
    gpu_norm a = {.type = type,
                  .kind = GPU_RMS_NORM,
                  .n_rows = rows,
                  .width = width,
                  .x = x.device,
                  .after = after.device,
                  .gain = gain.device,
                  .gain_offset = 1.0f,
                  .eps = 1e-6f,
                  .y = x.device,
                  .stats = stats.device};
    GPU_RUNS(g, norm, &a); /* in place */
    check_values(g, expected, &x, NORM_TOLERANCE);
    values_free(g, &x), values_free(g, &after), values_free(g, &gain), values_free(g, &stats);
    mem_free(expected), mem_free(whole_gain);
}

static void rms_norms(gpu *g)
{
    rng r = {.seed = 2};
    for (size_t w = 0; w < WIDTHS; w++)
        for (size_t t = 0; t < TYPES; t++) check_rms_norm(g, &r, 5, widths[w], types[t]);
}
TEST(rms_norm_in_place_is_the_scalar_definition_s)
{
    on_every_module(rms_norms);
}

/* The gradient by the formula in double, for both kinds. */
static void norm_gradient(const values *dy, const values *s, const values *gain, size_t rows, size_t width, bool rms,
                          float *ds, float *stats, float *sum, float *scaled)
{
    memset(sum, 0, width * sizeof *sum), memset(scaled, 0, width * sizeof *scaled);
    for (size_t row = 0; row < rows; row++) {
        const float *x = s->host + row * width, *d = dy->host + row * width;
        double mean = 0, square = 0, first = 0, second = 0;
        for (size_t i = 0; i < width && !rms; i++) mean += (double)x[i] / (double)width;
        for (size_t i = 0; i < width; i++) square += ((double)x[i] - mean) * ((double)x[i] - mean) / (double)width;
        double rstd = 1 / sqrt(square + 1e-5);
        for (size_t i = 0; i < width; i++) {
            first += rms ? 0 : (double)d[i] * (double)gain->host[i] / (double)width;
            second += (double)d[i] * (double)gain->host[i] * ((double)x[i] - mean) * rstd / (double)width;
        }
        for (size_t i = 0; i < width; i++) {
            double h = ((double)x[i] - mean) * rstd;
            ds[row * width + i] = (float)(rstd * ((double)d[i] * (double)gain->host[i] - first - h * second));
            sum[i] += d[i];
            scaled[i] += (float)((double)d[i] * h);
        }
        stats[2 * row] = (float)mean, stats[2 * row + 1] = (float)rstd;
    }
}

static void check_norm_back(gpu *g, rng *r, uint32_t rows, uint32_t width, gpu_type type, gpu_norm_kind kind)
{
    size_t n = (size_t)rows * width;
    values dy = values_make(g, r, n, type, 1, 0), s = values_make(g, r, n, type, 1, 0.3),
           gain = values_make(g, r, width, GPU_F32, 0.2, 1), sum = values_make(g, r, width, GPU_F32, 0, 0),
           scaled = values_make(g, r, width, GPU_F32, 0, 0), ds = values_make(g, r, n, type, 1, 0);
    float *want_ds = room(n, sizeof(float)), *want_stats = room(2 * (size_t)rows, sizeof(float)),
          *want_sum = room(width, sizeof(float)), *want_scaled = room(width, sizeof(float));
    norm_gradient(&dy, &s, &gain, rows, width, kind == GPU_RMS_NORM, want_ds, want_stats, want_sum, want_scaled);
    float *stats = upload(g, want_stats, 2 * (size_t)rows * sizeof *want_stats);
    gpu_norm_back a = {type, kind, rows, width, dy.device, s.device, stats, gain.device, 0.0f, ds.device};
    gpu_columns c = {type, rows, width, dy.device, s.device, stats, sum.device, scaled.device};
    GPU_RUNS(g, norm_back, &a);
    GPU_RUNS(g, columns, &c);
    check_values(g, want_ds, &ds, NORM_TOLERANCE);
    check_values(g, want_sum, &sum, SUM_TOLERANCE);
    check_values(g, want_scaled, &scaled, SUM_TOLERANCE);
    GPU_RUNS(g, columns, &c); /* added to what is there */
    for (size_t i = 0; i < width; i++) want_sum[i] *= 2.0f;
    check_values(g, want_sum, &sum, 2 * SUM_TOLERANCE);
    g->table->release(g->context, stats);
    values_free(g, &dy), values_free(g, &s), values_free(g, &gain), values_free(g, &sum), values_free(g, &scaled),
        values_free(g, &ds);
    mem_free(want_ds), mem_free(want_stats), mem_free(want_sum), mem_free(want_scaled);
}

static void norms_back(gpu *g)
{
    rng r = {.seed = 3};
    for (size_t w = 1; w < WIDTHS; w++)
        for (size_t t = 0; t < TYPES; t++) {
            check_norm_back(g, &r, 19, widths[w], types[t], GPU_LAYER_NORM);
            check_norm_back(g, &r, 19, widths[w], types[t], GPU_RMS_NORM);
        }
}
TEST(the_norms_gradients_are_the_formula_s)
{
    on_every_module(norms_back);
}

/* ---- activations ---- */

static void check_activation(gpu *g, rng *r, uint32_t width, gpu_type type, gpu_function function, kernel_map definition,
                             bool gated)
{
    uint32_t rows = 6, ld = width + 3;
    size_t n = (size_t)rows * width;
    values x = values_make(g, r, n, type, 2, 0), up = values_make(g, r, (size_t)rows * ld, type, 1, 0),
           bias = values_make(g, r, width, GPU_F32, 1, 0);
    float *expected = room(n, sizeof(float));
    for (size_t i = 0; i < n; i++) expected[i] = x.host[i] + bias.host[i % width];
    definition(expected, n);
    for (size_t i = 0; i < n && gated; i++) expected[i] *= up.host[i / width * ld + i % width];
    gpu_activate a = {type,        function, rows, width, width, ld, width, x.device, gated ? up.device : NULL,
                      bias.device, x.device};
    GPU_RUNS(g, activate, &a);
    check_values(g, expected, &x, ACTIVATION_TOLERANCE);
    values_free(g, &x), values_free(g, &up), values_free(g, &bias);
    mem_free(expected);
}

static void activations(gpu *g)
{
    rng r = {.seed = 4};
    for (size_t w = 0; w < WIDTHS; w++)
        for (size_t t = 0; t < TYPES; t++) {
            check_activation(g, &r, widths[w], types[t], GPU_GELU, gelu_scalar, false);
            check_activation(g, &r, widths[w], types[t], GPU_GELU_TANH, gelu_tanh_scalar, true);
            check_activation(g, &r, widths[w], types[t], GPU_RELU, relu_scalar, false);
            check_activation(g, &r, widths[w], types[t], GPU_TANH, tanh_scalar, false);
        }
}
TEST(activations_and_the_gate_are_the_scalar_definitions)
{
    on_every_module(activations);
}

static void check_slopes(gpu *g, rng *r, uint32_t width, gpu_type type, gpu_function function, train_activation kind)
{
    uint32_t rows = 3;
    size_t n = (size_t)rows * width;
    values x = values_make(g, r, n, type, 2, 0), up = values_make(g, r, n, type, 1, 0),
           dy = values_make(g, r, n, type, 1, 0);
    float *slope = room(n, sizeof(float)), *h = room(n, sizeof(float)), *nothing = room(width, sizeof(float));
    memset(nothing, 0, width * sizeof *nothing);
    memcpy(slope, x.host, n * sizeof *slope);
    train_activate p = {.width = width, .kind = kind, .x = slope, .bias = nothing, .h = h};
    train_ops_scalar.activate(&p, 0, rows);
    for (size_t i = 0; i < n; i++) slope[i] *= dy.host[i] * up.host[i], h[i] *= dy.host[i];
    gpu_activate_back a = {.type = type,
                           .function = function,
                           .n_rows = rows,
                           .width = width,
                           .ldx = width,
                           .ldup = width,
                           .dy = dy.device,
                           .x = x.device,
                           .up = up.device,
                           .dx = x.device,
                           .dup = up.device};
    GPU_RUNS(g, activate_back, &a);
    check_values(g, slope, &x, SLOPE_TOLERANCE);
    check_values(g, h, &up, SLOPE_TOLERANCE);
    values_free(g, &x), values_free(g, &up), values_free(g, &dy);
    mem_free(slope), mem_free(h), mem_free(nothing);
}

static void slopes(gpu *g)
{
    rng r = {.seed = 5};
    for (size_t w = 0; w < WIDTHS; w++)
        for (size_t t = 0; t < TYPES; t++) {
            check_slopes(g, &r, widths[w], types[t], GPU_GELU, TRAIN_GELU);
            check_slopes(g, &r, widths[w], types[t], GPU_GELU_TANH, TRAIN_GELU_TANH);
            check_slopes(g, &r, widths[w], types[t], GPU_RELU, TRAIN_RELU);
        }
}
TEST(the_activations_gradients_are_the_scalar_definitions)
{
    on_every_module(slopes);
}

/* ---- rows ---- */

static void check_gather(gpu *g, rng *r, uint32_t width, gpu_type type)
{
    static const uint32_t id[] = {4, 0, 9, 4, 10, 3}, place[] = {0, 1, 2, 0, 0, 3};
    enum { ROWS = 6, WORDS = 10, PLACES = 3 };
    values words = values_make(g, r, (size_t)WORDS * width, type, 1, 0),
           places = values_make(g, r, (size_t)PLACES * width, type, 1, 0),
           y = values_make(g, r, (size_t)ROWS * width, type, 1, 0);
    void *ids = upload(g, id, sizeof id), *at = upload(g, place, sizeof place);
    gpu_gather a = {type, ROWS, width, WORDS, PLACES, words.device, places.device, ids, at, 2.0f, y.device};
    GPU_RUNS(g, gather, &a);
    float *actual = values_read(g, &y);
    for (size_t i = 0; i < (size_t)ROWS * width; i++) {
        size_t row = i / width, column = i % width;
        if (row >= 4) CHECK(isnan(actual[i])); /* a word and a place that are not there */
        else
            CHECK_NEAR(2.0f * words.host[id[row] * width + column] + places.host[place[row] * width + column], actual[i],
                       type == GPU_BF16 ? 0.05 : 1e-6);
    }
    mem_free(actual);
    g->table->release(g->context, ids), g->table->release(g->context, at);
    values_free(g, &words), values_free(g, &places), values_free(g, &y);
}

static void gathers(gpu *g)
{
    rng r = {.seed = 6};
    for (size_t w = 0; w < WIDTHS; w++)
        for (size_t t = 0; t < TYPES; t++) check_gather(g, &r, widths[w], types[t]);
}
TEST(gather_reads_no_row_that_is_not_there)
{
    on_every_module(gathers);
}

static void check_rotate(gpu *g, rng *r, uint32_t width, gpu_type type)
{
    static const uint32_t position[] = {0, 3, 1, 6, 2};
    enum { ROWS = 5, HEADS = 3, POSITIONS = 7 };
    uint32_t ld = HEADS * width + 2, half = width / 2;
    values x = values_make(g, r, (size_t)ROWS * ld, type, 1, 0),
           cosine = values_make(g, r, (size_t)POSITIONS * half, GPU_F32, 1, 0),
           sine = values_make(g, r, (size_t)POSITIONS * half, GPU_F32, 1, 0);
    void *places = upload(g, position, sizeof position);
    float *expected = room(x.n, sizeof(float));
    for (int inverse = 0; inverse < 2; inverse++) {
        float *now = values_read(g, &x);
        memcpy(expected, now, x.n * sizeof(float));
        for (size_t i = 0; inverse == 1 && i < sine.n; i++) sine.host[i] = -sine.host[i];
        for (size_t row = 0; row < ROWS; row++) {
            decoder_rotate p = {expected + row * ld, HEADS, width, cosine.host + position[row] * half,
                                sine.host + position[row] * half};
            decoder_ops_find("scalar")->rotate(&p);
        }
        gpu_rotate a = {type, ROWS, HEADS, width, ld, x.device, places, cosine.device, sine.device, inverse};
        GPU_RUNS(g, rotate, &a);
        check_values(g, expected, &x, 0.0);
        mem_free(now);
    }
    mem_free(expected);
    g->table->release(g->context, places);
    values_free(g, &x), values_free(g, &cosine), values_free(g, &sine);
}

static void rotations(gpu *g)
{
    rng r = {.seed = 7};
    for (size_t t = 0; t < TYPES; t++)
        for (uint32_t width = 2; width < 80; width += 26) check_rotate(g, &r, width, types[t]);
    char why[GPU_WHY_BYTES] = "";
    gpu_rotate odd = {.width = 5, .n_rows = 1, .n_heads = 1};
    CHECK(g->table->rotate(g->context, &odd, why) != 0);
    CHECK(strstr(why, "5 items have no pairs") != NULL);
}
TEST(rotation_is_the_scalar_definition_s_to_the_bit_and_turns_back)
{
    on_every_module(rotations);
}

/* ---- int8 ---- */

static void check_quantize(gpu *g, rng *r, uint32_t rows, uint32_t width, gpu_type type)
{
    uint32_t ld = (width + 15) / 16 * 16;
    size_t n = (size_t)rows * ld;
    values x = values_make(g, r, (size_t)rows * width, type, 2, 0.5);
    memset(x.host, 0, width * sizeof *x.host); /* a row of nothing */
    g->table->release(g->context, x.device);
    uint16_t *narrow = room(x.n, sizeof *narrow);
    narrow_scalar(x.host, narrow, x.n);
    x.device = type == GPU_F32 ? upload(g, x.host, x.n * sizeof(float)) : upload(g, narrow, x.n * sizeof *narrow);
    uint8_t *want = room(n, 1);
    int8_t *got = room(n, 1);
    float *want_scale = room(rows, sizeof(float)), *got_scale = room(rows, sizeof(float));
    int32_t *want_zero = room(rows, sizeof(int32_t)), *got_zero = room(rows, sizeof(int32_t));
    kernel_quantize p = {x.host, width, rows, width, want, ld, want_scale, want_zero};
    quantize_scalar(&p);
    void *q = upload(g, got, n), *scale = upload(g, got_scale, rows * sizeof(float)),
         *zero = upload(g, got_zero, rows * sizeof(int32_t));
    gpu_quantize a = {type, rows, width, ld, x.device, q, scale, zero};
    GPU_RUNS(g, quantize, &a);
    download(g, got, q, n), download(g, got_scale, scale, rows * sizeof(float)),
        download(g, got_zero, zero, rows * sizeof(int32_t));
    CHECK(memcmp(want_scale, got_scale, rows * sizeof(float)) == 0);
    for (size_t i = 0; i < rows; i++) CHECK_EQUAL(want_zero[i] - 128, got_zero[i]);
    for (size_t i = 0; i < n; i++) CHECK_EQUAL(i % ld < width ? (int)want[i] - 128 : 0, got[i]);
    g->table->release(g->context, q), g->table->release(g->context, scale), g->table->release(g->context, zero);
    values_free(g, &x);
    mem_free(narrow), mem_free(want), mem_free(got), mem_free(want_scale), mem_free(got_scale), mem_free(want_zero),
        mem_free(got_zero);
}

static void quantisations(gpu *g)
{
    rng r = {.seed = 8};
    for (size_t w = 0; w < WIDTHS; w++)
        for (size_t t = 0; t < TYPES; t++) check_quantize(g, &r, 6, widths[w], types[t]);
}
TEST(quantised_rows_are_the_scalar_definition_s_less_128)
{
    on_every_module(quantisations);
}

/* With the product made here, quantise and dequantise are the CPU's int8 layer to the bit. */
static void int8_products(gpu *g)
{
    enum { ROWS = 5, K = 36, COLUMNS = 32 };
    rng r = {.seed = 9};
    values x = values_make(g, &r, (size_t)ROWS * K, GPU_F32, 1, 0), bias = values_make(g, &r, COLUMNS, GPU_F32, 1, 0),
           y = values_make(g, &r, (size_t)ROWS * COLUMNS, GPU_F32, 1, 0),
           column_scale = values_make(g, &r, COLUMNS, GPU_F32, 0.01, 0.1),
           column_sum = values_make(g, &r, COLUMNS, GPU_F32, 0, 0);
    int8_t b[COLUMNS][K], panel[K * COLUMNS], q[ROWS * K];
    uint8_t a8[ROWS * K];
    float scale[ROWS], expected[ROWS * COLUMNS];
    int32_t zero[ROWS], product[ROWS * COLUMNS], total[COLUMNS];
    for (size_t j = 0; j < COLUMNS; j++) {
        int32_t sum = 0;
        for (size_t k = 0; k < K; k++) {
            b[j][k] = (int8_t)((int)rng_below(&r, 255) - 127);
            panel[k / 4 * 128 + j * 4 + k % 4] = b[j][k];
            sum += b[j][k];
        }
        column_sum.host[j] = column_scale.host[j] * (float)sum;
        total[j] = sum;
    }
    kernel_quantize quantize = {x.host, K, ROWS, K, a8, K, scale, zero};
    quantize_scalar(&quantize);
    kernel_product_int8 p = {.a = a8,
                             .lda = K,
                             .n_rows = ROWS,
                             .k = K,
                             .b = panel,
                             .panel_stride = sizeof panel,
                             .n_cols = COLUMNS,
                             .row_scale = scale,
                             .zero = zero,
                             .column_scale = column_scale.host,
                             .column_sum = column_sum.host,
                             .column_total = total,
                             .bias = bias.host,
                             .c = expected,
                             .ldc = COLUMNS};
    product_int8_scalar(&p);
    void *on_q = upload(g, q, sizeof q), *on_scale = upload(g, scale, sizeof scale), *on_zero = upload(g, zero, sizeof zero);
    void *on_sum = upload(g, column_sum.host, COLUMNS * sizeof(float));
    gpu_quantize quantise = {GPU_F32, ROWS, K, K, x.device, on_q, on_scale, on_zero};
    GPU_RUNS(g, quantize, &quantise);
    download(g, q, on_q, sizeof q);
    for (size_t i = 0; i < ROWS * COLUMNS; i++) {
        product[i] = 0;
        for (size_t k = 0; k < K; k++) product[i] += q[i / COLUMNS * K + k] * b[i % COLUMNS][k];
    }
    void *on_product = upload(g, product, sizeof product);
    gpu_dequantize d = {GPU_F32, ROWS,        COLUMNS, on_product, on_scale, on_zero, column_scale.device,
                        on_sum,  bias.device, y.device};
    GPU_RUNS(g, dequantize, &d);
    check_values(g, expected, &y,
                 1e-4); /* sums less 128 times the column's are other integers: the last fma rounds elsewhere */
    g->table->release(g->context, on_q), g->table->release(g->context, on_scale), g->table->release(g->context, on_zero);
    g->table->release(g->context, on_product), g->table->release(g->context, on_sum);
    values_free(g, &x), values_free(g, &bias), values_free(g, &y), values_free(g, &column_scale),
        values_free(g, &column_sum);
}
TEST(an_int8_layer_is_the_cpu_s)
{
    on_every_module(int8_products);
}

/* ---- cross-entropy, AdamW ---- */

static void check_cross_entropy(gpu *g, rng *r, uint32_t n, gpu_type type, int grad)
{
    enum { ROWS = 5 };
    uint32_t ld = n + 2;
    values x = values_make(g, r, (size_t)ROWS * ld, type, 2, 0), bias = values_make(g, r, n, GPU_F32, 1, 0);
    float *expected = room(x.n, sizeof(float)), *logits = room(n, sizeof(float)), want_loss[ROWS], loss[ROWS] = {0};
    int32_t target[ROWS], hit[ROWS] = {0}, want_hit[ROWS] = {0};
    memcpy(expected, x.host, x.n * sizeof(float));
    for (size_t row = 0; row < ROWS; row++) {
        target[row] = row == 1 ? GPU_IGNORE : row == 2 ? (int32_t)n : (int32_t)rng_below(r, n);
        memcpy(logits, x.host + row * ld, n * sizeof(float));
        train_vocab_row p = {.x = logits,
                             .bias = bias.host,
                             .n = n,
                             .target = row == 1 || row == 2 ? 0 : (size_t)target[row],
                             .scale = 0.25f,
                             .grad = true};
        train_ops_scalar.vocab_row(&p);
        want_loss[row] = row == 1 ? 0.0f : row == 2 ? NAN : (float)p.loss;
        want_hit[row] = row != 1 && row != 2 && p.hit;
        if (row == 2) logits[0] += 0.25f;
        for (size_t i = 0; i < n && grad; i++) expected[row * ld + i] = row == 1 ? 0.0f : logits[i];
    }
    void *on_target = upload(g, target, sizeof target), *on_loss = upload(g, loss, sizeof loss),
         *on_hit = upload(g, hit, sizeof hit);
    gpu_cross_entropy a = {type, ROWS, n, ld, x.device, bias.device, on_target, 0.25f, grad, on_loss, on_hit};
    GPU_RUNS(g, cross_entropy, &a);
    check_values(g, expected, &x, 1e-6);
    download(g, loss, on_loss, sizeof loss), download(g, hit, on_hit, sizeof hit);
    for (size_t row = 0; row < ROWS; row++) {
        if (row == 2) CHECK(isnan(loss[row]));
        else CHECK_NEAR(want_loss[row], loss[row], 1e-5);
        CHECK_EQUAL(want_hit[row], hit[row]);
    }
    g->table->release(g->context, on_target), g->table->release(g->context, on_loss), g->table->release(g->context, on_hit);
    values_free(g, &x), values_free(g, &bias);
    mem_free(expected), mem_free(logits);
}

static void cross_entropies(gpu *g)
{
    static const uint32_t classes[] = {2, 5, 300, 1025};
    rng r = {.seed = 10};
    for (size_t i = 0; i < 4; i++)
        for (size_t t = 0; t < TYPES; t++) check_cross_entropy(g, &r, classes[i], types[t], i != 1);
}
TEST(cross_entropy_is_the_scalar_definition_s)
{
    on_every_module(cross_entropies);
}

static void check_adamw(gpu *g)
{
    enum { TENSORS = 3 };
    static const size_t sizes[TENSORS] = {1, 0, 5000};
    static const train_adamw step = {0.5f, 0.1f, 0.999f, 0.001f, 1e-8f, 0.9999f, 1e-3f, 1.25f};
    rng r = {.seed = 11};
    values p[TENSORS], grad[TENSORS], m[TENSORS], v[TENSORS], p16[TENSORS];
    gpu_adamw_tensor list[TENSORS];
    for (size_t i = 0; i < TENSORS; i++) {
        size_t n = sizes[i];
        p[i] = values_make(g, &r, n, GPU_F32, 1, 0), grad[i] = values_make(g, &r, n, GPU_F32, 1, 0),
        m[i] = values_make(g, &r, n, GPU_F32, 1, 0);
        v[i] = values_make(g, &r, n, GPU_F32, 0.1, 2), p16[i] = values_make(g, &r, n, GPU_BF16, 1, 0);
        list[i] = (gpu_adamw_tensor){
            p[i].device, grad[i].device, m[i].device, v[i].device, i == 0 ? NULL : p16[i].device, n};
    }
    void *tensors = upload(g, list, sizeof list);
    gpu_adamw a = {tensors,      TENSORS,    step.clip,      step.one_minus_beta1, step.beta2, step.one_minus_beta2,
                   step.epsilon, step.decay, step.step_size, step.correction};
    GPU_RUNS(g, adamw, &a);
    for (size_t i = 0; i < TENSORS; i++) {
        train_ops_scalar.adamw(&step, p[i].host, grad[i].host, m[i].host, v[i].host, sizes[i]);
        check_values(g, p[i].host, &p[i], 0.0), check_values(g, m[i].host, &m[i], 0.0),
            check_values(g, v[i].host, &v[i], 0.0);
        float *narrow = values_read(g, &p16[i]);
        for (size_t k = 0; i > 0 && k < sizes[i]; k++) CHECK_NEAR(p[i].host[k], narrow[k], fabs((double)p[i].host[k]) / 256);
        mem_free(narrow);
        values_free(g, &p[i]), values_free(g, &grad[i]), values_free(g, &m[i]), values_free(g, &v[i]),
            values_free(g, &p16[i]);
    }
    g->table->release(g->context, tensors);
}
TEST(adamw_of_many_tensors_is_the_scalar_definition_s_to_the_bit)
{
    on_every_module(check_adamw);
}
