/* A loaded Gemma's insides. Reading order: gemma_config.c (its shape), gemma_load.c (its weights), gemma_forward.c (a pass),
 * gemma_heads.c. */
#ifndef FINCH_MODEL_GEMMA_INTERNAL_H
#define FINCH_MODEL_GEMMA_INTERNAL_H

#include "model/adapter.h"
#include "model/gemma.h"
#include "tensor/blocks.h"
#include "tensor/causal.h"
#include "tensor/stored.h"

/* A product's weights: where they lie (in int8, floats as rows in memory), and packed in bf16 and bf16x3. */
typedef struct gemma_matrix {
    stored_matrix stored;
    linear packed; /* panels NULL: not packed */
    adapter_packed pair; /* of an adapter */
} gemma_matrix;

/* A layer's products.   name in a Hugging Face file, in a GGUF file, outputs and inputs (of gemma_width) */
#define GEMMA_MATRIX_LIST(X)                                               \
    X(query, "self_attn.q_proj", "attn_q", GEMMA_QUERIES, GEMMA_HIDDEN)    \
    X(key, "self_attn.k_proj", "attn_k", GEMMA_KEYS, GEMMA_HIDDEN)         \
    X(value, "self_attn.v_proj", "attn_v", GEMMA_KEYS, GEMMA_HIDDEN)       \
    X(out, "self_attn.o_proj", "attn_output", GEMMA_HIDDEN, GEMMA_QUERIES) \
    X(gate, "mlp.gate_proj", "ffn_gate", GEMMA_WIDE, GEMMA_HIDDEN)         \
    X(up, "mlp.up_proj", "ffn_up", GEMMA_WIDE, GEMMA_HIDDEN)               \
    X(down, "mlp.down_proj", "ffn_down", GEMMA_HIDDEN, GEMMA_WIDE)

/* A layer's norms.      name in a Hugging Face file, in a GGUF file, width */
#define GEMMA_NORM_LIST(X)                                                              \
    X(before_attention, "input_layernorm", "attn_norm", GEMMA_HIDDEN)                   \
    X(query_norm, "self_attn.q_norm", "attn_q_norm", GEMMA_HEAD)                        \
    X(key_norm, "self_attn.k_norm", "attn_k_norm", GEMMA_HEAD)                          \
    X(after_attention, "post_attention_layernorm", "post_attention_norm", GEMMA_HIDDEN) \
    X(before_wide, "pre_feedforward_layernorm", "ffn_norm", GEMMA_HIDDEN)               \
    X(after_wide, "post_feedforward_layernorm", "post_ffw_norm", GEMMA_HIDDEN)

typedef enum gemma_width { GEMMA_HIDDEN, GEMMA_WIDE, GEMMA_QUERIES, GEMMA_KEYS, GEMMA_HEAD } gemma_width;

size_t gemma_width_of(const gemma_config *c, gemma_width width);

/* Norms are gains [width] with Gemma's one added; the queries' are multiplied by the scale of the scores as well. */
typedef struct gemma_layer {
#define GEMMA_MATRIX_MEMBER(name, hub, gguf_name, outputs, inputs) gemma_matrix name;
    GEMMA_MATRIX_LIST(GEMMA_MATRIX_MEMBER)
#undef GEMMA_MATRIX_MEMBER
#define GEMMA_NORM_MEMBER(name, hub, gguf_name, width) float *name;
    GEMMA_NORM_LIST(GEMMA_NORM_MEMBER)
#undef GEMMA_NORM_MEMBER
} gemma_layer;

struct gemma {
    gemma_config config;
    model_compute compute;
    char *path;
    weights *file; /* one of the two is open */
    gguf *blocks;
    ops products;
    const decoder_ops *rows;
    const block_ops *integers;
    bool needs_parts; /* of block_rows: a matrix of an int8 model */
    arena memory; /* packed and quantised weights, norms, layers */
    gemma_layer *layers;
    float *last_norm;
    float word_scale; /* sqrt(hidden_size), rounded to bf16 in bf16 as transformers does */
    stored_matrix words;
    stored_matrix vocabulary; /* the output's weights: words where they are tied */
    stored_matrix score; /* [n_classes, hidden_size]; rows 0: none */
    adapter adapter; /* rank 0: none */
};

/* Fills layers, norms and the rest; config, compute, and one of file and blocks are set. */
finch_status gemma_load(gemma *g, finch_error *err);

struct gemma_cache {
    size_t n_tokens, room, n_layers, n_key_heads, head_width;
    float *memory; /* [n_layers, n_key_heads] causal_keys of `room` rows: attention reads them where they lie */
};

causal_keys gemma_cache_keys(const gemma_cache *c, size_t layer, size_t key_head);

/* Cosines and sines [n, 2, head_width / 2] of the places from first on; in f32, as transformers computes them. */
void gemma_angles(const gemma_config *c, bool is_global, size_t first, size_t n, float *out);

/* Threads that a call may use. */
size_t gemma_team(size_t n_threads);

/* y = norm(x) (+ residual where there is one) over n dense rows of width; y may be x or the residual. */
void gemma_norm_rows(const gemma *g, size_t team, const float *x, size_t n, size_t width, const float *gain,
                     const float *residual, float *y);

#endif
