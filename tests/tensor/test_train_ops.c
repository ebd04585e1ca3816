/* The training operators: every variant against the scalar one, bit for bit, over random ragged shapes; and the scalar one
 * against plain formulas in double, written here once more. */
#include "base/rng.h"
#include "harness.h"
#include "tensor/train_ops.h"

#include <stdlib.h>

static const char *const variants[] = {"avx2", "avx512"};
enum { N_VARIANTS = 2, ITEMS = 64 * 96, ROUNDS = 60 };

static rng random_numbers = {.seed = 77};

static size_t pick(size_t low, size_t high) { return low + (size_t)rng_below(&random_numbers, high - low + 1); }

static void fill(float *x, size_t n, double scale)
{
    for (size_t i = 0; i < n; i++) x[i] = (float)(scale * rng_normal(&random_numbers));
}

static void fill_words(uint16_t *words, size_t n)
{
    for (size_t i = 0; i < n; i++) words[i] = (uint16_t)rng_u32(&random_numbers);
}

static bool kept(const uint16_t *keep, size_t row, size_t column, size_t width)
{
    return keep == NULL || (keep[row * ((width + 15) / 16) + column / 16] >> (column % 16) & 1) != 0;
}

static double bf16_value(uint16_t x)
{
    uint32_t bits = (uint32_t)x << 16;
    float value;
    memcpy(&value, &bits, sizeof value);
    return (double)value;
}

/* Runs body for the scalar variant and each other that this CPU has. */
#define EACH_VARIANT(ops)                                                       \
    for (size_t variant_index = 0; variant_index < N_VARIANTS; variant_index++) \
        for (const train_ops *ops = train_ops_find(variants[variant_index]); ops != NULL; ops = NULL)

static const train_ops *scalar(void) { return train_ops_find("scalar"); }

/* ---- layer norm ------------------------------------------------------------------------------------------------ */

typedef struct norm_case {
    size_t rows, width;
    float x[ITEMS], residual[ITEMS], gain[200], shift[200], bias[200], dy[ITEMS];
    uint16_t keep[ITEMS], out_keep[ITEMS];
    bool with_keep, with_out_keep, with_residual, with_bias;
} norm_case;

typedef struct norm_result {
    float s[ITEMS], stats[256], out[ITEMS], ds[ITEMS], dx[ITEMS], partial[600];
    uint16_t out16[ITEMS], dx16[ITEMS];
} norm_result;

static void make_norm(norm_case *c)
{
    memset(c, 0, sizeof *c);
    c->rows = pick(1, 30);
    c->width = pick(1, 200);
    fill(c->x, ITEMS, 2.0);
    fill(c->residual, ITEMS, 1.0);
    fill(c->dy, ITEMS, 1.0);
    fill(c->gain, 200, 1.0);
    fill(c->shift, 200, 1.0);
    fill(c->bias, 200, 1.0);
    fill_words(c->keep, ITEMS);
    fill_words(c->out_keep, ITEMS);
    c->with_keep = pick(0, 1) == 1;
    c->with_out_keep = pick(0, 1) == 1;
    c->with_residual = pick(0, 1) == 1;
    c->with_bias = pick(0, 1) == 1;
}

static void run_norm(const train_ops *ops, const norm_case *c, norm_result *r)
{
    memset(r, 0, sizeof *r);
    memcpy(r->s, c->x, sizeof r->s);
    train_norm a = {.width = c->width,
                    .x = r->s,
                    .bias = c->with_bias ? c->bias : NULL,
                    .keep = c->with_keep ? c->keep : NULL,
                    .keep_scale = 2.0f,
                    .residual = c->with_residual ? c->residual : NULL,
                    .gain = c->gain,
                    .shift = c->shift,
                    .eps = 1e-5f,
                    .stats = r->stats,
                    .out_keep = c->with_out_keep ? c->out_keep : NULL,
                    .out_scale = 1.5f,
                    .out = r->out,
                    .out16 = r->out16};
    ops->norm(&a, 0, c->rows / 2);
    ops->norm(&a, c->rows / 2, c->rows);
    train_norm_back b = {.width = c->width,
                         .dy = c->dy,
                         .s = r->s,
                         .stats = r->stats,
                         .gain = c->gain,
                         .out_keep = a.out_keep,
                         .out_scale = 1.5f,
                         .ds = r->ds,
                         .keep = a.keep,
                         .keep_scale = 2.0f,
                         .dx = r->dx,
                         .dx16 = r->dx16};
    ops->norm_back(&b, 0, c->rows, r->partial);
}

