/* finch bench gemm: products at the models' shapes as scoring runs them - each thread its own rows, the weights shared,
 * quantisation of the rows included - beside what the CPU reaches in registers alone, measured in turns. */
#include "base/clock.h"
#include "base/rng.h"
#include "cli/bench.h"
#include "tensor/linear.h"
#include "tensor/peak.h"

#define ROUND_SECONDS 0.02

enum { ROWS = 224, ROUNDS = 5, SHAPES = 8 }; /* ROWS: a micro-batch of the scorer */

typedef struct shape {
    const char *model;
    size_t n, k;
} shape;

static const shape shapes[SHAPES] = {
    {"MiniLM", 1152, 384},    {"MiniLM", 384, 384},    {"MiniLM", 1536, 384},    {"MiniLM", 384, 1536},
    {"bert-base", 2304, 768}, {"bert-base", 768, 768}, {"bert-base", 3072, 768}, {"bert-base", 768, 3072},
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
    float *x;             /* [n_threads, ROWS, k] */
    float *y;             /* [n_threads, ROWS, n] */
    linear_input *inputs; /* [n_threads] */
} product;

static finch_status product_open(product *p, const product_type *type, const shape *s, size_t n_threads, finch_error *err)
{
    rng random = {.seed = 1};
    float *w;
    arena_init(&p->memory);
    p->ops = ops_choose();
    p->n_threads = n_threads;
    FINCH_TRY(linear_init(&p->weights, type->linear, s->n, s->k, err));
    FINCH_TRY(arena_alloc(&p->memory, s->n * s->k, sizeof *w, (void **)&w, err));
    for (size_t i = 0; i < s->n * s->k; i++) w[i] = (float)rng_unit(&random) - 0.5f;
    FINCH_TRY(linear_pack(&p->weights, 0, s->n, w, NULL, 1.0f, err));
    FINCH_TRY(arena_alloc(&p->memory, n_threads * ROWS * s->k, sizeof *p->x, (void **)&p->x, err));
    FINCH_TRY(arena_alloc(&p->memory, n_threads * ROWS * s->n, sizeof *p->y, (void **)&p->y, err));
    FINCH_TRY(arena_alloc(&p->memory, n_threads, sizeof *p->inputs, (void **)&p->inputs, err));
    for (size_t i = 0; i < n_threads * ROWS * s->k; i++) p->x[i] = (float)rng_unit(&random) - 0.5f;
    for (size_t i = 0; i < n_threads; i++)
        FINCH_TRY(linear_input_alloc(&p->memory, type->linear, ROWS, s->k, &p->inputs[i], err));
    return FINCH_OK;
}

static void product_close(product *p)
{
    linear_free(&p->weights);
    arena_free(&p->memory);
}

static double run_rounds(product *p, size_t n_rounds)
{
    size_t n = p->weights.n_out, k = p->weights.n_in;
    double begin = clock_seconds();
#pragma omp parallel for schedule(static, 1) num_threads((int)p->n_threads)
    for (size_t i = 0; i < p->n_threads; i++) {
        for (size_t round = 0; round < n_rounds; round++) {
            linear_input_fill(&p->ops, &p->inputs[i], 0, ROWS, p->x + i * ROWS * k, k, k);
            linear_run(&p->ops, &p->weights, &p->inputs[i], 0, n, p->y + i * ROWS * n, n);
        }
    }
    return clock_seconds() - begin;
}

/* Rounds alternate with measurements of the peak, and the median of their ratios counts: both meet the same neighbours. */
static json_t *measure(product *p, const product_type *type, const shape *s)
{
    double shares[ROUNDS], rates[ROUNDS], peaks[ROUNDS];
    size_t n_rounds = 1;
    while (run_rounds(p, n_rounds) < ROUND_SECONDS) n_rounds *= 2;
    double operations = 2.0 * ROWS * (double)s->n * (double)s->k * (double)n_rounds * (double)p->n_threads;
    for (int i = 0; i < ROUNDS; i++) {
        peaks[i] = peak_measure(type->peak, p->n_threads);
        rates[i] = operations / run_rounds(p, n_rounds);
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
