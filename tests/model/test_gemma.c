/* Gemma 3 from files: what it gives beside frozen logits of transformers, that a text's bits depend on its tokens alone, and
 * that every hostile file or batch is refused by name. The fixture: tests/parity/gemma_models.py freeze-tiny. */
#include "harness.h"

#include "base/file.h"
#include "base/rng.h"
#include "model/gemma.h"

#include <stdlib.h>

static const char tiny[] = FIXTURES "/models/tiny-gemma";
enum { N_TEXTS = 12, TOKENS_MAX = 1024, CLASSES = 3, HIDDEN_MAX = 64 };

typedef struct texts {
    int32_t ids[TOKENS_MAX];
    uint32_t offsets[N_TEXTS + 1];
    uint32_t last[N_TEXTS];
} texts;

static texts texts_make(const gemma *g)
{
    texts t = {.offsets = {0}};
    rng r = {.seed = 3};
    for (size_t i = 0; i < N_TEXTS; i++) {
        size_t n = 1 + (size_t)rng_below(&r, 60);
        t.offsets[i + 1] = t.offsets[i] + (uint32_t)n;
        t.last[i] = t.offsets[i + 1] - 1;
    }
    for (size_t i = 0; i < t.offsets[N_TEXTS]; i++) t.ids[i] = (int32_t)rng_below(&r, gemma_get_config(g)->vocab_size);
    return t;
}

static gemma *open_tiny(model_compute compute)
{
    finch_error err = {0};
    gemma *g;
    CHECK_OK(gemma_open(tiny, compute, &g, &err), &err);
    return g;
}

static gemma_batch batch_of(const texts *t, size_t n_threads)
{
    return (gemma_batch){.ids = t->ids,
                         .offsets = t->offsets,
                         .n_texts = N_TEXTS,
                         .n_tokens = t->offsets[N_TEXTS],
                         .wanted = t->last,
                         .n_wanted = N_TEXTS,
                         .n_threads = n_threads};
}

/* ---- results -------------------------------------------------------------------------------------------------- */

static void check_logits(const gemma *g, const json_t *texts_json, double tolerance)
{
    size_t index;
    json_t *text;
    json_array_foreach(texts_json, index, text)
    {
        const json_t *ids = json_object_get(text, "ids"), *expected = json_object_get(text, "logits");
        int32_t given[TOKENS_MAX];
        uint32_t n = (uint32_t)json_array_size(ids), offsets[2] = {0, n}, last = n - 1;
        float hidden[HIDDEN_MAX], logits[CLASSES];
        finch_error err = {0};
        arena a;
        arena_init(&a);
        for (size_t i = 0; i < n; i++) given[i] = (int32_t)json_integer_value(json_array_get(ids, i));
        gemma_batch b = {.ids = given, .offsets = offsets, .n_texts = 1, .n_tokens = n, .wanted = &last, .n_wanted = 1};
        CHECK_OK(gemma_hidden(g, &b, hidden, &a, &err), &err);
        gemma_class_logits(g, hidden, 1, logits);
        for (size_t i = 0; i < CLASSES; i++) CHECK_NEAR(json_real_value(json_array_get(expected, i)), logits[i], tolerance);
        arena_free(&a);
    }
    CHECK(index > 3);
}

TEST(logits_are_those_of_transformers)
{
    finch_error err = {0};
    json_t *root;
    CHECK_OK(json_parse_file(FIXTURES "/models/tiny-gemma/expected.json", &root, &err), &err);
    static const struct {
        model_compute compute;
        double tolerance;
    } kinds[] = {{MODEL_F32, 2e-5}, {MODEL_BF16X3, 5e-3}, {MODEL_INT8, 0.5}};
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
        gemma *g = open_tiny(kinds[i].compute);
        CHECK_EQUAL(CLASSES, gemma_n_classes(g));
        check_logits(g, json_object_get(root, "texts"), kinds[i].tolerance);
        gemma_close(g);
    }
    json_decref(root);
}

