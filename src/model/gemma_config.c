/* Defaults and derived values are those of transformers' Gemma3TextConfig (configuration_gemma3.py) and, for GGUF, of
 * llama.cpp's loader of the architecture "gemma3". */
#include "model/gemma_config.h"

#include "tensor/kernels/kernels.h"

#include <math.h>
#include <string.h>

enum {
    PATTERN_PRESET = 6,         /* every sixth layer is global */
    LAYERS_OF_27B = 62          /* whose scale GGUF files do not tell: hidden_size / n_heads, elsewhere the head's width */
};

static const double theta_local = 10000.0, theta_global = 1000000.0;

/* ---- what both sources share ---------------------------------------------------------------------------------- */

static finch_status check_range(const char *path, const char *key, size_t value, size_t lowest, size_t most,
                                finch_error *err)
{
    if (value >= lowest && value <= most) return FINCH_OK;
    return finch_fail(err, FINCH_E_DATA, "%s: \"%s\" is %zu; it must be from %zu to %zu", path, key, value, lowest, most);
}

static finch_status check_number(const char *path, const char *key, double value, double above, double most,
                                 finch_error *err)
{
    if (value > above && value <= most) return FINCH_OK;
    return finch_fail(err, FINCH_E_DATA, "%s: \"%s\" is %g; it must be above %g and at most %g", path, key, value, above,
                      most);
}

static finch_status check_heads(const gemma_config *c, const char *path, const char *heads, const char *key_heads,
                                const char *width, finch_error *err)
{
    if (c->n_heads % c->n_key_heads != 0)
        return finch_fail(err, FINCH_E_DATA, "%s: \"%s\" %zu is no multiple of \"%s\" %zu", path, heads, c->n_heads,
                          key_heads, c->n_key_heads);
    if (c->head_width % 2 != 0)
        return finch_fail(err, FINCH_E_DATA, "%s: \"%s\" is %zu; it must be even", path, width, c->head_width);
    return FINCH_OK;
}

static void set_pattern(gemma_config *c, size_t pattern)
{
    for (size_t i = 0; i < c->n_layers; i++) c->is_global[i] = (i + 1) % pattern == 0;
}

/* ---- config.json ---------------------------------------------------------------------------------------------- */

typedef struct reader {
    const json_t *root;
    const char *path;
    finch_error *err;
} reader;

/* A size in [lowest, most]; otherwise where the key is absent or null. */
static finch_status read_size(const reader *r, const char *key, size_t lowest, size_t most, size_t otherwise, size_t *out)
{
    *out = otherwise;
    if (!json_has(r->root, key)) return FINCH_OK;
    FINCH_TRY(json_get_size(r->root, r->path, key, out, r->err));
    return check_range(r->path, key, *out, lowest, most, r->err);
}

static finch_status read_number(const reader *r, const char *key, double above, double most, double otherwise, double *out)
{
    *out = otherwise;
    if (!json_has(r->root, key)) return FINCH_OK;
    FINCH_TRY(json_get_number(r->root, r->path, key, out, r->err));
    return check_number(r->path, key, *out, above, most, r->err);
}

static finch_status read_sizes(const reader *r, gemma_config *c)
{
    FINCH_TRY(read_size(r, "vocab_size", 1, MODEL_VOCAB_MAX, 262208, &c->vocab_size));
    FINCH_TRY(read_size(r, "hidden_size", 1, MODEL_HIDDEN_MAX, 2304, &c->hidden_size));
    FINCH_TRY(read_size(r, "num_hidden_layers", 1, MODEL_LAYERS_MAX, 26, &c->n_layers));
    FINCH_TRY(read_size(r, "num_attention_heads", 1, MODEL_HIDDEN_MAX, 8, &c->n_heads));
    FINCH_TRY(read_size(r, "num_key_value_heads", 1, c->n_heads, 4, &c->n_key_heads));
    FINCH_TRY(read_size(r, "head_dim", 2, KERNEL_HEAD_MAX, 256, &c->head_width));
    FINCH_TRY(read_size(r, "intermediate_size", 1, MODEL_INTERMEDIATE_MAX, 9216, &c->intermediate_size));
    FINCH_TRY(read_size(r, "max_position_embeddings", 2, GEMMA_POSITIONS_MAX, 131072, &c->n_positions));
    FINCH_TRY(read_size(r, "sliding_window", 1, GEMMA_WINDOW_MAX, 4096, &c->window));
    return check_heads(c, r->path, "num_attention_heads", "num_key_value_heads", "head_dim", r->err);
}

