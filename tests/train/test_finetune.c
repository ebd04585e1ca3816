/* finetune_run and pretrain_run: from tables to a folder that the scorer opens. */
#include "harness.h"

#include "base/file.h"
#include "base/rng.h"
#include "train/fingerprint.h"
#include "train/pretrain_run.h"

#ifdef _OPENMP
#include <omp.h>
#endif

/* A model this small only waits for a second thread. */
__attribute__((constructor)) static void use_one_thread(void)
{
#ifdef _OPENMP
    omp_set_num_threads(1);
#endif
}

static const char model_folder[] = FIXTURES "/models/tiny-bert";

static const char *const words[] = {"buy", "sell", "hold", "moon", "crash", "beat", "miss", "profit", "loss", "meeting"};
static const char *const classes[] = {"STRONGLY_NEGATIVE", "NEGATIVE", "NEUTRAL", "POSITIVE", "STRONGLY_POSITIVE"};
static const char *const coarse_labels[] = {"bearish", "NEGATIVE", "neutral", "bullish", "POSITIVE"};

enum { TRAIN_ROWS = 60, VALID_ROWS = 20, COARSE_ROWS = 20, ROW_BYTES = 64 };

typedef struct rows {
    char bytes[TRAIN_ROWS][ROW_BYTES];
    finch_text texts[TRAIN_ROWS], labels[TRAIN_ROWS];
    uint64_t row[TRAIN_ROWS];
    examples_table table;
} rows;

static rows train_rows, valid_rows, coarse_rows;

static void fill(rows *r, const char *name, size_t n, size_t first, bool coarse)
{
    for (size_t i = 0; i < n; i++) {
        size_t c = i % 5;
        rng letters = {.seed = first + i};
        char apart[17] = {0}; /* rows of other numbers are no near copies of each other */
        for (size_t k = 0; k + 1 < sizeof apart; k++) apart[k] = k % 4 == 3 ? ' ' : (char)('a' + rng_below(&letters, 26));
        snprintf(r->bytes[i], ROW_BYTES, "%s %s %s", words[2 * c], words[2 * c + 1], apart);
        r->texts[i] = (finch_text){r->bytes[i], strlen(r->bytes[i])};
        const char *label = coarse ? coarse_labels[c] : classes[c];
        r->labels[i] = (finch_text){label, strlen(label)};
        r->row[i] = i + 1;
    }
    r->table = (examples_table){.name = name,
                                .texts = r->texts,
                                .labels = r->labels,
                                .row = r->row,
                                .n = n,
                                .coarse = coarse,
                                .weight = coarse ? 0.5 : 1.0};
}

/* The coarse rows begin five before the training rows' end: those five are there already. Validation has five of training's. */
static finetune_tables tables_of(examples_table pair[2])
{
    fill(&train_rows, "train.csv", TRAIN_ROWS, 100, false);
    fill(&coarse_rows, "coarse.csv", COARSE_ROWS, 100 + TRAIN_ROWS - 5, true);
    fill(&valid_rows, "valid.csv", VALID_ROWS, 100 - VALID_ROWS + 5, false);
    pair[0] = train_rows.table;
    pair[1] = coarse_rows.table;
    return (finetune_tables){.train = pair, .n_train = 2, .valid = &valid_rows.table, .n_valid = 1};
}

static finetune_options options_of(const char *name)
{
    static char output[160];
    snprintf(output, sizeof output, "%s/%s", harness_folder(), name);
    return (finetune_options){
        .model = model_folder,
        .output = output,
        .max_tokens = 64,
        .n_threads = 1,
        .patience = 3,
        .hidden_dropout = 0.0,
        .attention_dropout = 0.0,
        .classifier_dropout = 0.0,
        .class_weights = "none",
        .rule = STOPPING_RULE_DEFAULT,
        .loop = {.seed = 3,
                 .epochs = 4,
                 .batch = 8,
                 .accumulate = 1,
                 .log_every = 5,
                 .learning_rate = 3e-3,
                 .warmup_ratio = 0.1,
                 .adamw = ADAMW_OPTIONS_DEFAULT,
                 .average = 1},
    };
}

static double figure(const json_t *card, const char *group, const char *key)
{
    const json_t *value = json_object_get(json_object_get(card, group), key);
    CHECK(json_is_number(value));
    return json_number_value(value);
}

static bool is_there(const char *folder, const char *name)
{
    str path = {0};
    finch_error err;
    CHECK_OK(file_join(folder, name, &path, &err), &err);
    bool there = file_exists(path.at);
    str_free(&path);
    return there;
}