/* ---- invariance ----------------------------------------------------------------------------------------------- */

static void run(const gemma *g, const gemma_batch *b, float *hidden)
{
    finch_error err = {0};
    arena a;
    arena_init(&a);
    CHECK_OK(gemma_hidden(g, b, hidden, &a, &err), &err);
    arena_free(&a);
}

TEST(neighbours_threads_and_instruction_sets_change_no_bit)
{
    static const char *const isas[] = {"scalar", "avx2", "avx512"};
    static const model_compute computes[] = {MODEL_F32, MODEL_INT8};
    for (size_t c = 0; c < 2; c++) {
        float first[N_TEXTS * HIDDEN_MAX], other[N_TEXTS * HIDDEN_MAX];
        for (size_t isa = 0; isa < 3; isa++) {
            CHECK_EQUAL(0, setenv("FINCH_ISA", isas[isa], 1));
            gemma *g = open_tiny(computes[c]);
            size_t hidden = gemma_get_config(g)->hidden_size;
            texts t = texts_make(g);
            gemma_batch b = batch_of(&t, 1);
            if (isa == 0) run(g, &b, first);
            for (size_t n_threads = 1; n_threads <= 3; n_threads++) {
                b.n_threads = n_threads;
                run(g, &b, other);
                CHECK(memcmp(first, other, N_TEXTS * hidden * sizeof *first) == 0);
            }
            for (size_t i = 0; i < N_TEXTS; i++) {
                uint32_t n = t.offsets[i + 1] - t.offsets[i], offsets[2] = {0, n}, last = n - 1;
                gemma_batch alone = {.ids = t.ids + t.offsets[i],
                                     .offsets = offsets,
                                     .n_texts = 1,
                                     .n_tokens = n,
                                     .wanted = &last,
                                     .n_wanted = 1,
                                     .n_threads = 1};
                run(g, &alone, other);
                CHECK(memcmp(first + i * hidden, other, hidden * sizeof *first) == 0);
            }
            gemma_close(g);
        }
    }
    CHECK_EQUAL(0, unsetenv("FINCH_ISA"));
}

