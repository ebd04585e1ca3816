/* What the files of the Gemma that learns share. */
#ifndef FINCH_MODEL_GEMMA_LEARN_INTERNAL_H
#define FINCH_MODEL_GEMMA_LEARN_INTERNAL_H

#include "model/frozen.h"
#include "model/gemma_internal.h"
#include "model/gemma_learn.h"

#define GEMMA_MATRIX_INDEX(name, hub, gguf_name, outputs, inputs) LEARN_##name,
typedef enum learn_matrix { GEMMA_MATRIX_LIST(GEMMA_MATRIX_INDEX) LEARN_MATRICES } learn_matrix;
#undef GEMMA_MATRIX_INDEX

#define GEMMA_NORM_INDEX(name, hub, gguf_name, width) LEARN_##name,
typedef enum learn_norm { GEMMA_NORM_LIST(GEMMA_NORM_INDEX) LEARN_NORMS } learn_norm;
#undef GEMMA_NORM_INDEX

/* A matrix that learns whole. */
typedef struct learn_weight {
    float *value, *grad;
    tensor view; /* of value, for the base's stored_matrix */
} learn_weight;

/* A norm that learns: the base's gain is (1 + value) * factor. */
typedef struct learn_gain {
    float *value, *grad;
    float *gain;
    size_t width;
    float factor;
} learn_gain;

/* What only a whole learner has. */
typedef struct learn_layer_weights {
    learn_weight matrices[LEARN_MATRICES];
    learn_gain norms[LEARN_NORMS];
} learn_layer_weights;

struct gemma_learner {
    const gemma *base;
    lora_setup setup; /* of a whole learner only its ops */
    size_t n_classes, n_tensors;
    bool checkpoint, bf16;
    lora_pair (*pairs)[LEARN_MATRICES]; /* [n_layers]; none is used by a whole learner */
    gemma *whole; /* the base where all of it learns; else NULL, and so are: */
    learn_layer_weights *weights; /* [n_layers] */
    learn_gain last_gain;
    learn_weight words;
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
    uint16_t *narrow_x, *narrow_dy; /* [learn_room, widest]: of gradients of weights, in bf16 */
    bool add; /* gradients of matrices are added to */
};

size_t learn_round16(size_t n);
const gemma_matrix *learn_matrix_of(const gemma_layer *w, learn_matrix which);

/* Of the last layer only the texts' last tokens are read, so behind its keys and values it has a row a text. */
bool learn_is_last(const gemma_learner *l, size_t layer);
size_t learn_rows(const gemma_learner *l, const gemma_learnt_pass *p, size_t layer);
/* rows [n_texts, hidden] of x [n_tokens, hidden]: the texts' last tokens. */
void learn_gather(const gemma_learner *l, const gemma_learnt_pass *p, const float *x, float *rows);

/* gemma_learn.c: the shapes and the names of a layer's matrices. */
size_t learn_outputs(const gemma_config *c, learn_matrix which);
size_t learn_inputs(const gemma_config *c, learn_matrix which);
extern const char *const learn_modules[LEARN_MATRICES];

/* gemma_learn_weights.c. The sums over rows are in an order that does not depend on threads. */

void weights_bind(gemma_learner *l, size_t i, float *value, float *grad);
void weights_draw(gemma_learner *l);
/* Memory for weight_back. */
finch_status weights_plan(const gemma_learner *l, gemma_learnt_pass *p, finch_error *err);
/* The gradient of a layer's matrix: dy^T x over n rows; nothing where it does not learn. */
finch_status weight_back(const gemma_learner *l, const gemma_learnt_pass *p, size_t layer, learn_matrix which, size_t n,
                         const float *x, const float *dy, finch_error *err);
/* Where the gradient of a norm goes; NULL where it does not learn. */
learn_gain *weights_gain(const gemma_learner *l, size_t layer, learn_norm which);
/* Adds the gradients dx [n_tokens, hidden] of what went into the first layer to the rows of the words. */
void words_back(const gemma_learner *l, const gemma_learnt_pass *p, const float *dx);

/* The forward of one layer into *to, whose x is filled; *next [learn_rows, hidden] is the input of the one behind. */
finch_status learn_layer_forward(gemma_learner *l, gemma_learnt_pass *p, size_t layer, learn_layer *to, float *next,
                                 finch_error *err);

#endif
