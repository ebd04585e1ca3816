/* The loop on a tiny BERT: interrupted at every step and resumed, it ends in the same bits; what does not fit is refused. */
#include "harness.h"

#include "base/file.h"
#include "train/finetune.h"
#include "train/kept.h"
#include "train/loop.h"
#include "train/pretrain.h"

#ifdef _OPENMP
#include <omp.h>
#endif

/* One thread: two are what tests/kill/test_train_resume.py uses, and a model this small only waits for the second. */
__attribute__((constructor)) static void use_one_thread(void)
{
#ifdef _OPENMP
    omp_set_num_threads(1);
#endif
}

static const char model_folder[] = FIXTURES "/models/tiny-bert";

/* ---- a small task ---- */

static const char *const task_texts[] = {"strong buy, target raised",
                                         "shares fall on weak revenue",
                                         "the company reports on tuesday",
                                         "huge upside ahead",
                                         "guidance cut, sell now",
                                         "a neutral statement",
                                         "to the moon",
                                         "bankruptcy risk is rising",
                                         "they make phones",
                                         "beat on earnings",
                                         "missed on earnings",
                                         "annual meeting",
                                         "record profit",
                                         "loss widens",
                                         "new office opens",
                                         "upgraded to buy",
                                         "downgraded to sell",
                                         "board meets",
                                         "soaring demand",
                                         "weak demand"};
static const char *const task_labels[] = {"STRONGLY_POSITIVE",
                                          "NEGATIVE",
                                          "NEUTRAL",
                                          "STRONGLY_POSITIVE",
                                          "STRONGLY_NEGATIVE",
                                          "NEUTRAL",
                                          "POSITIVE",
                                          "STRONGLY_NEGATIVE",
                                          "NEUTRAL",
                                          "POSITIVE",
                                          "NEGATIVE",
                                          "NEUTRAL",
                                          "POSITIVE",
                                          "NEGATIVE|STRONGLY_NEGATIVE",
                                          "NEUTRAL",
                                          "POSITIVE",
                                          "NEGATIVE",
                                          "NEUTRAL",
                                          "POSITIVE|STRONGLY_POSITIVE",
                                          "NEGATIVE"};
enum { TASK_ROWS = sizeof task_texts / sizeof task_texts[0], TASK_VALID = 6, STEPS_MAX = 64 };

typedef struct task {
    finch_text texts[TASK_ROWS], labels[TASK_ROWS];
    uint64_t row[TASK_ROWS];
    trainable *trained;
    examples_classes classes;
    examples train, valid;
    classify classify;
    pretrain pretrain;
    bool masked;
} task;

static bool in_bf16; /* of the models that tests open; a test that sets it puts it back */

static void open_task(task *t, bool masked, double dropout)
{
    finch_error err;
    trainable_options options = {.head = masked ? TRAINABLE_MASKED_LM : TRAINABLE_CLASSIFIER,
                                 .bf16 = in_bf16,
                                 .hidden_dropout = dropout,
                                 .attention_dropout = dropout,
                                 .classifier_dropout = dropout,
                                 .seed = 7};
    *t = (task){.masked = masked};
    CHECK_OK(trainable_open(model_folder, &options, &t->trained, &err), &err);
    const model_config *config = trainable_config(t->trained);
    t->classes.n = config->n_labels;
    for (size_t c = 0; c < config->n_labels; c++) t->classes.names[c] = config->labels[c];
    for (size_t i = 0; i < TASK_ROWS; i++) {
        t->texts[i] = (finch_text){task_texts[i], strlen(task_texts[i])};
        t->labels[i] = (finch_text){task_labels[i], strlen(task_labels[i])};
        t->row[i] = i + 1;
    }
    examples_table table = {.name = "task",
                            .texts = t->texts,
                            .labels = t->labels,
                            .row = t->row,
                            .n = TASK_ROWS,
                            .weight = 1.0},
                   valid = table;
    valid.n = TASK_VALID;
    const examples_classes *classes = masked ? NULL : &t->classes;
    CHECK_OK(examples_create(&table, 1, classes, trainable_tokenizer(t->trained), 32, NULL, NULL, &t->train, &err), &err);
    CHECK_OK(examples_create(&valid, 1, classes, trainable_tokenizer(t->trained), 32, NULL, NULL, &t->valid, &err), &err);
    classify_options how = {.label_smoothing = 0.1};
    if (masked) CHECK_OK(pretrain_open(t->trained, &t->train, &t->valid, 7, 0.3, NULL, &t->pretrain, &err), &err);
    else CHECK_OK(classify_open(t->trained, &t->train, &t->valid, &t->classes, &how, NULL, &t->classify, &err), &err);
}