/* Every token wanted, and the same tokens a few at a time through a cache, the last ones through two texts that share it. */
TEST(a_text_read_in_parts_has_the_bits_of_the_whole)
{
    enum { N = 40 };
    for (size_t c = 0; c < 2; c++) {
        gemma *g = open_tiny(c == 0 ? MODEL_F32 : MODEL_INT8);
        size_t hidden = gemma_get_config(g)->hidden_size;
        texts t = texts_make(g);
        uint32_t all[N], whole_offsets[2] = {0, N};
        static float whole[N * HIDDEN_MAX], part[2 * N * HIDDEN_MAX];
        finch_error err = {0};
        gemma_cache *cache;
        for (uint32_t i = 0; i < N; i++) all[i] = i;
        gemma_batch b = {.ids = t.ids, .offsets = whole_offsets, .n_texts = 1, .n_tokens = N, .wanted = all, .n_wanted = N};
        run(g, &b, whole);
        CHECK_OK(gemma_cache_create(g, N, &cache, &err), &err);
        for (uint32_t at = 0, n; at < 30; at += n) {
            n = at == 0 ? 17 : at < 24 ? 3 : 1;
            uint32_t offsets[2] = {0, n};
            gemma_batch step = {.ids = t.ids + at,
                                .offsets = offsets,
                                .n_texts = 1,
                                .n_tokens = n,
                                .caches = &cache,
                                .keep = true,
                                .wanted = all,
                                .n_wanted = n};
            run(g, &step, part);
            CHECK(memcmp(whole + at * hidden, part, n * hidden * sizeof *part) == 0);
            CHECK_EQUAL(at + n, gemma_cache_length(cache));
        }
        int32_t twice[20];
        for (size_t i = 0; i < 20; i++) twice[i] = t.ids[30 + i % 10];
        uint32_t offsets[3] = {0, 10, 20}, ends[2] = {9, 19};
        gemma_cache *const both[2] = {cache, cache};
        gemma_batch shared = {
            .ids = twice, .offsets = offsets, .n_texts = 2, .n_tokens = 20, .caches = both, .wanted = ends, .n_wanted = 2};
        run(g, &shared, part);
        CHECK(memcmp(whole + 39 * hidden, part, hidden * sizeof *part) == 0);
        CHECK(memcmp(whole + 39 * hidden, part + hidden, hidden * sizeof *part) == 0);
        gemma_cache_cut(cache, 20);
        uint32_t rest[2] = {0, 20};
        gemma_batch again = {.ids = t.ids + 20,
                             .offsets = rest,
                             .n_texts = 1,
                             .n_tokens = 20,
                             .caches = &cache,
                             .wanted = ends + 1,
                             .n_wanted = 1};
        run(g, &again, part);
        CHECK(memcmp(whole + 39 * hidden, part, hidden * sizeof *part) == 0);
        /* One text that continues the cache beside the same one without it. */
        int32_t mixed[20 + N];
        memcpy(mixed, t.ids + 20, 20 * sizeof *mixed);
        memcpy(mixed + 20, t.ids, N * sizeof *mixed);
        uint32_t mixed_offsets[3] = {0, 20, 20 + N}, mixed_ends[2] = {19, 19 + N};
        gemma_cache *const one[2] = {cache, NULL};
        gemma_batch beside = {.ids = mixed,
                              .offsets = mixed_offsets,
                              .n_texts = 2,
                              .n_tokens = 20 + N,
                              .caches = one,
                              .wanted = mixed_ends,
                              .n_wanted = 2};
        run(g, &beside, part);
        CHECK(memcmp(whole + 39 * hidden, part, hidden * sizeof *part) == 0);
        CHECK(memcmp(whole + 39 * hidden, part + hidden, hidden * sizeof *part) == 0);
        gemma_cache_destroy(cache);
        gemma_close(g);
    }
}

TEST(a_words_logit_is_the_same_alone_and_among_all)
{
    gemma *g = open_tiny(MODEL_F32);
    size_t n_words = gemma_get_config(g)->vocab_size;
    texts t = texts_make(g);
    float hidden[N_TEXTS * HIDDEN_MAX], some[N_TEXTS * 3], *all;
    const int32_t ids[3] = {0, 17, (int32_t)n_words - 1}, outside = (int32_t)n_words;
    finch_error err = {0};
    arena a;
    arena_init(&a);
    gemma_batch b = batch_of(&t, 0);
    run(g, &b, hidden);
    CHECK_OK(ARENA_NEW(&a, &all, N_TEXTS * n_words, &err), &err);
    CHECK_OK(gemma_vocabulary_logits(g, hidden, N_TEXTS, 2, all, &a, &err), &err);
    CHECK_OK(gemma_token_logits(g, hidden, N_TEXTS, ids, 3, some, &a, &err), &err);
    for (size_t i = 0; i < N_TEXTS; i++)
        for (size_t j = 0; j < 3; j++) CHECK(some[i * 3 + j] == all[i * n_words + (size_t)ids[j]]);
    CHECK_STATUS(FINCH_E_USAGE, gemma_token_logits(g, hidden, 1, &outside, 1, some, &a, &err), &err);
    arena_free(&a);
    gemma_close(g);
}

/* ---- what is refused ------------------------------------------------------------------------------------------ */

