/* finch bench gemm: products at the models' shapes as scoring runs them - each thread its own rows, block by block, the
 * weights shared, quantisation of the rows included - beside what the CPU reaches in registers alone, measured in turns. */
#include "base/clock.h"
#include "base/rng.h"
#include "cli/bench.h"
#include "tensor/linear.h"
#include "tensor/peak.h"

enum { ROWS = 224, ROUNDS = 5, SHAPES = 8 }; /* ROWS: a micro-batch of the scorer */

typedef struct shape {
    const char *model;
    size_t n, k;
    size_t y_apart, x_apart; /* floats between a row's end and the next's begin, as in scoring */
} shape;

static const shape shapes[SHAPES] = {
    {"MiniLM", 1152, 384, 0, 0},
    {"MiniLM", 384, 384, 0, 0},
    {"MiniLM", 1536, 384, LINEAR_APART, 0},
    {"MiniLM", 384, 1536, 0, LINEAR_APART},
    {"bert-base", 2304, 768, 0, 0},
    {"bert-base", 768, 768, 0, 0},
    {"bert-base", 3072, 768, LINEAR_APART, 0},
    {"bert-base", 768, 3072, 0, LINEAR_APART},
};

typedef struct product_type {
    const char *name;
    linear_type linear;
    peak_type peak;
} product_type;

static const product_type types[] = {
    {"f32", LINEAR_F32, PEAK_F32}, {"bf16", LINEAR_BF16, PEAK_BF16}, {"int8", LINEAR_INT8, PEAK_INT8}};

typedef struct product {
    ops ops;
    linear weights;
    size_t n_threads;
    arena memory;
    size_t ldx, ldy;
    float *x;             /* [n_threads, ROWS, ldx] */
    float *y;             /* [n_threads, ROWS, ldy] */
    linear_input *inputs; /* [n_threads] */
} product;

static finch_status product_open(product *p, const product_type *type, const shape *s, size_t n_threads, finch_error *err)
{
    rng random = {.seed = 1};
    float *w;
    arena_init(&p->memory);
    p->ops = ops_choose();
    p->n_threads = n_threads;
    p->ldx = s->k + s->x_apart;
    p->ldy = s->n + s->y_apart;
    FINCH_TRY(linear_init(&p->weights, type->linear, s->n, s->k, err));
    FINCH_TRY(arena_alloc(&p->memory, s->n * s->k, sizeof *w, (void **)&w, err));
    for (size_t i = 0; i < s->n * s->k; i++) w[i] = (float)rng_unit(&random) - 0.5f;
    FINCH_TRY(linear_pack(&p->weights, 0, s->n, w, NULL, 1.0f, err));
    FINCH_TRY(arena_alloc(&p->memory, n_threads * ROWS * p->ldx, sizeof *p->x, (void **)&p->x, err));
    FINCH_TRY(arena_alloc(&p->memory, n_threads * ROWS * p->ldy, sizeof *p->y, (void **)&p->y, err));
    FINCH_TRY(arena_alloc(&p->memory, n_threads, sizeof *p->inputs, (void **)&p->inputs, err));
    for (size_t i = 0; i < n_threads * ROWS * p->ldx; i++) p->x[i] = (float)rng_unit(&random) - 0.5f;
    for (size_t i = 0; i < n_threads; i++)
        FINCH_TRY(linear_input_alloc(&p->memory, type->linear, ROWS, s->k, &p->inputs[i], err));
    return FINCH_OK;
}

static void product_close(product *p)
{
    linear_free(&p->weights);
    arena_free(&p->memory);
}

/* Thread i's rows through the product once. */
static void run_rows(product *p, size_t i)
{
    size_t n = p->weights.n_out, k = p->weights.n_in;
    const float *x = p->x + i * ROWS * p->ldx;
    float *y = p->y + i * ROWS * p->ldy;
    for (size_t row = 0; row < ROWS; row += p->ops.block_rows) {
        size_t n_rows = size_least(p->ops.block_rows, ROWS - row);
        linear_input_fill(&p->ops, &p->inputs[i], row, n_rows, x + row * p->ldx, p->ldx, k);
        linear_input block = linear_input_rows(&p->inputs[i], row, n_rows);
        linear_run(&p->ops, &p->weights, &block, 0, n, y + row * p->ldy, p->ldy);
    }
}

static double run_rounds(product *p, size_t n_rounds)
{
    double begin = clock_seconds();
#pragma omp parallel for schedule(static, 1) num_threads((int)p->n_threads)
    for (size_t i = 0; i < p->n_threads; i++)
        for (size_t round = 0; round < n_rounds; round++) run_rows(p, i);
    return clock_seconds() - begin;
}

/* As the peak is measured: a stolen slice of a shared CPU counts against neither. */
static double best_seconds(product *p, size_t n_rounds)
{
    double best = run_rounds(p, n_rounds);
    for (int i = 1; i < PEAK_TRIES; i++) {
        double seconds = run_rounds(p, n_rounds);
        if (seconds < best) best = seconds;
    }
    return best;
}

/* Rounds alternate with measurements of the peak, and the median of their ratios counts: both meet the same neighbours. */
static json_t *measure(product *p, const product_type *type, const shape *s)
{
    double shares[ROUNDS], rates[ROUNDS], peaks[ROUNDS];
    size_t n_rounds = 1;
    while (run_rounds(p, n_rounds) < PEAK_ROUND_SECONDS) n_rounds *= 2;
    double operations = 2.0 * ROWS * (double)s->n * (double)s->k * (double)n_rounds * (double)p->n_threads;
    for (int i = 0; i < ROUNDS; i++) {
        peaks[i] = peak_measure(type->peak, p->n_threads);
        rates[i] = operations / best_seconds(p, n_rounds);
        shares[i] = rates[i] / peaks[i];
    }
    return json_pack("{s:s, s:s, s:I, s:I, s:I, s:f, s:f, s:f}", "compute", type->name, "model", s->model, "m",
                     (json_int_t)ROWS, "n", (json_int_t)s->n, "k", (json_int_t)s->k, "gops",
                     bench_median(rates, ROUNDS) * 1e-9, "peak_gops", bench_median(peaks, ROUNDS) * 1e-9, "share_of_peak",
                     bench_median(shares, ROUNDS));
}

static finch_status measure_type(const product_type *type, size_t n_threads, json_t *products, finch_error *err)
{
    if (peak_measure(type->peak, n_threads) == 0) return FINCH_OK; /* this CPU has no such products of its own */
    for (size_t i = 0; i < SHAPES; i++) {
        product p = {0};
        if (cli_cancelled()) return cli_cancelled_fail(err);
        finch_status st = product_open(&p, type, &shapes[i], n_threads, err);
        if (st == FINCH_OK && json_array_append_new(products, measure(&p, type, &shapes[i])) != 0)
            st = finch_fail(err, FINCH_E_MEMORY, "out of memory for the figures");
        product_close(&p);
        FINCH_TRY(st);
    }
    return FINCH_OK;
}

finch_status bench_gemm(const cli_args *args, json_t **out, finch_error *err)
{
    json_t *products = json_array();
    for (size_t i = 0; i < sizeof types / sizeof types[0]; i++) {
        finch_status st = measure_type(&types[i], cli_threads(args), products, err);
        if (st == FINCH_OK) continue;
        json_decref(products);
        return st;
    }
    *out = json_pack("{s:s, s:s, s:I, s:o}", "what", "gemm", "isa", cpu_isa(), "threads", (json_int_t)cli_threads(args),
                     "products", products);
    return FINCH_OK;
}
