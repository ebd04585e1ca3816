/* What ranks exchange, without MPI: a stand-in in whose place two ranks with the same texts would be. Every gradient travels once, in
 * the same order whether the rank had texts or not; of the embeddings the rows in use; of adapters nothing else. And the dropout of
 * a batch's parts is that of the batch: their gradients add up to its own. */
#include "harness.h"

#include "train/exchange.h"

#include <math.h>
#include <string.h>

#define BERT FIXTURES "/models/tiny-bert"
#define MPNET FIXTURES "/models/tiny-mpnet"

enum { N_TEXTS = 3, N_TOKENS = 30, BLOCKS_MAX = 16 };

static const uint32_t offsets[N_TEXTS + 1] = {0, 9, 14, 30};
static const uint32_t masks[N_TEXTS] = {1, 4, 16};

/* What the stand-in was asked for. */
static size_t n_begun, sizes[BLOCKS_MAX], n_values;
static bool broken;

static int double_floats(float *values, size_t n, char *why)
{
    snprintf(why, RANKS_WHY_BYTES, "the cable is out");
    if (broken) return 1;
    CHECK(n_begun < BLOCKS_MAX);
    sizes[n_begun++] = n;
    n_values += n;
    for (size_t i = 0; i < n; i++) values[i] *= 2.0f;
    return 0;
}

static int double_doubles(double *values, size_t n, char *why)
{
    (void)why;
    for (size_t i = 0; i < n; i++) values[i] *= 2.0;
    return 0;
}

static int is_done(int *done, char *why)
{
    (void)why;
    *done = 1;
    return 0;
}

static const ranks_table twins = {
    .version = RANKS_MODULE_VERSION, .begin = double_floats, .poll = is_done, .sum = double_doubles};

static ranks begin_twins(void)
{
    n_begun = n_values = 0;
    broken = false;
    return (ranks){.table = &twins, .n = 2};
}

static trainable *open_model(const char *folder, const lora_options *lora)
{
    finch_error err;
    trainable *t;
    trainable_options o = {
        .hidden_dropout = 0.2, .attention_dropout = 0.2, .classifier_dropout = 0.2, .seed = 3, .lora = lora};
    CHECK_OK(trainable_open(folder, &o, &t, &err), &err);
    return t;
}

static void make_ids(int32_t *ids)
{
    for (size_t i = 0; i < N_TOKENS; i++) ids[i] = (int32_t)(5 + i * 7 % 40);
}

/* Texts [begin, end) as a part of the batch of all. */
static void backward(trainable *t, size_t begin, size_t end)
{
    finch_error err;
    int32_t ids[N_TOKENS];
    uint32_t own[N_TEXTS + 1];
    trainable_before before = {0};
    double loss;
    make_ids(ids);
    for (size_t i = 0; i < begin; i++) trainable_before_add(&before, offsets[i + 1] - offsets[i], 1);
    for (size_t i = begin; i <= end; i++) own[i - begin] = offsets[i] - offsets[begin];
    model_batch batch = {ids + offsets[begin], own, end - begin, own[end - begin]};
    trainable_targets targets = {.mask = masks + begin};
    trainable_begin_at(t, before);
    CHECK_OK(trainable_step(t, &batch, &targets, 1.0 / N_TEXTS, 7, &loss, &err), &err);
}

static size_t count_gradients(trainable *t, float **out)
{
    finch_error err;
    trainable_parameter *p;
    size_t n = trainable_parameters(t, &p), items = 0, at = 0;
    for (size_t i = 0; i < n; i++) items += p[i].rows * p[i].cols;
    CHECK_OK(MEM_NEW(out, items, &err), &err);
    for (size_t i = 0; i < n; i++) {
        memcpy(*out + at, p[i].grad, p[i].rows * p[i].cols * sizeof **out);
        at += p[i].rows * p[i].cols;
    }
    return items;
}

static void check_parts(const char *folder, const lora_options *lora)
{
    trainable *t = open_model(folder, lora);
    float *whole, *parts;
    backward(t, 0, N_TEXTS);
    size_t n = count_gradients(t, &whole);
    for (size_t cut = 1; cut < N_TEXTS; cut++) {
        trainable_zero_gradients(t);
        backward(t, 0, cut);
        backward(t, cut, N_TEXTS);
        count_gradients(t, &parts);
        for (size_t i = 0; i < n; i++) CHECK(fabsf(whole[i] - parts[i]) <= 1e-5f * (1.0f + fabsf(whole[i])));
        mem_free(parts);
    }
    mem_free(whole);
    trainable_close(t);
}

TEST(the_dropout_of_a_batchs_parts_is_the_batchs)
{
    lora_options lora = LORA_OPTIONS_DEFAULT;
    lora.targets = LORA_ALL_LINEAR;
    check_parts(BERT, NULL);
    check_parts(MPNET, NULL);
    check_parts(BERT, &lora);
    lora.checkpoint_activations = true;
    check_parts(MPNET, &lora);
}

