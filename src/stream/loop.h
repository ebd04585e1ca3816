/* What the three stages of a stream share: a ring of slots that each passes on to the next. For the files of this room only.
 *
 * A slot goes round: free -> taken (take.c) -> scored (loop.c) -> put (put.c) -> free. The counts n_taken >= n_scored >= n_put say
 * where each is; slot i of the ring is that of batch i modulo n_slots. A slot belongs to the stage that it waits for. */
#ifndef FINCH_STREAM_LOOP_H
#define FINCH_STREAM_LOOP_H

#include "stream/stream.h"

#include <pthread.h>

typedef struct stream_slot {
    stream_batch batch;
    data_score_object *objects; /* [batch] */
    data_scoring_input *inputs;
    data_scoring_output *rows;
    float *values; /* [batch, 2 n_labels]: probabilities and logits, which rows points to */
} stream_slot;

typedef struct stream_loop {
    pthread_mutex_t lock;
    pthread_cond_t moved; /* any of what the lock guards changed */
    /* Guarded by lock: */
    uint64_t n_taken, n_scored, n_put;
    bool stopping; /* nothing more is read */
    bool take_ended, score_ended;
    double stopped_seconds; /* clock_seconds, of stopping */
    finch_error failure; /* the first; status FINCH_OK: none */
    char note[1100]; /* to tell; empty: nothing */

    const stream_options *o; /* the rest does not change while the stages run */
    stream_figures *figures;
    data_scoring *scoring;
    data_names added;
    size_t n_slots;
    stream_slot *slots;
} stream_loop;

/* Waits until fewer than n_slots are taken, at most seconds. The slot, or NULL: none is free yet or the stream ends. */
stream_slot *stream_slot_free(stream_loop *l, double seconds);
void stream_slot_taken(stream_loop *l);
/* Waits for the next scored one. NULL: there will be none. */
stream_slot *stream_slot_scored(stream_loop *l);
void stream_slot_put(stream_loop *l);

bool stream_loop_stopping(stream_loop *l);
void stream_loop_stop(stream_loop *l);
/* The first failure is kept, and everything ends. */
void stream_loop_fail(stream_loop *l, const finch_error *err);
/* Waits; shorter where the stream stops or fails. */
void stream_loop_pause(stream_loop *l, double seconds);
/* Whether it is of no use to go on: a failure, or drain_seconds are over. */
bool stream_loop_hopeless(stream_loop *l);

/* Closes *connection and opens it again, with pauses that grow from 0.1 to 5 seconds, until it works, the stream stops (of the stage
 * that reads: give_up_when_stopping) or is hopeless. lost: why it is opened again. *connection is NULL where it returns false; a
 * failure for good is the stream's then. */
bool stream_loop_reconnect(stream_loop *l, void **connection, const finch_error *lost, bool give_up_when_stopping);

/* The threads: argument is the loop with its first connection. */
typedef struct stream_stage {
    stream_loop *loop;
    void *connection;
    pthread_t thread;
} stream_stage;
void *stream_take(void *stage);
void *stream_put(void *stage);

#endif
