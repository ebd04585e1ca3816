/* The optimiser: lazy rows against a dense update of the same arithmetic (bit for bit), its formula against double, resuming,
 * clipping, errors. */
#include "harness.h"
#include "tensor/train_ops.h"
#include "train/adamw.h"

#define BERT FIXTURES "/models/tiny-bert"
#define BERT_MLM FIXTURES "/training/tiny-bert-mlm"

enum { N_TEXTS = 3, N_TOKENS = 30, N_STEPS = 40, VOCAB = 2000, HIDDEN = 32 };

static const uint32_t offsets[N_TEXTS + 1] = {0, 9, 14, 30};
static const uint32_t masks[N_TEXTS] = {1, 4, 16};

static trainable *open_model(void)
{
    finch_error err;
    trainable *t;
    trainable_options o = {.hidden_dropout = 0.1, .attention_dropout = 0.1, .seed = 3};
    CHECK_OK(trainable_open(BERT, &o, &t, &err), &err);
    return t;
}

static adamw *create(trainable *t, adamw_options o)
{
    finch_error err;
    adamw *a;
    CHECK_OK(adamw_create(t, &o, &a, &err), &err);
    return a;
}

/* A batch whose rows come back after few and many steps: id 10 at every step, 11.. in turns, others once. */
static void make_ids(size_t step, int32_t *ids)
{
    for (size_t i = 0; i < N_TOKENS; i++) {
        size_t id = i % 3 == 0 ? 10 : i % 3 == 1 ? 11 + (step * 5 + i) % 29 : 100 + step * 40 + i;
        ids[i] = (int32_t)id;
    }
}

static void backward(trainable *t, size_t step)
{
    finch_error err;
    int32_t ids[N_TOKENS];
    double loss;
    make_ids(step, ids);
    model_batch batch = {ids, offsets, N_TEXTS, N_TOKENS};
    trainable_targets targets = {.mask = masks};
    CHECK_OK(trainable_step(t, &batch, &targets, 1.0 / N_TEXTS, step, &loss, &err), &err);
}

static double rate(size_t step) { return 1e-3 * (1.0 - (double)step / 60.0); }

static void train(trainable *t, adamw *a, size_t from, size_t to)
{
    finch_error err;
    for (size_t step = from; step < to; step++) {
        backward(t, step);
        CHECK_OK(adamw_step(a, rate(step), NULL, &err), &err);
    }
}

static trainable_parameter find_sparse(trainable *t)
{
    trainable_parameter *p, found = {0};
    size_t n = trainable_parameters(t, &p);
    for (size_t i = 0; i < n; i++)
        if (p[i].sparse_rows) found = p[i];
    CHECK(found.rows == VOCAB && found.cols == HIDDEN);
    return found;
}

/* A table and its moments, updated as a whole at every step. */
typedef struct dense_table {
    float value[VOCAB * HIDDEN], m[VOCAB * HIDDEN], v[VOCAB * HIDDEN], grad[VOCAB * HIDDEN];
} dense_table;

static void dense_step(dense_table *d, const adamw_options *o, double lr, double norm, size_t step)
{
    double n = (double)step + 1.0, clip = o->max_grad_norm / (norm + 1e-6);
    train_adamw c = {.clip = clip < 1.0 ? (float)clip : 1.0f,
                     .one_minus_beta1 = (float)(1.0 - o->beta1),
                     .beta2 = (float)o->beta2,
                     .one_minus_beta2 = (float)(1.0 - o->beta2),
                     .epsilon = (float)o->epsilon,
                     .decay = (float)(1.0 - lr * o->weight_decay),
                     .step_size = (float)(lr / (1.0 - pow(o->beta1, n))),
                     .correction = (float)(1.0 / sqrt(1.0 - pow(o->beta2, n)))};
    train_ops_get()->adamw(&c, d->value, d->grad, d->m, d->v, VOCAB * HIDDEN);
}

