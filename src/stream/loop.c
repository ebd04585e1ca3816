#include "stream/loop.h"

#include "base/clock.h"

#include <stdio.h>
#include <string.h>

#define TICK_SECONDS 0.1
#define PAUSE_LEAST 0.1
#define PAUSE_MOST 5.0

/* ---- the ring ---- */

/* With the lock held. False: the time is over. */
static bool wait_moved(stream_loop *l, double seconds)
{
    struct timespec until = clock_after(CLOCK_MONOTONIC, seconds);
    return pthread_cond_timedwait(&l->moved, &l->lock, &until) == 0;
}

static bool failed(const stream_loop *l) { return l->failure.status != FINCH_OK; }

static void moved(stream_loop *l)
{
    pthread_cond_broadcast(&l->moved);
    pthread_mutex_unlock(&l->lock);
}

stream_slot *stream_slot_free(stream_loop *l, double seconds)
{
    double until = clock_seconds() + seconds;
    pthread_mutex_lock(&l->lock);
    while (!l->stopping && !failed(l) && l->n_taken - l->n_put == l->n_slots && clock_seconds() < until)
        wait_moved(l, until - clock_seconds() > 0 ? until - clock_seconds() : 0);
    bool free = !l->stopping && !failed(l) && l->n_taken - l->n_put < l->n_slots;
    stream_slot *slot = free ? &l->slots[l->n_taken % l->n_slots] : NULL;
    pthread_mutex_unlock(&l->lock);
    return slot;
}

void stream_slot_taken(stream_loop *l)
{
    pthread_mutex_lock(&l->lock);
    l->n_taken++;
    moved(l);
}

stream_slot *stream_slot_scored(stream_loop *l)
{
    pthread_mutex_lock(&l->lock);
    while (!failed(l) && l->n_put == l->n_scored && !l->score_ended) pthread_cond_wait(&l->moved, &l->lock);
    stream_slot *slot = !failed(l) && l->n_put < l->n_scored ? &l->slots[l->n_put % l->n_slots] : NULL;
    pthread_mutex_unlock(&l->lock);
    return slot;
}

void stream_slot_put(stream_loop *l)
{
    pthread_mutex_lock(&l->lock);
    l->n_put++;
    moved(l);
}

bool stream_loop_stopping(stream_loop *l)
{
    pthread_mutex_lock(&l->lock);
    bool stopping = l->stopping || failed(l);
    pthread_mutex_unlock(&l->lock);
    return stopping;
}

void stream_loop_stop(stream_loop *l)
{
    pthread_mutex_lock(&l->lock);
    if (!l->stopping) l->stopped_seconds = clock_seconds();
    l->stopping = true;
    moved(l);
}

void stream_loop_fail(stream_loop *l, const finch_error *err)
{
    pthread_mutex_lock(&l->lock);
    if (!failed(l)) l->failure = *err;
    moved(l);
}

void stream_loop_pause(stream_loop *l, double seconds)
{
    double until = clock_seconds() + seconds;
    pthread_mutex_lock(&l->lock);
    bool stopping = l->stopping;
    for (double left = seconds; left > 0 && !failed(l) && l->stopping == stopping; left = until - clock_seconds())
        wait_moved(l, left);
    pthread_mutex_unlock(&l->lock);
}

bool stream_loop_hopeless(stream_loop *l)
{
    pthread_mutex_lock(&l->lock);
    bool hopeless = failed(l) || (l->stopping && clock_seconds() - l->stopped_seconds > l->o->drain_seconds);
    pthread_mutex_unlock(&l->lock);
    return hopeless;
}

/* ---- a broker that was lost ---- */

static void note(stream_loop *l, const char *what, const char *why)
{
    pthread_mutex_lock(&l->lock);
    if (l->note[0] == '\0') snprintf(l->note, sizeof l->note, "%s%s", what, why);
    pthread_mutex_unlock(&l->lock);
}

static bool open_again(stream_loop *l, void **connection, bool *went)
{
    finch_error err;
    finch_status st = stream_broker_open(l->o->broker, &l->o->place, connection, &err);
    *went = st == FINCH_OK;
    if (st == FINCH_OK || finch_status_retry(st)) return true;
    stream_loop_fail(l, &err);
    return false;
}