static finch_status read_scales(const reader *r, gemma_config *c)
{
    double eps, scalar;
    FINCH_TRY(read_number(r, "rms_norm_eps", 0.0, 1.0, 1e-6, &eps));
    FINCH_TRY(read_number(r, "query_pre_attn_scalar", 0.0, 1e9, 256.0, &scalar));
    c->norm_eps = (float)eps;
    c->query_scale = (float)(1.0 / sqrt(scalar));
    return FINCH_OK;
}

/* Settings that Gemma 3 could have and none has. */
static finch_status refuse_foreign(const reader *r)
{
    static const char *const caps[] = {"final_logit_softcapping", "attn_logit_softcapping"};
    static const char *const switches[] = {"attention_bias", "use_bidirectional_attention"};
    const char *act = "gelu_pytorch_tanh";
    for (size_t i = 0; i < 2; i++)
        if (json_has(r->root, caps[i]))
            return finch_fail(r->err, FINCH_E_UNSUPPORTED, "%s: \"%s\" is set; finch runs Gemma 3 without it", r->path,
                              caps[i]);
    for (size_t i = 0; i < 2; i++)
        if (json_has(r->root, switches[i]) && !json_is_false(json_object_get(r->root, switches[i])))
            return finch_fail(r->err, FINCH_E_UNSUPPORTED, "%s: \"%s\" is not false, the only value that finch runs",
                              r->path, switches[i]);
    if (json_has(r->root, "hidden_activation"))
        FINCH_TRY(json_get_text(r->root, r->path, "hidden_activation", &act, r->err));
    if (strcmp(act, "gelu_pytorch_tanh") != 0)
        return finch_fail(r->err, FINCH_E_UNSUPPORTED, "%s: \"hidden_activation\" is \"%s\"; Gemma 3 has gelu_pytorch_tanh",
                          r->path, act);
    return FINCH_OK;
}

static finch_status read_layer_type(const reader *r, size_t index, const json_t *kind, bool *out)
{
    const char *name = json_is_string(kind) ? json_string_value(kind) : "";
    *out = strcmp(name, "full_attention") == 0;
    if (*out || strcmp(name, "sliding_attention") == 0) return FINCH_OK;
    return finch_fail(r->err, FINCH_E_DATA,
                      "%s: \"layer_types\" has no sliding_attention or full_attention for the layer %zu", r->path, index);
}

static finch_status read_layers(const reader *r, gemma_config *c)
{
    size_t pattern;
    const char *key = json_has(r->root, "_sliding_window_pattern") ? "_sliding_window_pattern" : "sliding_window_pattern";
    FINCH_TRY(read_size(r, key, 1, MODEL_LAYERS_MAX, PATTERN_PRESET, &pattern));
    set_pattern(c, pattern);
    if (!json_has(r->root, "layer_types")) return FINCH_OK;
    const json_t *kinds = json_object_get(r->root, "layer_types");
    if (!json_is_array(kinds) || json_array_size(kinds) != c->n_layers)
        return finch_fail(r->err, FINCH_E_DATA, "%s: \"layer_types\" must be a list of %zu, one a layer", r->path,
                          c->n_layers);
    for (size_t i = 0; i < c->n_layers; i++) FINCH_TRY(read_layer_type(r, i, json_array_get(kinds, i), &c->is_global[i]));
    return FINCH_OK;
}

/* {"rope_type": "default" | "linear", "factor": f, "rope_theta": t}, each optional. */
static finch_status read_rope_fields(const reader *r, double *theta, double *factor)
{
    const char *key = json_has(r->root, "rope_type") ? "rope_type" : "type", *kind = "default";
    FINCH_TRY(read_number(r, "rope_theta", 0.0, 1e12, *theta, theta));
    if (json_has(r->root, key)) FINCH_TRY(json_get_text(r->root, r->path, key, &kind, r->err));
    if (strcmp(kind, "default") == 0) return FINCH_OK;
    if (strcmp(kind, "linear") == 0) return read_number(r, "factor", 0.0, 1e6, 1.0, factor);
    return finch_fail(r->err, FINCH_E_UNSUPPORTED, "%s: \"%s\" is \"%s\"; finch has default and linear", r->path, key, kind);
}

static finch_status read_rope(const reader *r, const json_t *given, const char *what, double *theta, double *factor)
{
    const reader inner = {given, r->path, r->err};
    if (!json_is_object(given)) return finch_fail(r->err, FINCH_E_DATA, "%s: \"%s\" must be an object", r->path, what);
    if (read_rope_fields(&inner, theta, factor) != FINCH_OK) return finch_fail_prefix(r->err, "%s", what);
    return FINCH_OK;
}

