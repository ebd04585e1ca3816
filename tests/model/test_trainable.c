/* The training engine against itself: gradients against finite differences (dropout on, since its masks are a function of
 * the step), sums that must not depend on how a batch is cut, the same bits twice, errors, saving. */
#include "harness.h"
#include "model/trainable.h"
#include "tensor/gemm.h"
#include "tensor/weights.h"

#ifdef _OPENMP
#include <omp.h>
#endif

#define BERT FIXTURES "/models/tiny-bert"
#define MPNET FIXTURES "/models/tiny-mpnet"
#define BERT_MLM FIXTURES "/training/tiny-bert-mlm"
#define MPNET_MLM FIXTURES "/training/tiny-mpnet-mlm"

/* Derivatives along a direction by central differences: 2 DIFFERENCE apart, in f32 losses near 10. */
#define DIFFERENCE 2e-2
#define DIFFERENCE_TOLERANCE 1e-2

enum { N_TEXTS = 5, N_MASKED = 9 };

/* Lengths that are ragged for 16 lanes: 1, 17, 3, 33, 16. */
static const uint32_t offsets[N_TEXTS + 1] = {0, 1, 18, 21, 54, 70};
static const uint32_t masks[N_TEXTS] = {1u << 0, 1u << 3, 1u << 3 | 1u << 4, 1u << 2, 1u << 0 | 1u << 1 | 1u << 4};
static const float weights_of_texts[N_TEXTS] = {1.0f, 0.5f, 2.0f, 1.0f, 0.25f};
static const uint32_t positions[N_MASKED] = {40, 2, 0, 17, 69, 21, 22, 53, 30}; /* in no order */
static const int32_t target_ids[N_MASKED] = {7, 9, 100, 1999, 512, 33, 8, 700, 42};

typedef struct setting {
    int32_t ids[70];
    float soft[N_TEXTS * 5];
    model_batch batch;
    trainable_targets targets;
} setting;

static void make_setting(setting *s)
{
    memset(s, 0, sizeof *s);
    for (size_t i = 0; i < 70; i++) s->ids[i] = (int32_t)(10 + (i * 37) % 60);
    for (size_t i = 0; i < N_TEXTS; i++)
        for (size_t c = 0; c < 5; c++) s->soft[5 * i + c] = c == (i + 1) % 5 ? 0.6f : 0.1f;
    s->batch = (model_batch){s->ids, offsets, N_TEXTS, 70};
    s->targets = (trainable_targets){.mask = masks,
                                     .weight = weights_of_texts,
                                     .label_smoothing = 0.1f,
                                     .soft = s->soft,
                                     .soft_share = 0.3f,
                                     .soft_temperature = 2.0f};
}

static trainable *open_with(const char *folder, trainable_head head, double dropout, bool bf16)
{
    finch_error err;
    trainable *t;
    trainable_options o = {.head = head,
                           .bf16 = bf16,
                           .hidden_dropout = dropout,
                           .attention_dropout = dropout,
                           .classifier_dropout = dropout,
                           .seed = 11};
    CHECK_OK(trainable_open(folder, &o, &t, &err), &err);
    return t;
}

static double loss_of(trainable *t, const setting *s, trainable_head head)
{
    finch_error err;
    double loss;
    if (head == TRAINABLE_CLASSIFIER) CHECK_OK(trainable_step(t, &s->batch, &s->targets, 1.0, 3, &loss, &err), &err);
    else CHECK_OK(trainable_step_mlm(t, &s->batch, positions, target_ids, N_MASKED, 1.0, 3, &loss, &err), &err);
    return loss;
}

/* ---- gradients ------------------------------------------------------------------------------------------------- */

static void move(trainable_parameter *p, const float *direction, double by)
{
    for (size_t i = 0; i < p->rows * p->cols; i++) p->value[i] += (float)((double)direction[i] * by);
}

