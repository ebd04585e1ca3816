/* config.json: what it says is taken, and every way it can lie is refused with file and key, never a crash. */
#include "harness.h"

#include "base/file.h"
#include "base/json.h"
#include "model/config.h"

#include <stdlib.h>

static const char good[] =
    "{\"model_type\": \"bert\", \"vocab_size\": 100, \"hidden_size\": 32, \"num_hidden_layers\": 2, "
    "\"num_attention_heads\": 4,"
    " \"intermediate_size\": 64, \"max_position_embeddings\": 128, \"type_vocab_size\": 2, \"hidden_act\": \"gelu\","
    " \"hidden_dropout_prob\": 0.25, \"classifier_dropout\": null, \"layer_norm_eps\": 1e-12, \"pad_token_id\": 0,"
    " \"id2label\": {\"0\": \"bearish\", \"1\": \"Neutral\", \"2\": \"BULLISH\"}}";

static finch_status read_text(const char *text, model_config *out, finch_error *err)
{
    char path[300];
    const char *folder = harness_folder();
    snprintf(path, sizeof path, "%s/config.json", folder);
    CHECK_OK(file_write(path, text, strlen(text), err), err);
    return model_config_read(folder, out, err);
}

/* The good configuration with key set to value (JSON), or without key where value is NULL. */
static finch_status read_changed(const char *key, const char *value, model_config *out, finch_error *err)
{
    json_t *root = json_loads(good, 0, NULL);
    if (value == NULL) json_object_del(root, key);
    else json_object_set_new(root, key, json_loads(value, JSON_DECODE_ANY, NULL));
    char *text = json_dumps(root, 0);
    finch_status st = read_text(text, out, err);
    free(text);
    json_decref(root);
    return st;
}

TEST(a_config_is_read)
{
    model_config c;
    finch_error err = {0};
    CHECK_OK(read_text(good, &c, &err), &err);
    CHECK_EQUAL(MODEL_BERT, c.arch);
    CHECK_EQUAL(100, c.vocab_size);
    CHECK_EQUAL(4, c.n_heads);
    CHECK_EQUAL(128, model_config_max_tokens(&c));
    CHECK_NEAR(0.25, c.hidden_dropout, 0);
    CHECK_NEAR(0.1, c.attention_dropout, 1e-7);
    CHECK_NEAR(0.25, c.classifier_dropout, 0); /* null: the hidden dropout */
    CHECK_NEAR(1e-12, c.layer_norm_eps, 1e-18);
    CHECK_EQUAL(3, c.n_labels);
    CHECK_TEXT("BULLISH", c.labels[2]);
}

TEST(mpnet_positions_begin_after_the_padding)
{
    model_config c;
    finch_error err = {0};
    CHECK_OK(read_changed("model_type", "\"mpnet\"", &c, &err), &err);
    CHECK_EQUAL(0, c.n_types);
    CHECK_EQUAL(1, c.position_offset);
    CHECK_EQUAL(127, model_config_max_tokens(&c));
    CHECK_EQUAL(32, c.n_relative_buckets);
}

TEST(a_config_without_labels_has_the_two_of_transformers)
{
    model_config c;
    finch_error err = {0};
    CHECK_OK(read_changed("id2label", NULL, &c, &err), &err);
    CHECK_EQUAL(2, c.n_labels);
    CHECK_TEXT("LABEL_1", c.labels[1]);
}

TEST(hostile_configs_are_refused_with_their_key)
{
    static const struct {
        const char *key, *value; /* NULL: absent */
        finch_status status;
    } cases[] = {
        {"model_type", NULL, FINCH_E_DATA},
        {"model_type", "\"gpt2\"", FINCH_E_UNSUPPORTED},
        {"model_type", "7", FINCH_E_DATA},
        {"vocab_size", NULL, FINCH_E_DATA},
        {"vocab_size", "0", FINCH_E_DATA},
        {"vocab_size", "-5", FINCH_E_DATA},
        {"vocab_size", "1e3", FINCH_E_DATA},
        {"vocab_size", "99999999999", FINCH_E_DATA},
        {"vocab_size", "\"100\"", FINCH_E_DATA},
        {"hidden_size", "0", FINCH_E_DATA},
        {"hidden_size", "33", FINCH_E_DATA},
        {"hidden_size", "1099511627776", FINCH_E_DATA},
        {"num_hidden_layers", "100000", FINCH_E_DATA},
        {"num_attention_heads", "0", FINCH_E_DATA},
        {"intermediate_size", "[64]", FINCH_E_DATA},
        {"max_position_embeddings", "0", FINCH_E_DATA},
        {"type_vocab_size", NULL, FINCH_E_DATA},
        {"hidden_act", NULL, FINCH_E_DATA},
        {"hidden_act", "\"swish\"", FINCH_E_UNSUPPORTED},
        {"hidden_dropout_prob", "1.0", FINCH_E_DATA},
        {"hidden_dropout_prob", "-0.1", FINCH_E_DATA},
        {"layer_norm_eps", "0", FINCH_E_DATA},
        {"layer_norm_eps", "\"small\"", FINCH_E_DATA},
        {"pad_token_id", "100", FINCH_E_DATA},
        {"position_embedding_type", "\"relative_key\"", FINCH_E_UNSUPPORTED},
        {"id2label", "{}", FINCH_E_DATA},
        {"id2label", "[\"a\"]", FINCH_E_DATA},
        {"id2label", "{\"0\": \"a\", \"2\": \"b\"}", FINCH_E_DATA},
        {"id2label", "{\"0\": \"a\", \"1\": \"a\"}", FINCH_E_DATA},
        {"id2label", "{\"0\": \"\"}", FINCH_E_DATA},
        {"id2label", "{\"0\": 5}", FINCH_E_DATA},
        {"id2label", "{\"0\": \"0123456789012345678901234567890123456789012345678901234567890123\"}", FINCH_E_DATA},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        model_config c;
        finch_error err = {0};
        finch_status st = read_changed(cases[i].key, cases[i].value, &c, &err);
        if (st != cases[i].status)
            print_message("case %zu, %s = %s\n", i, cases[i].key, cases[i].value == NULL ? "nothing" : cases[i].value);
        CHECK_STATUS(cases[i].status, st, &err);
        CHECK(strstr(err.message, cases[i].key) != NULL || strcmp(cases[i].key, "num_attention_heads") == 0);
        CHECK(strstr(err.message, "config.json") != NULL);
        CHECK_EQUAL(0, c.vocab_size);
    }
}

TEST(what_is_no_object_is_refused)
{
    static const char *const texts[] = {"", "[]", "null", "{\"model_type\": ", "{\"a\": 1, \"a\": 2}"};
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        model_config c;
        finch_error err = {0};
        CHECK_STATUS(FINCH_E_DATA, read_text(texts[i], &c, &err), &err);
    }
    model_config c;
    finch_error err = {0};
    CHECK_STATUS(FINCH_E_NOT_FOUND, model_config_read("no-such-folder", &c, &err), &err);
}

TEST(labels_have_their_class_in_any_case)
{
    CHECK_EQUAL(0, model_label_class("STRONGLY_NEGATIVE"));
    CHECK_EQUAL(1, model_label_class("Bearish"));
    CHECK_EQUAL(1, model_label_class("negative"));
    CHECK_EQUAL(2, model_label_class("nEuTrAl"));
    CHECK_EQUAL(3, model_label_class("bullish"));
    CHECK_EQUAL(4, model_label_class("strongly_positive"));
    CHECK_EQUAL(-1, model_label_class("LABEL_1"));
    CHECK_EQUAL(-1, model_label_class(""));
}
