#include "model/config.h"

#include "base/file.h"
#include "base/json.h"
#include "model/adapter.h"
#include "model/gemma_config.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

typedef struct reader {
    const json_t *root;
    const char *path;
    finch_error *err;
} reader;

static finch_status read_size(const reader *r, const char *key, size_t least, size_t most, size_t *out)
{
    FINCH_TRY(json_get_size(r->root, r->path, key, out, r->err));
    if (*out < least || *out > most)
        return finch_fail(r->err, FINCH_E_DATA, "%s: \"%s\" is %zu; it must be from %zu to %zu", r->path, key, *out, least,
                          most);
    return FINCH_OK;
}

/* A number in [0, 1), or otherwise where the key is absent or null. */
static finch_status read_share(const reader *r, const char *key, float otherwise, float *out)
{
    double value;
    *out = otherwise;
    if (!json_has(r->root, key)) return FINCH_OK;
    FINCH_TRY(json_get_number(r->root, r->path, key, &value, r->err));
    if (!(value >= 0.0 && value < 1.0))
        return finch_fail(r->err, FINCH_E_DATA, "%s: \"%s\" is %g; it must be at least 0 and below 1", r->path, key, value);
    *out = (float)value;
    return FINCH_OK;
}

static finch_status read_arch(const reader *r, model_config *c)
{
    const char *type;
    FINCH_TRY(json_get_text(r->root, r->path, "model_type", &type, r->err));
    if (strcmp(type, "bert") == 0) c->arch = MODEL_BERT;
    else if (strcmp(type, "mpnet") == 0) c->arch = MODEL_MPNET;
    else
        return finch_fail(r->err, FINCH_E_UNSUPPORTED,
                          "%s: \"model_type\" is \"%s\"; finch runs bert, mpnet, gemma3 and gemma3_text", r->path, type);
    return FINCH_OK;
}

static finch_status read_activation(const reader *r, model_config *c)
{
    static const struct {
        const char *name;
        model_activation activation;
    } known[] = {
        {"gelu", MODEL_GELU}, {"gelu_new", MODEL_GELU_TANH}, {"gelu_pytorch_tanh", MODEL_GELU_TANH}, {"relu", MODEL_RELU}};
    const char *name;
    FINCH_TRY(json_get_text(r->root, r->path, "hidden_act", &name, r->err));
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++) {
        if (strcmp(known[i].name, name) != 0) continue;
        c->hidden_act = known[i].activation;
        return FINCH_OK;
    }
    return finch_fail(r->err, FINCH_E_UNSUPPORTED,
                      "%s: \"hidden_act\" is \"%s\"; finch has gelu, gelu_new, gelu_pytorch_tanh and relu", r->path, name);
}

static finch_status read_sizes(const reader *r, model_config *c)
{
    FINCH_TRY(read_size(r, "vocab_size", 1, MODEL_VOCAB_MAX, &c->vocab_size));
    FINCH_TRY(read_size(r, "hidden_size", 1, MODEL_HIDDEN_MAX, &c->hidden_size));
    FINCH_TRY(read_size(r, "num_hidden_layers", 1, MODEL_LAYERS_MAX, &c->n_layers));
    FINCH_TRY(read_size(r, "num_attention_heads", 1, MODEL_HIDDEN_MAX, &c->n_heads));
    FINCH_TRY(read_size(r, "intermediate_size", 1, MODEL_INTERMEDIATE_MAX, &c->intermediate_size));
    FINCH_TRY(read_size(r, "max_position_embeddings", 1, MODEL_POSITIONS_MAX, &c->n_positions));
    if (c->hidden_size % c->n_heads != 0)
        return finch_fail(r->err, FINCH_E_DATA, "%s: \"hidden_size\" %zu is no multiple of \"num_attention_heads\" %zu",
                          r->path, c->hidden_size, c->n_heads);
    return FINCH_OK;
}

