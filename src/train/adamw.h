/* AdamW with decoupled weight decay (arXiv:1711.05101, arithmetic of torch.optim.AdamW) and clipping by the global norm
 * (arithmetic of torch.nn.utils.clip_grad_norm_).
 *
 * Word embeddings are updated lazily: a step costs the rows the batch used. A row that was not used has gradient zero,
 * and its steps (momentum decay, that step's rate and bias correction, weight decay) are replayed in order when it is
 * next read or settled, with the arithmetic of the dense update: the bits are those of a dense AdamW.
 * Order of sums is fixed: same bits at any thread count. */
#ifndef FINCH_TRAIN_ADAMW_H
#define FINCH_TRAIN_ADAMW_H

#include "model/trainable.h"
#include "tensor/tensor.h"

typedef struct adamw adamw;

typedef struct adamw_options {
    double beta1, beta2, epsilon, weight_decay;
    double max_grad_norm; /* 0: no clipping */
} adamw_options;

#define ADAMW_OPTIONS_DEFAULT \
    ((adamw_options){.beta1 = 0.9, .beta2 = 0.999, .epsilon = 1e-8, .weight_decay = 0.01, .max_grad_norm = 1.0})

/* t is borrowed and must outlive the optimiser. Errors: FINCH_E_USAGE (an option out of range), FINCH_E_MEMORY. */
finch_status adamw_create(trainable *t, const adamw_options *options, adamw **out, finch_error *err);
void adamw_destroy(adamw *a);

/* Clips the gradients, updates the parameters, zeroes the gradients. *grad_norm (may be NULL): the norm before clipping.
 * A norm that is not finite changes nothing but the gradients, which are zeroed, and is FINCH_E_FAILED. */
finch_status adamw_step(adamw *a, double learning_rate, double *grad_norm, finch_error *err);

/* Steps done. */
uint64_t adamw_steps(const adamw *a);

/* Brings every embedding row up to date: before all rows are read (trainable_save) or a checkpoint is written. */
void adamw_settle(adamw *a);

/* The optimiser's memory for a checkpoint: call adamw_settle, then write these (the parameters are the trainable's own).
 * To resume: create, copy the saved bytes over data, call adamw_restored, then trainable_values_changed.
 * Names are unique; "step" is one I64, the rest F32 moments named "<parameter>.m" and "<parameter>.v". */
typedef struct adamw_array {
    const char *name;
    void *data;
    tensor_dtype dtype;
    size_t n_items;
} adamw_array;

size_t adamw_state_arrays(adamw *a, adamw_array **out);

/* After the arrays were filled from a checkpoint: every row counts as up to date at the restored step.
 * Errors: FINCH_E_DATA (a step below 0). */
finch_status adamw_restored(adamw *a, finch_error *err);

#endif