/* The backward pass of one row in double, from the definition. */
static void check_norm_row(const norm_case *c, const norm_result *r, size_t row, double *dgain)
{
    size_t w = c->width;
    double s[200], g[200], mean = 0.0, var = 0.0, mean_g = 0.0, mean_gx = 0.0;
    for (size_t i = 0; i < w; i++) {
        size_t at = row * w + i;
        s[i] = (double)c->x[at] + (c->with_bias ? (double)c->bias[i] : 0.0);
        if (c->with_keep) s[i] = kept(c->keep, row, i, w) ? 2.0 * s[i] : 0.0;
        s[i] += c->with_residual ? (double)c->residual[at] : 0.0;
        mean += s[i] / (double)w;
    }
    for (size_t i = 0; i < w; i++) var += (s[i] - mean) * (s[i] - mean) / (double)w;
    double rstd = 1.0 / sqrt(var + 1e-5);
    for (size_t i = 0; i < w; i++) {
        double out_scale = !c->with_out_keep ? 1.0 : kept(c->out_keep, row, i, w) ? 1.5 : 0.0;
        double hat = (s[i] - mean) * rstd, y = out_scale * (hat * (double)c->gain[i] + (double)c->shift[i]);
        double tolerance = 2e-5 * (1.0 + rstd) * (1.0 + fabs((double)c->gain[i]));
        CHECK_NEAR(y, r->out[row * w + i], tolerance);
        CHECK_NEAR((double)r->out[row * w + i], bf16_value(r->out16[row * w + i]),
                   fabs((double)r->out[row * w + i]) / 256.0 + 1e-30);
        g[i] = out_scale * (double)c->dy[row * w + i] * (double)c->gain[i];
        mean_g += g[i] / (double)w;
        mean_gx += g[i] * hat / (double)w;
        dgain[i] += out_scale * (double)c->dy[row * w + i] * hat;
    }
    for (size_t i = 0; i < w; i++) {
        double ds = rstd * (g[i] - mean_g - (s[i] - mean) * rstd * mean_gx);
        double dx = !c->with_keep ? ds : kept(c->keep, row, i, w) ? 2.0 * ds : 0.0;
        CHECK_NEAR(ds, r->ds[row * w + i], 1e-4 * (1.0 + rstd * rstd));
        CHECK_NEAR(dx, r->dx[row * w + i], 2e-4 * (1.0 + rstd * rstd));
    }
}

TEST(layer_norms_agree)
{
    static norm_case c;
    static norm_result expected, got;
    for (int round = 0; round < ROUNDS; round++) {
        double dgain[200] = {0.0};
        make_norm(&c);
        run_norm(scalar(), &c, &expected);
        for (size_t row = 0; row < c.rows; row++) check_norm_row(&c, &expected, row, dgain);
        for (size_t i = 0; i < c.width; i++) CHECK_NEAR(dgain[i], expected.partial[i], 1e-3);
        EACH_VARIANT(ops)
        {
            run_norm(ops, &c, &got);
            CHECK(memcmp(&expected, &got, sizeof got) == 0);
        }
    }
}

/* ---- activations ----------------------------------------------------------------------------------------------- */

static double activation(train_activation kind, double x, double *slope)
{
    if (kind == TRAIN_RELU) {
        *slope = x > 0.0 ? 1.0 : 0.0;
        return x > 0.0 ? x : 0.0;
    }
    if (kind == TRAIN_GELU) {
        double cdf = 0.5 * erfc(-x / sqrt(2.0));
        *slope = cdf + x * exp(-0.5 * x * x) / sqrt(2.0 * 3.14159265358979323846);
        return x * cdf;
    }
    double c = sqrt(2.0 / 3.14159265358979323846), t = tanh(c * (x + 0.044715 * x * x * x));
    *slope = 0.5 * (1.0 + t) + 0.5 * x * (1.0 - t * t) * c * (1.0 + 3.0 * 0.044715 * x * x);
    return 0.5 * x * (1.0 + t);
}

