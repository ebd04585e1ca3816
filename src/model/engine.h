/* A loaded model's insides, for the files of the engine only: load.c fills it, forward.c runs it, scorer.c feeds it. */
#ifndef FINCH_MODEL_ENGINE_H
#define FINCH_MODEL_ENGINE_H

#include "model/adapter.h"
#include "model/gemma.h"
#include "model/model.h"
#include "tensor/compressed.h"
#include "tensor/linear.h"

typedef struct engine_norm {
    float *gain; /* [hidden_size] */
    float *bias;
} engine_norm;

/* A transformer layer, norms after the residual sums (arXiv:1810.04805, arXiv:2004.09297).
 * qkv  queries at output 0, keys at engine_part_width, values at twice that; the queries are scaled by
 *      1 / sqrt(head width) in the weights. */
typedef struct engine_layer {
    linear qkv;
    linear out;
    linear up;
    linear down;
    engine_norm attention_norm;
    engine_norm output_norm;
    adapter_packed query, key, value, out_pair, up_pair, down_pair; /* adapters (adapter.h), added in f32 */
} engine_layer;

struct model {
    model_config config;
    model_compute compute;
    ops kernels;
    text_tokenizer *tokenizer;
    weights *file;              /* stays mapped: words are read from it */
    compressed_matrix words;    /* [vocab_size, hidden_size] */
    float *positions;           /* [n_positions, hidden_size]; BERT's rows hold the row of token type 0 too */
    engine_norm embedding_norm;
    float *relative;            /* MPNet: [n_heads, 2 max_tokens - 1], key minus query + max_tokens - 1; else NULL */
    arena packed;               /* holds what the layers' and the head's linear layers point to */
    engine_layer *layers;       /* [n_layers] */
    linear head_dense;          /* BERT's pooler, MPNet's classifier.dense: hidden to hidden, tanh after it; f32 */
    linear head_out;            /* hidden to labels; f32 */
    adapter_packed head_pair;   /* an adapter beside BERT's pooler */
    adapter adapter;            /* rank 0: none; file is then its base's */
    float temperature;
    gemma *gemma; /* a Gemma 3: its engine (gemma.h); of the above only config to tokenizer and temperature are set */
    struct gemma_words *label_words; /* and where it has no classifier, its label words (gemma_model.h) */
};

/* Outputs from the queries to the keys of a qkv row: hidden_size to the next whole panel. */
size_t engine_part_width(const model_config *c);

/* Reads and packs all weights; m->config, compute, kernels and file are set. */
finch_status engine_load(model *m, finch_error *err);
/* Frees what engine_load made, whole or half. */
void engine_unload(model *m);

/* The most that a batch of a pass holds. */
typedef struct engine_limits {
    size_t n_tokens, n_texts;
    size_t longest; /* tokens of one text */
} engine_limits;

/* Scratch and place of forward passes over batches within the limits, one after another. */
typedef struct engine_pass {
    const model *m;
    const model_batch *batch;
    size_t team;              /* threads that run the pass together: 1, or all of the enclosing parallel region */
    size_t block_rows;        /* rows taken through a layer's dense half at a time */
    size_t group_rows;        /* rows of whole texts that are attended to at a time: at least so many, where there are */
    size_t qkv_width;
    float *x;                 /* [n_tokens, hidden]: the residual stream */
    float *qkv;               /* of one group, [group_rows + longest, qkv_width] */
    float *context;           /* [n_tokens, hidden] */
    float *sum;               /* [block_rows, hidden] */
    float *wide;              /* [block_rows, intermediate], stride wide_stride */
    size_t wide_stride;
    float *first;             /* [n_texts, hidden]: the first tokens in the last layer */
    float *first_query;       /* [n_texts, part width] */
    bool *broken;             /* [n_texts]: whether a word's row is not finite */
    linear_input in;          /* [n_tokens] rows of hidden */
    linear_input block_in;    /* [block_rows] rows of hidden */
    linear_input wide_in;     /* [block_rows] rows of intermediate */
    float *attention_scratch; /* [team, attention_floats] */
    size_t attention_floats;
    float *adapter_scratch;   /* [team, adapter_floats] */
    size_t adapter_floats;
    size_t wait_arrived; /* the team's barrier: members there; atomic */
    unsigned wait_round; /* and how often it opened; atomic */
} engine_pass;

engine_limits engine_limits_of(const model_batch *b);
/* The scratch is a's: valid until that is released or reset. */
finch_status engine_pass_init(engine_pass *p, const model *m, const engine_limits *most, size_t team, arena *a,
                              finch_error *err);
/* b, which is within the limits, is what the next run reads: borrowed. */
void engine_pass_take(engine_pass *p, const model_batch *b);
/* Run by `team` threads at once (rank 0 .. team - 1), all of one parallel region where team > 1. logits [n_texts, n_labels]. */
void engine_pass_run(engine_pass *p, size_t rank, float *logits);

/* The same by p->team threads that this call gathers; outside a parallel region where team > 1. */
void engine_pass_run_team(engine_pass *p, float *logits);

/* Errors: FINCH_E_DATA where a logit is not finite (err->row is the text's 1-based place in the batch). */
finch_status engine_check_logits(const model *m, const float *logits, size_t n_texts, finch_error *err);

#endif
