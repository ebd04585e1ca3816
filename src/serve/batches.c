#include "serve/batches.h"

#include "base/clock.h"
#include "base/file.h"
#include "serve/journal.h"
#include "serve/metrics.h"
#include "serve/models.h"
#include "store/jobs.h"
#include "store/pool.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { BATCHES_WAIT_SECONDS = 1, BATCHES_LEASE_MS = 60000 };
#define BATCHES_REPORT_SECONDS 0.5

/* lock guards ended. */
struct batches {
    pthread_mutex_t lock;
    pthread_cond_t wake;
    pthread_t thread;
    bool ended;
    serve *server;
};

/* A job in work. */
typedef struct batch_run {
    batches *b;
    store *s;
    job *j;
    double reported;
    bool stopped;       /* the server ends */
    finch_status lost;  /* why the claim is gone */
} batch_run;

const char *batches_folder(const batches *b) { return b->server->options.batch_folder; }

void batches_wake(batches *b)
{
    pthread_mutex_lock(&b->lock);
    pthread_cond_signal(&b->wake);
    pthread_mutex_unlock(&b->lock);
}

static bool has_ended(batches *b)
{
    pthread_mutex_lock(&b->lock);
    bool ended = b->ended;
    pthread_mutex_unlock(&b->lock);
    return ended;
}

/* ---- one job --------------------------------------------------------------------------------------------------------- */

static bool on_progress(void *context, uint64_t done, uint64_t total, const char *note)
{
    batch_run *run = context;
    double now = clock_seconds();
    (void)note;
    run->stopped = has_ended(run->b);
    if (run->stopped) return false;
    if (now - run->reported < BATCHES_REPORT_SECONDS) return true;
    run->reported = now;
    /* A store that is away for a moment does not end the work: the lease is longer than that. */
    run->lost = jobs_progress(run->s, run->j, (int64_t)done, (int64_t)total, BATCHES_LEASE_MS, NULL);
    return run->lost != FINCH_E_CANCELLED;
}

/* What was scored, into the history, before the job is done: an attempt that is made again adds nothing twice. */
static finch_status keep_rows(batch_run *run, const char *output, const progress *watch, json_t *summary, finch_error *err)
{
    const serve *server = run->b->server;
    uint64_t n = 0;
    FINCH_TRY(server->options.work.keep(server->options.work.context, run->s, run->j->id, output, summary,
                                        run->j->created_ms, watch, &n, err));
    metrics_add(&server->metrics->history_written, n);
    json_object_set_new(summary, "kept", json_integer((json_int_t)n));
    return FINCH_OK;
}

/* The scoring itself is handed in by the program (serve_options.work). */
static finch_status score_into(batch_run *run, const char *output, char **summary, finch_error *err)
{
    const serve *server = run->b->server;
    json_t *options, *found = NULL;
    FINCH_TRY(json_parse(run->j->options.at, run->j->options.size, "the job's options", &options, err));
    const char *name = json_string_value(json_object_get(options, "model"));
    model_slot *slot = models_acquire(server->models, name);
    finch_status st = slot != NULL ? FINCH_OK
                                   : finch_fail(err, FINCH_E_NOT_FOUND, "the model %s is not served any more",
                                                name != NULL ? name : "");
    progress watch = {on_progress, run};
    if (st == FINCH_OK) {
        serve_table_task task = {.engine = slot->engine,
                                 .model = slot->title,
                                 .input = run->j->input_path.at,
                                 .output = output,
                                 .text_column = json_string_value(json_object_get(options, "text_column")),
                                 .max_tokens = slot->max_tokens,
                                 .n_threads = server->options.batch_threads,
                                 .watch = &watch};
        st = server->options.work.score(server->options.work.context, &task, &found, err);
    }
    if (st == FINCH_OK && json_is_true(json_object_get(options, "keep"))) st = keep_rows(run, output, &watch, found, err);
    model_release(slot);
    json_decref(options);
    if (st == FINCH_OK && found != NULL) *summary = json_dumps(found, JSON_COMPACT);
    json_decref(found);
    return st;
}

