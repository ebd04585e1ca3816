/* Adapters beside a frozen BERT or MPNet: gradients against finite differences with dropout on (its masks are a function of the
 * step), the same bits on any number of threads and with activations computed again, the frozen file left as it is, and faults.
 * Against PEFT: tests/parity/test_lora_bert.py. */
#include "harness.h"

#include "base/rng.h"
#include "model/trainable.h"

#ifdef _OPENMP
#include <omp.h>
#endif

#define BERT FIXTURES "/models/tiny-bert"
#define MPNET FIXTURES "/models/tiny-mpnet"

/* The loss is near 2 in f32; directions are of length 1. */
#define DIFFERENCE 2e-2
#define DIFFERENCE_TOLERANCE 2e-3

enum { N_TEXTS = 4, N_TOKENS = 54 };

/* Lengths that are ragged for 16 lanes. */
static const uint32_t offsets[N_TEXTS + 1] = {0, 1, 18, 21, 54};
static const uint32_t masks[N_TEXTS] = {1u << 0, 1u << 3, 1u << 2, 1u << 4};

typedef struct bench {
    trainable *t;
    trainable_parameter *parameters;
    size_t n_parameters;
    int32_t ids[N_TOKENS];
} bench;

static lora_options options_for(const char *targets, bool checkpointed)
{
    lora_options o = LORA_OPTIONS_DEFAULT;
    o.rank = 3, o.targets = targets, o.checkpoint_activations = checkpointed;
    return o;
}

static finch_status open_adapters(const char *folder, const lora_options *lora, trainable **out, finch_error *err)
{
    const trainable_options o = {
        .hidden_dropout = 0.1, .attention_dropout = 0.1, .classifier_dropout = 0.1, .seed = 11, .lora = lora};
    return trainable_open(folder, &o, out, err);
}

static void bench_open(bench *b, const char *folder, const char *targets, bool checkpointed)
{
    finch_error err = {0};
    lora_options o = options_for(targets, checkpointed);
    rng r = {.seed = 8};
    *b = (bench){0};
    CHECK_OK(open_adapters(folder, &o, &b->t, &err), &err);
    b->n_parameters = trainable_parameters(b->t, &b->parameters);
    for (size_t i = 0; i < b->n_parameters; i++) /* B is zero: nothing would reach A */
        for (size_t k = 0; k < b->parameters[i].rows * b->parameters[i].cols; k++)
            b->parameters[i].value[k] += (float)(0.05 * rng_normal(&r));
    for (size_t i = 0; i < N_TOKENS; i++) b->ids[i] = (int32_t)(100 + rng_below(&r, 300));
}

static double loss(bench *b)
{
    finch_error err = {0};
    const model_batch batch = {b->ids, offsets, N_TEXTS, N_TOKENS};
    const trainable_targets targets = {.mask = masks};
    double sum;
    trainable_zero_gradients(b->t);
    CHECK_OK(trainable_step(b->t, &batch, &targets, 1.0, 5, &sum, &err), &err);
    return sum;
}

/* Tensor by tensor, along a random direction of length 1. */
static void hold_against_differences(const char *folder, const char *targets)
{
    enum { ITEMS_MAX = 1 << 14 };
    static float before[ITEMS_MAX], along[ITEMS_MAX];
    bench b;
    bench_open(&b, folder, targets, false);
    rng r = {.seed = 21};
    for (size_t i = 0; i < b.n_parameters; i++) {
        trainable_parameter *p = &b.parameters[i];
        size_t n = p->rows * p->cols;
        double expected = 0, size = 0, sides[2];
        CHECK(n <= ITEMS_MAX);
        memcpy(before, p->value, n * sizeof *before);
        for (size_t k = 0; k < n; k++) {
            along[k] = (float)rng_normal(&r);
            size += (double)along[k] * (double)along[k];
        }
        (void)loss(&b);
        for (size_t k = 0; k < n; k++) expected += (double)p->grad[k] * (double)along[k] / sqrt(size);
        for (size_t side = 0; side < 2; side++) {
            double step = (side == 0 ? DIFFERENCE : -DIFFERENCE) / sqrt(size);
            for (size_t k = 0; k < n; k++) p->value[k] = before[k] + (float)(step * (double)along[k]);
            sides[side] = loss(&b);
        }
        memcpy(p->value, before, n * sizeof *before);
        double found = (sides[0] - sides[1]) / (2 * DIFFERENCE);
        if (fabs(found - expected) > 0.02 * fabs(expected) + DIFFERENCE_TOLERANCE)
            print_message("%s: %g, should be %g\n", p->name, expected, found);
        CHECK_NEAR(found, expected, 0.02 * fabs(expected) + DIFFERENCE_TOLERANCE);
    }
    trainable_close(b.t);
}