/* The fixture's config.json with one key set (in JSON), beside its weights; the message names the key. */
static void refuse(const char *key, const char *value, finch_status expected)
{
    finch_error err = {0};
    json_t *root;
    gemma *g;
    str path = {0}, from = {0};
    CHECK_OK(json_parse_file(FIXTURES "/models/tiny-gemma/config.json", &root, &err), &err);
    CHECK_EQUAL(0, json_object_set_new(root, key, json_loads(value, JSON_DECODE_ANY, NULL)));
    CHECK_OK(file_join(harness_folder(), "config.json", &path, &err), &err);
    CHECK_OK(json_write_file(path.at, root, &err), &err);
    CHECK_STATUS(expected, gemma_open(harness_folder(), MODEL_F32, &g, &err), &err);
    CHECK(g == NULL);
    if (strstr(err.message, key) == NULL) print_message("%s: %s\n", key, err.message);
    CHECK(strstr(err.message, key) != NULL);
    json_decref(root);
    str_free(&path);
    str_free(&from);
}

TEST(hostile_configurations_are_refused_by_name)
{
    static const char *const sizes[] = {"vocab_size",          "hidden_size", "num_hidden_layers", "num_attention_heads",
                                        "num_key_value_heads", "head_dim",    "intermediate_size", "max_position_embeddings",
                                        "sliding_window"};
    static const char *const values[] = {"0", "-1", "4611686018427387904", "1.5", "\"8\"", "[]"};
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++)
        for (size_t j = 0; j < sizeof values / sizeof values[0]; j++) refuse(sizes[i], values[j], FINCH_E_DATA);
    refuse("num_key_value_heads", "3", FINCH_E_DATA);
    refuse("head_dim", "15", FINCH_E_DATA);
    refuse("rms_norm_eps", "0", FINCH_E_DATA);
    refuse("query_pre_attn_scalar", "-4", FINCH_E_DATA);
    refuse("layer_types", "[\"full_attention\"]", FINCH_E_DATA);
    refuse("layer_types", "[1, 2, 3]", FINCH_E_DATA);
    refuse("rope_parameters", "{\"full_attention\": {\"rope_type\": \"linear\", \"factor\": 0}}", FINCH_E_DATA);
    refuse("rope_parameters", "{\"full_attention\": {\"rope_type\": \"yarn\"}}", FINCH_E_UNSUPPORTED);
    refuse("rope_scaling", "7", FINCH_E_DATA);
    refuse("eos_token_id", "100000000", FINCH_E_DATA);
    refuse("model_type", "\"gemma2\"", FINCH_E_UNSUPPORTED);
    refuse("hidden_activation", "\"silu\"", FINCH_E_UNSUPPORTED);
    refuse("attn_logit_softcapping", "50.0", FINCH_E_UNSUPPORTED);
    refuse("final_logit_softcapping", "30.0", FINCH_E_UNSUPPORTED);
    refuse("attention_bias", "true", FINCH_E_UNSUPPORTED);
    refuse("use_bidirectional_attention", "true", FINCH_E_UNSUPPORTED);
}

/* The folder copied, one file left out or changed. */
static void copy_tiny(const char *without)
{
    static const char *const names[] = {"config.json", "model.safetensors.index.json", "model-00001-of-00003.safetensors",
                                        "model-00002-of-00003.safetensors", "model-00003-of-00003.safetensors"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        finch_error err = {0};
        str from = {0}, to = {0};
        char *bytes_read;
        size_t size;
        CHECK_OK(file_join(tiny, names[i], &from, &err), &err);
        CHECK_OK(file_join(harness_folder(), names[i], &to, &err), &err);
        if (strcmp(names[i], without) != 0) {
            CHECK_OK(file_read(from.at, 1 << 24, &bytes_read, &size, &err), &err);
            CHECK_OK(file_write(to.at, bytes_read, size, &err), &err);
            mem_free(bytes_read);
        }
        str_free(&from);
        str_free(&to);
    }
}

TEST(a_missing_shard_is_named)
{
    finch_error err = {0};
    gemma *g;
    copy_tiny("model-00002-of-00003.safetensors");
    CHECK_STATUS(FINCH_E_NOT_FOUND, gemma_open(harness_folder(), MODEL_F32, &g, &err), &err);
    CHECK(strstr(err.message, "model-00002-of-00003.safetensors") != NULL);
}