static int64_t size_of(const char *path)
{
    struct stat info;
    return stat(path, &info) == 0 ? (int64_t)info.st_size : 0;
}

/* A fault of the input is for good; of the machine not. */
static bool may_pass(finch_status st)
{
    return st == FINCH_E_IO || st == FINCH_E_MEMORY || st == FINCH_E_BUSY || st == FINCH_E_NOT_FOUND;
}

static void settle(batch_run *run, finch_status st, const char *output, const char *summary, finch_error *err)
{
    metrics *m = run->b->server->metrics;
    finch_error ignored;
    if (st == FINCH_OK) {
        st = jobs_finish(run->s, run->j, output, size_of(output), summary != NULL ? summary : "", err);
        if (st == FINCH_OK) {
            metrics_add(&m->jobs_done, 1);
            return;
        }
    }
    unlink(output);
    if (run->stopped) {
        (void)jobs_release(run->s, run->j, &ignored);
    } else if (st != FINCH_E_CANCELLED) {
        metrics_add(&m->jobs_failed, 1);
        (void)jobs_fail(run->s, run->j, err->message, may_pass(st), &ignored);
        journal_event(run->b->server->journal, "error", "job_failed",
                      json_pack("{s:s, s:s}", "job", run->j->id, "reason", err->message));
    }
}

static void run_job(batches *b, store *s, job *j)
{
    batch_run run = {.b = b, .s = s, .j = j};
    finch_error err = {0};
    str output = {0};
    char *summary = NULL;
    finch_status st = str_add_format(&output, &err, "%s/%s.%lld.parquet", batches_folder(b), j->id, (long long)j->attempt);
    if (st == FINCH_OK) st = score_into(&run, output.at, &summary, &err);
    settle(&run, st, output.at != NULL ? output.at : "", summary, &err);
    free(summary);
    str_free(&output);
}

/* ---- the thread ------------------------------------------------------------------------------------------------------ */

static bool take_job(batches *b)
{
    finch_error err;
    store *s = NULL;
    job j = {0};
    bool found = false;
    if (!atomic_load(&b->server->ready)) return false;
    if (store_pool_borrow(b->server->pool, &s, &err) == FINCH_OK &&
        jobs_claim(s, "score", BATCHES_LEASE_MS, &j, &found, &err) == FINCH_OK && found)
        run_job(b, s, &j);
    job_free(&j);
    store_pool_give(b->server->pool, s);
    return found;
}

static void *batches_run(void *argument)
{
    batches *b = argument;
    while (!has_ended(b)) {
        if (take_job(b)) continue;
        struct timespec until = clock_after(CLOCK_REALTIME, BATCHES_WAIT_SECONDS);
        pthread_mutex_lock(&b->lock);
        if (!b->ended) pthread_cond_timedwait(&b->wake, &b->lock, &until);
        pthread_mutex_unlock(&b->lock);
    }
    return NULL;
}

finch_status batches_create(serve *s, batches **out, finch_error *err)
{
    batches *b;
    *out = NULL;
    FINCH_TRY(file_make_directories(s->options.batch_folder, err));
    FINCH_TRY(MEM_NEW(&b, 1, err));
    pthread_mutex_init(&b->lock, NULL);
    pthread_cond_init(&b->wake, NULL);
    b->server = s;
    if (pthread_create(&b->thread, NULL, batches_run, b) == 0) {
        *out = b;
        return FINCH_OK;
    }
    pthread_cond_destroy(&b->wake);
    pthread_mutex_destroy(&b->lock);
    mem_free(b);
    return finch_fail(err, FINCH_E_BUSY, "a thread for batch jobs could not be started");
}

void batches_destroy(batches *b)
{
    if (b == NULL) return;
    pthread_mutex_lock(&b->lock);
    b->ended = true;
    pthread_cond_signal(&b->wake);
    pthread_mutex_unlock(&b->lock);
    pthread_join(b->thread, NULL);
    pthread_cond_destroy(&b->wake);
    pthread_mutex_destroy(&b->lock);
    mem_free(b);
}
