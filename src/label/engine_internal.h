/* What the engine's files share: engine.c the loop, engine_send.c batches on their way out, engine_receive.c responses,
 * engine_flush.c the transaction, engine_writer.c the thread that runs it. */
#ifndef FINCH_LABEL_ENGINE_INTERNAL_H
#define FINCH_LABEL_ENGINE_INTERNAL_H

#include "base/arena.h"
#include "label/agreement.h"
#include "label/answer.h"
#include "label/engine.h"

#include <pthread.h>

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
    int64_t interval_us;
    size_t late; /* places in its key's row that it missed */
    bool left;   /* is on the wire */
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

/* One transaction: what is written, what is asked, and what it came to. The writer's while it is busy, else the loop's. */
typedef struct writing {
    outcome *outcomes;
    batch_list planned;
    known_format formats[2];
    bool lease, expired, renew;
    size_t wanted; /* texts to lease */
    bool look;    /* at the job's state and what all have spent */
    bool quality; /* at the gold texts */
    bool rest;    /* whether anything is left to do, and the counts where nothing is */
    bool orphans; /* give back first what the store says we have: nothing is in hand */
    const feed_chunk *texts; /* to be added before it, or NULL */
    bool all_in;             /* to be noted before it: no texts come any more */
    bool more;               /* some still come after it */
    /* what it came to */
    labels_items leased;
    labels_lease_result leasing;
    str state;
    int64_t spent_nano; /* below 0: not looked at */
    agreement gold;
    bool any_left;
    labels_counts counts;
    labels_counts counts_in; /* at all_in, where some are reused */
    ingest_result in;
    int64_t n_items;
    uint64_t retries; /* of the store before it */
    double took; /* seconds of the one before; the writer's alone */
    bool retried;
    finch_status status;
    finch_error error;
} writing;

typedef struct writer {
    pthread_t thread;
    pthread_mutex_t lock; /* guards the three below */
    pthread_cond_t changed;
    bool busy, quit;
    bool running; /* the thread is there */
} writer;

typedef struct engine {
    const engine_options *options;
    store *s;
    const labels_job *job;
    client *provider;
    key_ring *keys;
    rng random;
    pace_window window;
    double free_at[KEYS_MAX];   /* a key's: an interval after its last request was known to be on the wire */
    size_t n_leaving[KEYS_MAX]; /* a key's: sent, not known to be on the wire */
    batch_list ready;    /* leased, to be asked when due */
    batch_list planned;  /* in the next transaction's journal */
    batch_list paced;    /* journalled, waiting for their time and a place among the flying */
    batch_list flying;   /* the provider has them */
    int64_t flying_cost_nano;
    outcome *outcomes, **outcomes_tail; /* for the next transaction */
    writing writing;
    writer writer;
    bool given;          /* the writer has a transaction whose results were not taken yet */
    size_t ready_items;
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
    size_t n_gold_seen;
    /* A transaction was run twice. Where the first COMMIT only stayed without answer it may have leased texts too, which are in
     * nobody's hand and would be renewed for ever. */
    bool orphans;
    bool feeding; /* texts still come in */
    bool heard; /* a response has come since the last look at what is left */
    char last_failure[ANSWER_REASON_BYTES];
} engine;

/* Ends the run; the first reason counts. */
void engine_stop(engine *e, engine_end end, const char *format, ...) FINCH_PRINTF(3, 4);

/* Whether the batch is for the judge. */
bool engine_judges(const engine *e, const batch *b);

/* A request that could not be sent so soon after its place in its key's row takes another: other processes keep to theirs, and
 * half of the margin of the pace is the network's. */
#define LATE_SECONDS ((PACE_MARGIN - 1) / 2)

/* engine_send.c */
/* Notes which requests are on the wire by now. */
void engine_note_left(engine *e);
/* A request of b's key leaves no more: it has ended. */
void engine_left(engine *e, batch *b);
/* It could not leave at its place in its key's row, and takes another. */
void engine_missed(engine *e, batch *b);
finch_status engine_make_batches(engine *e, labels_items *leased, finch_error *err); /* which it empties */
finch_status engine_plan(engine *e, double now, finch_error *err);
finch_status engine_send_due(engine *e, double now, finch_error *err);
/* Seconds until something of ours is due; at most most. */
double engine_wait(const engine *e, double now, double most);

/* engine_receive.c */
finch_status engine_receive(engine *e, const client_response *r, finch_error *err);
finch_status outcome_new(engine *e, batch *b, outcome **out, finch_error *err);
void outcome_free(outcome *o);

/* engine_flush.c */
/* Gives the writer the next transaction, where there is anything to write or ask. */
void engine_begin_writing(engine *e, double now);
/* The transaction, in the writer's thread. */
finch_status engine_write(engine *e, finch_error *err);
/* Takes over what the last one came to. */
finch_status engine_end_writing(engine *e, finch_error *err);

/* engine_writer.c */
finch_status engine_writer_open(engine *e, finch_error *err);
/* Waits for what it is at. */
void engine_writer_close(engine *e);
void engine_writer_give(engine *e);
bool engine_writer_busy(engine *e);

#endif
