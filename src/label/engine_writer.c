/* The thread that has the store: it waits for a transaction, runs it, wakes the loop. */
#include "label/engine_internal.h"

static void *work(void *context)
{
    engine *e = context;
    writer *w = &e->writer;
    pthread_mutex_lock(&w->lock);
    for (;;) {
        while (!w->busy && !w->quit) pthread_cond_wait(&w->changed, &w->lock);
        if (!w->busy) break;
        pthread_mutex_unlock(&w->lock);
        e->writing.status = engine_write(e, &e->writing.error);
        pthread_mutex_lock(&w->lock);
        w->busy = false;
        client_wake(e->provider);
    }
    pthread_mutex_unlock(&w->lock);
    return NULL;
}

finch_status engine_writer_open(engine *e, finch_error *err)
{
    writer *w = &e->writer;
    pthread_mutex_init(&w->lock, NULL); /* neither fails with default attributes on Linux */
    pthread_cond_init(&w->changed, NULL);
    w->running = pthread_create(&w->thread, NULL, work, e) == 0;
    return w->running ? FINCH_OK : finch_fail(err, FINCH_E_MEMORY, "no thread for the store: the system has none left");
}

void engine_writer_close(engine *e)
{
    writer *w = &e->writer;
    if (w->running) {
        pthread_mutex_lock(&w->lock);
        w->quit = true;
        pthread_cond_signal(&w->changed);
        pthread_mutex_unlock(&w->lock);
        pthread_join(w->thread, NULL);
    }
    pthread_cond_destroy(&w->changed);
    pthread_mutex_destroy(&w->lock);
}

void engine_writer_give(engine *e)
{
    writer *w = &e->writer;
    pthread_mutex_lock(&w->lock);
    w->busy = true;
    pthread_cond_signal(&w->changed);
    pthread_mutex_unlock(&w->lock);
}

bool engine_writer_busy(engine *e)
{
    writer *w = &e->writer;
    pthread_mutex_lock(&w->lock);
    bool busy = w->busy;
    pthread_mutex_unlock(&w->lock);
    return busy;
}
