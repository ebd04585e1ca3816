/* Batch jobs that outlive the process: an uploaded file, its state, its result.
 *
 *             jobs_claim                    jobs_finish
 *   queued ----------------> running ----------------------> done
 *     ^                         |   jobs_fail (for good) --> failed
 *     '- jobs_fail (again), ----'   jobs_cancel -----------> cancelled (also from queued)
 *        lease over, process gone
 *
 * A claim has a number (attempt). Who finishes must hold the claim of that number, and the state changes in one statement:
 * a job is finished once, whoever wakes up late. A result's file is put in place before jobs_finish, under a name of its own
 * for the attempt, so that a finish names a whole file.
 * Every change is an event ("job") in the same transaction. */
#ifndef FINCH_STORE_JOBS_H
#define FINCH_STORE_JOBS_H

#include "base/json.h"
#include "store/store.h"

enum { JOBS_ATTEMPTS = 30 }; /* a job that kills its process is given up at last; one that is killed with it is not */

typedef struct jobs_new {
    const char *kind;       /* "score" */
    const char *input_path; /* where the upload lies */
    const char *input_name; /* as the client called it */
    int64_t input_bytes;
    const char *options;    /* a JSON object for who does the work: columns, format, model */
    const char *key;        /* the id of the API key; NULL: none */
} jobs_new;

typedef struct job {
    char id[STORE_HASH_BYTES];
    str kind, state, input_path, input_name, options, key, result_path, summary, error; /* summary: JSON, or empty */
    int64_t input_bytes, result_bytes;
    int64_t created_ms, started_ms, finished_ms; /* 0: not yet */
    int64_t attempt;           /* the claim's number; 0: never claimed */
    int64_t rows_done, rows_total; /* total 0: not known yet */
} job;

void job_free(job *j);

/* *out is to be freed. */
finch_status jobs_create(store *s, const jobs_new *spec, job *out, finch_error *err);
/* Errors: FINCH_E_NOT_FOUND. */
finch_status jobs_get(store *s, const char *id, job *out, finch_error *err);
/* Newest first: key NULL: of all keys; before_ms 0: from the newest. */
typedef finch_status (*job_fn)(void *context, const job *j, finch_error *err);
finch_status jobs_each(store *s, const char *key, int64_t before_ms, size_t limit, job_fn visit, void *context,
                       finch_error *err);
/* {"id","kind","state","input":{"name","bytes"},"rows":{"done","total"},"attempt","created","started","finished","error",
 *  "result":{"bytes","summary"}}. NULL where memory is out. */
json_t *job_json(const job *j);

/* The oldest job that waits, or whose lease is over, or whose process (on this machine) is gone. *found false: none. A job
 * taken up for the JOBS_ATTEMPTS + 1st time is failed instead. */
finch_status jobs_claim(store *s, const char *kind, int64_t lease_ms, job *out, bool *found, finch_error *err);
/* Notes how far it is and keeps the claim until now + lease_ms. Errors: FINCH_E_CANCELLED where the claim is lost or the job
 * was cancelled: stop. */
finch_status jobs_progress(store *s, const job *j, int64_t rows_done, int64_t rows_total, int64_t lease_ms,
                           finch_error *err);
/* Errors: FINCH_E_CANCELLED where the claim was lost: the result is not the job's, remove it. Finishing again with the same
 * attempt and path is no failure. */
finch_status jobs_finish(store *s, const job *j, const char *result_path, int64_t result_bytes, const char *summary,
                         finch_error *err);
/* again: it waits for another attempt (after a fault that may pass); else it has failed. */
finch_status jobs_fail(store *s, const job *j, const char *error, bool again, finch_error *err);
/* Errors: FINCH_E_NOT_FOUND; FINCH_E_USAGE where it is over already. */
finch_status jobs_cancel(store *s, const char *id, finch_error *err);
/* Gives it back, at a clean end. */
finch_status jobs_release(store *s, const job *j, finch_error *err);

/* Ended jobs older than before_ms leave the store; visit gets each first, to remove its files. */
finch_status jobs_prune(store *s, int64_t before_ms, job_fn visit, void *context, uint64_t *n, finch_error *err);

typedef struct jobs_counts {
    int64_t queued, running, done, failed, cancelled;
} jobs_counts;
finch_status jobs_count(store *s, jobs_counts *out, finch_error *err);

#endif
