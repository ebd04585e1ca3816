/* The engine asks a job's texts until each is labelled or set aside, the job is told to stop, or the provider gives out. They are
 * in the store, or on their way there (label/feed.h).
 *
 * Two threads. The loop takes what came in, sends what is journalled, and plans. The writer has the store: in one transaction
 * after another it writes how requests ended, their answers, what becomes of each text, new leases, and the requests about
 * to be sent, which are sent only after the commit. A window of requests is journalled ahead, so neither answers nor requests
 * wait for the disk, and a store that is away for minutes holds up no transfer. At any moment a kill loses what is in flight,
 * or came in since the last commit began, and nothing else. */
#ifndef FINCH_LABEL_ENGINE_H
#define FINCH_LABEL_ENGINE_H

#include "label/client.h"
#include "label/feed.h"
#include "label/keys.h"
#include "label/pace.h"
#include "label/request.h"
#include "store/labels.h"

typedef struct engine_progress {
    int64_t items, labelled, aside; /* texts of the job, with what was done before */
    int64_t classes[LABELS_CLASSES];
    uint64_t requests, rate_limited, failed, retried_rows, reused; /* of this run */
    int64_t input_tokens, output_tokens, cost_nano; /* of this run */
    uint64_t unknown_cost; /* answers that did not say what they cost */
    int64_t job_cost_nano; /* of all runs */
    size_t in_flight, window;
    bool cost_known; /* the provider says costs, or prices were given */
} engine_progress;

/* Called a few times a second; false ends the run once what is in flight has come back. */
typedef bool (*engine_watch_fn)(void *context, const engine_progress *progress);
/* Called after each commit, once all texts are in the store. */
typedef void (*engine_commit_fn)(void *context, const engine_progress *progress);

typedef struct engine_options {
    const char *provider; /* the URL, as it is kept in the store */
    const prompt *words;
    size_t batch, in_flight, attempts;
    double rpm, tpm; /* a key; 0: no limit */
    double temperature;
    size_t max_tokens;
    request_format format; /* the first that is tried */
    bool format_fixed; /* the user chose, nothing else is tried */
    bool logprobs, usage_cost;
    double max_cost; /* dollars, below 0: none; of the job */
    uint64_t max_requests; /* of this run; 0: none */
    double price_in, price_out; /* dollars a million tokens, below 0: not known */
    double backoff_seconds; /* the base */
    double give_up_seconds; /* without one good answer */
    double lease_seconds;
    double stop_kappa; /* against gold; below -1: no rule */
    size_t stop_after; /* gold answers that are needed for it */
    feed *texts; /* those that are not in the store yet, the first chunk read; NULL: all are in */
    engine_watch_fn watch; /* may be NULL */
    void *watch_context;
    engine_commit_fn committed; /* may be NULL */
    void *commit_context;
} engine_options;

typedef enum engine_end {
    ENGINE_DONE,
    ENGINE_PAUSED, /* by finch label pause */
    ENGINE_CANCELLED, /* by the watch */
    ENGINE_BUDGET, /* --max-cost, --max-requests */
    ENGINE_REMOTE, /* the provider or all keys gave out */
    ENGINE_QUALITY, /* the stop rule */
    ENGINE_INPUT /* reading the texts failed: input_error */
} engine_end;

typedef struct engine_result {
    engine_end end;
    engine_progress progress;
    char why[400]; /* of every end but DONE */
    double seconds;
    int http_version; /* of the last answer */
    bool all_in; /* options.texts gave them all: */
    ingest_result in;
    int64_t n_items;
    finch_error input_error;
} engine_result;

/* Errors: what the store has; a provider that fails is no error of this call but an end. Leases are given back in any case. */
finch_status engine_run(store *s, const labels_job *job, client *provider, key_ring *keys, const engine_options *options,
                        engine_result *out, finch_error *err);

#endif
