/* A Gemma that learns, whole or adapters beside it: gradients against finite differences, with dropout on where there is one (its masks
 * are a function of the step), the same bits on any number of threads and with activations computed again, and what is refused.
 * Against PEFT and PyTorch: tests/parity/test_lora.py, test_gemma_whole.py. */
#include "harness.h"

#include "base/rng.h"
#include "model/gemma_learn.h"

#ifdef _OPENMP
#include <omp.h>
#endif
#include <stdlib.h>

static const char tiny[] = FIXTURES "/models/tiny-gemma";
static const char all_weights[] = "all"; /* in place of targets: all weights learn */
static const char every[] = "q_proj,k_proj,v_proj,o_proj,gate_proj,up_proj,down_proj";
/* Lengths that are ragged for 16 lanes, one past the window. */
static const uint32_t offsets[] = {0, 1, 18, 21, 54};
enum { N_TEXTS = 4, N_TOKENS = 54, CLASSES = 3, TENSORS_MAX = 64 };

static const double NOISE = 0.05;

/* A learner with its numbers and gradients. */
typedef struct bench {
    gemma *base;
    gemma_learner *learner;
    const gemma_learnt *tensors;
    size_t n_tensors, n_items;
    float *values, *grads;
    int32_t ids[N_TOKENS];
    float direction[N_TEXTS * CLASSES]; /* the loss is its product with the logits */
    arena scratch;
} bench;

static void bench_open(bench *b, const char *targets, bool checkpoint, double noise)
{
    finch_error err = {0};
    lora_options o = LORA_OPTIONS_DEFAULT;
    bool head_is_new;
    rng r = {.seed = 8};
    *b = (bench){0};
    o.rank = 3, o.targets = targets, o.checkpoint_activations = checkpoint;
    arena_init(&b->scratch);
    CHECK_OK(gemma_open(tiny, MODEL_F32, &b->base, &err), &err);
    const gemma_whole_options all = {.checkpoint_activations = checkpoint};
    CHECK_OK(targets == all_weights ? gemma_learner_create_whole(b->base, &all, CLASSES, &b->learner, &err)
                                    : gemma_learner_create(b->base, &o, CLASSES, &b->learner, &err),
             &err);
    b->n_tensors = gemma_learner_tensors(b->learner, &b->tensors);
    CHECK(b->n_tensors <= TENSORS_MAX);
    for (size_t i = 0; i < b->n_tensors; i++) b->n_items += b->tensors[i].rows * b->tensors[i].cols;
    CHECK_OK(MEM_NEW(&b->values, b->n_items, &err), &err);
    CHECK_OK(MEM_NEW(&b->grads, b->n_items, &err), &err);
    for (size_t i = 0, at = 0; i < b->n_tensors; at += b->tensors[i].rows * b->tensors[i].cols, i++)
        gemma_learner_bind(b->learner, i, b->values + at, b->grads + at);
    gemma_learner_draw(b->learner, 5, true, &head_is_new);
    CHECK(!head_is_new);
    for (size_t i = 0; i < b->n_items; i++)
        b->values[i] += (float)(noise * rng_normal(&r)); /* B is zero: nothing would reach A */
    gemma_learner_values_changed(b->learner);
    for (size_t i = 0; i < N_TOKENS; i++) b->ids[i] = (int32_t)rng_below(&r, 300);
    for (size_t i = 0; i < N_TEXTS * CLASSES; i++) b->direction[i] = (float)rng_normal(&r);
}

static void bench_close(bench *b)
{
    gemma_learner_destroy(b->learner);
    gemma_close(b->base);
    mem_free(b->values);
    mem_free(b->grads);
    arena_free(&b->scratch);
}

