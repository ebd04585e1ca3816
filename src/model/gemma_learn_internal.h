/* What the files of the Gemma that learns share. */
#ifndef FINCH_MODEL_GEMMA_LEARN_INTERNAL_H
#define FINCH_MODEL_GEMMA_LEARN_INTERNAL_H

#include "model/frozen.h"
#include "model/gemma_internal.h"
#include "model/gemma_learn.h"

#define GEMMA_MATRIX_INDEX(name, hub, gguf_name, outputs, inputs) LEARN_##name,
typedef enum learn_matrix { GEMMA_MATRIX_LIST(GEMMA_MATRIX_INDEX) LEARN_MATRICES } learn_matrix;
#undef GEMMA_MATRIX_INDEX

struct gemma_learner {
    const gemma *base;
    lora_setup setup;
    size_t n_classes, n_tensors;
    bool checkpoint, bf16;
    lora_pair (*pairs)[LEARN_MATRICES]; /* [n_layers] */
    float *score, *dscore;
    float *no_bias; /* [intermediate_size] zeros: the activation adds one */
    gemma_learnt *tensors;
};

/* What a layer's forward pass leaves for its backward pass; rows are tokens. */
typedef struct learn_layer {
    float *x;              /* its input */
    float *normed1, *normed2;
    float *q0, *k0;        /* before norm and rotation */
    float *q, *k, *v;
    float *probs;          /* by text and head, [n, n rounded up to 16] each */
    float *context, *o;
    float *middle;         /* x after attention */
    float *slope, *gelu, *up, *wide, *d;
    lora_kept kept[LEARN_MATRICES];
} learn_layer;

struct gemma_learnt_pass {
    gemma_learning how;
    size_t n_tokens, n_texts, queries, keys;
    const float *angles[2]; /* local and global */
    size_t *probs_at;       /* [n_texts + 1] */
    learn_layer *layers;    /* [n_layers]; of a checkpointing learner all but x are one layer's, in turns */
    float *end;             /* [n_tokens, hidden]: what a layer that is computed again gives */
    float *last, *hidden;   /* [n_texts, hidden]: the last tokens behind the last layer, and normalised */
    float *last_x, *last_normed; /* [n_texts, hidden]: the last tokens of the last layer's x and normed1 */
    float *room;            /* [n_tokens, widest input]: of the adapters' dropout */
    frozen_products products;
};

size_t learn_round16(size_t n);
const gemma_matrix *learn_matrix_of(const gemma_layer *w, learn_matrix which);

/* Of the last layer only the texts' last tokens are read, so behind its keys and values it has a row a text. */
bool learn_is_last(const gemma_learner *l, size_t layer);
size_t learn_rows(const gemma_learner *l, const gemma_learnt_pass *p, size_t layer);
/* rows [n_texts, hidden] of x [n_tokens, hidden]: the texts' last tokens. */
void learn_gather(const gemma_learner *l, const gemma_learnt_pass *p, const float *x, float *rows);

/* The forward of one layer into *to, whose x is filled; *next [learn_rows, hidden] is the input of the one behind. */
finch_status learn_layer_forward(gemma_learner *l, gemma_learnt_pass *p, size_t layer, learn_layer *to, float *next,
                                 finch_error *err);

#endif