TEST(lazy_rows_have_the_bits_of_a_dense_update)
{
    finch_error err;
    adamw_options o = ADAMW_OPTIONS_DEFAULT;
    adamw_array *arrays;
    dense_table *d;
    trainable *t = open_model();
    adamw *a = create(t, o);
    trainable_parameter word = find_sparse(t);
    CHECK_OK(mem_alloc_zero(1, sizeof *d, (void **)&d, &err), &err);
    memcpy(d->value, word.value, sizeof d->value);
    bool lags = false;
    for (size_t step = 0; step < N_STEPS; step++) {
        double norm;
        backward(t, step);
        memcpy(d->grad, word.grad, sizeof d->grad);
        CHECK_OK(adamw_step(a, rate(step), &norm, &err), &err);
        dense_step(d, &o, rate(step), norm, step);
        lags = lags || memcmp(d->value, word.value, sizeof d->value) != 0;
        if (step == 17) adamw_settle(a); /* must change nothing later */
    }
    CHECK(lags); /* else nothing was lazy and the test shows nothing */
    adamw_settle(a);
    CHECK(memcmp(d->value, word.value, sizeof d->value) == 0);
    size_t n = adamw_state_arrays(a, &arrays), seen = 0;
    for (size_t i = 0; i < n; i++) {
        if (strcmp(arrays[i].name, "bert.embeddings.word_embeddings.weight.m") == 0 && ++seen)
            CHECK(memcmp(arrays[i].data, d->m, sizeof d->m) == 0);
        if (strcmp(arrays[i].name, "bert.embeddings.word_embeddings.weight.v") == 0 && ++seen)
            CHECK(memcmp(arrays[i].data, d->v, sizeof d->v) == 0);
    }
    CHECK_EQUAL(2, seen);
    mem_free(d);
    adamw_destroy(a);
    trainable_close(t);
}

/* A row that is read (evaluated, trained on) is up to date without a settle. */
TEST(rows_are_brought_up_to_date_before_they_are_read)
{
    finch_error err;
    float lazy[N_TEXTS * 5], settled[N_TEXTS * 5];
    int32_t ids[N_TOKENS];
    adamw_options o = ADAMW_OPTIONS_DEFAULT;
    o.weight_decay = 5.0; /* a row that is behind would show */
    trainable *t = open_model();
    adamw *a = create(t, o);
    train(t, a, 0, 12);
    make_ids(1, ids);
    ids[4] = 1999; /* a row no step touched */
    model_batch batch = {ids, offsets, N_TEXTS, N_TOKENS};
    CHECK_OK(trainable_logits(t, &batch, lazy, &err), &err);
    adamw_settle(a);
    CHECK_OK(trainable_logits(t, &batch, settled, &err), &err);
    CHECK(memcmp(lazy, settled, sizeof lazy) == 0);
    adamw_destroy(a);
    trainable_close(t);
}

/* ---- the formula ----------------------------------------------------------------------------------------------- */

/* torch.optim.AdamW and clip_grad_norm_, in double, on every parameter. */
TEST(a_few_steps_follow_the_formula)
{
    finch_error err;
    trainable_parameter *p;
    adamw_options o = {.beta1 = 0.8, .beta2 = 0.95, .epsilon = 1e-6, .weight_decay = 0.1, .max_grad_norm = 0.5};
    trainable *t = open_model();
    adamw *a = create(t, o);
    size_t n = trainable_parameters(t, &p), n_items = 0, at;
    for (size_t i = 0; i < n; i++) n_items += p[i].rows * p[i].cols;
    double *value, *m, *v;
    CHECK_OK(mem_alloc_zero(n_items, sizeof *value, (void **)&value, &err), &err);
    CHECK_OK(mem_alloc_zero(n_items, sizeof *m, (void **)&m, &err), &err);
    CHECK_OK(mem_alloc_zero(n_items, sizeof *v, (void **)&v, &err), &err);
    at = 0;
    for (size_t i = 0; i < n; i++)
        for (size_t k = 0; k < p[i].rows * p[i].cols; k++) value[at++] = (double)p[i].value[k];
    for (size_t step = 0; step < 4; step++) {
        double squares = 0.0, norm, lr = 1e-2 / (double)(step + 1), number = (double)step + 1.0;
        backward(t, step);
        trainable_parameters(t, &p);
        for (size_t i = 0; i < n; i++)
            for (size_t k = 0; k < p[i].rows * p[i].cols; k++) squares += (double)p[i].grad[k] * (double)p[i].grad[k];
        double clip = fmin(1.0, 0.5 / (sqrt(squares) + 1e-6));
        CHECK(clip < 1.0);
        at = 0;
        for (size_t i = 0; i < n; i++) {
            bool vector = p[i].rows == 1;
            CHECK(p[i].decay != vector || strstr(p[i].name, "type") != NULL);
            for (size_t k = 0; k < p[i].rows * p[i].cols; k++, at++) {
                double g = clip * (double)p[i].grad[k];
                m[at] = 0.8 * m[at] + 0.2 * g;
                v[at] = 0.95 * v[at] + 0.05 * g * g;
                value[at] -= p[i].decay ? lr * 0.1 * value[at] : 0.0;
                value[at] -= lr * (m[at] / (1.0 - pow(0.8, number))) / (sqrt(v[at] / (1.0 - pow(0.95, number))) + 1e-6);
            }
        }
        CHECK_OK(adamw_step(a, lr, &norm, &err), &err);
        CHECK_NEAR(sqrt(squares), norm, 1e-5 * norm);
    }
    CHECK_EQUAL(4, adamw_steps(a));
    adamw_settle(a);
    at = 0;
    for (size_t i = 0; i < n; i++)
        for (size_t k = 0; k < p[i].rows * p[i].cols; k++, at++) CHECK_NEAR(value[at], p[i].value[k], 2e-5);
    mem_free(value);
    mem_free(m);
    mem_free(v);
    adamw_destroy(a);
    trainable_close(t);
}