static void close_task(task *t)
{
    if (t->masked) pretrain_close(&t->pretrain);
    else classify_close(&t->classify);
    examples_free(&t->train);
    examples_free(&t->valid);
    trainable_close(t->trained);
}

static loop_options options_of(const char *folder, const json_t *run, bool masked)
{
    loop_options o = {.folder = folder,
                      .run = run,
                      .seed = 7,
                      .epochs = 3,
                      .batch = 4,
                      .accumulate = 1,
                      .checkpoint_every = 2,
                      .eval_every = 3,
                      .log_every = 2,
                      .schedule = SCHEDULE_LINEAR,
                      .learning_rate = 1e-3,
                      .warmup_ratio = 0.1,
                      .adamw = ADAMW_OPTIONS_DEFAULT,
                      .average = 1,
                      .keep = masked ? METRICS_log_loss : METRICS_macro_f1};
    finch_error err;
    CHECK_OK(stopping_parse(masked ? "log_loss better" : STOPPING_RULE_DEFAULT, 0, &o.rule, &err), &err);
    return o;
}

/* The bits of all parameters. */
static uint64_t weights_of(task *t)
{
    trainable_parameter *p;
    uint64_t h = 14695981039346656037u;
    size_t n = trainable_parameters(t->trained, &p);
    for (size_t i = 0; i < n; i++) {
        const unsigned char *at = (const unsigned char *)p[i].value;
        for (size_t b = 0; b < p[i].rows * p[i].cols * sizeof(float); b++) h = (h ^ at[b]) * 1099511628211u;
    }
    return h;
}

typedef struct stopper {
    size_t calls, stop_at; /* 0: never */
} stopper;

static bool count_and_stop(void *context, uint64_t done, uint64_t total, const char *note)
{
    stopper *s = context;
    CHECK(done <= total && note != NULL);
    return ++s->calls != s->stop_at;
}

/* One process's part of a run: a new model, the loop until it is done or stopped. Returns the status. */
static finch_status run_part(const loop_options *o, bool masked, double dropout, size_t stop_at, uint64_t *weights,
                             loop_result *result, size_t *n_calls)
{
    static task t;
    finch_error err;
    stopper s = {.stop_at = stop_at};
    progress watch = {count_and_stop, &s};
    open_task(&t, masked, dropout);
    loop_objective objective = masked ? pretrain_objective(&t.pretrain) : classify_objective(&t.classify);
    finch_status st = loop_run(t.trained, &objective, o, &watch, result, &err);
    if (st != FINCH_OK && st != FINCH_E_CANCELLED && stop_at == 0) print_error("%s\n", err.message);
    *weights = weights_of(&t);
    if (n_calls != NULL) *n_calls = s.calls;
    close_task(&t);
    return st;
}

static const char *sub_folder(const char *name)
{
    static char paths[4][160];
    static size_t next;
    char *path = paths[next++ % 4];
    snprintf(path, sizeof paths[0], "%s/%s", harness_folder(), name);
    return path;
}

/* Uninterrupted, then stopped after each step in turn and resumed. */
static void check_every_interruption(loop_options o, bool masked, double dropout)
{
    loop_result result;
    uint64_t wanted, got;
    size_t n_steps;
    o.folder = sub_folder("whole");
    CHECK(run_part(&o, masked, dropout, 0, &wanted, &result, &n_steps) == FINCH_OK);
    CHECK(n_steps > 5 && result.steps == n_steps);
    for (size_t stop_at = 1; stop_at <= n_steps; stop_at++) {
        char name[32];
        snprintf(name, sizeof name, "cut-%zu", stop_at);
        o.folder = sub_folder(name);
        o.resume = true;
        CHECK(run_part(&o, masked, dropout, stop_at, &got, &result, NULL) == FINCH_E_CANCELLED);
        CHECK(run_part(&o, masked, dropout, 0, &got, &result, NULL) == FINCH_OK);
        CHECK(result.resumed);
        if (got != wanted) fail_msg("stopped after step %zu of %zu: other weights", stop_at, n_steps);
    }
}

TEST(a_run_interrupted_at_any_step_ends_in_the_same_bits)
{
    json_t *run = json_pack("{s:i}", "a", 1);
    check_every_interruption(options_of(NULL, run, false), false, 0.1);
    json_decref(run);
}

