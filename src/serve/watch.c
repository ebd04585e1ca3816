#include "serve/watch.h"

#include "base/clock.h"
#include "base/mem.h"

#include <pthread.h>
#include <stdbool.h>
#include <sys/socket.h>

/* lock guards first and ended. */
struct watch {
    pthread_mutex_t lock;
    pthread_cond_t wake;
    pthread_t thread;
    connection_watch *first;
    bool ended;
    void (*tick)(void *context);
    void *context;
    atomic_uint_fast64_t *n_cut;
};

#define WATCH_TICK_SECONDS 0.25

/* A socket that is shut down stays open until its HTTP thread sees that and closes it, so the descriptor is still its own. */
static void cut_late(watch *w)
{
    double now = clock_seconds();
    for (connection_watch *c = w->first; c != NULL; c = c->next) {
        double deadline = atomic_load_explicit(&c->deadline, memory_order_relaxed);
        if (deadline == 0 || now < deadline) continue;
        atomic_store_explicit(&c->deadline, 0.0, memory_order_relaxed);
        atomic_fetch_add_explicit(w->n_cut, 1, memory_order_relaxed);
        shutdown(c->descriptor, SHUT_RDWR);
    }
}

static void *watch_run(void *argument)
{
    watch *w = argument;
    pthread_mutex_lock(&w->lock);
    while (!w->ended) {
        struct timespec until = clock_after(CLOCK_REALTIME, WATCH_TICK_SECONDS);
        pthread_cond_timedwait(&w->wake, &w->lock, &until);
        cut_late(w);
        pthread_mutex_unlock(&w->lock);
        w->tick(w->context);
        pthread_mutex_lock(&w->lock);
    }
    pthread_mutex_unlock(&w->lock);
    return NULL;
}

finch_status watch_create(void (*tick)(void *context), void *context, atomic_uint_fast64_t *n_cut, watch **out,
                          finch_error *err)
{
    watch *w;
    *out = NULL;
    FINCH_TRY(MEM_NEW(&w, 1, err));
    pthread_mutex_init(&w->lock, NULL);
    pthread_cond_init(&w->wake, NULL);
    w->tick = tick;
    w->context = context;
    w->n_cut = n_cut;
    if (pthread_create(&w->thread, NULL, watch_run, w) == 0) {
        *out = w;
        return FINCH_OK;
    }
    pthread_cond_destroy(&w->wake);
    pthread_mutex_destroy(&w->lock);
    mem_free(w);
    return finch_fail(err, FINCH_E_BUSY, "no thread for the connections' deadlines could be started");
}

void watch_destroy(watch *w)
{
    if (w == NULL) return;
    pthread_mutex_lock(&w->lock);
    w->ended = true;
    pthread_cond_signal(&w->wake);
    pthread_mutex_unlock(&w->lock);
    pthread_join(w->thread, NULL);
    pthread_cond_destroy(&w->wake);
    pthread_mutex_destroy(&w->lock);
    mem_free(w);
}

connection_watch *watch_add(watch *w, int descriptor, double deadline)
{
    connection_watch *c;
    if (MEM_NEW(&c, 1, NULL) != FINCH_OK) return NULL;
    c->descriptor = descriptor;
    atomic_init(&c->deadline, deadline);
    pthread_mutex_lock(&w->lock);
    c->next = w->first;
    if (c->next != NULL) c->next->previous = c;
    w->first = c;
    pthread_mutex_unlock(&w->lock);
    return c;
}

void watch_remove(watch *w, connection_watch *c)
{
    if (c == NULL) return;
    pthread_mutex_lock(&w->lock);
    if (c->next != NULL) c->next->previous = c->previous;
    if (c->previous != NULL) c->previous->next = c->next;
    else w->first = c->next;
    pthread_mutex_unlock(&w->lock);
    mem_free(c);
}
