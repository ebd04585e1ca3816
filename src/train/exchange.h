/* The gradients of one step summed over the ranks. Blocks of them set out as soon as the backward pass is through with them, so that
 * they travel while it goes on; of the word embeddings only the rows that the step's texts use. Of adapters that is all there is. */
#ifndef FINCH_TRAIN_EXCHANGE_H
#define FINCH_TRAIN_EXCHANGE_H

#include "model/trainable.h"
#include "train/ranks.h"

typedef struct exchange {
    ranks *ranks;
    trainable *trained;
    bool armed; /* what becomes final now is the step's last */
    size_t n_begun; /* blocks */
    float *rows; /* the embeddings' rows one behind another */
    size_t rows_room;
    finch_status status; /* of what began inside the backward pass */
    finch_error error;
} exchange;

/* Both are borrowed. close takes a zeroed struct. */
void exchange_open(ranks *r, trainable *t, exchange *out);
void exchange_close(exchange *e);

/* Before the last forward and backward pass of the step; not called by a rank that has no part in it. */
void exchange_arm(exchange *e);
/* After it: every rank's gradients are the sums, and so are the n values of also. */
finch_status exchange_finish(exchange *e, double *also, size_t n, finch_error *err);

/* Whether all ranks have the same values of all parameters. Errors: FINCH_E_FAILED where they do not. */
finch_status exchange_check_values(exchange *e, finch_error *err);

#endif