TEST(so_does_one_with_accumulation_averages_and_other_batches)
{
    json_t *run = json_pack("{s:i}", "a", 1);
    loop_options o = options_of(NULL, run, false);
    o.accumulate = 2;
    o.batch = 3;
    o.average = 3;
    o.ema = 0.9;
    o.schedule = SCHEDULE_COSINE;
    check_every_interruption(o, false, 0.1);
    json_decref(run);
}

TEST(so_does_one_in_bf16)
{
    json_t *run = json_pack("{s:i}", "a", 1);
    loop_options o = options_of(NULL, run, false);
    o.epochs = 2;
    in_bf16 = true;
    check_every_interruption(o, false, 0.1);
    in_bf16 = false;
    json_decref(run);
}

TEST(so_does_masked_language_modelling)
{
    json_t *run = json_pack("{s:i}", "a", 1);
    check_every_interruption(options_of(NULL, run, true), true, 0.1);
    json_decref(run);
}

static void check_failing_files(fault_kind kind, const char *prefix)
{
    json_t *run = json_pack("{s:i}", "a", 1);
    loop_options o = options_of(sub_folder("whole"), run, false);
    loop_result result;
    uint64_t wanted, got;
    task t;
    finch_error err;
    CHECK(run_part(&o, false, 0.1, 0, &wanted, &result, NULL) == FINCH_OK);
    for (int nth = 1; nth < 400; nth += nth < 6 ? 1 : 7) {
        char name[48];
        snprintf(name, sizeof name, "%s-%d", prefix, nth);
        o.folder = sub_folder(name);
        o.resume = true;
        open_task(&t, false, 0.1);
        loop_objective objective = classify_objective(&t.classify);
        fault_arm(kind, nth);
        finch_status st = loop_run(t.trained, &objective, &o, NULL, &result, &err);
        bool struck = fault_disarm();
        close_task(&t);
        if (!struck) {
            CHECK_OK(st, &err);
            break;
        }
        CHECK_STATUS(FINCH_E_IO, st, &err);
        CHECK(run_part(&o, false, 0.1, 0, &got, &result, NULL) == FINCH_OK);
        if (got != wanted) fail_msg("failure %d: other weights", nth);
    }
    json_decref(run);
}

TEST(a_full_disk_at_any_write_costs_no_bit)
{
    check_failing_files(FAULT_WRITE, "write");
}
TEST(a_rename_that_fails_costs_no_bit)
{
    check_failing_files(FAULT_RENAME, "rename");
}
TEST(a_flush_that_fails_costs_no_bit)
{
    check_failing_files(FAULT_FSYNC, "fsync");
}

TEST(the_same_seed_gives_the_same_bits_and_another_others)
{
    json_t *run = json_pack("{s:i}", "a", 1);
    loop_options o = options_of(sub_folder("first"), run, false);
    loop_result result;
    uint64_t first, second, other, sequential;
    CHECK(run_part(&o, false, 0.1, 0, &first, &result, NULL) == FINCH_OK);
    o.folder = sub_folder("second");
    CHECK(run_part(&o, false, 0.1, 0, &second, &result, NULL) == FINCH_OK);
    CHECK(first == second);
    o.folder = sub_folder("third");
    o.seed = 8; /* the order; dropout and head keep the task's seed */
    CHECK(run_part(&o, false, 0.1, 0, &other, &result, NULL) == FINCH_OK);
    CHECK(first != other);
    o.folder = sub_folder("fourth");
    o.sequential = true;
    CHECK(run_part(&o, false, 0.1, 0, &sequential, &result, NULL) == FINCH_OK);
    CHECK(first != sequential && other != sequential);
    json_decref(run);
}

TEST(a_batch_cut_by_accumulation_learns_what_the_whole_learns)
{
    json_t *run = json_pack("{s:i}", "a", 1);
    loop_options whole = options_of(sub_folder("whole"), run, false), cut = options_of(sub_folder("cut"), run, false);
    task a, b;
    finch_error err;
    loop_result result;
    trainable_parameter *p, *q;
    whole.batch = 8;
    whole.max_steps = cut.max_steps = 4;
    cut.batch = 4;
    cut.accumulate = 2;
    /* Adam divides by the root of the second moment, so where a gradient is nearly zero its rounding would show. */
    whole.adamw.epsilon = cut.adamw.epsilon = 0.1;
    open_task(&a, false, 0.0);
    open_task(&b, false, 0.0);
    loop_objective oa = classify_objective(&a.classify), ob = classify_objective(&b.classify);
    CHECK_OK(loop_run(a.trained, &oa, &whole, NULL, &result, &err), &err);
    CHECK_OK(loop_run(b.trained, &ob, &cut, NULL, &result, &err), &err);
    size_t n = trainable_parameters(a.trained, &p);
    trainable_parameters(b.trained, &q);
    double largest = 0.0;
    for (size_t i = 0; i < n; i++)
        for (size_t k = 0; k < p[i].rows * p[i].cols; k++)
            largest = fmax(largest, fabs((double)p[i].value[k] - (double)q[i].value[k]));
    CHECK(largest < 1e-6); /* steps are up to 1e-3 */
    close_task(&a);
    close_task(&b);
    json_decref(run);
}