static finch_status read_positions(const reader *r, model_config *c)
{
    size_t pad = c->arch == MODEL_BERT ? 0 : 1;
    if (json_has(r->root, "pad_token_id")) FINCH_TRY(read_size(r, "pad_token_id", 0, c->vocab_size - 1, &pad));
    c->pad_id = (int32_t)pad;
    if (c->arch == MODEL_BERT) {
        FINCH_TRY(read_size(r, "type_vocab_size", 1, MODEL_POSITIONS_MAX, &c->n_types));
        const json_t *kind = json_object_get(r->root, "position_embedding_type");
        if (json_has(r->root, "position_embedding_type") &&
            (!json_is_string(kind) || strcmp(json_string_value(kind), "absolute") != 0))
            return finch_fail(r->err, FINCH_E_UNSUPPORTED,
                              "%s: \"position_embedding_type\" is not \"absolute\", the only one finch has", r->path);
        return FINCH_OK;
    }
    c->position_offset = pad + 1;
    c->n_relative_buckets = 32;
    if (json_has(r->root, "relative_attention_num_buckets"))
        FINCH_TRY(read_size(r, "relative_attention_num_buckets", 4, 1024, &c->n_relative_buckets));
    if (c->n_positions <= c->position_offset + 1)
        return finch_fail(r->err, FINCH_E_DATA,
                          "%s: \"max_position_embeddings\" %zu leaves no position after the padding's %zu", r->path,
                          c->n_positions, pad);
    if (c->n_relative_buckets % 4 != 0)
        return finch_fail(r->err, FINCH_E_DATA, "%s: \"relative_attention_num_buckets\" is %zu; it must be a multiple of 4",
                          r->path, c->n_relative_buckets);
    return FINCH_OK;
}

static finch_status read_numbers(const reader *r, model_config *c)
{
    double eps = 1e-12;
    if (json_has(r->root, "layer_norm_eps")) FINCH_TRY(json_get_number(r->root, r->path, "layer_norm_eps", &eps, r->err));
    if (!(eps > 0.0 && eps < 1.0))
        return finch_fail(r->err, FINCH_E_DATA, "%s: \"layer_norm_eps\" is %g; it must be between 0 and 1", r->path, eps);
    c->layer_norm_eps = (float)eps;
    FINCH_TRY(read_share(r, "hidden_dropout_prob", 0.1f, &c->hidden_dropout));
    FINCH_TRY(read_share(r, "attention_probs_dropout_prob", 0.1f, &c->attention_dropout));
    return read_share(r, "classifier_dropout", c->hidden_dropout, &c->classifier_dropout);
}

static finch_status read_label(const reader *r, model_config *c, size_t index, const json_t *name)
{
    if (!json_is_string(name) || json_string_length(name) == 0 || json_string_length(name) >= MODEL_LABEL_BYTES_MAX ||
        memchr(json_string_value(name), '\0', json_string_length(name)) != NULL)
        return finch_fail(r->err, FINCH_E_DATA, "%s: \"id2label\" has no name of 1 to %d bytes for id %zu", r->path,
                          MODEL_LABEL_BYTES_MAX - 1, index);
    for (size_t i = 0; i < index; i++)
        if (strcmp(c->labels[i], json_string_value(name)) == 0)
            return finch_fail(r->err, FINCH_E_DATA, "%s: \"id2label\" has \"%s\" for the ids %zu and %zu", r->path,
                              c->labels[i], i, index);
    snprintf(c->labels[index], MODEL_LABEL_BYTES_MAX, "%s", json_string_value(name));
    return FINCH_OK;
}

static finch_status read_labels(const reader *r, model_config *c)
{
    if (!json_has(r->root, "id2label")) {
        c->n_labels = 2;
        for (size_t i = 0; i < c->n_labels; i++) snprintf(c->labels[i], MODEL_LABEL_BYTES_MAX, "LABEL_%zu", i);
        return FINCH_OK;
    }
    const json_t *names = json_object_get(r->root, "id2label");
    size_t n = json_is_object(names) ? json_object_size(names) : 0;
    if (n == 0 || n > MODEL_LABELS_MAX)
        return finch_fail(r->err, FINCH_E_DATA, "%s: \"id2label\" must be an object of 1 to %d labels", r->path,
                          MODEL_LABELS_MAX);
    for (size_t i = 0; i < n; i++) {
        char key[24];
        snprintf(key, sizeof key, "%zu", i);
        FINCH_TRY(read_label(r, c, i, json_object_get(names, key)));
    }
    c->n_labels = n;
    return FINCH_OK;
}