/* The loss, and with backward its gradients, added. */
static double loss(bench *b, bool backward)
{
    finch_error err = {0};
    float logits[N_TEXTS * CLASSES];
    gemma_learnt_pass *pass;
    model_batch batch = {b->ids, offsets, N_TEXTS, N_TOKENS};
    gemma_learning how = {.batch = &batch, .training = true, .seed = 3, .step = 12, .scratch = &b->scratch};
    arena_reset(&b->scratch);
    CHECK_OK(gemma_learner_forward(b->learner, &how, logits, &pass, &err), &err);
    if (backward)
        CHECK_OK(
            gemma_learner_backward(b->learner, pass, &(gemma_learning_back){.dlogits = b->direction, .add = true}, &err),
            &err);
    double sum = 0;
    for (size_t i = 0; i < N_TEXTS * CLASSES; i++) sum += (double)logits[i] * (double)b->direction[i];
    return sum;
}

/* Tensor by tensor, along a random direction. */
static void check_gradients(const char *targets)
{
    static const double step = 1e-3;
    enum { ITEMS_MAX = 16384 };
    static float before[ITEMS_MAX], along[ITEMS_MAX];
    bench b;
    bench_open(&b, targets, false, NOISE);
    (void)loss(&b, true);
    rng r = {.seed = 21};
    for (size_t i = 0, at = 0; i < b.n_tensors; i++) {
        size_t n = b.tensors[i].rows * b.tensors[i].cols;
        double expected = 0, size = 0;
        CHECK(n <= ITEMS_MAX);
        memcpy(before, b.values + at, n * sizeof *before);
        for (size_t k = 0; k < n; k++) {
            along[k] = (float)rng_normal(&r);
            size += (double)along[k] * (double)along[k];
        }
        for (size_t k = 0; k < n; k++) expected += (double)b.grads[at + k] * (double)along[k] / sqrt(size);
        double sides[2];
        for (size_t side = 0; side < 2; side++) {
            for (size_t k = 0; k < n; k++)
                b.values[at + k] = before[k] + (float)((side == 0 ? step : -step) * (double)along[k] / sqrt(size) * 10);
            gemma_learner_values_changed(b.learner);
            sides[side] = loss(&b, false);
        }
        memcpy(b.values + at, before, n * sizeof *before);
        double found = (sides[0] - sides[1]) / (20 * step);
        if (fabs(found - expected) > 0.02 * fabs(expected) + 0.02)
            print_message("%s: %g, should be %g\n", b.tensors[i].name, expected, found);
        CHECK_NEAR(found, expected, 0.02 * fabs(expected) + 0.02);
        at += n;
    }
    bench_close(&b);
}

TEST(gradients_are_those_of_finite_differences)
{
    check_gradients(every);
}
TEST(gradients_of_a_whole_model_are_those_of_finite_differences)
{
    check_gradients(all_weights);
}

static void check_bits(const char *targets)
{
    float *first = NULL;
    double first_loss = 0;
    finch_error err = {0};
    for (size_t i = 0; i < 4; i++) {
        bench b;
        bench_open(&b, targets, i % 2 == 1, NOISE);
#ifdef _OPENMP
        int before = omp_get_max_threads();
        omp_set_num_threads(i < 2 ? 1 : 3);
#endif
        double found = loss(&b, true);
#ifdef _OPENMP
        omp_set_num_threads(before);
#endif
        if (i == 0) {
            first_loss = found;
            CHECK_OK(mem_alloc(b.n_items, sizeof *first, (void **)&first, &err), &err);
            memcpy(first, b.grads, b.n_items * sizeof *first);
        }
        CHECK(found == first_loss);
        CHECK(memcmp(first, b.grads, b.n_items * sizeof *first) == 0);
        bench_close(&b);
    }
    mem_free(first);
}

TEST(threads_and_activations_computed_again_change_no_bit)
{
    check_bits(every);
    check_bits(all_weights);
}