TEST(the_task_is_learnt)
{
    json_t *run = json_pack("{s:i}", "a", 1);
    loop_options o = options_of(sub_folder("run"), run, false);
    task t;
    finch_error err;
    loop_result result;
    o.epochs = 30;
    o.learning_rate = 5e-3;
    open_task(&t, false, 0.0);
    loop_objective objective = classify_objective(&t.classify);
    double values[METRICS_COUNT];
    json_t *report;
    CHECK_OK(loop_run(t.trained, &objective, &o, NULL, &result, &err), &err);
    CHECK_OK(objective.evaluate(objective.context, values, &report, &err), &err);
    json_decref(report);
    CHECK_NEAR(1.0, values[METRICS_accuracy], 0.0); /* six of the rows it learnt */
    CHECK_NEAR(result.value, values[METRICS_macro_f1], 0.0); /* the kept weights are in the model */
    close_task(&t);
    json_decref(run);
}

TEST(training_stops_when_nothing_gets_better_and_says_so)
{
    json_t *run = json_pack("{s:i}", "a", 1);
    loop_options o = options_of(sub_folder("run"), run, false);
    loop_result result;
    uint64_t weights;
    finch_error err;
    o.learning_rate = 1e-9;
    CHECK_OK(stopping_parse("macro_f1 better", 2, &o.rule, &err), &err);
    CHECK(run_part(&o, false, 0.0, 0, &weights, &result, NULL) == FINCH_OK);
    CHECK(result.stopped_early && result.steps == 9 && result.n_evaluations == 3 && result.best_step == 3);
    CHECK(strstr(result.stop_reason, "stopped early after step 9 of 15") != NULL &&
          strstr(result.stop_reason, "the last 2 evaluations") != NULL);
    json_decref(run);
}

TEST(a_checkpoint_of_other_options_is_refused_by_name)
{
    json_t *run = json_pack("{s:i,s:s}", "epochs", 3, "training data", "aa"),
           *other = json_pack("{s:i,s:s}", "epochs", 3, "training data", "bb");
    loop_options o = options_of(sub_folder("run"), run, false);
    loop_result result;
    uint64_t weights;
    finch_error err;
    task t;
    CHECK(run_part(&o, false, 0.0, 4, &weights, &result, NULL) == FINCH_E_CANCELLED);
    o.resume = true;
    o.run = other;
    open_task(&t, false, 0.0);
    loop_objective objective = classify_objective(&t.classify);
    uint64_t before = weights_of(&t);
    CHECK_STATUS(FINCH_E_USAGE, loop_run(t.trained, &objective, &o, NULL, &result, &err), &err);
    CHECK(strstr(err.message, "training data") != NULL && strstr(err.message, "aa") != NULL &&
          strstr(err.message, "bb") != NULL);
    CHECK(weights_of(&t) == before);
    close_task(&t);
    o.run = run;
    CHECK(run_part(&o, false, 0.0, 0, &weights, &result, NULL) == FINCH_OK); /* the refusal did no harm */
    json_decref(run);
    json_decref(other);
}

TEST(options_out_of_range_are_refused)
{
    json_t *run = json_pack("{s:i}", "a", 1);
    const loop_options good = options_of(sub_folder("run"), run, false);
    loop_options bad[6] = {good, good, good, good, good, good};
    loop_result result;
    uint64_t weights;
    bad[0].batch = 0;
    bad[1].average = KEPT_MAX + 1;
    bad[2].ema = 1.0;
    bad[3].warmup_ratio = 1.0;
    bad[4].learning_rate = (double)NAN;
    bad[5].epochs = SIZE_MAX;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        CHECK(run_part(&bad[i], false, 0.0, SIZE_MAX, &weights, &result, NULL) == FINCH_E_USAGE);
    json_decref(run);
}

/* ---- kept weights ---- */

