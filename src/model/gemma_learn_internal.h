/* What the files of the Gemma that learns share. */
#ifndef FINCH_MODEL_GEMMA_LEARN_INTERNAL_H
#define FINCH_MODEL_GEMMA_LEARN_INTERNAL_H

#include "model/gemma_internal.h"
#include "model/gemma_learn.h"
#include "tensor/train_ops.h"

#define GEMMA_MATRIX_INDEX(name, hub, gguf_name, outputs, inputs) LEARN_##name,
typedef enum learn_matrix { GEMMA_MATRIX_LIST(GEMMA_MATRIX_INDEX) LEARN_MATRICES } learn_matrix;
#undef GEMMA_MATRIX_INDEX

/* a NULL: the layer has no adapter there. */
typedef struct learn_pair {
    bool used;
    float *a, *da; /* [rank, in] */
    float *b, *db; /* [out, rank] */
} learn_pair;

struct gemma_learner {
    const gemma *base;
    const train_ops *ops;
    size_t rank, n_classes, n_tensors;
    float scale, dropout;
    bool checkpoint;
    learn_pair (*pairs)[LEARN_MATRICES]; /* [n_layers] */
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
    float *low[LEARN_MATRICES];     /* [n_tokens, rank]: scale * dropout(input) A^T */
    uint16_t *kept[LEARN_MATRICES]; /* dropout's words, one of 16 columns; NULL: none */
} learn_layer;

struct gemma_learnt_pass {
    gemma_learning how;
    size_t n_tokens, queries, keys, team;
    const float *angles[2]; /* local and global */
    size_t *probs_at;       /* [n_texts + 1] */
    learn_layer *layers;    /* [n_layers]; of a checkpointing learner all but x are one layer's, in turns */
    float *end;             /* [n_tokens, hidden]: behind the last layer */
    float *last, *hidden;   /* [n_texts, hidden]: the last tokens of end, and normalised */
    float *dropped;         /* [n_tokens, widest input] */
    size_t thread_floats;
    float *scratch;
};

size_t learn_round16(size_t n);
const gemma_matrix *learn_matrix_of(const gemma_layer *w, learn_matrix which);
float *learn_thread_scratch(const gemma_learnt_pass *p);

/* gemm_f32 in blocks of the result that do not depend on the number of threads: one thread a block, so the bits do not
 * either. Inside a parallel region use gemm_f32 itself. */
finch_status learn_product(bool trans_a, bool trans_b, size_t m, size_t n, size_t k, const float *a, size_t lda,
                           const float *b, size_t ldb, float beta, float *c, size_t ldc, finch_error *err);

/* x [n_tokens, in of that matrix] after the pair's dropout: x itself where there is none, else p->dropped. */
const float *learn_drop(const gemma_learner *l, const gemma_learnt_pass *p, const uint16_t *kept, const float *x,
                        size_t width);

/* Rows' steps, spread over threads. */
void learn_norm(const gemma_learner *l, const gemma_learnt_pass *p, const float *x, const float *gain, const float *residual,
                float *y);
/* The forward of one layer into *to, whose x is filled; *next [n_tokens, hidden] is the input of the one behind. */
finch_status learn_layer_forward(gemma_learner *l, gemma_learnt_pass *p, size_t layer, learn_layer *to, float *next,
                                 finch_error *err);

#endif