/* The new form (rope_parameters by layer type) and the old one (rope_theta, rope_local_base_freq, rope_scaling). */
static finch_status read_positions(const reader *r, gemma_config *c)
{
    c->local_factor = c->global_factor = 1.0;
    FINCH_TRY(read_number(r, "rope_theta", 0.0, 1e12, theta_global, &c->global_theta));
    FINCH_TRY(read_number(r, "rope_local_base_freq", 0.0, 1e12, theta_local, &c->local_theta));
    if (json_has(r->root, "rope_parameters")) {
        const json_t *both = json_object_get(r->root, "rope_parameters");
        if (json_has(both, "full_attention"))
            FINCH_TRY(read_rope(r, json_object_get(both, "full_attention"), "rope_parameters.full_attention",
                                &c->global_theta, &c->global_factor));
        if (json_has(both, "sliding_attention"))
            FINCH_TRY(read_rope(r, json_object_get(both, "sliding_attention"), "rope_parameters.sliding_attention",
                                &c->local_theta, &c->local_factor));
    }
    if (!json_has(r->root, "rope_scaling")) return FINCH_OK;
    return read_rope(r, json_object_get(r->root, "rope_scaling"), "rope_scaling", &c->global_theta, &c->global_factor);
}

/* An id below vocab_size, or a list whose first it is; absent: otherwise; null: none. */
static finch_status read_id(const reader *r, const gemma_config *c, const char *key, int32_t otherwise, int32_t *out)
{
    const json_t *value = json_object_get(r->root, key);
    *out = value == NULL ? otherwise : -1;
    if (value == NULL || json_is_null(value)) return FINCH_OK;
    if (json_is_array(value)) value = json_array_get(value, 0);
    if (!json_is_integer(value) || json_integer_value(value) < 0 || (size_t)json_integer_value(value) >= c->vocab_size)
        return finch_fail(r->err, FINCH_E_DATA, "%s: \"%s\" is no id below \"vocab_size\" %zu", r->path, key, c->vocab_size);
    *out = (int32_t)json_integer_value(value);
    return FINCH_OK;
}

static finch_status read_all(const reader *r, gemma_config *c)
{
    FINCH_TRY(refuse_foreign(r));
    FINCH_TRY(read_sizes(r, c));
    FINCH_TRY(read_scales(r, c));
    FINCH_TRY(read_layers(r, c));
    FINCH_TRY(read_positions(r, c));
    FINCH_TRY(read_id(r, c, "pad_token_id", 0, &c->pad_id));
    FINCH_TRY(read_id(r, c, "eos_token_id", 1, &c->eos_id));
    return read_id(r, c, "bos_token_id", 2, &c->bos_id);
}

static const char *model_type(const json_t *root)
{
    const json_t *type = json_object_get(root, "model_type");
    return json_is_string(type) ? json_string_value(type) : "";
}

bool gemma_config_is(const json_t *root)
{
    return strcmp(model_type(root), "gemma3") == 0 || strcmp(model_type(root), "gemma3_text") == 0;
}

finch_status gemma_config_from_json(const json_t *root, const char *path, gemma_config *out, finch_error *err)
{
    reader r = {root, path, err};
    *out = (gemma_config){0};
    if (!gemma_config_is(root))
        return finch_fail(err, FINCH_E_UNSUPPORTED, "%s: \"model_type\" is \"%.60s\", not gemma3 or gemma3_text", path,
                          model_type(root));
    if (strcmp(model_type(root), "gemma3") == 0) {
        r.root = json_object_get(root, "text_config");
        if (!json_is_object(r.root)) return finch_fail(err, FINCH_E_DATA, "%s: \"text_config\" must be an object", path);
    }
    finch_status st = read_all(&r, out);
    if (st != FINCH_OK) *out = (gemma_config){0};
    return st;
}

/* ---- GGUF ----------------------------------------------------------------------------------------------------- */

typedef struct metadata {
    const gguf *g;
    const char *path;
    finch_error *err;
} metadata;

static finch_status key_size(const metadata *m, const char *key, size_t lowest, size_t most, size_t *out)
{
    FINCH_TRY(gguf_get_size(m->g, key, out, m->err));
    return check_range(m->path, key, *out, lowest, most, m->err);
}

static finch_status key_number(const metadata *m, const char *key, double above, double most, double otherwise, double *out)
{
    *out = otherwise;
    if (!gguf_has(m->g, key)) return FINCH_OK;
    FINCH_TRY(gguf_get_number(m->g, key, out, m->err));
    return check_number(m->path, key, *out, above, most, m->err);
}