TEST(the_best_evaluations_are_kept_in_order)
{
    static const double values[] = {0.5, 0.7, 0.6, 0.7, 0.4, 0.9};
    kept k = {.capacity = 3, .higher_is_better = true};
    kept_entry dropped;
    uint64_t fell[6] = {0};
    for (size_t i = 0; i < 6; i++) {
        bool in = kept_insert(&k, i + 1, values[i], &dropped);
        CHECK(in == (i != 4));
        fell[i] = dropped.step;
    }
    CHECK(k.n == 3 && k.entry[0].step == 6 && k.entry[1].step == 2 &&
          k.entry[2].step == 4); /* the earlier of equals first */
    CHECK(fell[2] == 0 && fell[3] == 1 && fell[4] == 0 && fell[5] == 3);
    kept low = {.capacity = 2};
    CHECK(kept_insert(&low, 1, (double)NAN, &dropped) && kept_insert(&low, 2, 0.5, &dropped) &&
          kept_insert(&low, 3, 0.4, &dropped));
    CHECK(low.entry[0].step == 3 && low.entry[1].step == 2 && dropped.step == 1);
}

TEST(kept_weights_are_averaged)
{
    task t;
    finch_error err;
    trainable_parameter *p;
    kept k = {.capacity = 3, .higher_is_better = true};
    kept_entry dropped;
    const char *folder = harness_folder();
    open_task(&t, false, 0.0);
    trainable_parameters(t.trained, &p);
    float first = p[0].value[0];
    for (uint64_t step = 1; step <= 3; step++) {
        p[0].value[0] = first + (float)step;
        CHECK_OK(kept_write(folder, step, t.trained, &err), &err);
        CHECK(kept_insert(&k, step, (double)step, &dropped));
    }
    float other = p[1].value[0];
    p[1].value[0] = 99.0f;
    CHECK_OK(kept_load(&k, 3, folder, t.trained, &err), &err);
    CHECK_NEAR(first + 2.0f, p[0].value[0], 1e-6);
    CHECK(p[1].value[0] == other);
    CHECK_OK(kept_load(&k, 1, folder, t.trained, &err), &err);
    CHECK(p[0].value[0] == first + 3.0f);
    CHECK_OK(kept_remove(folder, 2, &err), &err);
    CHECK_STATUS(FINCH_E_NOT_FOUND, kept_load(&k, 3, folder, t.trained, &err), &err);
    CHECK_OK(kept_remove(folder, 2, &err), &err); /* gone already */
    close_task(&t);
}

/* ---- masking ---- */

TEST(masking_is_15_percent_of_it_80_10_10_and_new_every_epoch)
{
    enum { TOKENS = 20000 };
    static int32_t ids[TOKENS], again[TOKENS], targets[TOKENS];
    static uint32_t positions[TOKENS];
    pretrain_masker m = {.seed = 3,
                         .epoch = 5,
                         .share = 0.15,
                         .special = {.cls = 2, .sep = 3, .pad = 0, .unk = 1, .mask = 4},
                         .vocab_size = 1000};
    size_t n, n_again, masked = 0, kept_ones = 0;
    for (size_t i = 0; i < TOKENS; i++) ids[i] = i % 10 == 0 ? 2 : 500; /* a tenth is special */
    memcpy(again, ids, sizeof ids);
    pretrain_mask(&m, 11, ids, TOKENS, 100, positions, targets, &n);
    double chosen = 0.15 * 0.9 * TOKENS;
    CHECK_NEAR(chosen, n, 5 * sqrt(chosen * 0.85)); /* five standard deviations */
    for (size_t i = 0; i < n; i++) {
        size_t at = positions[i] - 100;
        CHECK(at % 10 != 0 && targets[i] == 500 && ids[at] >= 0 && ids[at] < 1000);
        masked += ids[at] == 4 ? 1 : 0;
        kept_ones += ids[at] == 500 ? 1 : 0;
    }
    CHECK_NEAR(0.8 * (double)n, masked, 5 * sqrt(0.16 * (double)n));
    CHECK_NEAR(0.1 * (double)n, kept_ones, 5 * sqrt(0.09 * (double)n) + 5);
    for (size_t i = 0; i < TOKENS; i += 10) CHECK(ids[i] == 2); /* special tokens stay */
    pretrain_mask(&m, 11, again, TOKENS, 100, positions, targets, &n_again);
    CHECK(n == n_again && memcmp(ids, again, sizeof ids) == 0);
    for (size_t i = 0; i < TOKENS; i++) again[i] = i % 10 == 0 ? 2 : 500;
    m.epoch = 6;
    pretrain_mask(&m, 11, again, TOKENS, 100, positions, targets, &n_again);
    CHECK(memcmp(ids, again, sizeof ids) != 0);
}
