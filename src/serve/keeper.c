#include "serve/keeper.h"

#include "base/mem.h"
#include "store/pool.h"

#include <pthread.h>
#include <time.h>

/* lock guards ended. */
struct keeper {
    pthread_mutex_t lock;
    pthread_cond_t wake;
    pthread_t thread;
    bool ended;
    serve *server;
};

static void look(keeper *k)
{
    finch_error err;
    atomic_store(&k->server->store_reachable, store_pool_ready(k->server->pool, &err) == FINCH_OK);
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
    atomic_store(&s->store_reachable, true); /* the pool has just opened one */
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