static finch_status key_architecture(const metadata *m)
{
    finch_text name;
    FINCH_TRY(gguf_get_text(m->g, "general.architecture", &name, m->err));
    if (name.size_bytes == 6 && memcmp(name.at, "gemma3", 6) == 0) return FINCH_OK;
    return finch_fail(m->err, FINCH_E_UNSUPPORTED, "%s: general.architecture is %.*s; finch runs gemma3", m->path,
                      (int)(name.size_bytes < 60 ? name.size_bytes : 60), name.at);
}

static finch_status key_sizes(const metadata *m, gemma_config *c)
{
    size_t value_width;
    const gguf_tensor *words = gguf_find(m->g, "token_embd.weight");
    if (words == NULL || words->n_dims != 2)
        return finch_fail(m->err, FINCH_E_DATA, "%s: the tensor token_embd.weight is missing or no matrix", m->path);
    c->vocab_size = words->dims[0];
    FINCH_TRY(check_range(m->path, "token_embd.weight", c->vocab_size, 1, MODEL_VOCAB_MAX, m->err));
    FINCH_TRY(key_size(m, "gemma3.embedding_length", 1, MODEL_HIDDEN_MAX, &c->hidden_size));
    FINCH_TRY(key_size(m, "gemma3.block_count", 1, MODEL_LAYERS_MAX, &c->n_layers));
    FINCH_TRY(key_size(m, "gemma3.attention.head_count", 1, MODEL_HIDDEN_MAX, &c->n_heads));
    FINCH_TRY(key_size(m, "gemma3.attention.head_count_kv", 1, c->n_heads, &c->n_key_heads));
    FINCH_TRY(key_size(m, "gemma3.attention.key_length", 2, KERNEL_HEAD_MAX, &c->head_width));
    FINCH_TRY(key_size(m, "gemma3.attention.value_length", 2, KERNEL_HEAD_MAX, &value_width));
    FINCH_TRY(key_size(m, "gemma3.feed_forward_length", 1, MODEL_INTERMEDIATE_MAX, &c->intermediate_size));
    FINCH_TRY(key_size(m, "gemma3.context_length", 2, GEMMA_POSITIONS_MAX, &c->n_positions));
    FINCH_TRY(key_size(m, "gemma3.attention.sliding_window", 1, GEMMA_WINDOW_MAX, &c->window));
    if (value_width != c->head_width)
        return finch_fail(m->err, FINCH_E_UNSUPPORTED, "%s: gemma3.attention.value_length is %zu, not the key_length %zu",
                          m->path, value_width, c->head_width);
    return check_heads(c, m->path, "gemma3.attention.head_count", "gemma3.attention.head_count_kv",
                       "gemma3.attention.key_length", m->err);
}

static finch_status key_positions(const metadata *m, gemma_config *c)
{
    static const char kind_key[] = "gemma3.rope.scaling.type";
    finch_text kind = {"none", 4};
    c->local_factor = c->global_factor = 1.0;
    FINCH_TRY(key_number(m, "gemma3.rope.freq_base", 0.0, 1e12, theta_global, &c->global_theta));
    FINCH_TRY(key_number(m, "gemma3.rope.freq_base_swa", 0.0, 1e12, theta_local, &c->local_theta));
    if (gguf_has(m->g, kind_key)) FINCH_TRY(gguf_get_text(m->g, kind_key, &kind, m->err));
    if (kind.size_bytes == 4 && memcmp(kind.at, "none", 4) == 0) return FINCH_OK;
    if (kind.size_bytes != 6 || memcmp(kind.at, "linear", 6) != 0)
        return finch_fail(m->err, FINCH_E_UNSUPPORTED, "%s: %s is %.*s; finch has none and linear", m->path, kind_key,
                          (int)(kind.size_bytes < 60 ? kind.size_bytes : 60), kind.at);
    return key_number(m, "gemma3.rope.scaling.factor", 0.0, 1e6, 1.0, &c->global_factor);
}

static finch_status key_layers(const metadata *m, gemma_config *c)
{
    static const char key[] = "gemma3.attention.sliding_window_pattern";
    size_t pattern = PATTERN_PRESET;
    if (gguf_has(m->g, key)) FINCH_TRY(key_size(m, key, 1, MODEL_LAYERS_MAX, &pattern));
    set_pattern(c, pattern);
    return FINCH_OK;
}

static finch_status key_id(const metadata *m, const gemma_config *c, const char *key, int32_t *out)
{
    size_t id;
    *out = -1;
    if (!gguf_has(m->g, key)) return FINCH_OK;
    FINCH_TRY(key_size(m, key, 0, c->vocab_size - 1, &id));
    *out = (int32_t)id;
    return FINCH_OK;
}

