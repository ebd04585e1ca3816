/* A BERT, MPNet or Gemma 3 that learns, or adapters and a classifier beside one that does not: f32 master parameters, their
 * gradients, forward and backward of a packed batch.
 *
 * The backward pass is explicit (a forward and a backward per layer, no graph). Texts are packed end to end, no padding
 * in any layer. Dropout masks are a function of (seed, step, site, place), so a step can be repeated bit for bit.
 * Fixed order of summation: the same parameters, batch, seed and step give the same bits whatever the thread count.
 * Threads: one trainable belongs to one thread (the kernels inside run on OpenMP's threads).
 * How it works: docs/training-engine.md. */
#ifndef FINCH_MODEL_TRAINABLE_H
#define FINCH_MODEL_TRAINABLE_H

#include "model/lora.h"
#include "model/model.h"
#include "text/text.h"

typedef struct trainable trainable;

typedef enum trainable_head { TRAINABLE_CLASSIFIER, TRAINABLE_MASKED_LM } trainable_head;

/* A zeroed struct is a classifier with the folder's own labels, f32, and no dropout; TRAINABLE_OPTIONS_DEFAULT takes the
 * dropout of the folder's config.
 * labels  [n_labels] NUL-terminated names in the order of their ids, copied; n_labels 0: those of the config. A folder
 *         whose classifier has other labels gets a new classifier (trainable_head_is_new says so).
 * *_dropout  probability in [0, 1); below 0: the config's.
 * lora    adapters learn and the model is frozen; NULL: the model learns.
 * checkpoint_activations  of a Gemma that learns: keep only the layers' inputs, compute the rest again. The same bits. */
typedef struct trainable_options {
    trainable_head head;
    bool bf16;   /* products in bf16, everything else in f32 */
    bool bf16x3; /* f32 products as three of bf16, on CPUs whose tiles make that faster; as exact as f32 for training */
    size_t n_labels;
    const char *const *labels;
    double hidden_dropout, attention_dropout, classifier_dropout;
    uint64_t seed; /* a new head's weights, dropout */
    const lora_options *lora;
    bool checkpoint_activations;
} trainable_options;

#define TRAINABLE_OPTIONS_DEFAULT \
    ((trainable_options){.hidden_dropout = -1.0, .attention_dropout = -1.0, .classifier_dropout = -1.0})

enum { TRAINABLE_CLASSES_MAX = 32 }; /* a set of classes is the bits of a word */

/* folder: a model in Hugging Face layout with its tokenizer, with or without a head. A missing head (and pooler) gets
 * weights N(0, 0.02) from the seed; the masked-LM decoder is tied to the embeddings.
 * *out is NULL on failure. Errors: FINCH_E_USAGE (options), and those of model_config, weights_open, text_tokenizer_open. */
finch_status trainable_open(const char *folder, const trainable_options *options, trainable **out, finch_error *err);
void trainable_close(trainable *t);

const model_config *trainable_config(const trainable *t);
const text_tokenizer *trainable_tokenizer(const trainable *t);
/* Classes of the classifier; 0 for a masked LM. */
size_t trainable_n_classes(const trainable *t);
/* Whether the head was drawn from the seed because the folder had none that fits. */
bool trainable_head_is_new(const trainable *t);
/* Of what does not learn (the base of adapters); 0 where everything does. */
uint64_t trainable_frozen_hash(const trainable *t);
/* The names of the linear layers that have adapters, as they were asked for or chosen; NULL where there are none. */
const char *trainable_targets_of_adapters(const trainable *t);

/* Targets of a classifier's batch.
 * mask      [n_texts] bit c set: class c is allowed; at least one bit below n_classes. The hard loss of a text is
 *           -log of the set's summed probability. With label smoothing s it is (1 - s) * that + s * the mean of -log p
 *           over all classes (PyTorch's cross_entropy for a single class).
 * weight    [n_texts] factor of each text's loss (class weights); NULL: 1.
 * soft      [n_texts, n_classes] a teacher's probabilities at the same temperature, or NULL. Then the loss is
 *           (1 - soft_share) * hard + soft_share * T^2 * KL(soft || softmax(logits / T)). */
typedef struct trainable_targets {
    const uint32_t *mask;
    const float *weight;
    float label_smoothing;
    const float *soft;
    float soft_share, soft_temperature;
} trainable_targets;

/* Forward and backward. Gradients are ADDED, each text's multiplied by scale (1 / the summed weights of the accumulated
 * batch); *loss_sum is the weighted loss sum, without scale. step numbers the dropout masks: give every micro-batch its own.
 * Errors: FINCH_E_USAGE (a batch that does not fit the model, an empty mask), FINCH_E_MEMORY. A failed call may have
 * added part of its gradients: zero them (trainable_zero_gradients) before going on. */
