/* A frozen Gemma with adapters and a classifier that learn: forward with what the backward pass needs, backward, explicit.
 * The base stays in its file (gemma.h in f32); the products' gradients go through it, none is kept for it.
 * Threads: one learner belongs to one thread (the steps inside run on OpenMP's). The files: gemma_learn_forward.c,
 * gemma_learn_backward.c, gemma_learn.c. */
#ifndef FINCH_MODEL_GEMMA_LEARN_H
#define FINCH_MODEL_GEMMA_LEARN_H

#include "model/gemma.h"
#include "model/lora.h"

typedef struct gemma_learner gemma_learner;

/* A tensor that learns; value and grad belong to the caller (gemma_learner_bind).
 * name  as PEFT's files have it. */
typedef struct gemma_learnt {
    char name[112];
    size_t rows, cols;
    bool is_head;
} gemma_learnt;

/* base is borrowed and must be of compute f32; options name their targets. n_classes: rows of the classifier. Errors: FINCH_E_USAGE (lora_options_check),
 * FINCH_E_MEMORY. */
finch_status gemma_learner_create(const gemma *base, const lora_options *options, size_t n_classes, gemma_learner **out,
                                  finch_error *err);
void gemma_learner_destroy(gemma_learner *l);

/* Every tensor that learns, in the order of their places. */
size_t gemma_learner_tensors(const gemma_learner *l, const gemma_learnt **out);
/* Where tensor i's numbers and gradients are. */
void gemma_learner_bind(gemma_learner *l, size_t i, float *value, float *grad);
/* First values: A uniform in +-1/sqrt(in) as PEFT draws it, B zero, the head N(0, 0.02) or the base's own where it has the
 * same classes. *head_is_new: it was drawn. */
void gemma_learner_draw(gemma_learner *l, uint64_t seed, bool keep_head, bool *head_is_new);

typedef struct gemma_learning {
    const model_batch *batch;
    bool training; /* dropout, and what backward needs is kept */
    uint64_t seed, step;
    size_t first_token, first_text; /* of the whole batch, where this part of it begins: for dropout */
    arena *scratch; /* what it keeps is there until the arena is reset */
} gemma_learning;

/* What a forward pass left. */
typedef struct gemma_learnt_pass gemma_learnt_pass;

/* logits [n_texts, n_classes] of the texts' last tokens. *out lives in the arena. */
finch_status gemma_learner_forward(gemma_learner *l, const gemma_learning *how, float *logits, gemma_learnt_pass **out,
                                   finch_error *err);
/* Adds the gradients of dlogits [n_texts, n_classes]. */
finch_status gemma_learner_backward(gemma_learner *l, gemma_learnt_pass *pass, const float *dlogits, finch_error *err);

#endif