/* Whether the folder was saved by a class with a classifier. */
static bool is_classifier(const json_t *root)
{
    size_t index;
    json_t *name;
    json_array_foreach(json_object_get(root, "architectures"), index, name)
    {
        if (json_is_string(name) && strstr(json_string_value(name), "ForSequenceClassification") != NULL) return true;
    }
    return json_has(root, "id2label");
}

/* Gemma 3 has no dropout of its own and no type or relative tables. */
static finch_status read_gemma(const reader *r, model_config *c)
{
    gemma_config g;
    FINCH_TRY(gemma_config_from_json(r->root, r->path, &g, r->err));
    model_config_of_gemma(&g, c);
    return is_classifier(r->root) ? read_labels(r, c) : FINCH_OK;
}

/* A GGUF file's metadata. */
static finch_status read_blocks(const char *path, model_config *c, finch_error *err)
{
    gguf *g;
    gemma_config read;
    FINCH_TRY(gguf_open(path, &g, err));
    finch_status st = gemma_config_from_gguf(g, path, &read, err);
    if (st == FINCH_OK) model_config_of_gemma(&read, c);
    gguf_close(g);
    return st;
}

void model_config_of_gemma(const gemma_config *g, model_config *out)
{
    static const char *const five[] = {"STRONGLY_NEGATIVE", "NEGATIVE", "NEUTRAL", "POSITIVE", "STRONGLY_POSITIVE"};
    out->n_labels = sizeof five / sizeof five[0];
    for (size_t i = 0; i < out->n_labels; i++) snprintf(out->labels[i], MODEL_LABEL_BYTES_MAX, "%s", five[i]);
    out->arch = MODEL_GEMMA3;
    out->vocab_size = g->vocab_size;
    out->hidden_size = g->hidden_size;
    out->n_layers = g->n_layers;
    out->n_heads = g->n_heads;
    out->intermediate_size = g->intermediate_size;
    out->n_positions = g->n_positions;
    out->pad_id = g->pad_id;
    out->layer_norm_eps = g->norm_eps;
    out->hidden_act = MODEL_GELU_TANH;
}

static finch_status read_all(const reader *r, model_config *c)
{
    if (!json_is_object(r->root)) return finch_fail(r->err, FINCH_E_DATA, "%s: it must be a JSON object", r->path);
    if (gemma_config_is(r->root)) return read_gemma(r, c);
    FINCH_TRY(read_arch(r, c));
    FINCH_TRY(read_sizes(r, c));
    FINCH_TRY(read_positions(r, c));
    FINCH_TRY(read_activation(r, c));
    FINCH_TRY(read_numbers(r, c));
    return read_labels(r, c);
}

finch_status model_config_read(const char *folder, model_config *out, finch_error *err)
{
    finch_status st = FINCH_OK;
    str place = {0}, path = {0};
    json_t *root = NULL;
    *out = (model_config){0};
    FINCH_GO(done, st, adapter_place_of(folder, "config.json", &place, err));
    if (file_exists(place.at) && !file_is_directory(place.at)) {
        st = read_blocks(place.at, out, err);
        goto done;
    }
    FINCH_GO(done, st, file_join(place.at, "config.json", &path, err));
    FINCH_GO(done, st, json_parse_file(path.at, &root, err));
    st = read_all(&(reader){root, path.at, err}, out);
done:
    if (st != FINCH_OK) *out = (model_config){0};
    json_decref(root);
    str_free(&path);
    str_free(&place);
    return st;
}

size_t model_config_max_tokens(const model_config *c) { return c->n_positions - c->position_offset; }

int model_label_class(const char *name)
{
    static const struct {
        const char *name;
        int id;
    } known[] = {{"strongly_negative", 0}, {"negative", 1}, {"bearish", 1},          {"neutral", 2},
                 {"positive", 3},          {"bullish", 3},  {"strongly_positive", 4}};
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++)
        if (strcasecmp(known[i].name, name) == 0) return known[i].id;
    return -1;
}