TEST(a_small_gradient_is_not_clipped)
{
    trainable_parameter *p;
    adamw_options clipped = ADAMW_OPTIONS_DEFAULT, free_of_it = ADAMW_OPTIONS_DEFAULT;
    clipped.max_grad_norm = 1e6;
    free_of_it.max_grad_norm = 0.0;
    trainable *t = open_model(), *other = open_model();
    adamw *a = create(t, clipped), *b = create(other, free_of_it);
    train(t, a, 0, 3);
    train(other, b, 0, 3);
    size_t n = trainable_parameters(t, &p);
    trainable_parameter *q;
    trainable_parameters(other, &q);
    for (size_t i = 0; i < n; i++) CHECK(memcmp(p[i].value, q[i].value, p[i].rows * p[i].cols * sizeof(float)) == 0);
    adamw_destroy(a);
    adamw_destroy(b);
    trainable_close(t);
    trainable_close(other);
}

/* ---- resuming -------------------------------------------------------------------------------------------------- */

static void copy_state(trainable *from, adamw *a, trainable *to, adamw *b)
{
    finch_error err;
    trainable_parameter *p, *q;
    adamw_array *x, *y;
    size_t n = trainable_parameters(from, &p), n_arrays = adamw_state_arrays(a, &x);
    CHECK(trainable_parameters(to, &q) == n);
    CHECK(adamw_state_arrays(b, &y) == n_arrays);
    for (size_t i = 0; i < n; i++) memcpy(q[i].value, p[i].value, p[i].rows * p[i].cols * sizeof(float));
    for (size_t i = 0; i < n_arrays; i++) {
        CHECK_TEXT(x[i].name, y[i].name);
        CHECK(x[i].n_items == y[i].n_items);
        memcpy(y[i].data, x[i].data, x[i].n_items * tensor_dtype_bytes(x[i].dtype));
    }
    CHECK_OK(adamw_restored(b, &err), &err);
    trainable_values_changed(to);
}

TEST(a_resumed_training_ends_with_the_same_bits)
{
    trainable_parameter *p, *q;
    trainable *whole = open_model(), *first = open_model(), *second = open_model();
    adamw *a = create(whole, ADAMW_OPTIONS_DEFAULT), *b = create(first, ADAMW_OPTIONS_DEFAULT),
          *c = create(second, ADAMW_OPTIONS_DEFAULT);
    train(whole, a, 0, 30);
    train(first, b, 0, 13);
    adamw_settle(b);
    copy_state(first, b, second, c);
    CHECK_EQUAL(13, adamw_steps(c));
    train(second, c, 13, 30);
    adamw_settle(a);
    adamw_settle(c);
    size_t n = trainable_parameters(whole, &p);
    trainable_parameters(second, &q);
    for (size_t i = 0; i < n; i++) CHECK(memcmp(p[i].value, q[i].value, p[i].rows * p[i].cols * sizeof(float)) == 0);
    adamw_destroy(a);
    adamw_destroy(b);
    adamw_destroy(c);
    trainable_close(whole);
    trainable_close(first);
    trainable_close(second);
}

/* ---- memory and errors ----------------------------------------------------------------------------------------- */

TEST(a_step_of_the_optimiser_allocates_nothing)
{
    trainable *t = open_model();
    adamw *a = create(t, ADAMW_OPTIONS_DEFAULT);
    train(t, a, 0, 3);
    uint64_t before = mem_count().allocations;
    train(t, a, 3, 10);
    adamw_settle(a);
    CHECK(mem_count().allocations == before);
    adamw_destroy(a);
    trainable_close(t);
}

