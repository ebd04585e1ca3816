/* A model folder's config.json, every field checked: what is outside these limits never reaches the engine. */
#ifndef FINCH_MODEL_CONFIG_H
#define FINCH_MODEL_CONFIG_H

#include "base/status.h"

typedef enum model_arch { MODEL_BERT, MODEL_MPNET, MODEL_GEMMA3 } model_arch;

typedef enum model_activation { MODEL_GELU, MODEL_GELU_TANH, MODEL_RELU } model_activation;

enum {
    MODEL_LABELS_MAX = 64,
    MODEL_LABEL_BYTES_MAX = 64, /* its NUL included */
    MODEL_HIDDEN_MAX = 8192,
    MODEL_INTERMEDIATE_MAX = 32768,
    MODEL_LAYERS_MAX = 256,
    MODEL_POSITIONS_MAX = 65536,
    MODEL_VOCAB_MAX = 1 << 20
};

typedef struct model_config {
    model_arch arch;
    size_t vocab_size;
    size_t hidden_size;       /* a multiple of n_heads, but in Gemma 3 */
    size_t n_layers;
    size_t n_heads;
    size_t intermediate_size;
    size_t n_positions;       /* rows of the position table; Gemma 3: the most tokens it was made for */
    size_t n_types;           /* rows of the token-type table; 0 for MPNet, which has none */
    size_t position_offset;   /* the first token's row of the position table: 0 for BERT, pad_id + 1 for MPNet */
    int32_t pad_id;
    float layer_norm_eps;
    float hidden_dropout;
    float attention_dropout;
    float classifier_dropout; /* hidden_dropout where config.json has none */
    model_activation hidden_act;
    size_t n_relative_buckets; /* MPNet: relative_attention_num_buckets (32); 0 for BERT */
    size_t n_labels;           /* of id2label; 2 where config.json has none, as in transformers */
    char labels[MODEL_LABELS_MAX][MODEL_LABEL_BYTES_MAX];
} model_config;

/* folder/config.json, or a Gemma's GGUF file, or, of a folder of adapters that has none, its base's; of a Gemma 3 what all architectures have (the rest: gemma_config.h). Errors: FINCH_E_NOT_FOUND, FINCH_E_DATA and FINCH_E_UNSUPPORTED (another model_type, activation or
 * position embedding) naming file and key, FINCH_E_IO, FINCH_E_MEMORY; *out is then zeroed. */
finch_status model_config_read(const char *folder, model_config *out, finch_error *err);

/* The most tokens a text may have: n_positions - position_offset. */
size_t model_config_max_tokens(const model_config *c);

/* The id 0..4 of a label's name in the five-class scheme, in any case: STRONGLY_NEGATIVE, NEGATIVE (bearish), NEUTRAL,
 * POSITIVE (bullish), STRONGLY_POSITIVE; -1 where it is none of them. */
int model_label_class(const char *name);

#endif
