/* Labelling jobs in the store: what is to be asked, who asks it, what was asked, what was answered.
 *
 *                 labels_lease                     labels_journal     labels_flush
 *   waiting (0) ---------------> leased (1), claim ---------------> request ---------------> settled (2)
 *       ^                             |                                            |
 *       '----- lease over, or given back by labels_flush (asked again) <-----------'
 *
 * An item is one distinct text of a job. An asker is a model with a prompt's version; an answer belongs to (asker, text,
 * vote) whatever the job, so no text is asked twice by the same asker. labels_lease gives only items whose claim it got, and
 * settles by itself those that another job has had answered.
 * stage: which vote an item waits for (0..votes-1), then the judge. Classes are the ids 0..4. */
#ifndef FINCH_STORE_LABELS_H
#define FINCH_STORE_LABELS_H

#include "store/store.h"

enum { LABELS_WAITING, LABELS_LEASED, LABELS_SETTLED };
enum { LABELS_NO_CLASS = -1, LABELS_CLASSES = 5 };

/* ---- jobs ---- */

typedef struct labels_job_spec {
    const char *name;        /* who asks for the same name gets the same job */
    const char *model;
    const char *judge;       /* the model asked where votes differ; NULL: none */
    const char *prompt;      /* its version */
    const char *prompt_text; /* kept with the version */
    const char *provider;
    const char *input;       /* a JSON array of paths, for people and for export */
    const char *text_column;
    size_t votes;
} labels_job_spec;

typedef struct labels_job {
    int64_t id;
    int64_t asker;
    int64_t judge; /* 0: none */
    size_t votes;
    int64_t n_rows; /* -1: not all texts are in yet */
    int64_t n_items;
    str name, state, reason, model, judge_model, prompt, provider, input, text_column;
    int64_t created_ms;
} labels_job;

void labels_job_free(labels_job *job);

/* Makes the job or finds the one of that name. */
finch_status labels_job_make(store *s, const labels_job_spec *spec, labels_job *out, finch_error *err);
/* name NULL: the only job there is, or the newest. Errors: FINCH_E_NOT_FOUND. */
finch_status labels_job_find(store *s, const char *name, labels_job *out, finch_error *err);
/* Calls visit for each job, newest first. */
typedef finch_status (*labels_job_fn)(void *context, const labels_job *job, finch_error *err);
finch_status labels_job_each(store *s, labels_job_fn visit, void *context, finch_error *err);
/* Takes out a job whose texts never came in whole, for a mistake in the input; one that has all its texts, or asked, stays. */
finch_status labels_job_drop(store *s, const labels_job *job, finch_error *err);
/* state: "running", "paused", "stopped", "done". */
finch_status labels_job_set_state(store *s, int64_t job, const char *state, const char *reason, finch_error *err);
finch_status labels_job_get_state(store *s, int64_t job, str *state, finch_error *err);
/* The text of a prompt's version, out cleared first. Errors: FINCH_E_NOT_FOUND. */
finch_status labels_prompt_text(store *s, const char *version, str *out, finch_error *err);

/* The form that a provider's model answers in, a number of the caller's; -1: not known yet. */
finch_status labels_model_format(store *s, const char *provider, const char *model, int *out, finch_error *err);
finch_status labels_model_set_format(store *s, const char *provider, const char *model, int format, finch_error *err);

/* ---- texts in ---- */

typedef struct labels_text {
    int64_t seq; /* the order of asking; gold texts are below 0 */
    char hash[STORE_HASH_BYTES];
    finch_text text; /* UTF-8 without NUL bytes */
    int gold; /* the class people gave, or LABELS_NO_CLASS */
} labels_text;

/* Adds texts; those that the job has are passed over, so that adding may be begun again at any place. */
finch_status labels_add(store *s, const labels_job *job, const labels_text *texts, size_t n, finch_error *err);
/* Says that all are in, and settles the items that this asker has answered before (with one vote): *n_reused of them. */
finch_status labels_added(store *s, labels_job *job, int64_t n_rows, uint64_t *n_reused, finch_error *err);

/* ---- work ---- */

typedef struct labels_item {
    int64_t seq;
    char hash[STORE_HASH_BYTES];
    char *text; /* owned */
    size_t text_bytes;
    int stage, gold;
    size_t grain; /* the most items it may be asked together with, itself counted */
    size_t tries; /* failed ones at this grain */
    bool answered; /* the store has this stage's answer already: with several votes the item only goes on */
} labels_item;

/* A list of leased items, in the order of seq. */
typedef struct labels_items {
    labels_item *at;
    size_t n, capacity;
} labels_items;

void labels_items_free(labels_items *items);

/* One request, journalled. */
typedef struct labels_request {
    char id[STORE_HASH_BYTES];
    int64_t asker;
    const char *key; /* the key's name, never the key */
    const labels_item *const *items;
    size_t n_items;
} labels_request;

/* How it ended. body is the raw response, kept packed. Costs are in 1e-9 dollars; below 0: unknown. */
typedef struct labels_outcome {
    const char *id;
    int status; /* HTTP's; 0: none came */
    const char *outcome; /* "answered", "timeout", ... */
    const char *provider_id;
    int64_t input_tokens, output_tokens, cost_nano;
    const char *body;
    size_t body_bytes;
} labels_outcome;

