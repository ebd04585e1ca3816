/* Dynamic batching: texts of all requests wait in one queue; each compute thread takes the oldest and what fits beside it (same
 * model, as many tokens as a packed batch should have), runs them through the model in one pass, and says so to their requests.
 *
 * No text waits for company: a free thread takes what is there at once, so batches grow only while all threads are busy - under
 * load they are large, without load a text is alone, and then all threads work on it together. The n texts that wait are divided
 * among the threads that are free. A text's result does not depend on any of this, to the bit (model/model.h).
 *
 * Threads: submit from any. done runs on a compute thread. */
#ifndef FINCH_SERVE_BATCHER_H
#define FINCH_SERVE_BATCHER_H

#include "serve/cache.h"
#include "serve/metrics.h"
#include "serve/models.h"

typedef enum text_outcome { TEXT_WAITS, TEXT_SCORED, TEXT_LATE, TEXT_STOPPED, TEXT_FAILED } text_outcome;

/* One text of a job; text is borrowed until done. */
typedef struct batch_text {
    finch_text text;
    float *logits; /* [n_labels] */
    cache_info info;
    bool cached;
    text_outcome outcome;
    struct batch_job *job;
    struct batch_text *next; /* the queue's */
} batch_text;

typedef struct batch_job {
    model_slot *slot; /* a reference of the job's */
    batch_text *texts; /* [n_texts] */
    size_t n_texts;
    bool use_cache;
    double deadline; /* clock_seconds */
    double submitted;
    size_t n_left; /* atomic */
    finch_status failing; /* atomic: why err says so */
    finch_error err; /* of TEXT_FAILED */
    void (*done)(struct batch_job *job);
    void *context;
} batch_job;

typedef struct batcher batcher;

finch_status batcher_create(size_t n_threads, size_t batch_tokens, size_t max_queue, cache *results, metrics *figures,
                            batcher **out, finch_error *err);
/* Texts that wait come back as TEXT_STOPPED, later ones are refused; the threads end. */
void batcher_stop(batcher *b);
void batcher_destroy(batcher *b); /* stops it first; NULL is legal */

/* Looks the texts up in the cache and queues the rest. *finished: all were there, and done is not called. FINCH_E_BUSY, and done
 * is not called either, where the rest does not fit into the queue. ready is called once it is sure that done will be, and
 * before it can be: to suspend what waits. */
finch_status batcher_submit(batcher *b, batch_job *job, void (*ready)(void *context), bool *finished, finch_error *err);
size_t batcher_waiting(batcher *b);

#endif