/* The direction is the gradient itself plus a pattern, so that every item counts. */
static double make_direction(const trainable_parameter *p, float *direction)
{
    double norm = 0.0, slope = 0.0, grad = 0.0;
    size_t n = p->rows * p->cols;
    for (size_t i = 0; i < n; i++) grad += (double)p->grad[i] * (double)p->grad[i];
    for (size_t i = 0; i < n; i++) {
        double d = (double)p->grad[i] / (sqrt(grad) + 1e-12) + 0.5 * sin((double)i) / sqrt((double)n);
        direction[i] = (float)d;
        norm += d * d;
    }
    for (size_t i = 0; i < n; i++) {
        direction[i] = (float)((double)direction[i] / sqrt(norm));
        slope += (double)direction[i] * (double)p->grad[i];
    }
    return slope;
}

static void check_gradients(const char *folder, trainable_head head, double dropout)
{
    setting s;
    trainable_parameter *p;
    finch_error err;
    make_setting(&s);
    trainable *t = open_with(folder, head, dropout, false);
    loss_of(t, &s, head);
    size_t n = trainable_parameters(t, &p);
    for (size_t i = 0; i < n; i++) {
        float *direction, *kept;
        size_t items = p[i].rows * p[i].cols;
        CHECK_OK(mem_alloc(items, sizeof *direction, (void **)&direction, &err), &err);
        CHECK_OK(mem_alloc(items, sizeof *kept, (void **)&kept, &err), &err);
        trainable_zero_gradients(t);
        loss_of(t, &s, head);
        double slope = make_direction(&p[i], direction);
        memcpy(kept, p[i].value, items * sizeof *kept);
        move(&p[i], direction, DIFFERENCE);
        trainable_values_changed(t);
        double above = loss_of(t, &s, head);
        memcpy(p[i].value, kept, items * sizeof *kept);
        move(&p[i], direction, -DIFFERENCE);
        double below = loss_of(t, &s, head);
        memcpy(p[i].value, kept, items * sizeof *kept);
        double measured = (above - below) / (2.0 * DIFFERENCE);
        if (!(fabs(measured - slope) <= DIFFERENCE_TOLERANCE * (0.1 + fabs(slope)))) print_error("%s\n", p[i].name);
        CHECK_NEAR(measured, slope, DIFFERENCE_TOLERANCE * (0.1 + fabs(slope)));
        mem_free(direction);
        mem_free(kept);
    }
    trainable_close(t);
}

TEST(gradients_of_a_bert_classifier_are_the_slopes_of_its_loss)
{
    check_gradients(BERT, TRAINABLE_CLASSIFIER, 0.2);
}
TEST(gradients_of_an_mpnet_classifier_are_the_slopes_of_its_loss)
{
    check_gradients(MPNET, TRAINABLE_CLASSIFIER, 0.2);
}
TEST(gradients_of_a_bert_masked_lm_are_the_slopes_of_its_loss)
{
    check_gradients(BERT_MLM, TRAINABLE_MASKED_LM, 0.2);
}
TEST(gradients_of_an_mpnet_masked_lm_are_the_slopes_of_its_loss)
{
    check_gradients(MPNET_MLM, TRAINABLE_MASKED_LM, 0.2);
}

/* ---- sums ------------------------------------------------------------------------------------------------------ */

static float *copy_gradients(trainable *t, size_t *n_items)
{
    finch_error err;
    trainable_parameter *p;
    float *all;
    size_t n = trainable_parameters(t, &p), items = 0, at = 0;
    for (size_t i = 0; i < n; i++) items += p[i].rows * p[i].cols;
    CHECK_OK(mem_alloc(items, sizeof *all, (void **)&all, &err), &err);
    for (size_t i = 0; i < n; i++) {
        memcpy(all + at, p[i].grad, p[i].rows * p[i].cols * sizeof *all);
        at += p[i].rows * p[i].cols;
    }
    *n_items = items;
    return all;
}

static double largest_difference(const float *a, const float *b, size_t n)
{
    double worst = 0.0;
    for (size_t i = 0; i < n; i++) worst = fmax(worst, fabs((double)a[i] - (double)b[i]));
    return worst;
}