/* The card's accuracy and log loss by the scorer's own way from the folder. */
static void check_card_against_scorer(const char *folder, const json_t *card)
{
    model *m;
    model_scorer *scorer;
    finch_error err;
    float logits[VALID_ROWS * 5];
    double probabilities[VALID_ROWS * 5];
    int32_t truth[VALID_ROWS];
    metrics measured;
    CHECK_OK(model_open(folder, MODEL_AUTO, &m, &err), &err);
    CHECK_NEAR(figure(card, "calibration", "temperature"), model_temperature(m), 1e-6);
    CHECK_OK(model_scorer_create(m, 1, &scorer, &err), &err);
    CHECK_OK(model_score_texts(scorer, valid_rows.texts, VALID_ROWS, 64, logits, NULL, &err), &err);
    for (size_t i = 0; i < VALID_ROWS; i++) truth[i] = (int32_t)(i % 5);
    metrics_softmax(logits, VALID_ROWS, 5, (double)model_temperature(m), probabilities);
    CHECK_OK(metrics_compute(truth, probabilities, VALID_ROWS, 5, &measured, &err), &err);
    CHECK_NEAR(measured.value[METRICS_accuracy], figure(card, "metrics", "accuracy"), 0.0);
    CHECK_NEAR(measured.value[METRICS_log_loss], figure(card, "metrics", "log_loss"), 1e-4); /* two f32 engines' rounding */
    model_scorer_destroy(scorer);
    model_close(m);
}

TEST(a_folder_with_card_events_and_fingerprints_comes_out)
{
    examples_table pair[2];
    finetune_tables tables = tables_of(pair);
    finetune_options o = options_of("model");
    finch_error err;
    json_t *card;
    fingerprints *seen;
    CHECK_OK(finetune_run(&tables, &o, NULL, &card, &err), &err);
    static const char *const files[] = {"config.json", "model.safetensors", "tokenizer.json",
                                        "finch.json",  "metrics.jsonl",     FINGERPRINT_FILE};
    for (size_t i = 0; i < sizeof files / sizeof files[0]; i++) CHECK(is_there(o.output, files[i]));
    CHECK(!is_there(harness_folder(), "model.training") && !is_there(harness_folder(), "model.part"));
    const json_t *counts = json_object_get(json_object_get(card, "examples"), "train");
    CHECK_EQUAL(TRAIN_ROWS + COARSE_ROWS, json_integer_value(json_object_get(counts, "rows")));
    CHECK_EQUAL(5, json_integer_value(json_object_get(counts, "excluded")));
    CHECK_EQUAL(5, json_integer_value(json_object_get(counts, "repeated")));
    CHECK_EQUAL(TRAIN_ROWS + COARSE_ROWS - 10, json_integer_value(json_object_get(counts, "used")));
    CHECK(figure(card, "metrics", "accuracy") > 0.9); /* the words tell the class */
    check_card_against_scorer(o.output, card);
    CHECK_OK(fingerprints_open(o.output, &seen, &err), &err);
    CHECK_EQUAL(TRAIN_ROWS + COARSE_ROWS - 10, fingerprints_count(seen));
    fingerprints_close(seen);
    json_decref(card);
    CHECK_STATUS(FINCH_E_USAGE, finetune_run(&tables, &o, NULL, &card, &err), &err); /* never over a model */
    o.resume = true; /* the same run again: it is done */
    CHECK_OK(finetune_run(&tables, &o, NULL, &card, &err), &err);
    json_decref(card);
    o.loop.learning_rate = 1e-3;
    CHECK_STATUS(FINCH_E_USAGE, finetune_run(&tables, &o, NULL, &card, &err), &err);
    CHECK(card == NULL);
}

TEST(int8_weights_are_measured_as_they_are_written)
{
    examples_table pair[2];
    finetune_tables tables = tables_of(pair);
    finetune_options o = options_of("model-int8");
    finch_error err;
    json_t *card;
    o.int8 = true;
    o.class_weights = "balanced";
    o.loop.average = 3;
    CHECK_OK(finetune_run(&tables, &o, NULL, &card, &err), &err);
    CHECK_TEXT("int8", json_string_value(json_object_get(card, "weights")));
    check_card_against_scorer(o.output, card);
    CHECK(!is_there(harness_folder(), "model-int8.part") && !is_there(harness_folder(), "model-int8.part-int8"));
    json_decref(card);
}

