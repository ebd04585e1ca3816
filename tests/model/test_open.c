/* Opening a model: what is missing, misshapen or broken is refused by name; every failing allocation leaves nothing behind. */
#include "harness.h"

#include "base/file.h"
#include "model/model.h"
#include "tensor/weights.h"

#include <stdlib.h>

#define TINY FIXTURES "/models/tiny-bert"

static void copy_file(const char *name)
{
    char from[512], to[512], *text;
    size_t size;
    finch_error err = {0};
    snprintf(from, sizeof from, "%s/%s", TINY, name);
    snprintf(to, sizeof to, "%s/%s", harness_folder(), name);
    CHECK_OK(file_read(from, 1 << 28, &text, &size, &err), &err);
    CHECK_OK(file_write(to, text, size, &err), &err);
    mem_free(text);
}

/* What to do to the tiny model's tensor of that name. */
typedef enum change { CHANGE_NOTHING, CHANGE_DROP, CHANGE_SHAPE, CHANGE_TYPE, CHANGE_NAN } change;

static void copy_tensor(const tensor *t, const char *name, change how, safetensors_entry *e, float *changed)
{
    *e = (safetensors_entry){.name = t->name, .dtype = t->dtype, .n_dims = t->n_dims, .data = t->data};
    memcpy(e->dims, t->dims, sizeof t->dims);
    if (strcmp(t->name, name) != 0) return;
    if (how == CHANGE_SHAPE) e->dims[0]--;
    if (how == CHANGE_TYPE) e->dtype = TENSOR_I32;
    if (how != CHANGE_NAN) return;
    finch_error err = {0};
    CHECK_OK(tensor_to_f32(t, changed, &err), &err);
    changed[t->n_items - 1] = NAN;
    e->data = changed;
}

/* The tiny model in the test's folder with one tensor changed. */
static void make_changed(const char *name, change how)
{
    enum { ENTRIES = 256, ITEMS = 1 << 17 };
    safetensors_entry entries[ENTRIES];
    static float changed[ITEMS];
    char path[512];
    size_t n = 0;
    finch_error err = {0};
    weights *w;
    copy_file("config.json"), copy_file("vocab.txt"), copy_file("tokenizer.json"), copy_file("tokenizer_config.json");
    CHECK_OK(weights_open(TINY, &w, &err), &err);
    CHECK(weights_count(w) < ENTRIES);
    for (size_t i = 0; i < weights_count(w); i++) {
        const tensor *t = weights_at(w, i);
        if (how == CHANGE_DROP && strcmp(t->name, name) == 0) continue;
        copy_tensor(t, name, how, &entries[n++], changed);
    }
    snprintf(path, sizeof path, "%s/model.safetensors", harness_folder());
    CHECK_OK(safetensors_write(path, entries, n, &err), &err);
    weights_close(w);
}

static void check_refused(const char *name, change how, model_compute compute)
{
    finch_error err = {0};
    model *m;
    make_changed(name, how);
    CHECK_STATUS(FINCH_E_DATA, model_open(harness_folder(), compute, &m, &err), &err);
    CHECK(m == NULL);
    if (strstr(err.message, name) == NULL) print_message("%s is not named by: %s\n", name, err.message);
    CHECK(strstr(err.message, name) != NULL);
}

TEST(an_unchanged_copy_opens)
{
    finch_error err = {0};
    model *m;
    make_changed("", CHANGE_NOTHING);
    CHECK_OK(model_open(harness_folder(), MODEL_AUTO, &m, &err), &err);
    CHECK_EQUAL(MODEL_F32, model_get_compute(m));
    CHECK_EQUAL(5, model_get_config(m)->n_labels);
    CHECK_EQUAL(4, model_class_id(m, 4));
    CHECK_EQUAL(-1, model_class_id(m, 5));
    CHECK_NEAR(1.0, model_temperature(m), 0);
    model_close(m);
}

TEST(a_missing_or_misshapen_or_mistyped_tensor_is_named)
{
    static const char *const names[] = {
        "bert.embeddings.word_embeddings.weight",
        "bert.embeddings.position_embeddings.weight",
        "bert.embeddings.token_type_embeddings.weight",
        "bert.embeddings.LayerNorm.weight",
        "bert.encoder.layer.0.attention.self.query.weight",
        "bert.encoder.layer.1.attention.self.value.bias",
        "bert.encoder.layer.1.attention.output.dense.weight",
        "bert.encoder.layer.0.intermediate.dense.weight",
        "bert.encoder.layer.1.output.LayerNorm.bias",
        "bert.pooler.dense.weight",
        "classifier.bias",
    };
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        for (change how = CHANGE_DROP; how <= CHANGE_TYPE; how++)
            check_refused(names[i], how, i % 2 == 0 ? MODEL_F32 : MODEL_INT8);
}

