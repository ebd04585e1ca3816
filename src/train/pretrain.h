/* Masked language modelling: the loop's objective for texts without labels.
 *
 * Of each text's tokens (not its special ones) 15 % are to be guessed; of these 80 % become [MASK], 10 % a random token,
 * 10 % stay. The choice is a Philox function of (seed, epoch, text, token), so every epoch masks anew, and a resumed run
 * masks as an uninterrupted one. Validation texts keep one choice for the whole run.
 * Source: Devlin et al., arXiv:1810.04805, section 3.1; dynamic masking: Liu et al., arXiv:1907.11692, section 4.1. */
#ifndef FINCH_TRAIN_PRETRAIN_H
#define FINCH_TRAIN_PRETRAIN_H

#include "train/examples.h"
#include "train/loop.h"

typedef struct pretrain {
    trainable *trained;
    const examples *train, *valid;
    uint64_t seed;
    double share; /* of the tokens that are to be guessed */
    text_special special;
    int32_t vocab_size;
    ranks *ranks; /* that evaluate together; NULL: this one alone */
    arena scratch;
    double loss, perplexity, accuracy; /* at the last evaluation */
    uint64_t n_masked;
} pretrain;

/* trained has the head TRAINABLE_MASKED_LM. Borrowed, all must outlive it. Errors: FINCH_E_DATA where the vocabulary has
 * no mask token, FINCH_E_USAGE (share not in (0, 1)). */
finch_status pretrain_open(trainable *trained, const examples *train, const examples *valid, uint64_t seed, double share,
                           ranks *together, pretrain *out, finch_error *err);
void pretrain_close(pretrain *p);

/* Its metrics are log_loss (a masked token's) and accuracy. */
loop_objective pretrain_objective(pretrain *p);

/* Which tokens of a text are to be guessed, and what stands in their place: ids [n_tokens] are changed, positions
 * [n_tokens] and targets [n_tokens] get the *n_masked places (plus base) and the ids that stood there. */
typedef struct pretrain_masker {
    uint64_t seed, epoch;
    double share;
    text_special special;
    int32_t vocab_size;
} pretrain_masker;

void pretrain_mask(const pretrain_masker *m, uint64_t text, int32_t *ids, size_t n_tokens, uint32_t base,
                   uint32_t *positions, int32_t *targets, size_t *n_masked);

#endif