finch_status trainable_step(trainable *t, const model_batch *batch, const trainable_targets *targets, double scale,
                            uint64_t step, double *loss_sum, finch_error *err);

/* The same for masked language modelling.
 * positions   [n_masked] token indices in the batch (0 .. n_tokens - 1), each at most once; target_ids [n_masked] the ids they stood for.
 * n_masked 0 is legal: no loss, no gradient. */
finch_status trainable_step_mlm(trainable *t, const model_batch *batch, const uint32_t *positions, const int32_t *target_ids,
                                size_t n_masked, double scale, uint64_t step, double *loss_sum, finch_error *err);

/* What of a batch stands before the part of it that the next steps are given: dropout then has the bits that it has where one step is
 * given the whole batch, so that several processes can share a batch. Zeroed: nothing. The sums are of the texts before.
 * tokens, selected    their tokens, and of these the ones that leave the last layer (one a text; in a masked LM the masked ones)
 * pairs, selected_pairs   of each text tokens, or selected tokens, times its tokens rounded up to 16 */
typedef struct trainable_before {
    size_t tokens, selected, pairs, selected_pairs;
} trainable_before;

void trainable_before_add(trainable_before *b, size_t n_tokens, size_t n_selected);
void trainable_begin_at(trainable *t, trainable_before before);

/* Evaluation mode: no dropout, no gradient. logits [n_texts, n_classes]. */
finch_status trainable_logits(trainable *t, const model_batch *batch, float *logits, finch_error *err);

/* The loss sum of the masked positions, and how many of them the model got right (may be NULL), in evaluation mode. */
finch_status trainable_eval_mlm(trainable *t, const model_batch *batch, const uint32_t *positions, const int32_t *target_ids,
                                size_t n_masked, double *loss_sum, size_t *n_correct, finch_error *err);

/* A parameter as the optimiser and the checkpoint see it. Pointers live as long as t and do not move.
 * name         the tensor's name in model.safetensors, unique.
 * value, grad  [rows, cols] f32; a vector has one row.
 * decay        weight decay applies (not to biases and layer norms).
 * sparse_rows  only rows of trainable_touched_rows have gradients; all others' are zero. */
typedef struct trainable_parameter {
    const char *name;
    float *value, *grad;
    size_t rows, cols;
    bool decay;
    bool sparse_rows;
} trainable_parameter;

/* The list, in the order of the file; borrowed from t. */
size_t trainable_parameters(trainable *t, trainable_parameter **out);

/* The rows of the sparse parameter (the word embeddings; there is at most one) that steps since the last
 * trainable_zero_gradients gave gradients, each once, in the order of first use. Borrowed until the next step. */
size_t trainable_touched_rows(const trainable *t, const uint32_t **rows);

/* As if a step had used the rows ids [n], which may repeat: they are brought up to date and have gradients, zero so far.
 * Nothing where no parameter is sparse. */
void trainable_touch_rows(trainable *t, const int32_t *ids, size_t n);

/* The gradients lie in blocks, which become final in the backward pass one after the other: the head's, the layers' from the
 * last, the embeddings' (a Gemma has none but the sparse ones); of adapters all in one. The sparse parameter's are in none. Block i < trainable_gradient_blocks is [n] at *grads. */
size_t trainable_gradient_blocks(const trainable *t);
float *trainable_gradient_block(const trainable *t, size_t i, size_t *n);
/* Is told in a step's backward pass of each block, in order, when the step adds no more to it. One listener; NULL removes it. */
typedef void (*trainable_final_fn)(void *context, size_t block);
void trainable_on_final(trainable *t, trainable_final_fn fn, void *context);

/* Zeroes all gradients (of the sparse parameter the touched rows) and forgets the touched rows. adamw_step does it. */
void trainable_zero_gradients(trainable *t);

/* To be called after parameter values were changed from outside (the optimiser, a checkpoint put back, an average of
 * checkpoints): bf16 copies of weights are made again before the next use. */
void trainable_values_changed(trainable *t);

/* The optimiser may be behind on embedding rows that no batch used. It registers itself here and is asked, before rows
 * are read, to bring them up to date. rows [n] token ids, may repeat. One listener; NULL removes it. */
typedef void (*trainable_rows_fn)(void *context, const int32_t *rows, size_t n);
void trainable_before_rows(trainable *t, trainable_rows_fn fn, void *context);

/* Adapters: writes PEFT's layout (adapter_config.json, adapter_model.safetensors with the classifier), config.json with the labels,
 * the probes (adapter.h) and the tokenizer's files.
 * Else writes folder in Hugging Face layout: config.json (architectures, id2label, label2id, problem_type), model.safetensors
 * (the names of transformers), the tokenizer's files. It opens in transformers. Call adamw_settle first where an
 * optimiser is attached. Errors: FINCH_E_IO, FINCH_E_MEMORY. */
finch_status trainable_save(trainable *t, const char *folder, finch_error *err);

#endif