TEST(a_student_learns_from_teachers_and_keeps_its_bits)
{
    examples_table pair[2];
    finetune_tables tables = tables_of(pair);
    finetune_options teacher = options_of("teacher");
    finch_error err;
    json_t *card, *again;
    CHECK_OK(finetune_run(&tables, &teacher, NULL, &card, &err), &err);
    json_decref(card);
    char folder[160];
    snprintf(folder, sizeof folder, "%s", teacher.output);
    const char *teachers[2] = {folder, model_folder};
    finetune_options o = options_of("student");
    o.teachers = teachers;
    o.n_teachers = 2;
    o.classify = (classify_options){.soft_share = 0.7, .soft_temperature = 2.0};
    CHECK_OK(finetune_run(&tables, &o, NULL, &card, &err), &err);
    o = options_of("student-2");
    o.teachers = teachers;
    o.n_teachers = 2;
    o.classify = (classify_options){.soft_share = 0.7, .soft_temperature = 2.0};
    CHECK_OK(finetune_run(&tables, &o, NULL, &again, &err), &err);
    CHECK(json_equal(json_object_get(card, "metrics"), json_object_get(again, "metrics")));
    CHECK(json_equal(json_object_get(card, "hyperparameters"), json_object_get(again, "hyperparameters")));
    json_decref(card);
    json_decref(again);
    o = options_of("student-3");
    o.teachers = teachers;
    o.n_teachers = 1;
    o.classify = (classify_options){.soft_share = 0.0, .soft_temperature = 2.0};
    CHECK_STATUS(FINCH_E_USAGE, finetune_run(&tables, &o, NULL, &card, &err), &err);
}

TEST(what_can_not_be_learnt_is_told_before_any_work)
{
    examples_table pair[2];
    finetune_tables tables = tables_of(pair);
    finch_error err;
    json_t *card;
    finetune_options o = options_of("model");
    o.rule = "f1 better";
    CHECK_STATUS(FINCH_E_USAGE, finetune_run(&tables, &o, NULL, &card, &err), &err);
    o = options_of("model");
    o.keep = "f1";
    CHECK_STATUS(FINCH_E_USAGE, finetune_run(&tables, &o, NULL, &card, &err), &err);
    o = options_of("model");
    o.class_weights = "1,2";
    CHECK_STATUS(FINCH_E_USAGE, finetune_run(&tables, &o, NULL, &card, &err), &err);
    o = options_of("model");
    train_rows.labels[7] = (finch_text){"GOOD", 4};
    CHECK_STATUS(FINCH_E_DATA, finetune_run(&tables, &o, NULL, &card, &err), &err);
    CHECK(strstr(err.message, "train.csv, row 8") != NULL && strstr(err.message, "GOOD") != NULL);
    tables = tables_of(pair);
    valid_rows.labels[3] = (finch_text){"NEUTRAL|POSITIVE", 16};
    CHECK_STATUS(FINCH_E_DATA, finetune_run(&tables, &o, NULL, &card, &err), &err);
    o.labels = classes;
    o.n_labels = 1;
    CHECK_STATUS(FINCH_E_USAGE, finetune_run(&tables, &o, NULL, &card, &err), &err);
    CHECK(!is_there(harness_folder(), "model.training")); /* nothing was begun */
}

TEST(a_pretrained_folder_is_what_training_starts_from)
{
    examples_table pair[2];
    finetune_tables tables = tables_of(pair);
    finetune_options o = options_of("domain");
    char domain[160];
    snprintf(domain, sizeof domain, "%s", o.output);
    pretrain_options p = {.model = model_folder,
                          .output = domain,
                          .rule = "log_loss better",
                          .max_tokens = 64,
                          .hidden_dropout = 0.0,
                          .attention_dropout = 0.0,
                          .share = 0.15,
                          .hold_out = 0.2,
                          .loop = o.loop};
    finch_error err;
    json_t *card;
    CHECK_OK(pretrain_run(&train_rows.table, 1, &valid_rows.table, 1, &p, NULL, &card, &err), &err);
    CHECK(is_there(domain, "model.safetensors") && is_there(domain, "metrics.jsonl"));
    CHECK(figure(card, "metrics", "perplexity") > 1.0 && figure(card, "training", "steps") > 8);
    double valid = (double)json_integer_value(
        json_object_get(json_object_get(json_object_get(card, "examples"), "valid"), "used"));
    CHECK(valid > 2 && valid < 30); /* about a fifth of 60 */
    json_decref(card);
    o = options_of("model");
    o.model = domain;
    CHECK_OK(finetune_run(&tables, &o, NULL, &card, &err), &err);
    CHECK_TEXT("fill-mask", json_string_value(json_object_get(json_object_get(card, "base_card"), "task")));
    CHECK_TEXT("domain", json_string_value(json_object_get(card, "base_model")));
    json_decref(card);
    p.output = "unused";
    p.rule = "macro_f1 better";
    CHECK_STATUS(FINCH_E_USAGE, pretrain_run(&train_rows.table, 1, NULL, 0, &p, NULL, &card, &err), &err);
    p.rule = "log_loss better";
    p.hold_out = 0.0;
    CHECK_STATUS(FINCH_E_DATA, pretrain_run(&train_rows.table, 1, NULL, 0, &p, NULL, &card, &err), &err);
}
