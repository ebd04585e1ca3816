/* A Gemma that learns: forward with what the backward pass needs, backward, explicit. Either adapters and a classifier learn beside a
 * frozen base, which stays in its file (gemma.h in f32) while gradients go through it; or all of it learns, and its weights are f32
 * in the caller's memory, which the same passes read where they lie.
 * Threads: one learner belongs to one thread (the steps inside run on OpenMP's). The files: gemma_learn_forward.c,
 * gemma_learn_backward.c, gemma_learn_weights.c (what only a whole learner does), gemma_learn.c. */
#ifndef FINCH_MODEL_GEMMA_LEARN_H
#define FINCH_MODEL_GEMMA_LEARN_H

#include "model/gemma.h"
#include "model/lora.h"

typedef struct gemma_learner gemma_learner;

/* A tensor that learns; value and grad belong to the caller (gemma_learner_bind).
 * name       as PEFT's files have it; of a whole learner as transformers' have it.
 * is_vector  a norm.
 * is_table   the word embeddings, the last of the list: a step adds only to the rows that its texts use. */
typedef struct gemma_learnt {
    char name[112];
    size_t rows, cols;
    bool is_head, is_vector, is_table;
} gemma_learnt;

/* base is borrowed and must be of compute f32; options name their targets. n_classes: rows of the classifier. Errors: FINCH_E_USAGE (lora_options_check),
 * FINCH_E_MEMORY. */
finch_status gemma_learner_create(const gemma *base, const lora_options *options, size_t n_classes, gemma_learner **out,
                                  finch_error *err);
/* All of base learns, which is borrowed and, from gemma_learner_draw on, the learner's to change: its weights are then the caller's,
 * and its file is closed. */
typedef struct gemma_whole_options {
    bool bf16; /* products in bf16, everything else in f32 */
    bool checkpoint_activations; /* as lora_options has it */
} gemma_whole_options;
finch_status gemma_learner_create_whole(gemma *base, const gemma_whole_options *options, size_t n_classes,
                                        gemma_learner **out, finch_error *err);
void gemma_learner_destroy(gemma_learner *l);

/* Every tensor that learns, in the order of their places. */
size_t gemma_learner_tensors(const gemma_learner *l, const gemma_learnt **out);
/* Where tensor i's numbers and gradients are. */
void gemma_learner_bind(gemma_learner *l, size_t i, float *value, float *grad);
/* First values, when all tensors are bound: A uniform in +-1/sqrt(in) as PEFT draws it, B zero, the head N(0, 0.02) or the base's own
 * where it has the same classes; all others of a whole learner the base's. *head_is_new: it was drawn. */
void gemma_learner_draw(gemma_learner *l, uint64_t seed, bool keep_head, bool *head_is_new);
/* Of a whole learner: the first tensor of a layer; of the one behind the last, the first that belongs to none. */
size_t gemma_learner_layer_begins(const gemma_learner *l, size_t layer);
/* To be called when values were changed from outside. */
void gemma_learner_values_changed(gemma_learner *l);

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
/* Of a backward pass.
 * dlogits   [n_texts, n_classes].
 * add       gradients of matrices that learn whole are added to; else overwritten. All others are always added to.
 * on_final  of a whole learner: told when a step adds no more to the head and the last norm (block 0), and to each layer from the
 *           last (1 ...); NULL: nobody. */
typedef struct gemma_learning_back {
    const float *dlogits;
    bool add;
    void (*on_final)(void *context, size_t block);
    void *context;
} gemma_learning_back;

finch_status gemma_learner_backward(gemma_learner *l, gemma_learnt_pass *pass, const gemma_learning_back *how,
                                    finch_error *err);

#endif