typedef struct activation_result {
    float slope[ITEMS], h[ITEMS], dx[ITEMS], partial[200];
    uint16_t h16[ITEMS], dx16[ITEMS];
} activation_result;

static void run_activation(const train_ops *ops, train_activation kind, size_t rows, size_t width, const float *x,
                           const float *bias, const float *dh, activation_result *r)
{
    memset(r, 0, sizeof *r);
    memcpy(r->slope, x, sizeof r->slope);
    train_activate a = {.width = width, .kind = kind, .x = r->slope, .bias = bias, .h = r->h, .h16 = r->h16};
    ops->activate(&a, 0, rows);
    train_activate_back b = {.width = width, .dh = dh, .slope = r->slope, .dx = r->dx, .dx16 = r->dx16};
    ops->activate_back(&b, 0, rows, r->partial);
}

TEST(activations_agree)
{
    static float x[ITEMS], dh[ITEMS], bias[200];
    static activation_result expected, got;
    for (int round = 0; round < ROUNDS; round++) {
        train_activation kind = (train_activation)(round % 3);
        size_t rows = pick(1, 30), width = pick(1, 200);
        fill(x, ITEMS, round % 5 == 0 ? 20.0 : 2.0);
        fill(dh, ITEMS, 1.0);
        fill(bias, 200, 0.5);
        run_activation(scalar(), kind, rows, width, x, bias, dh, &expected);
        double partial[200] = {0.0};
        for (size_t i = 0; i < rows * width; i++) {
            double slope, in = (double)(x[i] + bias[i % width]), h = activation(kind, in, &slope);
            CHECK_NEAR(h, expected.h[i], 2e-6 * (1.0 + fabs(in)));
            CHECK_NEAR(slope, expected.slope[i], 4e-6);
            CHECK_NEAR(slope * (double)dh[i], expected.dx[i], 2e-5);
            partial[i % width] += slope * (double)dh[i];
        }
        for (size_t i = 0; i < width; i++) CHECK_NEAR(partial[i], expected.partial[i], 2e-4);
        EACH_VARIANT(ops)
        {
            run_activation(ops, kind, rows, width, x, bias, dh, &got);
            CHECK(memcmp(&expected, &got, sizeof got) == 0);
        }
    }
}

/* ---- attention ------------------------------------------------------------------------------------------------- */

enum { KEYS = 50, WIDTH = 40, LD = 130 };

typedef struct attention_case {
    size_t n_queries, n_keys, width;
    float q[KEYS * LD], k[KEYS * LD], v[KEYS * LD], bias[3 * WIDTH], relative[2 * KEYS], dout[KEYS * LD];
    uint32_t place[KEYS];
    uint16_t keep[KEYS * 4];
    bool with_keep, with_relative, with_place;
} attention_case;

typedef struct attention_result {
    float q[KEYS * LD], k[KEYS * LD], v[KEYS * LD], probs[KEYS * 64], out[KEYS * LD];
    float dq[KEYS * LD], dk[KEYS * LD], dv[KEYS * LD], sums[3 * WIDTH], drelative[2 * KEYS];
    uint16_t out16[KEYS * LD], dq16[KEYS * LD], dk16[KEYS * LD], dv16[KEYS * LD];
} attention_result;

static void make_attention(attention_case *c)
{
    memset(c, 0, sizeof *c);
    c->n_keys = pick(1, KEYS);
    c->width = pick(1, WIDTH);
    c->with_place = pick(0, 1) == 1;
    c->n_queries = c->with_place ? pick(1, c->n_keys) : c->n_keys;
    for (uint32_t i = 0; i < c->n_queries; i++) c->place[i] = (uint32_t)(c->n_keys - c->n_queries) + i;
    fill(c->q, KEYS * LD, 1.0);
    fill(c->k, KEYS * LD, 1.0);
    fill(c->v, KEYS * LD, 1.0);
    fill(c->dout, KEYS * LD, 1.0);
    fill(c->bias, 3 * WIDTH, 0.5);
    fill(c->relative, 2 * KEYS, 1.0);
    fill_words(c->keep, KEYS * 4);
    c->with_keep = pick(0, 1) == 1;
    c->with_relative = pick(0, 1) == 1;
}