bool stream_loop_reconnect(stream_loop *l, void **connection, const finch_error *lost, bool give_up_when_stopping)
{
    double pause = PAUSE_LEAST;
    bool went = false;
    l->o->broker->close(*connection, false);
    *connection = NULL;
    stream_count(&l->figures->lost_connections, 1);
    atomic_store_explicit(&l->figures->connected, 0, memory_order_relaxed);
    note(l, "trying again: ", lost->message);
    while (!went) {
        stream_loop_pause(l, pause);
        pause = pause * 2 < PAUSE_MOST ? pause * 2 : PAUSE_MOST;
        if (stream_loop_hopeless(l) || (give_up_when_stopping && stream_loop_stopping(l))) return false;
        if (!open_again(l, connection, &went)) return false;
    }
    atomic_store_explicit(&l->figures->connected, 1, memory_order_relaxed);
    note(l, "connected again to ", l->o->place.place);
    return true;
}

/* ---- scoring, on the caller's thread ---- */

/* Waits for the next slot that is taken, ticking. NULL: none in a tick's time, or *ended. */
static stream_slot *next_taken(stream_loop *l, bool *ended)
{
    pthread_mutex_lock(&l->lock);
    if (!failed(l) && l->n_scored == l->n_taken && !l->take_ended) wait_moved(l, TICK_SECONDS);
    stream_slot *slot = !failed(l) && l->n_scored < l->n_taken ? &l->slots[l->n_scored % l->n_slots] : NULL;
    *ended = failed(l) || (slot == NULL && l->take_ended);
    pthread_mutex_unlock(&l->lock);
    return slot;
}

static void tick(stream_loop *l)
{
    char text[sizeof l->note];
    const stream_figures *f = l->figures;
    pthread_mutex_lock(&l->lock);
    memcpy(text, l->note, sizeof text);
    l->note[0] = '\0';
    pthread_mutex_unlock(&l->lock);
    if (text[0] != '\0' && l->o->tell != NULL) l->o->tell(l->o->context, text);
    int64_t waiting = (int64_t)atomic_load_explicit(&f->waiting, memory_order_relaxed);
    snprintf(text, sizeof text, "lag %lld, pending %lld, dead letters %llu", (long long)waiting,
             (long long)atomic_load_explicit(&f->pending, memory_order_relaxed),
             (unsigned long long)atomic_load_explicit(&f->dead, memory_order_relaxed));
    if (!progress_report(l->o->watch, atomic_load_explicit(&f->scored, memory_order_relaxed), 0, text)) stream_loop_stop(l);
}

/* The scorer's probabilities and logits last until its next call; the slot keeps them. */
static void keep_values(const stream_loop *l, stream_slot *slot)
{
    size_t n = l->scoring->n_labels;
    for (size_t i = 0; i < slot->batch.n; i++) {
        data_scoring_output *row = &slot->rows[i];
        float *values = slot->values + i * 2 * n;
        if (!row->scored) continue;
        memcpy(values, row->probabilities, n * sizeof *values);
        memcpy(values + n, row->logits, n * sizeof *values);
        row->probabilities = values;
        row->logits = values + n;
    }
}

static finch_status score_slot(const stream_loop *l, stream_slot *slot, finch_error *err)
{
    uint64_t tokens = l->scoring->counts.tokens;
    FINCH_TRY(data_scoring_rows(l->scoring, slot->inputs, slot->batch.n, slot->rows, err));
    stream_count(&l->figures->tokens, l->scoring->counts.tokens - tokens);
    stream_count(&l->figures->batches, 1);
    keep_values(l, slot);
    return FINCH_OK;
}

static void score_all(stream_loop *l)
{
    finch_error err;
    bool ended = false;
    while (!ended) {
        stream_slot *slot = next_taken(l, &ended);
        tick(l);
        if (slot == NULL) continue;
        if (score_slot(l, slot, &err) != FINCH_OK) stream_loop_fail(l, &err);
        pthread_mutex_lock(&l->lock);
        l->n_scored++;
        moved(l);
    }
    pthread_mutex_lock(&l->lock);
    l->score_ended = true;
    moved(l);
}