/* Text by text, gradients add up to those of the batch. */
TEST(a_batch_is_the_sum_of_its_texts)
{
    setting s;
    finch_error err;
    size_t n;
    double whole, sum = 0.0;
    make_setting(&s);
    trainable *t = open_with(MPNET, TRAINABLE_CLASSIFIER, 0.0, false);
    whole = loss_of(t, &s, TRAINABLE_CLASSIFIER);
    float *together = copy_gradients(t, &n);
    trainable_zero_gradients(t);
    for (size_t i = 0; i < N_TEXTS; i++) {
        uint32_t own[2] = {0, offsets[i + 1] - offsets[i]};
        model_batch one = {s.ids + offsets[i], own, 1, own[1]};
        trainable_targets targets = s.targets;
        double loss;
        targets.mask += i;
        targets.weight += i;
        targets.soft += 5 * i;
        CHECK_OK(trainable_step(t, &one, &targets, 1.0, 9, &loss, &err), &err);
        sum += loss;
    }
    float *apart = copy_gradients(t, &n);
    CHECK_NEAR(whole, sum, 1e-5);
    CHECK(largest_difference(together, apart, n) < 2e-5);
    mem_free(together);
    mem_free(apart);
    trainable_close(t);
}

TEST(scale_multiplies_gradients_and_not_the_loss)
{
    setting s;
    finch_error err;
    size_t n;
    double once, half;
    make_setting(&s);
    trainable *t = open_with(BERT, TRAINABLE_CLASSIFIER, 0.0, false);
    CHECK_OK(trainable_step(t, &s.batch, &s.targets, 1.0, 1, &once, &err), &err);
    float *whole = copy_gradients(t, &n);
    trainable_zero_gradients(t);
    CHECK_OK(trainable_step(t, &s.batch, &s.targets, 0.5, 1, &half, &err), &err);
    float *halved = copy_gradients(t, &n);
    for (size_t i = 0; i < n; i++) halved[i] *= 2.0f;
    CHECK(once == half);
    CHECK(largest_difference(whole, halved, n) < 1e-6);
    mem_free(whole);
    mem_free(halved);
    trainable_close(t);
}

TEST(zeroed_gradients_are_zero_and_touched_rows_are_those_of_the_batch)
{
    setting s;
    const uint32_t *rows;
    size_t n;
    bool seen[2000] = {false};
    make_setting(&s);
    trainable *t = open_with(BERT, TRAINABLE_CLASSIFIER, 0.0, false);
    loss_of(t, &s, TRAINABLE_CLASSIFIER);
    size_t n_rows = trainable_touched_rows(t, &rows);
    for (size_t i = 0; i < n_rows; i++) {
        CHECK(!seen[rows[i]]);
        seen[rows[i]] = true;
    }
    for (size_t i = 0; i < 70; i++) CHECK(seen[s.ids[i]]);
    CHECK_EQUAL(60, n_rows);
    trainable_zero_gradients(t);
    CHECK_EQUAL(0, trainable_touched_rows(t, &rows));
    float *zero = copy_gradients(t, &n);
    for (size_t i = 0; i < n; i++) CHECK(zero[i] == 0.0f);
    mem_free(zero);
    trainable_close(t);
}

/* ---- the same bits --------------------------------------------------------------------------------------------- */

TEST(a_step_gives_the_same_bits_again_and_another_step_other_masks)
{
    setting s;
    finch_error err;
    size_t n;
    double first, again, other;
    make_setting(&s);
    trainable *t = open_with(MPNET, TRAINABLE_CLASSIFIER, 0.1, false);
    CHECK_OK(trainable_step(t, &s.batch, &s.targets, 1.0, 5, &first, &err), &err);
    float *a = copy_gradients(t, &n);
    trainable_zero_gradients(t);
    CHECK_OK(trainable_step(t, &s.batch, &s.targets, 1.0, 5, &again, &err), &err);
    float *b = copy_gradients(t, &n);
    CHECK(first == again);
    CHECK(memcmp(a, b, n * sizeof *a) == 0);
    CHECK_OK(trainable_step(t, &s.batch, &s.targets, 1.0, 6, &other, &err), &err);
    CHECK(other != first);
    mem_free(a);
    mem_free(b);
    trainable_close(t);
}

