#include "serve/keeper.h"

#include "base/clock.h"
#include "base/mem.h"
#include "serve/journal.h"
#include "store/pool.h"
#include "store/registry.h"

#include <pthread.h>
#include <time.h>

#define KEEPER_SILENCE_SECONDS 5.0

/* lock guards ended. */
struct keeper {
    pthread_mutex_t lock;
    pthread_cond_t wake;
    pthread_t thread;
    bool ended;
    serve *server;
    int64_t revision; /* of the registry when it was looked at; -1: never; the thread's own */
};

/* Names that follow the registry get its production version. A version that can not be loaded leaves the old one in place, and is
 * told of once for each change of the registry. */
static void follow(keeper *k, store *from)
{
    serve *s = k->server;
    finch_error err = {0};
    for (size_t i = 0;; i++) {
        model_slot *slot = models_at(s->models, i);
        if (slot == NULL) return;
        bool found = true;
        registry_version v = {0};
        finch_status st = slot->follows ? registry_find(from, slot->name, &v, &err) : FINCH_OK;
        if (slot->follows && st == FINCH_OK && v.number != slot->number)
            st = serve_load_registered(s, slot->name, &found, &err);
        if (st != FINCH_OK)
            journal_event(s->journal, "error", "model_not_loaded",
                          json_pack("{s:s, s:s}", "model", slot->name, "reason", err.message));
        registry_version_free(&v);
        model_release(slot);
    }
}

bool serve_store_reachable(serve *s)
{
    return s->pool != NULL && clock_seconds() - atomic_load(&s->store_seen) < KEEPER_SILENCE_SECONDS;
}

static void look(keeper *k)
{
    finch_error err;
    store *from = NULL;
    int64_t revision = k->revision;
    serve *s = k->server;
    bool written = store_pool_ready(s->pool, &err) == FINCH_OK;
    atomic_store(&s->store_seen, written ? clock_seconds() : 0.0);
    if (!atomic_load(&s->ready) || store_pool_borrow(s->pool, &from, &err) != FINCH_OK) return;
    if (registry_revision(from, &revision, &err) == FINCH_OK && revision != k->revision) {
        follow(k, from);
        k->revision = revision;
    }
    store_pool_give(s->pool, from);
}

void keeper_wake(keeper *k)
{
    if (k == NULL) return;
    pthread_mutex_lock(&k->lock);
    pthread_cond_signal(&k->wake);
    pthread_mutex_unlock(&k->lock);
}

static void *keeper_run(void *argument)
{
    keeper *k = argument;
    pthread_mutex_lock(&k->lock);
    while (!k->ended) {
        pthread_mutex_unlock(&k->lock);
        look(k);
        struct timespec until;
        clock_gettime(CLOCK_REALTIME, &until);
        until.tv_sec += 1;
        pthread_mutex_lock(&k->lock);
        if (!k->ended) pthread_cond_timedwait(&k->wake, &k->lock, &until);
    }
    pthread_mutex_unlock(&k->lock);
    return NULL;
}

finch_status keeper_create(serve *s, keeper **out, finch_error *err)
{
    keeper *k;
    *out = NULL;
    FINCH_TRY(MEM_NEW(&k, 1, err));
    pthread_mutex_init(&k->lock, NULL);
    pthread_cond_init(&k->wake, NULL);
    k->server = s;
    k->revision = -1;
    atomic_store(&s->store_seen, clock_seconds()); /* the pool has just opened one */
    if (pthread_create(&k->thread, NULL, keeper_run, k) == 0) {
        *out = k;
        return FINCH_OK;
    }
    pthread_cond_destroy(&k->wake);
    pthread_mutex_destroy(&k->lock);
    mem_free(k);
    return finch_fail(err, FINCH_E_BUSY, "a thread that looks after the store could not be started");
}

void keeper_destroy(keeper *k)
{
    if (k == NULL) return;
    pthread_mutex_lock(&k->lock);
    k->ended = true;
    pthread_cond_signal(&k->wake);
    pthread_mutex_unlock(&k->lock);
    pthread_join(k->thread, NULL);
    pthread_cond_destroy(&k->wake);
    pthread_mutex_destroy(&k->lock);
    mem_free(k);
}