/* More steps than the history first has room for. */
TEST(a_long_history_grows)
{
    finch_error err;
    adamw_options o = ADAMW_OPTIONS_DEFAULT;
    o.weight_decay = 0.5;
    trainable *t = open_model();
    adamw *a = create(t, o);
    trainable_parameter word = find_sparse(t);
    float expected = word.value[1999 * HIDDEN];
    for (size_t step = 0; step < 4100; step++) {
        expected *= (float)(1.0 - 1e-4 * 0.5);
        CHECK_OK(adamw_step(a, 1e-4, NULL, &err), &err);
    }
    adamw_settle(a);
    CHECK(word.value[1999 * HIDDEN] == expected);
    adamw_destroy(a);
    trainable_close(t);
}

TEST(gradients_that_are_not_finite_change_no_parameter)
{
    finch_error err;
    trainable_parameter *p;
    double norm;
    trainable *t = open_model();
    adamw *a = create(t, ADAMW_OPTIONS_DEFAULT);
    backward(t, 0);
    size_t n = trainable_parameters(t, &p);
    float before = p[0].value[0];
    p[0].grad[3] = INFINITY;
    CHECK_STATUS(FINCH_E_FAILED, adamw_step(a, 1e-3, &norm, &err), &err);
    CHECK(!isfinite(norm));
    CHECK(p[0].value[0] == before);
    CHECK_EQUAL(0, adamw_steps(a));
    trainable_parameters(t, &p);
    for (size_t i = 0; i < n; i++) CHECK(p[i].grad[0] == 0.0f);
    CHECK(p[0].grad[3] == 0.0f);
    adamw_destroy(a);
    trainable_close(t);
}

TEST(options_outside_their_range_are_refused)
{
    finch_error err;
    trainable *t = open_model();
    adamw_options good = ADAMW_OPTIONS_DEFAULT, bad[6] = {good, good, good, good, good, good};
    bad[0].beta1 = 1.0;
    bad[1].beta2 = -0.1;
    bad[2].epsilon = 0.0;
    bad[3].weight_decay = -1.0;
    bad[4].max_grad_norm = NAN;
    bad[5].beta1 = NAN;
    for (size_t i = 0; i < 6; i++) {
        adamw *a = (adamw *)t;
        CHECK_STATUS(FINCH_E_USAGE, adamw_create(t, &bad[i], &a, &err), &err);
        CHECK(a == NULL);
    }
    adamw *a = create(t, good);
    adamw_array *arrays;
    adamw_state_arrays(a, &arrays);
    CHECK_TEXT("step", arrays[0].name);
    *(int64_t *)arrays[0].data = -1;
    CHECK_STATUS(FINCH_E_DATA, adamw_restored(a, &err), &err);
    adamw_destroy(a);
    trainable_close(t);
}

TEST(every_failing_allocation_of_creation_is_reported)
{
    finch_error err;
    trainable *t = open_model();
    adamw_options o = ADAMW_OPTIONS_DEFAULT;
    for (int nth = 1; fault_arm(FAULT_ALLOC, nth); nth++) {
        adamw *a;
        finch_status st = adamw_create(t, &o, &a, &err);
        bool failed = fault_disarm();
        CHECK_EQUAL(failed ? FINCH_E_MEMORY : FINCH_OK, st);
        adamw_destroy(a);
        if (!failed) break;
    }
    trainable_close(t);
}

/* A masked LM has no sparse parameter: the decoder gives every row a gradient. */
TEST(a_masked_lm_trains_densely)
{
    finch_error err;
    trainable *t;
    trainable_options o = {.head = TRAINABLE_MASKED_LM};
    trainable_parameter *p;
    CHECK_OK(trainable_open(BERT_MLM, &o, &t, &err), &err);
    size_t n = trainable_parameters(t, &p);
    for (size_t i = 0; i < n; i++) CHECK(!p[i].sparse_rows);
    adamw *a = create(t, ADAMW_OPTIONS_DEFAULT);
    const uint32_t at[2] = {3, 20};
    const int32_t ids_of[2] = {50, 60};
    double first = 0.0, loss = 0.0;
    for (size_t step = 0; step < 8; step++) {
        int32_t ids[N_TOKENS];
        make_ids(0, ids);
        model_batch batch = {ids, offsets, N_TEXTS, N_TOKENS};
        CHECK_OK(trainable_step_mlm(t, &batch, at, ids_of, 2, 0.5, step, &loss, &err), &err);
        if (step == 0) first = loss;
        CHECK_OK(adamw_step(a, 3e-3, NULL, &err), &err);
    }
    adamw_settle(a);
    CHECK(loss < 0.8 * first);
    adamw_destroy(a);
    trainable_close(t);
}
