#include "label/aside.h"

#include "base/clock.h"

#define SHOW_SECONDS 0.1

static bool on_progress(void *context, uint64_t done, uint64_t total, const char *note)
{
    aside *a = context;
    (void)note;
    pthread_mutex_lock(&a->lock);
    a->done = done;
    a->total = total;
    bool go_on = !a->cancelled;
    pthread_mutex_unlock(&a->lock);
    return go_on;
}

static void *run(void *context)
{
    aside *a = context;
    finch_status st = a->work(a->context, &a->watch, &a->error);
    pthread_mutex_lock(&a->lock);
    a->status = st;
    a->over = true;
    pthread_cond_broadcast(&a->changed);
    pthread_mutex_unlock(&a->lock);
    return NULL;
}

finch_status aside_begin(aside *a, aside_work_fn work, void *context, finch_error *err)
{
    *a = (aside){.work = work, .context = context, .watch = {on_progress, a}};
    pthread_mutex_init(&a->lock, NULL); /* neither fails with default attributes on Linux */
    pthread_cond_init(&a->changed, NULL);
    a->begun = pthread_create(&a->thread, NULL, run, a) == 0;
    if (a->begun) return FINCH_OK;
    pthread_cond_destroy(&a->changed);
    pthread_mutex_destroy(&a->lock);
    return finch_fail(err, FINCH_E_MEMORY, "no thread for the tables: the system has none left");
}

void aside_cancel(aside *a)
{
    if (!a->begun) return;
    pthread_mutex_lock(&a->lock);
    a->cancelled = true;
    pthread_cond_broadcast(&a->changed);
    pthread_mutex_unlock(&a->lock);
}

void aside_wait(aside *a, double seconds)
{
    struct timespec until = clock_after(CLOCK_REALTIME, seconds);
    pthread_cond_timedwait(&a->changed, &a->lock, &until);
}

finch_status aside_end(aside *a, const progress *watch, finch_error *err)
{
    if (!a->begun) return FINCH_OK;
    pthread_mutex_lock(&a->lock);
    while (!a->over) {
        uint64_t done = a->done, total = a->total;
        pthread_mutex_unlock(&a->lock);
        bool go_on = progress_report(watch, done, total, NULL);
        pthread_mutex_lock(&a->lock);
        if (!go_on) a->cancelled = true;
        if (!a->over) aside_wait(a, SHOW_SECONDS);
    }
    pthread_mutex_unlock(&a->lock);
    pthread_join(a->thread, NULL);
    a->begun = false;
    pthread_cond_destroy(&a->changed);
    pthread_mutex_destroy(&a->lock);
    if (a->status != FINCH_OK && err != NULL) *err = a->error;
    return a->status;
}