TEST(weights_that_are_not_finite_are_refused)
{
    static const char *const names[] = {"bert.embeddings.position_embeddings.weight",
                                        "bert.encoder.layer.0.attention.self.query.weight",
                                        "bert.encoder.layer.0.output.dense.bias",
                                        "bert.encoder.layer.1.attention.output.LayerNorm.weight", "classifier.weight"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        check_refused(names[i], CHANGE_NAN, MODEL_F32);
        check_refused(names[i], CHANGE_NAN, MODEL_INT8);
    }
}

/* Word rows are read when they are needed: a broken one shows in the text that has the word, by its row. */
static void check_broken_word(model_compute compute)
{
    finch_error err = {0};
    model *m;
    arena a;
    int32_t ids[4] = {5, 6, 7, 1999};
    uint32_t offsets[3] = {0, 2, 4};
    float logits[10] = {3.0f};
    arena_init(&a);
    make_changed("bert.embeddings.word_embeddings.weight", CHANGE_NAN);
    CHECK_OK(model_open(harness_folder(), compute, &m, &err), &err);
    CHECK_STATUS(FINCH_E_DATA, model_logits(m, &(model_batch){ids, offsets, 2, 4}, logits, &a, &err), &err);
    CHECK_EQUAL(2, err.row);
    CHECK_NEAR(3.0, logits[0], 0); /* untouched */
    CHECK_OK(model_logits(m, &(model_batch){ids, offsets, 1, 2}, logits, &a, &err), &err);
    model_close(m);
    arena_free(&a);
}

TEST(a_broken_word_fails_the_text_that_has_it)
{
    check_broken_word(MODEL_F32);
    check_broken_word(MODEL_INT8);
}

TEST(a_model_without_a_head_says_to_train_one)
{
    finch_error err = {0};
    model *m;
    make_changed("classifier.weight", CHANGE_DROP);
    CHECK_STATUS(FINCH_E_DATA, model_open(harness_folder(), MODEL_AUTO, &m, &err), &err);
    CHECK(strstr(err.message, "finch train") != NULL);
}

static void write_card(const char *text)
{
    char path[512];
    finch_error err = {0};
    snprintf(path, sizeof path, "%s/finch.json", harness_folder());
    CHECK_OK(file_write(path, text, strlen(text), &err), &err);
}

TEST(the_temperature_comes_from_the_card)
{
    finch_error err = {0};
    model *m;
    float logits[5] = {0.0f, 0.0f, 2.0f, 0.0f, 0.0f}, p[5];
    make_changed("", CHANGE_NOTHING);
    write_card("{\"calibration\": {\"temperature\": 2.0}}");
    CHECK_OK(model_open(harness_folder(), MODEL_AUTO, &m, &err), &err);
    CHECK_NEAR(2.0, model_temperature(m), 0);
    model_probabilities(m, logits, 1, p);
    CHECK_NEAR(exp(1.0) / (exp(1.0) + 4.0), p[2], 1e-6);
    CHECK_NEAR(0.0, model_sentiment(m, p), 1e-7);
    p[0] = 0.0f, p[1] = 0.5f, p[2] = 0.0f, p[3] = 0.0f, p[4] = 0.5f;
    CHECK_NEAR(0.25, model_sentiment(m, p), 1e-7);
    model_close(m);
    static const char *const bad[] = {"{\"calibration\": {\"temperature\": 0}}",
                                      "{\"calibration\": {\"temperature\": \"warm\"}}",
                                      "{\"calibration\": {\"temperature\": 1e9}}", "{\"calibration\""};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        write_card(bad[i]);
        CHECK_STATUS(FINCH_E_DATA, model_open(harness_folder(), MODEL_AUTO, &m, &err), &err);
        CHECK(m == NULL && strstr(err.message, "finch.json") != NULL);
    }
}