#ifdef _OPENMP
TEST(threads_do_not_change_a_step)
{
    setting s;
    size_t n;
    make_setting(&s);
    int before = omp_get_max_threads();
    float *grads[3];
    for (int i = 0; i < 3; i++) {
        omp_set_num_threads(i + 1);
        trainable *t = open_with(BERT, TRAINABLE_CLASSIFIER, 0.1, false);
        loss_of(t, &s, TRAINABLE_CLASSIFIER);
        grads[i] = copy_gradients(t, &n);
        trainable_close(t);
    }
    omp_set_num_threads(before);
    CHECK(largest_difference(grads[0], grads[1], n) < 1e-5);
    CHECK(largest_difference(grads[0], grads[2], n) < 1e-5);
    for (int i = 0; i < 3; i++) mem_free(grads[i]);
}
#endif

TEST(a_step_allocates_nothing_once_its_memory_is_there)
{
    setting s;
    make_setting(&s);
    trainable *t = open_with(MPNET, TRAINABLE_CLASSIFIER, 0.1, false);
    for (int i = 0; i < 3; i++) loss_of(t, &s, TRAINABLE_CLASSIFIER);
    uint64_t before = mem_count().allocations;
    for (int i = 0; i < 5; i++) loss_of(t, &s, TRAINABLE_CLASSIFIER);
    CHECK(mem_count().allocations == before);
    trainable_close(t);
}

/* bf16 keeps 8 bits: the loss moves in the third digit. */
TEST(bf16_stays_near_f32)
{
    setting s;
    make_setting(&s);
    for (int head = 0; head < 2; head++) {
        const char *folder = head == 0 ? BERT : BERT_MLM;
        trainable *t = open_with(folder, (trainable_head)head, 0.0, false),
                  *narrow = open_with(folder, (trainable_head)head, 0.0, true);
        double wide = loss_of(t, &s, (trainable_head)head), loss = loss_of(narrow, &s, (trainable_head)head);
        size_t n;
        double squares = 0.0, difference = 0.0;
        CHECK_NEAR(wide, loss, 2e-2 * wide);
        CHECK(wide != loss);
        float *a = copy_gradients(t, &n), *b = copy_gradients(narrow, &n);
        for (size_t i = 0; i < n; i++) {
            squares += (double)a[i] * (double)a[i];
            difference += ((double)a[i] - (double)b[i]) * ((double)a[i] - (double)b[i]);
        }
        CHECK(sqrt(difference / squares) < 3e-2);
        mem_free(a);
        mem_free(b);
        trainable_close(t);
        trainable_close(narrow);
    }
}

/* bf16x3 is f32 for training: what it leaves out is below 2^-16 of a product. Where the CPU has no tiles it is f32. */
TEST(bf16x3_is_as_good_as_f32)
{
    setting s;
    make_setting(&s);
    for (int head = 0; head < 2; head++) {
        const char *folder = head == 0 ? BERT : BERT_MLM;
        finch_error err;
        trainable *t = open_with(folder, (trainable_head)head, 0.0, false), *split;
        trainable_options o = {.head = (trainable_head)head, .bf16x3 = true, .seed = 11};
        CHECK_OK(trainable_open(folder, &o, &split, &err), &err);
        double wide = loss_of(t, &s, (trainable_head)head), loss = loss_of(split, &s, (trainable_head)head);
        size_t n;
        double squares = 0.0, difference = 0.0;
        CHECK_NEAR(wide, loss, 2e-5 * wide);
        float *a = copy_gradients(t, &n), *b = copy_gradients(split, &n);
        for (size_t i = 0; i < n; i++) {
            squares += (double)a[i] * (double)a[i];
            difference += ((double)a[i] - (double)b[i]) * ((double)a[i] - (double)b[i]);
        }
        CHECK(sqrt(difference / squares) < 5e-5);
        CHECK((difference > 0.0) == gemm_bf16x3_is_native());
        mem_free(a);
        mem_free(b);
        trainable_close(t);
        trainable_close(split);
    }
}

TEST(two_types_of_products_are_one_too_many)
{
    finch_error err;
    trainable *t;
    CHECK_STATUS(FINCH_E_USAGE, trainable_open(BERT, &(trainable_options){.bf16 = true, .bf16x3 = true}, &t, &err), &err);
    CHECK(t == NULL);
}