static void run_attention(const train_ops *ops, const attention_case *c, attention_result *r, float *scratch)
{
    memset(r, 0, sizeof *r);
    memcpy(r->q, c->q, sizeof r->q);
    memcpy(r->k, c->k, sizeof r->k);
    memcpy(r->v, c->v, sizeof r->v);
    train_attention a = {.n_queries = c->n_queries,
                         .n_keys = c->n_keys,
                         .width = c->width,
                         .q = r->q,
                         .k = r->k,
                         .v = r->v,
                         .ldq = LD,
                         .ldk = LD,
                         .bias_q = c->bias,
                         .bias_k = c->bias + WIDTH,
                         .bias_v = c->bias + 2 * WIDTH,
                         .scale = 0.3f,
                         .place = c->with_place ? c->place : NULL,
                         .relative = c->with_relative ? c->relative + KEYS : NULL,
                         .probs = r->probs,
                         .ldp = (c->n_keys + 15) / 16 * 16,
                         .keep = c->with_keep ? c->keep : NULL,
                         .keep_scale = 2.0f,
                         .out = r->out,
                         .ldo = LD,
                         .scratch = scratch};
    ops->attention(&a);
    a.dout = c->dout;
    a.dq = r->dq, a.dk = r->dk, a.dv = r->dv;
    a.dq16 = r->dq16, a.dk16 = r->dk16, a.dv16 = r->dv16;
    a.sum_q = r->sums, a.sum_k = r->sums + WIDTH, a.sum_v = r->sums + 2 * WIDTH;
    a.relative_grad = c->with_relative ? r->drelative + KEYS : NULL;
    ops->attention_back(&a);
}

/* Everything again in double, index by index. */
static void check_attention(const attention_case *c, const attention_result *r)
{
    static double p[KEYS][KEYS], ds[KEYS][KEYS];
    size_t nq = c->n_queries, nk = c->n_keys, w = c->width, ldp = (nk + 15) / 16 * 16;
    for (size_t i = 0; i < nq; i++) {
        double sum = 0.0, dot = 0.0, dp[KEYS];
        for (size_t j = 0; j < nk; j++) {
            double s = 0.0;
            for (size_t e = 0; e < w; e++)
                s += ((double)c->q[i * LD + e] + (double)c->bias[e]) *
                     ((double)c->k[j * LD + e] + (double)c->bias[WIDTH + e]);
            size_t from = c->with_place ? c->place[i] : i;
            p[i][j] = exp(0.3 * s + (c->with_relative ? (double)c->relative[KEYS + j - from] : 0.0));
            sum += p[i][j];
        }
        for (size_t j = 0; j < nk; j++) {
            double mask = !c->with_keep ? 1.0 : kept(c->keep, i, j, ldp) ? 2.0 : 0.0;
            p[i][j] /= sum;
            CHECK_NEAR(p[i][j], r->probs[i * ldp + j], 1e-5);
            dp[j] = 0.0;
            for (size_t e = 0; e < w; e++)
                dp[j] += (double)c->dout[i * LD + e] * ((double)c->v[j * LD + e] + (double)c->bias[2 * WIDTH + e]);
            dp[j] *= mask;
            dot += dp[j] * p[i][j];
        }
        for (size_t j = 0; j < nk; j++) ds[i][j] = p[i][j] * (dp[j] - dot);
        for (size_t e = 0; e < w; e++) {
            double out = 0.0, dq = 0.0;
            for (size_t j = 0; j < nk; j++) {
                double mask = !c->with_keep ? 1.0 : kept(c->keep, i, j, ldp) ? 2.0 : 0.0;
                out += mask * p[i][j] * ((double)c->v[j * LD + e] + (double)c->bias[2 * WIDTH + e]);
                dq += 0.3 * ds[i][j] * ((double)c->k[j * LD + e] + (double)c->bias[WIDTH + e]);
            }
            CHECK_NEAR(out, r->out[i * LD + e], 5e-5);
            CHECK_NEAR(dq, r->dq[i * LD + e], 2e-4);
        }
    }
    for (size_t j = 0; j < nk; j++)
        for (size_t e = 0; e < w; e++) {
            double dk = 0.0, dv = 0.0;
            for (size_t i = 0; i < nq; i++) {
                double mask = !c->with_keep ? 1.0 : kept(c->keep, i, j, ldp) ? 2.0 : 0.0;
                dk += 0.3 * ds[i][j] * ((double)c->q[i * LD + e] + (double)c->bias[e]);
                dv += mask * p[i][j] * (double)c->dout[i * LD + e];
            }
            CHECK_NEAR(dk, r->dk[j * LD + e], 2e-4);
            CHECK_NEAR(dv, r->dv[j * LD + e], 2e-4);
        }
    for (size_t d = 0; c->with_relative && d < 2 * KEYS; d++) {
        double sum = 0.0;
        for (size_t i = 0; i < nq; i++)
            for (size_t j = 0; j < nk; j++)
                if (KEYS + j - (c->with_place ? c->place[i] : i) == d) sum += ds[i][j];
        CHECK_NEAR(sum, r->drelative[d], 2e-4);
    }
}