TEST(impossible_batches_are_refused)
{
    finch_error err = {0};
    model *m;
    arena a;
    float logits[10];
    int32_t ids[200];
    uint32_t offsets[3] = {0, 2, 4};
    for (size_t i = 0; i < 200; i++) ids[i] = 5;
    arena_init(&a);
    CHECK_OK(model_open(TINY, MODEL_F32, &m, &err), &err);
#define CHECK_BATCH(status, n_texts, n_tokens) \
    CHECK_STATUS(status, model_logits(m, &(model_batch){ids, offsets, n_texts, n_tokens}, logits, &a, &err), &err)
    CHECK_BATCH(FINCH_OK, 0, 0);
    CHECK_BATCH(FINCH_OK, 2, 4);
    CHECK_BATCH(FINCH_E_USAGE, 2, 5); /* the last offset is not the end */
    CHECK_BATCH(FINCH_E_USAGE, 2, 3);
    offsets[1] = 4;
    CHECK_BATCH(FINCH_E_USAGE, 2, 4); /* an empty text */
    offsets[1] = 5;
    CHECK_BATCH(FINCH_E_USAGE, 2, 4); /* offsets that fall */
    offsets[0] = 1, offsets[1] = 2;
    CHECK_BATCH(FINCH_E_USAGE, 2, 4); /* a start that is not 0 */
    offsets[0] = 0, offsets[1] = 129;
    CHECK_BATCH(FINCH_E_USAGE, 1, 129); /* more tokens than positions */
    offsets[1] = 2, ids[1] = 2000;
    CHECK_BATCH(FINCH_E_USAGE, 2, 4); /* an id past the vocabulary */
    ids[1] = -1;
    CHECK_BATCH(FINCH_E_USAGE, 2, 4);
    model_close(m);
    arena_free(&a);
}

TEST(the_scorer_takes_any_bytes_and_refuses_impossible_calls)
{
    finch_error err = {0};
    model *m;
    model_scorer *s;
    float logits[3 * 5];
    model_text_info info[3];
    static char many[1 << 16];
    memset(many, 'a', sizeof many);
    for (size_t i = 0; i < sizeof many; i += 3) many[i] = ' ';
    finch_text texts[3] = {{"", 0}, {"\xff\xfe\0\x80 nul", 8}, {many, sizeof many}};
    CHECK_OK(model_open(TINY, MODEL_INT8, &m, &err), &err);
    CHECK_STATUS(FINCH_E_USAGE, model_scorer_create(m, 1 << 20, &s, &err), &err);
    CHECK(s == NULL);
    CHECK_OK(model_scorer_create(m, 0, &s, &err), &err);
    CHECK_OK(model_score_texts(s, texts, 3, 1 << 20, logits, info, &err), &err);
    CHECK_EQUAL(2, info[0].n_tokens);
    CHECK_EQUAL(128, info[2].n_tokens); /* as many as the model has positions */
    CHECK(info[2].truncated && !info[0].truncated);
    CHECK_OK(model_score_texts(s, texts, 0, 128, logits, info, &err), &err);
    CHECK_STATUS(FINCH_E_USAGE, model_score_texts(s, texts, 3, 1, logits, info, &err), &err);
    model_scorer_destroy(s);
    model_scorer_destroy(NULL);
    model_close(m);
    model_close(NULL);
}

/* Every allocation, open and read of model_open made to fail in turn. */
static void walk_faults(fault_kind kind, const char *folder, model_compute compute)
{
    int nth = 1;
    for (bool failed = true; failed; nth++) {
        finch_error err = {0};
        model *m;
        fault_arm(kind, nth);
        finch_status st = model_open(folder, compute, &m, &err);
        failed = fault_disarm();
        CHECK(failed == (st != FINCH_OK) && (m == NULL) == failed);
        model_close(m);
    }
    CHECK(nth > 2);
}

TEST(every_fault_while_opening_is_a_clean_failure)
{
    walk_faults(FAULT_OPEN, TINY, MODEL_F32);
    walk_faults(FAULT_READ, TINY, MODEL_F32);
    walk_faults(FAULT_ALLOC, TINY, MODEL_INT8);
    walk_faults(FAULT_ALLOC, FIXTURES "/models/tiny-mpnet", MODEL_F32);
}

TEST(every_failing_allocation_while_scoring_is_a_clean_failure)
{
    finch_error err = {0};
    model *m;
    finch_text texts[20];
    float logits[20 * 5];
    for (size_t i = 0; i < 20; i++) texts[i] = (finch_text){"stocks are up and down and up again", 10 + i};
    CHECK_OK(model_open(TINY, MODEL_INT8, &m, &err), &err);
    for (size_t n_threads = 1; n_threads <= 2; n_threads++) {
        bool failed = true;
        for (int nth = 1; failed; nth++) {
            model_scorer *s;
            fault_arm(FAULT_ALLOC, nth);
            finch_status st = model_scorer_create(m, n_threads, &s, &err);
            if (st == FINCH_OK) st = model_score_texts(s, texts, n_threads == 1 ? 20 : 1, 64, logits, NULL, &err);
            failed = fault_disarm();
            if (failed != (st != FINCH_OK)) print_message("allocation %d with %zu threads\n", nth, n_threads);
            CHECK(failed == (st != FINCH_OK));
            if (failed) CHECK_STATUS(FINCH_E_MEMORY, st, &err);
            model_scorer_destroy(s);
        }
    }
    model_close(m);
}