/* Micro-batches add up: twice the same texts are twice the gradient, of every kind of tensor. */
TEST(gradients_of_a_whole_model_are_added)
{
    bench b;
    float *once;
    finch_error err = {0};
    bench_open(&b, all_weights, false, NOISE);
    (void)loss(&b, true);
    CHECK_OK(mem_alloc(b.n_items, sizeof *once, (void **)&once, &err), &err);
    memcpy(once, b.grads, b.n_items * sizeof *once);
    (void)loss(&b, true);
    for (size_t i = 0; i < b.n_items; i++) CHECK_NEAR(2.0f * once[i], b.grads[i], 1e-5 + 1e-5 * fabs((double)once[i]));
    mem_free(once);
    bench_close(&b);
}

/* The learner's logits are those of gemma_hidden and the head. */
static void check_logits(bench *b, const gemma *base)
{
    finch_error err = {0};
    float logits[N_TEXTS * CLASSES], hidden[N_TEXTS * 64], expected[N_TEXTS * CLASSES];
    uint32_t last[N_TEXTS];
    gemma_learnt_pass *pass;
    model_batch batch = {b->ids, offsets, N_TEXTS, N_TOKENS};
    gemma_learning how = {.batch = &batch, .scratch = &b->scratch};
    CHECK_OK(gemma_learner_forward(b->learner, &how, logits, &pass, &err), &err);
    for (size_t i = 0; i < N_TEXTS; i++) last[i] = offsets[i + 1] - 1;
    gemma_batch same = {
        .ids = b->ids, .offsets = offsets, .n_texts = N_TEXTS, .n_tokens = N_TOKENS, .wanted = last, .n_wanted = N_TEXTS};
    CHECK_OK(gemma_hidden(base, &same, hidden, &b->scratch, &err), &err);
    gemma_class_logits(base, hidden, N_TEXTS, expected);
    for (size_t i = 0; i < N_TEXTS * CLASSES; i++) CHECK_NEAR(expected[i], logits[i], 1e-4);
}

/* With B zero the adapted model is the base. */
TEST(a_fresh_adapter_changes_nothing)
{
    bench b;
    bench_open(&b, "v_proj", false, 0.0);
    check_logits(&b, b.base);
    bench_close(&b);
}

/* Though its file is closed. */
TEST(a_whole_model_begins_as_its_base)
{
    bench b;
    gemma *base;
    finch_error err = {0};
    bench_open(&b, all_weights, false, 0.0);
    CHECK_OK(gemma_open(tiny, MODEL_F32, &base, &err), &err);
    check_logits(&b, base);
    gemma_close(base);
    bench_close(&b);
}

TEST(options_that_no_adapter_can_have_are_refused)
{
    static const lora_options wrong[] = {{.rank = 0, .alpha = 16, .dropout = 0.1, .targets = "q_proj"},
                                         {.rank = 257, .alpha = 16, .dropout = 0.1, .targets = "q_proj"},
                                         {.rank = 8, .alpha = 0, .dropout = 0.1, .targets = "q_proj"},
                                         {.rank = 8, .alpha = 16, .dropout = 1, .targets = "q_proj"},
                                         {.rank = 8, .alpha = 16, .dropout = 0.1, .targets = ""},
                                         {.rank = 8, .alpha = 16, .dropout = 0.1, .targets = "query"},
                                         {.rank = 8, .alpha = 16, .dropout = 0.1, .targets = "q_proj,,"}};
    finch_error err = {0};
    gemma *g;
    gemma_learner *l;
    CHECK_OK(gemma_open(tiny, MODEL_F32, &g, &err), &err);
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        CHECK_STATUS(FINCH_E_USAGE, gemma_learner_create(g, &wrong[i], CLASSES, &l, &err), &err);
        CHECK(l == NULL);
    }
    gemma_close(g);
    CHECK_OK(gemma_open(tiny, MODEL_INT8, &g, &err), &err);
    CHECK_STATUS(FINCH_E_USAGE, gemma_learner_create(g, &LORA_OPTIONS_DEFAULT, CLASSES, &l, &err), &err);
    CHECK_STATUS(FINCH_E_USAGE, gemma_learner_create_whole(g, &(gemma_whole_options){0}, CLASSES, &l, &err), &err);
    gemma_close(g);
}