static finch_status key_all(const metadata *m, gemma_config *c)
{
    double eps, cap;
    FINCH_TRY(key_architecture(m));
    FINCH_TRY(key_sizes(m, c));
    FINCH_TRY(key_number(m, "gemma3.attention.layer_norm_rms_epsilon", 0.0, 1.0, 1e-6, &eps));
    FINCH_TRY(key_number(m, "gemma3.final_logit_softcapping", -1.0, 1e9, 0.0, &cap));
    if (cap != 0.0)
        return finch_fail(m->err, FINCH_E_UNSUPPORTED,
                          "%s: gemma3.final_logit_softcapping is set; finch runs Gemma 3 without it", m->path);
    c->norm_eps = (float)eps;
    size_t scalar = c->n_layers == LAYERS_OF_27B ? c->hidden_size / c->n_heads : c->head_width;
    c->query_scale = (float)(1.0 / sqrt((double)(scalar > 0 ? scalar : 1)));
    FINCH_TRY(key_positions(m, c));
    FINCH_TRY(key_layers(m, c));
    FINCH_TRY(key_id(m, c, "tokenizer.ggml.padding_token_id", &c->pad_id));
    FINCH_TRY(key_id(m, c, "tokenizer.ggml.eos_token_id", &c->eos_id));
    return key_id(m, c, "tokenizer.ggml.bos_token_id", &c->bos_id);
}

finch_status gemma_config_from_gguf(const gguf *g, const char *path, gemma_config *out, finch_error *err)
{
    *out = (gemma_config){0};
    finch_status st = key_all(&(metadata){g, path, err}, out);
    if (st != FINCH_OK) *out = (gemma_config){0};
    return st;
}

/* ---- as config.json ------------------------------------------------------------------------------------------- */

static json_t *rope_json(double theta, double factor)
{
    return factor == 1.0 ? json_pack("{s:s,s:f}", "rope_type", "default", "rope_theta", theta)
                         : json_pack("{s:s,s:f,s:f}", "rope_type", "linear", "factor", factor, "rope_theta", theta);
}

static json_t *layers_json(const gemma_config *c)
{
    json_t *list = json_array();
    bool whole = list != NULL;
    for (size_t i = 0; i < c->n_layers; i++)
        whole = whole &&
                json_array_append_new(list, json_string(c->is_global[i] ? "full_attention" : "sliding_attention")) == 0;
    if (whole) return list;
    json_decref(list);
    return NULL;
}

static json_t *id_json(int32_t id) { return id < 0 ? json_null() : json_integer(id); }

static json_t *config_json(const gemma_config *c)
{
    double scale = (double)c->query_scale;
    return json_pack("{s:s,s:[s],s:I,s:I,s:I,s:I,s:I,s:I,s:I,s:I,s:I,s:f,s:f,s:s,s:o,s:{s:o,s:o},s:o,s:o,s:o}", "model_type",
                     "gemma3_text", "architectures", "Gemma3ForCausalLM", "vocab_size", (json_int_t)c->vocab_size,
                     "hidden_size", (json_int_t)c->hidden_size, "num_hidden_layers", (json_int_t)c->n_layers,
                     "num_attention_heads", (json_int_t)c->n_heads, "num_key_value_heads", (json_int_t)c->n_key_heads,
                     "head_dim", (json_int_t)c->head_width, "intermediate_size", (json_int_t)c->intermediate_size,
                     "max_position_embeddings", (json_int_t)c->n_positions, "sliding_window", (json_int_t)c->window,
                     "rms_norm_eps", (double)c->norm_eps, "query_pre_attn_scalar", round(1.0 / (scale * scale)),
                     "hidden_activation", "gelu_pytorch_tanh", "layer_types", layers_json(c), "rope_parameters",
                     "full_attention", rope_json(c->global_theta, c->global_factor), "sliding_attention",
                     rope_json(c->local_theta, c->local_factor), "pad_token_id", id_json(c->pad_id), "eos_token_id",
                     id_json(c->eos_id), "bos_token_id", id_json(c->bos_id));
}

finch_status gemma_config_json(const char *path, json_t **out, finch_error *err)
{
    gguf *g;
    gemma_config c;
    *out = NULL;
    FINCH_TRY(gguf_open(path, &g, err));
    finch_status st = gemma_config_from_gguf(g, path, &c, err);
    gguf_close(g);
    if (st != FINCH_OK) return st;
    *out = config_json(&c);
    return *out != NULL ? FINCH_OK : finch_fail(err, FINCH_E_MEMORY, "%s: out of memory for its configuration", path);
}
