#include "data/hub_worker.h"

#include <pthread.h>

enum { WORKERS = 4 }; /* they wait for the disk more than they work: flushes at once cost hardly more than one */

struct hub_workers {
    pthread_mutex_t lock; /* guards what follows and the tasks' states */
    pthread_cond_t changed;
    bool made; /* both */
    bool stop;
    hub_task *first, *last; /* given ones */
    const hub_cache *cache;
    void (*wake)(void *context);
    void *context;
    pthread_t threads[WORKERS];
    size_t n_threads;
};

/* ---- a worker's thread ---- */

static finch_status run_task(const hub_workers *w, hub_task *t, finch_error *err)
{
    FINCH_TRY(hub_blob_digest(t->blob, t->end, err));
    t->good = t->settles && hub_blob_good(t->blob);
    return t->good ? hub_blob_commit(t->blob, w->cache, err) : FINCH_OK;
}

/* NULL: stop. */
static hub_task *next_task(hub_workers *w)
{
    pthread_mutex_lock(&w->lock);
    while (w->first == NULL && !w->stop) pthread_cond_wait(&w->changed, &w->lock);
    hub_task *t = w->stop ? NULL : w->first;
    if (t != NULL) {
        w->first = t->next;
        if (w->first == NULL) w->last = NULL;
        t->state = HUB_TASK_RUNNING;
    }
    pthread_mutex_unlock(&w->lock);
    return t;
}

static void *work(void *context)
{
    hub_workers *w = context;
    for (hub_task *t; (t = next_task(w)) != NULL;) {
        t->err = (finch_error){0};
        t->err.status = run_task(w, t, &t->err);
        pthread_mutex_lock(&w->lock);
        t->state = HUB_TASK_DONE;
        pthread_cond_broadcast(&w->changed);
        pthread_mutex_unlock(&w->lock);
        if (w->wake != NULL) w->wake(w->context);
    }
    return NULL;
}

/* ---- the owner's ---- */

static finch_status make_locks(hub_workers *w, finch_error *err)
{
    if (pthread_mutex_init(&w->lock, NULL) != 0) return finch_fail(err, FINCH_E_MEMORY, "a lock could not be made");
    w->made = pthread_cond_init(&w->changed, NULL) == 0;
    if (w->made) return FINCH_OK;
    pthread_mutex_destroy(&w->lock);
    return finch_fail(err, FINCH_E_MEMORY, "a condition could not be made");
}

finch_status hub_workers_open(const hub_cache *cache, void (*wake)(void *context), void *context, hub_workers **out,
                              finch_error *err)
{
    hub_workers *w;
    *out = NULL;
    FINCH_TRY(MEM_NEW(&w, 1, err));
    w->cache = cache;
    w->wake = wake;
    w->context = context;
    finch_status st = make_locks(w, err);
    while (st == FINCH_OK && w->n_threads < WORKERS && pthread_create(&w->threads[w->n_threads], NULL, work, w) == 0)
        w->n_threads++;
    if (st == FINCH_OK && w->n_threads == 0) st = finch_fail(err, FINCH_E_MEMORY, "a thread could not be started");
    if (st == FINCH_OK) *out = w;
    else hub_workers_close(w);
    return st;
}

void hub_workers_close(hub_workers *w)
{
    if (w == NULL) return;
    if (w->made) {
        pthread_mutex_lock(&w->lock);
        w->stop = true;
        pthread_cond_broadcast(&w->changed);
        pthread_mutex_unlock(&w->lock);
        for (size_t i = 0; i < w->n_threads; i++) pthread_join(w->threads[i], NULL);
        pthread_cond_destroy(&w->changed);
        pthread_mutex_destroy(&w->lock);
    }
    mem_free(w);
}

void hub_workers_give(hub_workers *w, hub_task *task)
{
    pthread_mutex_lock(&w->lock);
    task->state = HUB_TASK_GIVEN;
    task->next = NULL;
    if (w->last != NULL) w->last->next = task;
    else w->first = task;
    w->last = task;
    pthread_cond_broadcast(&w->changed);
    pthread_mutex_unlock(&w->lock);
}

bool hub_workers_take(hub_workers *w, hub_task *task, bool *ended)
{
    pthread_mutex_lock(&w->lock);
    *ended = task->state == HUB_TASK_DONE;
    if (*ended) task->state = HUB_TASK_IDLE;
    bool idle = task->state == HUB_TASK_IDLE;
    pthread_mutex_unlock(&w->lock);
    return idle;
}

void hub_workers_recall(hub_workers *w, hub_task *task)
{
    pthread_mutex_lock(&w->lock);
    while (task->state == HUB_TASK_GIVEN || task->state == HUB_TASK_RUNNING) pthread_cond_wait(&w->changed, &w->lock);
    task->state = HUB_TASK_IDLE;
    pthread_mutex_unlock(&w->lock);
}