/* ---- beginning and end ---- */

static finch_status open_slot(const stream_loop *l, stream_slot *slot, finch_error *err)
{
    size_t n = l->o->batch;
    FINCH_TRY(MEM_NEW(&slot->batch.messages, n, err));
    slot->batch.capacity = n;
    FINCH_TRY(MEM_NEW(&slot->objects, n, err));
    FINCH_TRY(MEM_NEW(&slot->inputs, n, err));
    FINCH_TRY(MEM_NEW(&slot->rows, n, err));
    return MEM_NEW(&slot->values, n * 2 * l->scoring->n_labels, err);
}

static finch_status open_loop(stream_loop *l, finch_error *err)
{
    pthread_condattr_t monotonic;
    pthread_mutex_init(&l->lock, NULL);
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&l->moved, &monotonic);
    pthread_condattr_destroy(&monotonic);
    l->n_slots = l->o->in_flight / l->o->batch;
    if (l->n_slots < 2) return finch_fail(err, FINCH_E_USAGE, "at least two batches must be in flight");
    FINCH_TRY(data_scoring_columns(l->scoring, l->o->prefix, l->o->logits, &l->added, err));
    FINCH_TRY(MEM_NEW(&l->slots, l->n_slots, err));
    for (size_t i = 0; i < l->n_slots; i++) FINCH_TRY(open_slot(l, &l->slots[i], err));
    return FINCH_OK;
}

static void close_slot(const stream_loop *l, stream_slot *slot)
{
    for (size_t i = 0; slot->objects != NULL && i < slot->batch.n; i++) data_score_object_free(&slot->objects[i]);
    l->o->broker->release(&slot->batch);
    mem_free(slot->batch.messages);
    str_free(&slot->batch.bytes);
    mem_free(slot->objects);
    mem_free(slot->inputs);
    mem_free(slot->rows);
    mem_free(slot->values);
}

static void close_loop(stream_loop *l)
{
    for (size_t i = 0; l->slots != NULL && i < l->n_slots; i++) close_slot(l, &l->slots[i]);
    mem_free(l->slots);
    data_names_free(&l->added);
    pthread_mutex_destroy(&l->lock);
    pthread_cond_destroy(&l->moved);
}

static finch_status begin_stage(stream_stage *stage, void *(*run)(void *), finch_error *err)
{
    if (pthread_create(&stage->thread, NULL, run, stage) == 0) return FINCH_OK;
    return finch_fail(err, FINCH_E_BUSY, "no thread could be started; the process's limit of threads is reached");
}

static finch_status run_stages(stream_loop *l, stream_stage *take, stream_stage *put, finch_error *err)
{
    FINCH_TRY(begin_stage(take, stream_take, err));
    finch_status st = begin_stage(put, stream_put, err);
    if (st != FINCH_OK) {
        stream_loop_fail(l, err);
        pthread_join(take->thread, NULL);
        return st;
    }
    score_all(l);
    pthread_join(take->thread, NULL);
    pthread_join(put->thread, NULL);
    tick(l);
    if (l->failure.status != FINCH_OK && err != NULL) *err = l->failure;
    return l->failure.status;
}

finch_status stream_run(data_scoring *s, const stream_options *o, stream_figures *figures, finch_error *err)
{
    stream_loop l = {.o = o, .figures = figures, .scoring = s};
    stream_stage take = {.loop = &l}, put = {.loop = &l};
    finch_status st = open_loop(&l, err);
    if (st == FINCH_OK) st = stream_broker_open(o->broker, &o->place, &take.connection, err);
    if (st == FINCH_OK) st = stream_broker_open(o->broker, &o->place, &put.connection, err);
    if (st == FINCH_OK) {
        atomic_store_explicit(&figures->connected, 1, memory_order_relaxed);
        st = run_stages(&l, &take, &put, err);
    }
    o->broker->close(take.connection, false);
    o->broker->close(put.connection, st == FINCH_OK);
    close_loop(&l);
    return st;
}
