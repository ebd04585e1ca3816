/* A folder with int8 weights: opens as int8 by itself, scores near the floats it was made from, in every compute type. */
#include "harness.h"

#include "base/file.h"
#include "model/model.h"
#include "tensor/compressed.h"

#define TINY FIXTURES "/models/tiny-bert"

static const finch_text texts[3] = {
    {"$AAPL to the moon, target raised", 32}, {"", 0}, {"Revenue fell 12% year over year", 31}};

static void score(const char *folder, model_compute compute, model_compute expected, float logits[15])
{
    finch_error err = {0};
    model *m;
    model_scorer *s;
    CHECK_OK(model_open(folder, compute, &m, &err), &err);
    CHECK_EQUAL(expected, model_get_compute(m));
    CHECK_OK(model_scorer_create(m, 1, &s, &err), &err);
    CHECK_OK(model_score_texts(s, texts, 3, 64, logits, NULL, &err), &err);
    model_scorer_destroy(s);
    model_close(m);
}

/* 0.15 is what int8 may differ from f32 on this model (test_parity.c). Weights that are int8 already lose nothing more
 * in f32: there only the words' and layers' own rounding remains. */
TEST(an_int8_folder_scores_near_its_floats)
{
    char folder[512];
    float floats[15], quantized[15], widened[15];
    finch_error err = {0};
    compressed_report report;
    snprintf(folder, sizeof folder, "%s/int8", harness_folder());
    CHECK_OK(compressed_quantize_folder(TINY, folder, COMPRESSED_SHARD_BYTES, NULL, &report, &err), &err);
    score(TINY, MODEL_F32, MODEL_F32, floats);
    score(folder, MODEL_AUTO, MODEL_INT8, quantized);
    score(folder, MODEL_F32, MODEL_F32, widened);
    bool same = true;
    for (size_t i = 0; i < 15; i++) {
        CHECK_NEAR(floats[i], quantized[i], 0.15);
        CHECK_NEAR(floats[i], widened[i], 0.1);
        same = same && memcmp(&floats[i], &quantized[i], sizeof(float)) == 0;
    }
    CHECK(!same); /* it did run in int8 */
}

TEST(a_scale_that_is_missing_is_named)
{
    char folder[512], path[600];
    safetensors_entry entries[256];
    size_t n = 0;
    finch_error err = {0};
    compressed_report report;
    weights *w;
    model *m;
    snprintf(folder, sizeof folder, "%s/int8", harness_folder());
    CHECK_OK(compressed_quantize_folder(TINY, folder, COMPRESSED_SHARD_BYTES, NULL, &report, &err), &err);
    CHECK_OK(weights_open(folder, &w, &err), &err);
    for (size_t i = 0; i < weights_count(w); i++) {
        const tensor *t = weights_at(w, i);
        if (strstr(t->name, "layer.1.output.dense.weight_scale") != NULL) continue;
        entries[n] = (safetensors_entry){.name = t->name, .dtype = t->dtype, .n_dims = t->n_dims, .data = t->data};
        memcpy(entries[n++].dims, t->dims, sizeof t->dims);
    }
    CHECK(n + 1 == weights_count(w));
    snprintf(path, sizeof path, "%s/model.safetensors", folder);
    CHECK_OK(safetensors_write(path, entries, n, &err), &err);
    weights_close(w);
    CHECK_STATUS(FINCH_E_DATA, model_open(folder, MODEL_AUTO, &m, &err), &err);
    CHECK(strstr(err.message, "layer.1.output.dense") != NULL);
}
