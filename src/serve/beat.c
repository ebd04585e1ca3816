#include "serve/beat.h"

#include "base/clock.h"
#include "base/mem.h"

#include <pthread.h>

/* lock guards woken and ended. */
struct beat {
    pthread_mutex_t lock;
    pthread_cond_t wake;
    pthread_t thread;
    bool woken, ended;
    double pause_seconds;
    void (*work)(beat *self, void *context);
    void *context;
};

static void *beat_run(void *argument)
{
    beat *b = argument;
    pthread_mutex_lock(&b->lock);
    while (!b->ended) {
        b->woken = false;
        pthread_mutex_unlock(&b->lock);
        b->work(b, b->context);
        struct timespec until = clock_after(CLOCK_MONOTONIC, b->pause_seconds);
        pthread_mutex_lock(&b->lock);
        while (!b->ended && !b->woken && pthread_cond_timedwait(&b->wake, &b->lock, &until) == 0) {}
    }
    pthread_mutex_unlock(&b->lock);
    return NULL;
}

finch_status beat_create(const char *what, double pause_seconds, void (*work)(beat *self, void *context), void *context,
                         beat **out, finch_error *err)
{
    beat *b;
    pthread_condattr_t monotonic;
    *out = NULL;
    FINCH_TRY(MEM_NEW(&b, 1, err));
    pthread_mutex_init(&b->lock, NULL);
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&b->wake, &monotonic);
    pthread_condattr_destroy(&monotonic);
    b->pause_seconds = pause_seconds;
    b->work = work;
    b->context = context;
    if (pthread_create(&b->thread, NULL, beat_run, b) == 0) {
        *out = b;
        return FINCH_OK;
    }
    pthread_cond_destroy(&b->wake);
    pthread_mutex_destroy(&b->lock);
    mem_free(b);
    return finch_fail(err, FINCH_E_BUSY, "a thread for %s could not be started", what);
}

static void set_flag(beat *b, bool *flag)
{
    pthread_mutex_lock(&b->lock);
    *flag = true;
    pthread_cond_signal(&b->wake);
    pthread_mutex_unlock(&b->lock);
}

void beat_wake(beat *b)
{
    if (b != NULL) set_flag(b, &b->woken);
}

bool beat_ended(beat *b)
{
    pthread_mutex_lock(&b->lock);
    bool ended = b->ended;
    pthread_mutex_unlock(&b->lock);
    return ended;
}

void beat_destroy(beat *b)
{
    if (b == NULL) return;
    set_flag(b, &b->ended);
    pthread_join(b->thread, NULL);
    pthread_cond_destroy(&b->wake);
    pthread_mutex_destroy(&b->lock);
    mem_free(b);
}