/* ---- evaluation ------------------------------------------------------------------------------------------------ */

TEST(evaluation_has_no_dropout_and_matches_the_loss)
{
    setting s;
    finch_error err;
    float logits[N_TEXTS * 5];
    double expected = 0.0, loss;
    make_setting(&s);
    trainable *t = open_with(BERT, TRAINABLE_CLASSIFIER, 0.0, false),
              *dropping = open_with(BERT, TRAINABLE_CLASSIFIER, 0.5, false);
    trainable_targets plain = {.mask = masks};
    CHECK_OK(trainable_logits(dropping, &s.batch, logits, &err), &err);
    CHECK_OK(trainable_step(t, &s.batch, &plain, 1.0, 0, &loss, &err), &err);
    for (size_t i = 0; i < N_TEXTS; i++) {
        double sum = 0.0, set = 0.0;
        for (size_t c = 0; c < 5; c++) {
            double e = exp((double)logits[5 * i + c]);
            sum += e;
            if ((masks[i] >> c & 1) != 0) set += e;
        }
        expected -= log(set / sum);
    }
    CHECK_NEAR(expected, loss, 1e-5);
    trainable_close(t);
    trainable_close(dropping);
}

TEST(masked_evaluation_matches_the_step_and_counts_hits)
{
    setting s;
    finch_error err;
    double loss;
    size_t hits = 99;
    make_setting(&s);
    trainable *t = open_with(BERT_MLM, TRAINABLE_MASKED_LM, 0.0, false);
    double step = loss_of(t, &s, TRAINABLE_MASKED_LM);
    CHECK_OK(trainable_eval_mlm(t, &s.batch, positions, target_ids, N_MASKED, &loss, &hits, &err), &err);
    CHECK(loss == step);
    CHECK(hits <= N_MASKED);
    /* No masked position: no loss, no gradient. */
    trainable_zero_gradients(t);
    CHECK_OK(trainable_step_mlm(t, &s.batch, NULL, NULL, 0, 1.0, 0, &loss, &err), &err);
    CHECK(loss == 0.0);
    size_t n;
    float *grads = copy_gradients(t, &n);
    for (size_t i = 0; i < n; i++) CHECK(grads[i] == 0.0f);
    mem_free(grads);
    trainable_close(t);
}

/* Many positions: the vocabulary's product runs in several parts. */
TEST(masked_positions_beyond_one_part_add_up)
{
    enum { LONG = 120, TEXTS = 3 };
    int32_t ids[LONG * TEXTS], targets[LONG * TEXTS];
    uint32_t ends[TEXTS + 1], all[LONG * TEXTS];
    finch_error err;
    double whole, sum = 0.0, loss;
    for (uint32_t i = 0; i < LONG * TEXTS; i++) {
        ids[i] = (int32_t)(10 + i % 900);
        targets[i] = (int32_t)(20 + i % 700);
        all[i] = i;
    }
    for (uint32_t i = 0; i <= TEXTS; i++) ends[i] = i * LONG;
    model_batch batch = {ids, ends, TEXTS, LONG * TEXTS};
    trainable *t = open_with(MPNET_MLM, TRAINABLE_MASKED_LM, 0.0, false);
    CHECK_OK(trainable_step_mlm(t, &batch, all, targets, LONG * TEXTS, 1.0, 0, &whole, &err), &err);
    size_t n;
    float *together = copy_gradients(t, &n);
    trainable_zero_gradients(t);
    for (uint32_t i = 0; i < TEXTS; i++) {
        CHECK_OK(trainable_step_mlm(t, &batch, all + i * LONG, targets + i * LONG, LONG, 1.0, 0, &loss, &err), &err);
        sum += loss;
    }
    float *apart = copy_gradients(t, &n);
    CHECK_NEAR(whole, sum, 1e-3);
    CHECK(largest_difference(together, apart, n) < 1e-3);
    mem_free(together);
    mem_free(apart);
    trainable_close(t);
}

/* ---- opening and saving ---------------------------------------------------------------------------------------- */

