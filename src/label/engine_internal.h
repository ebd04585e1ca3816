/* What the engine's files share: engine.c the loop, engine_send.c batches on their way out, engine_receive.c responses,
 * engine_flush.c the transaction. */
#ifndef FINCH_LABEL_ENGINE_INTERNAL_H
#define FINCH_LABEL_ENGINE_INTERNAL_H

#include "base/arena.h"
#include "label/answer.h"
#include "label/engine.h"

/* Items asked together, from their lease until they are settled or given back. */
typedef struct batch {
    struct batch *next;
    labels_item *items; /* [n], texts owned */
    size_t n, capacity;
    int stage;
    size_t grain, text_bytes;
    size_t tries;       /* that failed on the way, not by what the model said */
    uint64_t good_at_failure; /* answers the engine had when it first failed so */
    double due;         /* clock_seconds: not before */
    /* of the request that is being made */
    char request_id[STORE_HASH_BYTES];
    key *by;
    request_format format;
    int64_t interval_us, wait_us;
    int64_t cost_nano;  /* expected */
    double tokens;      /* expected */
} batch;

typedef struct batch_list {
    batch *first, **tail;
    size_t n;
} batch_list;

void batch_list_open(batch_list *list);
void batch_list_add(batch_list *list, batch *b);
batch *batch_list_take(batch_list *list);
void batch_list_remove(batch_list *list, batch *b);
void batch_free(batch *b);
void batch_list_free(batch_list *list);

/* What one response (or a look into the store) came to; it waits for the next transaction. */
typedef struct outcome {
    struct outcome *next;
    batch *of;
    bool keep;            /* the batch is asked again as it is */
    bool has_request;
    labels_outcome told;
    char provider_id[ANSWER_ID_BYTES];
    str body;
    arena memory;         /* of all that follows */
    answer_row *rows;     /* [of->n] */
    char (*reasons)[ANSWER_REASON_BYTES]; /* [of->n] */
    bool *failed;         /* [of->n] the item was not answered and verdicts[] has been made already */
    bool answered;        /* the other items have an answer in rows[], or had one in the store */
    labels_verdict *verdicts; /* [of->n] */
    labels_answer *answers;   /* [of->n] */
} outcome;

/* What form a model is asked for its answers in. */
typedef struct known_format {
    request_format format;
    bool known; /* it has answered in that form, now or in an earlier run */
    bool told;  /* the provider said that it lacks the forms above it: worth remembering */
    bool news;  /* to be written into the store */
} known_format;

typedef struct engine {
    const engine_options *options;
    store *s;
    const labels_job *job;
    client *provider;
    key_ring *keys;
    rng random;
    pace_window window;
    double last_sent[KEYS_MAX]; /* a key's */
    batch_list ready;    /* leased, to be asked when due */
    batch_list planned;  /* in the next transaction's journal */
    batch_list paced;    /* journalled, waiting for their time */
    batch_list flying;   /* the provider has them */
    int64_t flying_cost_nano;
    outcome *outcomes, **outcomes_tail;
    size_t ready_items;
    bool lease_more, lease_expired, renew;
    labels_items leased;
    labels_lease_result leasing;
    double last_lease, last_renew, last_watch, last_look, last_expired;
    uint64_t n_good;       /* answers with labels */
    uint64_t n_refused;    /* 4xx in a row before any good one */
    double last_good;
    uint64_t n_failed_row; /* failures since the last good answer */
    known_format formats[2]; /* the model's, the judge's */
    double worst_item_nano; /* the most an item has cost */
    bool ending;
    engine_result *result;
    str body;              /* a request being written */
    str state;
    size_t n_gold_seen;
    uint64_t retries_seen; /* store_retries at the last look for orphans */
    char last_failure[ANSWER_REASON_BYTES];
} engine;

/* Ends the run; the first reason counts. */
void engine_stop(engine *e, engine_end end, const char *format, ...) FINCH_PRINTF(3, 4);

/* Whether the batch is for the judge. */
bool engine_judges(const engine *e, const batch *b);

/* engine_send.c */
finch_status engine_make_batches(engine *e, finch_error *err); /* of what was leased */
finch_status engine_plan(engine *e, double now, finch_error *err);
finch_status engine_send_due(engine *e, double now, finch_error *err);
/* Seconds until something of ours is due; at most most. */
double engine_wait(const engine *e, double now, double most);

/* engine_receive.c */
finch_status engine_receive(engine *e, const client_response *r, finch_error *err);
finch_status outcome_new(engine *e, batch *b, outcome **out, finch_error *err);
void outcome_free(outcome *o);

/* engine_flush.c */
finch_status engine_flush(engine *e, double now, finch_error *err);

#endif