/* One text's answer. */
typedef struct labels_answer {
    const labels_item *item;
    int64_t asker;
    int label;
    double confidence; /* below 0: none */
    const char *request;
} labels_answer;

/* What becomes of an item. label LABELS_NO_CLASS with state settled: set aside, and reason says why. */
typedef struct labels_verdict {
    int64_t seq;
    int state, stage, label;
    size_t grain, tries;
    double confidence;
    const char *reason;
} labels_verdict;

/* Items for this owner until now + lease_ms, at most n_wanted, appended to out. What others have answered meanwhile is settled
 * and counted in *n_reused. *n_blocked counts what another job is asking: it comes back a little later. */
typedef struct labels_lease_result {
    size_t n_leased, n_reused, n_blocked;
    size_t n_over; /* whose lease had run out, of all that were looked at */
    size_t reused_classes[LABELS_CLASSES];
} labels_lease_result;

finch_status labels_lease(store *s, const labels_job *job, size_t n_wanted, int64_t lease_ms, bool with_expired,
                          labels_items *out, labels_lease_result *result, finch_error *err);
/* Frees at once what processes of this machine held that are no more. */
finch_status labels_take_over(store *s, const labels_job *job, finch_error *err);
/* Makes all leases and claims of this owner last until now + lease_ms. */
finch_status labels_renew(store *s, const labels_job *job, int64_t lease_ms, finch_error *err);
/* Gives back all leases and claims of this owner, asked or not. */
finch_status labels_release(store *s, const labels_job *job, finch_error *err);
/* Settled items without a label wait again. */
finch_status labels_retry_aside(store *s, const labels_job *job, uint64_t *n, finch_error *err);

finch_status labels_journal(store *s, const labels_job *job, const labels_request *request, finch_error *err);
finch_status labels_end_request(store *s, const labels_outcome *outcome, finch_error *err);
/* Keeps the answers of one request, all of this vote; where the store had one of the same (asker, text, vote), that one
 * stays and is written into answers[].label and confidence. */
finch_status labels_answers(store *s, labels_answer *answers, size_t n, int64_t vote, finch_error *err);
finch_status labels_verdicts(store *s, const labels_job *job, const labels_verdict *verdicts, size_t n, finch_error *err);

/* All votes of one text: labels[i] is LABELS_NO_CLASS where there is none. */
finch_status labels_votes(store *s, int64_t asker, const char *hash, int *labels, size_t n, finch_error *err);

/* A place in the row of requests of a key: the time from which on the next one may be sent, as microseconds from the call, at
 * least least_us. interval_us is how long the key then rests. */
finch_status labels_pace(store *s, const char *key, int64_t interval_us, int64_t least_us, int64_t *wait_us,
                         finch_error *err);

/* ---- looking ---- */

typedef struct labels_counts {
    int64_t waiting, leased, labelled, aside;
    int64_t classes[LABELS_CLASSES];
    int64_t requests, failed_requests, rate_limited, input_tokens, output_tokens, cost_nano, unknown_cost;
    int64_t worst_item_nano; /* the most that a text of one request has cost */
} labels_counts;

finch_status labels_count(store *s, const labels_job *job, labels_counts *out, finch_error *err);
/* Whether anything is not settled yet; quick however many texts there are. */
finch_status labels_any_left(store *s, const labels_job *job, bool *any, finch_error *err);
/* What is still to be asked. */
typedef struct labels_left {
    int64_t items, text_bytes;
} labels_left;

finch_status labels_look_left(store *s, const labels_job *job, labels_left *out, finch_error *err);
finch_status labels_spent(store *s, const labels_job *job, int64_t *cost_nano, finch_error *err);

/* What is known of texts, for the output: one call of visit for each hash that the job has. Texts are borrowed. */
typedef struct labels_known {
    finch_text hash, reason, request, model, prompt;
    finch_text reviews; /* people's labels, a JSON object {name: class's id} in the order of names; empty: nobody's */
    int label; /* LABELS_NO_CLASS: none */
    int state;
    bool judged; /* the label is the judge's */
    double confidence; /* below 0: none */
    int64_t created_ms; /* 0: none */
    size_t votes, agreeing;
} labels_known;

typedef finch_status (*labels_known_fn)(void *context, const labels_known *known, finch_error *err);
/* hashes is a JSON array. */
finch_status labels_lookup(store *s, const labels_job *job, const char *hashes, labels_known_fn visit, void *context,
                           finch_error *err);

/* For rows of one number: context is an int64_t. */
finch_status labels_take_integer(void *context, const sql_row *row, finch_error *err);

/* The gold items that are labelled: one call each with people's class and the model's. */
typedef finch_status (*labels_gold_fn)(void *context, int gold, int label, finch_error *err);
finch_status labels_gold(store *s, const labels_job *job, labels_gold_fn visit, void *context, finch_error *err);
/* The class of each reason that items were set aside for: one call with the reason and its number. */
typedef finch_status (*labels_reason_fn)(void *context, finch_text reason, int64_t n, finch_error *err);
finch_status labels_reasons(store *s, const labels_job *job, labels_reason_fn visit, void *context, finch_error *err);

#endif