TEST(new_labels_get_a_new_head_that_the_seed_decides)
{
    finch_error err;
    const char *labels[] = {"bad", "good"};
    trainable_options o = {.n_labels = 2, .labels = labels, .seed = 4};
    trainable *a, *b;
    trainable_parameter *pa, *pb;
    CHECK_OK(trainable_open(BERT, &o, &a, &err), &err);
    CHECK(trainable_head_is_new(a));
    CHECK_EQUAL(2, trainable_n_classes(a));
    CHECK_TEXT("good", trainable_config(a)->labels[1]);
    o.seed = 5;
    CHECK_OK(trainable_open(BERT, &o, &b, &err), &err);
    size_t n = trainable_parameters(a, &pa), differ = 0;
    trainable_parameters(b, &pb);
    for (size_t i = 0; i < n; i++)
        if (memcmp(pa[i].value, pb[i].value, pa[i].rows * pa[i].cols * sizeof(float)) != 0) {
            CHECK_TEXT("classifier.weight", pa[i].name);
            differ++;
            double squares = 0.0;
            for (size_t k = 0; k < 64; k++) squares += (double)pa[i].value[k] * (double)pa[i].value[k];
            CHECK_NEAR(0.02, sqrt(squares / 64.0), 0.01);
        }
    CHECK_EQUAL(1, differ);
    trainable_close(a);
    trainable_close(b);
}

static void check_saved(const char *folder, trainable_head head)
{
    setting s;
    finch_error err;
    make_setting(&s);
    trainable *t = open_with(folder, head, 0.0, false);
    CHECK_OK(trainable_save(t, harness_folder(), &err), &err);
    trainable *back = open_with(harness_folder(), head, 0.0, false);
    CHECK(!trainable_head_is_new(back));
    CHECK(loss_of(t, &s, head) == loss_of(back, &s, head));
    trainable_close(t);
    trainable_close(back);
}

TEST(a_saved_bert_classifier_opens_again)
{
    check_saved(BERT, TRAINABLE_CLASSIFIER);
}
TEST(a_saved_mpnet_classifier_opens_again)
{
    check_saved(MPNET, TRAINABLE_CLASSIFIER);
}
TEST(a_saved_bert_masked_lm_opens_again)
{
    check_saved(BERT_MLM, TRAINABLE_MASKED_LM);
}
TEST(a_saved_mpnet_masked_lm_opens_again)
{
    check_saved(MPNET_MLM, TRAINABLE_MASKED_LM);
}

/* The pooler goes from the base through pre-training to the classifier. */
TEST(pre_training_keeps_the_pooler)
{
    finch_error err;
    weights *w;
    trainable_options o = {.head = TRAINABLE_MASKED_LM};
    trainable *t;
    CHECK_OK(trainable_open(BERT, &o, &t, &err), &err);
    CHECK(trainable_head_is_new(t));
    CHECK_OK(trainable_save(t, harness_folder(), &err), &err);
    trainable_close(t);
    weights *base;
    CHECK_OK(weights_open(harness_folder(), &w, &err), &err);
    CHECK_OK(weights_open(BERT, &base, &err), &err);
    const tensor *saved = weights_find(w, "bert.pooler.dense.weight"),
                 *first = weights_find(base, "bert.pooler.dense.weight");
    CHECK(saved != NULL && first != NULL && saved->size_bytes == first->size_bytes);
    CHECK(memcmp(saved->data, first->data, saved->size_bytes) == 0);
    weights_close(w);
    weights_close(base);
}

/* ---- what must be refused -------------------------------------------------------------------------------------- */

TEST(options_outside_their_range_are_refused)
{
    finch_error err;
    trainable *t = (trainable *)&err;
    const char *same[] = {"a", "a"}, *one[] = {"a"}, *empty[] = {"", "b"};
    trainable_options bad[] = {{.hidden_dropout = 1.0},          {.attention_dropout = NAN},
                               {.n_labels = 2, .labels = same},  {.n_labels = 1, .labels = one},
                               {.n_labels = 2, .labels = empty}, {.n_labels = 33, .labels = one}};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        CHECK_STATUS(FINCH_E_USAGE, trainable_open(BERT, &bad[i], &t, &err), &err);
        CHECK(t == NULL);
    }
}