TEST(an_embedding_of_another_vocabulary_is_named)
{
    finch_error err = {0};
    gemma *g;
    json_t *root;
    str path = {0};
    copy_tiny("");
    CHECK_OK(file_join(harness_folder(), "config.json", &path, &err), &err);
    CHECK_OK(json_parse_file(path.at, &root, &err), &err);
    CHECK_EQUAL(0, json_object_set_new(root, "vocab_size", json_integer(301)));
    CHECK_OK(json_write_file(path.at, root, &err), &err);
    CHECK_STATUS(FINCH_E_DATA, gemma_open(harness_folder(), MODEL_F32, &g, &err), &err);
    CHECK(strstr(err.message, "embed_tokens.weight") != NULL && strstr(err.message, "[301, ") != NULL);
    json_decref(root);
    str_free(&path);
}

TEST(a_file_that_is_no_gguf_is_refused)
{
    finch_error err = {0};
    gemma *g;
    CHECK_STATUS(FINCH_E_DATA, gemma_open(FIXTURES "/models/tiny-gemma/config.json", MODEL_F32, &g, &err), &err);
    CHECK_STATUS(FINCH_E_NOT_FOUND, gemma_open(FIXTURES "/models/no-such", MODEL_F32, &g, &err), &err);
    CHECK(g == NULL);
}

TEST(batches_that_do_not_fit_are_refused)
{
    gemma *g = open_tiny(MODEL_F32);
    int32_t ids[4] = {1, 2, 3, 4};
    uint32_t offsets[3] = {0, 2, 4}, wanted[2] = {1, 3};
    float hidden[2 * HIDDEN_MAX];
    finch_error err = {0};
    arena a;
    gemma_cache *cache;
    arena_init(&a);
    gemma_batch b = {.ids = ids, .offsets = offsets, .n_texts = 2, .n_tokens = 4, .wanted = wanted, .n_wanted = 2};
    CHECK_OK(gemma_hidden(g, &b, hidden, &a, &err), &err);
    ids[2] = -1;
    CHECK_STATUS(FINCH_E_USAGE, gemma_hidden(g, &b, hidden, &a, &err), &err);
    CHECK_EQUAL(2, err.row);
    ids[2] = (int32_t)gemma_get_config(g)->vocab_size;
    CHECK_STATUS(FINCH_E_USAGE, gemma_hidden(g, &b, hidden, &a, &err), &err);
    ids[2] = 3;
    offsets[1] = 0;
    CHECK_STATUS(FINCH_E_USAGE, gemma_hidden(g, &b, hidden, &a, &err), &err);
    offsets[1] = 2, wanted[0] = 3;
    CHECK_STATUS(FINCH_E_USAGE, gemma_hidden(g, &b, hidden, &a, &err), &err);
    wanted[0] = 1, wanted[1] = 4;
    CHECK_STATUS(FINCH_E_USAGE, gemma_hidden(g, &b, hidden, &a, &err), &err);
    wanted[1] = 3;
    b.keep = true;
    CHECK_STATUS(FINCH_E_USAGE, gemma_hidden(g, &b, hidden, &a, &err), &err);
    CHECK_OK(gemma_cache_create(g, 3, &cache, &err), &err);
    gemma_cache *caches[2] = {cache, cache};
    b.caches = caches;
    CHECK_STATUS(FINCH_E_USAGE, gemma_hidden(g, &b, hidden, &a, &err), &err);
    CHECK_EQUAL(0, gemma_cache_length(cache));
    CHECK_STATUS(FINCH_E_USAGE, gemma_cache_create(g, gemma_get_config(g)->n_positions + 1, &caches[1], &err), &err);
    CHECK(caches[1] == NULL);
    gemma_cache_destroy(cache);
    arena_free(&a);
    gemma_close(g);
}