TEST(attentions_agree)
{
    static attention_case c;
    static attention_result expected, got;
    finch_error err;
    float *scratch;
    CHECK_OK(mem_alloc(train_attention_scratch(KEYS, KEYS, WIDTH), sizeof *scratch, (void **)&scratch, &err), &err);
    for (int round = 0; round < ROUNDS; round++) {
        make_attention(&c);
        run_attention(scalar(), &c, &expected, scratch);
        check_attention(&c, &expected);
        for (size_t i = 0; i < KEYS * LD; i++)
            CHECK_NEAR(expected.dk[i], bf16_value(expected.dk16[i]), fabs((double)expected.dk[i]) / 256.0 + 1e-30);
        EACH_VARIANT(ops)
        {
            run_attention(ops, &c, &got, scratch);
            CHECK(memcmp(&expected, &got, sizeof got) == 0);
        }
    }
    mem_free(scratch);
}

/* ---- the vocabulary -------------------------------------------------------------------------------------------- */

TEST(vocabulary_rows_agree)
{
    static float first[1000], x[1000], bias[1000], expected[1000];
    static uint16_t x16[1000], expected16[1000];
    for (int round = 0; round < ROUNDS; round++) {
        size_t n = pick(1, 1000);
        fill(first, 1000, 4.0);
        fill(bias, 1000, 1.0);
        memcpy(expected, first, sizeof first);
        train_vocab_row want = {
            .x = expected, .x16 = expected16, .bias = bias, .n = n, .target = pick(0, n - 1), .scale = 0.25f, .grad = true};
        size_t target = want.target;
        scalar()->vocab_row(&want);
        double sum = 0.0, own = (double)(first[target] + bias[target]), best = -1e30;
        for (size_t i = 0; i < n; i++) {
            sum += exp((double)(first[i] + bias[i]));
            best = fmax(best, (double)(first[i] + bias[i]));
        }
        CHECK_NEAR(log(sum) - own, want.loss, 2e-5);
        CHECK(want.hit == (own >= best));
        for (size_t i = 0; i < n; i++)
            CHECK_NEAR(0.25 * (exp((double)(first[i] + bias[i])) / sum - (i == target ? 1.0 : 0.0)), expected[i], 2e-6);
        EACH_VARIANT(ops)
        {
            memcpy(x, first, sizeof x);
            train_vocab_row row = {.x = x, .x16 = x16, .bias = bias, .n = n, .target = target, .scale = 0.25f, .grad = true};
            ops->vocab_row(&row);
            CHECK(row.loss == want.loss && row.hit == want.hit);
            CHECK(memcmp(x, expected, n * sizeof *x) == 0);
            CHECK(memcmp(x16, expected16, n * sizeof *x16) == 0);
        }
    }
}

/* ---- sums, bf16, the optimiser ---------------------------------------------------------------------------------- */