static void check_doubled(trainable *t, const float *before)
{
    float *after;
    size_t n = count_gradients(t, &after);
    for (size_t i = 0; i < n; i++) CHECK(after[i] == 2.0f * before[i]);
    mem_free(after);
}

TEST(every_gradient_travels_once_and_the_blocks_in_one_order)
{
    finch_error err;
    trainable *t = open_model(BERT, NULL);
    exchange e;
    float *before;
    double also[2] = {1.5, 0.0};
    backward(t, 0, N_TEXTS);
    count_gradients(t, &before);
    trainable_zero_gradients(t);
    ranks r = begin_twins();
    exchange_open(&r, t, &e);
    backward(t, 0, 0 + 1); /* not armed: a batch of the step before its last */
    CHECK(n_begun == 0);
    trainable_zero_gradients(t);
    exchange_arm(&e);
    backward(t, 0, N_TEXTS);
    CHECK(n_begun == trainable_gradient_blocks(t)); /* all set out inside the backward pass */
    CHECK_OK(exchange_finish(&e, also, 2, &err), &err);
    check_doubled(t, before);
    CHECK(also[0] == 3.0 && n_begun == trainable_gradient_blocks(t) + 1);

    /* A rank without texts of its own: the same blocks, and rows that the others' texts use. */
    size_t with_texts[BLOCKS_MAX], n = n_begun;
    memcpy(with_texts, sizes, sizeof with_texts);
    trainable_zero_gradients(t);
    n_begun = 0;
    int32_t ids[N_TOKENS];
    make_ids(ids);
    trainable_touch_rows(t, ids, N_TOKENS);
    CHECK_OK(exchange_finish(&e, also, 2, &err), &err);
    CHECK(n_begun == n && memcmp(with_texts, sizes, n * sizeof *sizes) == 0);
    float *after;
    size_t items = count_gradients(t, &after);
    for (size_t i = 0; i < items; i++) CHECK(after[i] == 0.0f);
    mem_free(after);
    mem_free(before);
    exchange_close(&e);
    trainable_close(t);
}

TEST(adapters_alone_travel)
{
    finch_error err;
    const lora_options lora = LORA_OPTIONS_DEFAULT;
    trainable *t = open_model(BERT, &lora);
    exchange e;
    float *before;
    double also = 0.0;
    ranks r = begin_twins();
    backward(t, 0, N_TEXTS);
    size_t n = count_gradients(t, &before);
    trainable_zero_gradients(t);
    exchange_open(&r, t, &e);
    exchange_arm(&e);
    backward(t, 0, N_TEXTS);
    CHECK(n_begun == 1);
    CHECK_OK(exchange_finish(&e, &also, 1, &err), &err);
    CHECK(n_begun == 1 && n_values >= n && n_values < n + n / 4); /* tensors begin on cache lines of their own */
    check_doubled(t, before);
    mem_free(before);
    exchange_close(&e);
    trainable_close(t);
}

TEST(a_failure_inside_the_backward_pass_is_told_after_it)
{
    finch_error err = {0};
    trainable *t = open_model(BERT, NULL);
    exchange e;
    double also = 0.0;
    ranks r = begin_twins();
    exchange_open(&r, t, &e);
    broken = true;
    exchange_arm(&e);
    backward(t, 0, N_TEXTS);
    CHECK_STATUS(FINCH_E_FAILED, exchange_finish(&e, &also, 1, &err), &err);
    CHECK(strstr(err.message, "the cable is out") != NULL && strstr(err.message, "--resume") != NULL);
    exchange_close(&e);
    trainable_close(t);
}

TEST(ranks_with_other_weights_are_noticed)
{
    finch_error err;
    trainable *t = open_model(BERT, NULL);
    exchange e;
    ranks r = begin_twins();
    exchange_open(&r, t, &e);
    CHECK_OK(exchange_check_values(&e, &err), &err);
    r.n = 3; /* the sum of two is not three times one's own: as if the third had others */
    CHECK_STATUS(FINCH_E_FAILED, exchange_check_values(&e, &err), &err);
    exchange_close(&e);
    trainable_close(t);
}

static bool always(void) { return true; }

static int never_done(int *done, char *why)
{
    (void)why;
    *done = 0;
    return 0;
}

TEST(a_wait_ends_when_it_is_stopped_and_nobody_comes)
{
    finch_error err;
    const ranks_table silent = {
        .version = RANKS_MODULE_VERSION, .begin = double_floats, .poll = never_done, .sum = double_doubles};
    ranks r = {.table = &silent, .n = 2, .stopped = always};
    CHECK_STATUS(FINCH_E_CANCELLED, ranks_meet(&r, &err), &err);
}

TEST(parts_cover_everything_once)
{
    for (size_t n_ranks = 1; n_ranks < 9; n_ranks++)
        for (size_t n = 0; n < 40; n++) {
            size_t next = 0, begin, end;
            for (size_t rank = 0; rank < n_ranks; rank++) {
                const ranks r = {.rank = rank, .n = n_ranks};
                ranks_part(&r, n, &begin, &end);
                CHECK(begin == next && end >= begin);
                next = end;
            }
            CHECK(next == n);
        }
}
