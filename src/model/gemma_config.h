/* What a Gemma 3 is shaped like, from config.json (gemma3_text, or gemma3 with its text_config) or from GGUF metadata. Every
 * field is checked: what is outside these limits never reaches the engine. */
#ifndef FINCH_MODEL_GEMMA_CONFIG_H
#define FINCH_MODEL_GEMMA_CONFIG_H

#include "base/json.h"
#include "model/config.h"
#include "tensor/gguf.h"

enum { GEMMA_WINDOW_MAX = 1 << 20, GEMMA_POSITIONS_MAX = 1 << 20 };

typedef struct gemma_config {
    size_t vocab_size;
    size_t hidden_size;
    size_t n_layers;
    size_t n_heads; /* a multiple of n_key_heads */
    size_t n_key_heads;
    size_t head_width; /* even, at most KERNEL_HEAD_MAX; need not be hidden_size / n_heads */
    size_t intermediate_size;
    size_t n_positions;
    size_t window; /* of local layers: a token sees the last `window` tokens, itself included */
    float norm_eps;
    float query_scale; /* what scores are multiplied by */
    double local_theta;
    double global_theta;
    double local_factor; /* rope scaling "linear": positions are divided by it; 1 without */
    double global_factor;
    bool is_global[MODEL_LAYERS_MAX];
    int32_t pad_id, bos_id, eos_id; /* -1 where there is none */
} gemma_config;

/* config.json's object; path is for messages. Errors: FINCH_E_DATA, FINCH_E_UNSUPPORTED (soft caps, biases, attention both
 * ways, other rope scalings) naming file and key; *out is then zeroed. */
finch_status gemma_config_from_json(const json_t *root, const char *path, gemma_config *out, finch_error *err);
/* Whether "model_type" is one of Gemma 3's. */
bool gemma_config_is(const json_t *root);

/* The metadata, and the vocabulary's size from the embedding's shape. Errors: the same naming the key; FINCH_E_UNSUPPORTED
 * for another general.architecture. */
finch_status gemma_config_from_gguf(const gguf *g, const char *path, gemma_config *out, finch_error *err);

/* A GGUF file's configuration as config.json of a gemma3_text: a new reference. */
finch_status gemma_config_json(const char *path, json_t **out, finch_error *err);

/* What a Gemma's configuration has in common with all; the labels are the five of the label words (gemma_model.h). */
void model_config_of_gemma(const gemma_config *g, model_config *out);

#endif