TEST(batches_and_targets_that_do_not_fit_are_refused)
{
    setting s;
    finch_error err;
    double loss;
    make_setting(&s);
    trainable *t = open_with(BERT, TRAINABLE_CLASSIFIER, 0.0, false);
    uint32_t none[N_TEXTS] = {1, 1, 0, 1, 1}, outside[N_TEXTS] = {1, 1, 1u << 5, 1, 1},
             gap[N_TEXTS + 1] = {0, 1, 18, 18, 54, 70};
    int32_t wrong[70];
    trainable_targets targets = s.targets;
    targets.mask = none;
    CHECK_STATUS(FINCH_E_USAGE, trainable_step(t, &s.batch, &targets, 1.0, 0, &loss, &err), &err);
    targets.mask = outside;
    CHECK_STATUS(FINCH_E_USAGE, trainable_step(t, &s.batch, &targets, 1.0, 0, &loss, &err), &err);
    targets = s.targets;
    targets.label_smoothing = 1.0f;
    CHECK_STATUS(FINCH_E_USAGE, trainable_step(t, &s.batch, &targets, 1.0, 0, &loss, &err), &err);
    model_batch batch = s.batch;
    batch.offsets = gap;
    CHECK_STATUS(FINCH_E_USAGE, trainable_step(t, &batch, &s.targets, 1.0, 0, &loss, &err), &err);
    batch = s.batch;
    memcpy(wrong, s.ids, sizeof wrong);
    batch.ids = wrong;
    wrong[69] = 2000;
    CHECK_STATUS(FINCH_E_USAGE, trainable_step(t, &batch, &s.targets, 1.0, 0, &loss, &err), &err);
    wrong[69] = -1;
    CHECK_STATUS(FINCH_E_USAGE, trainable_step(t, &batch, &s.targets, 1.0, 0, &loss, &err), &err);
    CHECK_STATUS(FINCH_E_USAGE, trainable_step_mlm(t, &s.batch, positions, target_ids, N_MASKED, 1.0, 0, &loss, &err), &err);
    trainable_close(t);
}

TEST(masked_positions_that_do_not_fit_are_refused)
{
    setting s;
    finch_error err;
    double loss;
    make_setting(&s);
    trainable *t = open_with(BERT_MLM, TRAINABLE_MASKED_LM, 0.0, false);
    const uint32_t twice[2] = {3, 3}, far[2] = {3, 70}, fine[2] = {3, 4};
    const int32_t ids[2] = {5, 6}, large[2] = {5, 2000};
    CHECK_STATUS(FINCH_E_USAGE, trainable_step_mlm(t, &s.batch, twice, ids, 2, 1.0, 0, &loss, &err), &err);
    CHECK_STATUS(FINCH_E_USAGE, trainable_step_mlm(t, &s.batch, far, ids, 2, 1.0, 0, &loss, &err), &err);
    CHECK_STATUS(FINCH_E_USAGE, trainable_step_mlm(t, &s.batch, fine, large, 2, 1.0, 0, &loss, &err), &err);
    CHECK_OK(trainable_step_mlm(t, &s.batch, fine, ids, 2, 1.0, 0, &loss, &err), &err);
    trainable_close(t);
}

TEST(every_failing_allocation_of_opening_and_a_step_is_reported)
{
    setting s;
    finch_error err;
    trainable_options o = {.head = TRAINABLE_CLASSIFIER};
    make_setting(&s);
    for (int nth = 1; fault_arm(FAULT_ALLOC, nth); nth++) {
        trainable *t;
        double loss;
        finch_status st = trainable_open(BERT, &o, &t, &err);
        if (st == FINCH_OK) st = trainable_step(t, &s.batch, &s.targets, 1.0, 0, &loss, &err);
        trainable_close(t);
        if (!fault_disarm()) {
            CHECK_EQUAL(FINCH_OK, st);
            break;
        }
        CHECK_EQUAL(FINCH_E_MEMORY, st);
    }
}
