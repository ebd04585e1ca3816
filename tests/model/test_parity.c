/* The tiny models against transformers' frozen logits (tests/parity/make_models.py), in every compute type and instruction
 * set: BERT from safetensors, BERT saved as FinBERT is published (a PyTorch checkpoint, gamma and beta), MPNet. */
#include "harness.h"

#include "base/json.h"
#include "model/model.h"

#include <stdlib.h>

enum { ROWS_MAX = 64 };

typedef struct expected {
    json_t *root;
    size_t n_rows;
    finch_text texts[ROWS_MAX];
    double logits[ROWS_MAX][8];
    int32_t ids[4096];
    uint32_t offsets[ROWS_MAX + 1];
} expected;

static void expected_read(const char *folder, size_t n_labels, expected *out)
{
    finch_error err = {0};
    char path[512];
    memset(out, 0, sizeof *out);
    snprintf(path, sizeof path, "%s/expected.json", folder);
    CHECK_OK(json_parse_file(path, &out->root, &err), &err);
    json_t *rows = json_object_get(out->root, "rows");
    out->n_rows = json_array_size(rows);
    CHECK(out->n_rows > 0 && out->n_rows <= ROWS_MAX);
    for (size_t i = 0; i < out->n_rows; i++) {
        json_t *row = json_array_get(rows, i), *text = json_object_get(row, "text"), *ids = json_object_get(row, "ids");
        out->texts[i] = (finch_text){json_string_value(text), json_string_length(text)};
        CHECK_EQUAL(n_labels, json_array_size(json_object_get(row, "logits")));
        for (size_t c = 0; c < n_labels; c++)
            out->logits[i][c] = json_number_value(json_array_get(json_object_get(row, "logits"), c));
        for (size_t t = 0; t < json_array_size(ids); t++)
            out->ids[out->offsets[i] + t] = (int32_t)json_integer_value(json_array_get(ids, t));
        out->offsets[i + 1] = out->offsets[i] + (uint32_t)json_array_size(ids);
    }
}

static void check_model(const char *folder, model_compute compute, double tolerance)
{
    finch_error err = {0};
    model *m;
    model_scorer *s;
    static expected e;
    arena a;
    float logits[ROWS_MAX * 8];
    model_text_info info[ROWS_MAX];
    arena_init(&a);
    CHECK_OK(model_open(folder, compute, &m, &err), &err);
    CHECK_EQUAL(compute, model_get_compute(m));
    size_t n_labels = model_get_config(m)->n_labels;
    expected_read(folder, n_labels, &e);
    CHECK_OK(model_logits(m, &(model_batch){e.ids, e.offsets, e.n_rows, e.offsets[e.n_rows]}, logits, &a, &err), &err);
    for (size_t i = 0; i < e.n_rows * n_labels; i++) CHECK_NEAR(e.logits[i / n_labels][i % n_labels], logits[i], tolerance);
    memset(logits, 0, sizeof logits);
    CHECK_OK(model_scorer_create(m, 2, &s, &err), &err);
    CHECK_OK(model_score_texts(s, e.texts, e.n_rows, 512, logits, info, &err), &err);
    for (size_t i = 0; i < e.n_rows; i++) {
        CHECK_EQUAL(e.offsets[i + 1] - e.offsets[i], info[i].n_tokens);
        for (size_t c = 0; c < n_labels; c++) CHECK_NEAR(e.logits[i][c], logits[i * n_labels + c], tolerance);
    }
    model_scorer_destroy(s);
    model_close(m);
    arena_free(&a);
    json_decref(e.root);
}

static void check_everywhere(const char *folder)
{
    static const char *const isas[] = {"amx", "avx512", "avx2", "scalar"};
    for (size_t i = 0; i < sizeof isas / sizeof isas[0]; i++) {
        CHECK_EQUAL(0, setenv("FINCH_ISA", isas[i], 1));
        check_model(folder, MODEL_F32, 2e-5);   /* the promise to users */
        check_model(folder, MODEL_BF16, 0.05);  /* 8 bits of weight and input, summed over two layers of random weights */
        check_model(folder, MODEL_BF16X3, 5e-4); /* 16 bits */
        check_model(folder, MODEL_INT8, 0.15);  /* the same with a scale a row */
    }
    CHECK_EQUAL(0, unsetenv("FINCH_ISA"));
}

TEST(bert_gives_the_logits_of_transformers)
{
    check_everywhere(FIXTURES "/models/tiny-bert");
}

TEST(a_pytorch_checkpoint_as_finbert_is_published_gives_them_too)
{
    check_everywhere(FIXTURES "/models/tiny-bert-bin");
}

TEST(mpnet_gives_the_logits_of_transformers)
{
    check_everywhere(FIXTURES "/models/tiny-mpnet");
}