TEST(gradients_are_those_of_finite_differences)
{
    hold_against_differences(BERT, LORA_ALL_LINEAR);
    hold_against_differences(MPNET, LORA_ALL_LINEAR);
}

static void same_bits(const char *folder)
{
    float *first = NULL;
    double first_loss = 0;
    for (size_t i = 0; i < 4; i++) {
        bench b;
        size_t at = 0, n = 0;
        bench_open(&b, folder, LORA_ALL_LINEAR, i % 2 == 1);
#ifdef _OPENMP
        int threads = omp_get_max_threads();
        omp_set_num_threads(i < 2 ? 1 : 3);
#endif
        double found = loss(&b);
#ifdef _OPENMP
        omp_set_num_threads(threads);
#endif
        for (size_t k = 0; k < b.n_parameters; k++) n += b.parameters[k].rows * b.parameters[k].cols;
        if (i == 0) {
            finch_error err;
            first_loss = found;
            CHECK_OK(MEM_NEW(&first, n, &err), &err);
        }
        CHECK(found == first_loss);
        for (size_t k = 0; k < b.n_parameters; k++) {
            size_t items = b.parameters[k].rows * b.parameters[k].cols;
            if (i == 0) memcpy(first + at, b.parameters[k].grad, items * sizeof *first);
            CHECK(memcmp(first + at, b.parameters[k].grad, items * sizeof *first) == 0);
            at += items;
        }
        trainable_close(b.t);
    }
    mem_free(first);
}

TEST(threads_and_activations_computed_again_change_no_bit)
{
    same_bits(BERT);
    same_bits(MPNET);
}

TEST(what_learns_is_what_was_named)
{
    static const struct {
        const char *folder, *targets, *first;
        size_t n;
    } known[] = {
        {BERT, NULL, "base_model.model.bert.encoder.layer.0.attention.self.query.lora_A.weight", 2 * 2 * 2 + 2},
        {BERT, "output.dense", "base_model.model.bert.encoder.layer.0.attention.output.dense.lora_A.weight", 2 * 2 * 2 + 2},
        {BERT, "dense", "base_model.model.bert.encoder.layer.0.attention.output.dense.lora_A.weight", 2 * (2 * 3 + 1) + 2},
        {MPNET, "q", "base_model.model.mpnet.encoder.layer.0.attention.attn.q.lora_A.weight", 2 * 2 + 4},
    };
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++) {
        finch_error err = {0};
        lora_options o = options_for(known[i].targets, false);
        trainable *t;
        trainable_parameter *p;
        CHECK_OK(open_adapters(known[i].folder, &o, &t, &err), &err);
        CHECK_EQUAL(known[i].n, trainable_parameters(t, &p));
        CHECK_TEXT(known[i].first, p[0].name);
        CHECK(trainable_frozen_hash(t) != 0);
        trainable_close(t);
    }
}

TEST(names_that_a_model_has_not_are_refused)
{
    static const char *const wrong[][2] = {{BERT, "q_proj"}, {BERT, "uery"}, {MPNET, "dense"}, {MPNET, "query"}, {BERT, ""}};
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        finch_error err = {0};
        lora_options o = options_for(wrong[i][1], false);
        trainable *t;
        CHECK_STATUS(FINCH_E_USAGE, open_adapters(wrong[i][0], &o, &t, &err), &err);
        CHECK(t == NULL);
    }
}

TEST(every_failing_allocation_is_reported)
{
    const lora_options o = options_for("query,value", false);
    int nth = 1;
    for (; fault_arm(FAULT_ALLOC, nth); nth++) {
        finch_error err = {0};
        trainable *t;
        finch_status st = open_adapters(BERT, &o, &t, &err);
        trainable_close(t);
        if (!fault_disarm()) {
            CHECK_OK(st, &err);
            break;
        }
        CHECK_STATUS(FINCH_E_MEMORY, st, &err);
    }
    CHECK(nth > 20);
}