TEST(sums_and_narrowing_agree)
{
    static float x[ITEMS], sums[100], expected_sums[100];
    static uint16_t narrow[ITEMS], expected[ITEMS];
    for (int round = 0; round < ROUNDS; round++) {
        size_t n = pick(1, ITEMS), rows = pick(1, 40), width = pick(1, 100);
        double squares = 0.0;
        fill(x, ITEMS, 1.0);
        x[0] = NAN;
        x[n / 2] = INFINITY;
        scalar()->bf16(x, expected, n);
        CHECK(isnan(bf16_value(expected[0])) || n / 2 == 0);
        fill(x, ITEMS, 1.0);
        for (size_t i = 0; i < n; i++) squares += (double)x[i] * (double)x[i];
        CHECK_NEAR(squares, scalar()->square_sum(x, n), 1e-6 * squares);
        memset(expected_sums, 0, sizeof expected_sums);
        scalar()->column_sum(x, rows, width, width + 3, expected_sums);
        for (size_t c = 0; c < width; c++) {
            double sum = 0.0;
            for (size_t r = 0; r < rows; r++) sum += (double)x[r * (width + 3) + c];
            CHECK_NEAR(sum, expected_sums[c], 1e-4);
        }
        scalar()->bf16(x, expected, n);
        EACH_VARIANT(ops)
        {
            memset(sums, 0, sizeof sums);
            ops->column_sum(x, rows, width, width + 3, sums);
            ops->bf16(x, narrow, n);
            CHECK(memcmp(sums, expected_sums, sizeof sums) == 0);
            CHECK(memcmp(narrow, expected, n * sizeof *narrow) == 0);
            CHECK(ops->square_sum(x, n) == scalar()->square_sum(x, n));
        }
    }
}

TEST(optimiser_steps_agree_and_a_replay_is_a_step_without_gradient)
{
    enum { N = 100, PAST = 900 }; /* long enough for moments to leave the range of normal numbers */
    static float p[N], m[N], v[N], g[N], zero[N], p2[N], m2[N], v2[N];
    static train_adamw_past past[PAST];
    const train_ops *all[] = {scalar(), train_ops_find("avx2"), train_ops_find("avx512")};
    for (size_t which = 0; which < 3; which++) {
        if (all[which] == NULL) continue;
        random_numbers = (rng){.seed = 5};
        fill(p, N, 1.0);
        fill(g, N, 1e-3);
        memset(m, 0, sizeof m);
        memset(v, 0, sizeof v);
        train_adamw c = {.clip = 0.7f,
                         .one_minus_beta1 = 0.1f,
                         .beta2 = 0.999f,
                         .one_minus_beta2 = 0.001f,
                         .epsilon = 1e-8f,
                         .decay = 0.9999f,
                         .step_size = 1e-3f,
                         .correction = 10.0f};
        all[which]->adamw(&c, p, g, m, v, N / 2); /* the other half has no moments */
        memcpy(p2, p, sizeof p);
        memcpy(m2, m, sizeof m);
        memcpy(v2, v, sizeof v);
        for (size_t i = 0; i < PAST; i++) {
            c.step_size = 1e-3f / (float)(i + 1);
            past[i] = (train_adamw_past){c.decay, c.step_size, c.correction};
            scalar()->adamw(&c, p2, zero, m2, v2, N);
        }
        all[which]->adamw_replay(&c, past, PAST, p, m, v, N);
        CHECK(memcmp(p, p2, sizeof p) == 0);
        CHECK(memcmp(m, m2, sizeof m) == 0);
        CHECK(memcmp(v, v2, sizeof v) == 0);
    }
}

/* ---- dropout ---------------------------------------------------------------------------------------------------- */

TEST(dropout_bits_are_the_generators_words)
{
    enum { GROUPS = 40 };
    static uint16_t words[8 * GROUPS], others[8 * GROUPS];
    uint64_t seed = 0x123456789abcdefu, stream = 0xfedcba9876543210u;
    uint32_t threshold = 6554;
    size_t first = ((size_t)1 << 28) - 2; /* counters cross 2^32 */
    scalar()->dropout_words(seed, stream, first, GROUPS, threshold, words);
    size_t n_kept = 0;
    for (size_t group = 0; group < GROUPS; group++)
        for (size_t lane = 0; lane < 16; lane++) {
            rng_block block = rng_at(seed, stream, 16 * (uint64_t)(first + group) + lane);
            for (size_t half = 0; half < 8; half++) {
                uint32_t draw = block.word[half / 2] >> (half % 2 == 0 ? 0 : 16) & 0xffffu;
                bool bit = (words[8 * group + half] >> lane & 1) != 0;
                CHECK(bit == (draw >= threshold));
                n_kept += bit ? 1 : 0;
            }
        }
    CHECK_NEAR(0.9, (double)n_kept / (GROUPS * 128), 0.02);
    EACH_VARIANT(ops)
    {
        ops->dropout_words(seed, stream, first, GROUPS, threshold, others);
        CHECK(memcmp(words, others, sizeof words) == 0);
    }
}
