#include "serve/desk.h"

#include "serve/reply.h"

#include <pthread.h>

typedef struct desk_item {
    request *r;
    desk_fn work;
} desk_item;

/* lock guards the row and ended. */
struct desk {
    pthread_mutex_t lock;
    pthread_cond_t work;
    desk_item row[DESK_MOST_WAITING];
    size_t first, n;
    bool ended;
    store_pool *pool;
    pthread_t *threads;
    size_t n_threads;
};

static void answer_stopped(request *r)
{
    reply_retry_after(r, 1);
    reply_error(r, 503, "shutting_down", NULL, "the server is going down; try again");
}

/* The store is away: its own message names it, without user and password. */
static void answer_failure(request *r, finch_status st, const finch_error *err)
{
    if (st != FINCH_E_IO && st != FINCH_E_BUSY) {
        reply_failure(r, st, err);
        return;
    }
    reply_retry_after(r, 2);
    reply_error(r, 503, "store_unavailable", NULL, "%s", err->message);
}

static void work_on(desk *d, const desk_item *item)
{
    finch_error err = {0};
    store *s = NULL;
    finch_status st = store_pool_borrow(d->pool, &s, &err);
    if (st == FINCH_OK) st = item->work(item->r, s, &err);
    store_pool_give(d->pool, s);
    if (st != FINCH_OK) answer_failure(item->r, st, &err);
    request_done(item->r);
}

static void *desk_thread(void *argument)
{
    desk *d = argument;
    pthread_mutex_lock(&d->lock);
    for (;;) {
        while (d->n == 0 && !d->ended) pthread_cond_wait(&d->work, &d->lock);
        if (d->n == 0) break;
        desk_item item = d->row[d->first];
        d->first = (d->first + 1) % DESK_MOST_WAITING;
        d->n--;
        bool ended = d->ended;
        pthread_mutex_unlock(&d->lock);
        if (ended) {
            answer_stopped(item.r);
            request_done(item.r);
        } else {
            work_on(d, &item);
        }
        pthread_mutex_lock(&d->lock);
    }
    pthread_mutex_unlock(&d->lock);
    return NULL;
}

finch_status desk_create(size_t n_threads, store_pool *pool, desk **out, finch_error *err)
{
    desk *d;
    *out = NULL;
    FINCH_TRY(MEM_NEW(&d, 1, err));
    pthread_mutex_init(&d->lock, NULL);
    pthread_cond_init(&d->work, NULL);
    d->pool = pool;
    finch_status st = MEM_NEW(&d->threads, n_threads, err);
    for (; st == FINCH_OK && pool != NULL && d->n_threads < n_threads; d->n_threads++)
        if (pthread_create(&d->threads[d->n_threads], NULL, desk_thread, d) != 0) {
            st = finch_fail(err, FINCH_E_BUSY, "a thread for the store could not be started");
            break;
        }
    if (st == FINCH_OK) *out = d;
    else desk_destroy(d);
    return st;
}

void desk_stop(desk *d)
{
    pthread_mutex_lock(&d->lock);
    d->ended = true;
    pthread_cond_broadcast(&d->work);
    pthread_mutex_unlock(&d->lock);
    for (size_t i = 0; i < d->n_threads; i++) pthread_join(d->threads[i], NULL);
    d->n_threads = 0;
}

void desk_destroy(desk *d)
{
    if (d == NULL) return;
    desk_stop(d);
    pthread_cond_destroy(&d->work);
    pthread_mutex_destroy(&d->lock);
    mem_free(d->threads);
    mem_free(d);
}

handler_answer desk_run(request *r, desk_fn work)
{
    desk *d = r->server->desk;
    if (d->pool == NULL) {
        reply_error(r, 503, "no_store", NULL, "the server runs without a store (--state none)");
        return HANDLER_ANSWERED;
    }
    pthread_mutex_lock(&d->lock);
    bool ended = d->ended, full = d->n == DESK_MOST_WAITING;
    if (!ended && !full) {
        request_suspend(r);
        d->row[(d->first + d->n++) % DESK_MOST_WAITING] = (desk_item){r, work};
        pthread_cond_signal(&d->work);
    }
    pthread_mutex_unlock(&d->lock);
    if (!ended && !full) return HANDLER_WAITS;
    if (ended) answer_stopped(r);
    else {
        reply_retry_after(r, 1);
        reply_error(r, 503, "busy", NULL, "%d requests wait for the store already", DESK_MOST_WAITING);
    }
    return HANDLER_ANSWERED;
}
