/* The stage that reads: batches of messages, and which of them can be scored. */
#include "stream/loop.h"

#include "base/clock.h"

#include <inttypes.h>

#define LOOK_SECONDS 2.0 /* between looks at the lag */
#define FREE_SECONDS 0.5

enum { READ_WAIT_MS = 250 }; /* how long the end may have to wait for a read */

typedef struct taker {
    stream_loop *l;
    void *connection;
    double look_due; /* clock_seconds */
} taker;

/* ---- judging ---- */

static void judge(const stream_loop *l, stream_slot *slot, size_t i)
{
    const stream_message *m = &slot->batch.messages[i];
    data_score_object *o = &slot->objects[i];
    *o = (data_score_object){0};
    slot->inputs[i] = (data_scoring_input){0};
    if (m->n_deliveries > l->o->max_deliveries)
        data_score_object_refuse(o, "it was delivered %" PRIu64 " times and never acknowledged", m->n_deliveries);
    else if (m->size > l->o->max_message_bytes)
        data_score_object_refuse(o, "it has %zu bytes; more than %zu are read with --max-message-bytes", m->size,
                                 l->o->max_message_bytes);
    else if (data_score_object_read(stream_message_at(&slot->batch, i), m->size, &l->o->text, &l->added, o))
        slot->inputs[i].text = o->text;
}

static void judge_all(const stream_loop *l, stream_slot *slot)
{
    uint64_t n_again = 0;
    for (size_t i = 0; i < slot->batch.n; i++) {
        n_again += slot->batch.messages[i].n_deliveries > 1;
        judge(l, slot, i);
    }
    stream_count(&l->figures->read, slot->batch.n);
    stream_count(&l->figures->redelivered, n_again);
    atomic_fetch_add_explicit(&l->figures->in_flight, (int_fast64_t)slot->batch.n, memory_order_relaxed);
}

/* ---- reading ---- */

/* What was read into a batch before its connection was lost stays in it: it can still be published and acknowledged. */
static bool read_some(taker *t, stream_batch *batch, unsigned wait_ms)
{
    finch_error err;
    finch_status st = t->l->o->broker->read(t->connection, batch->capacity - batch->n, wait_ms, batch, &err);
    if (st == FINCH_OK) return true;
    if (st == FINCH_E_REMOTE) return stream_loop_reconnect(t->l, &t->connection, &err, true);
    stream_loop_fail(t->l, &err);
    return false;
}

/* Waits for the first message; then, where the batch is not full, max_wait_seconds for others to come with it. */
static bool gather(taker *t, stream_batch *batch)
{
    if (!read_some(t, batch, READ_WAIT_MS)) return false;
    if (batch->n == 0 || batch->n == batch->capacity || t->l->o->max_wait_seconds <= 0) return true;
    stream_loop_pause(t->l, t->l->o->max_wait_seconds);
    return stream_loop_stopping(t->l) || read_some(t, batch, 0);
}

/* ---- the lag ---- */

/* *empty: nothing waits or is pending, as far as the broker says. */
static bool look(taker *t, bool *empty)
{
    finch_error err;
    stream_lag lag;
    stream_figures *f = t->l->figures;
    *empty = false;
    t->look_due = clock_seconds() + LOOK_SECONDS;
    finch_status st = t->l->o->broker->lag(t->connection, &lag, &err);
    if (st == FINCH_E_REMOTE) return stream_loop_reconnect(t->l, &t->connection, &err, true);
    if (st != FINCH_OK) {
        stream_loop_fail(t->l, &err);
        return false;
    }
    atomic_store_explicit(&f->waiting, lag.waiting, memory_order_relaxed);
    atomic_store_explicit(&f->pending, lag.pending, memory_order_relaxed);
    *empty = lag.waiting <= 0 && lag.pending == 0;
    return true;
}

/* Whether to go on. idle: the last read gave nothing. */
static bool look_when_due(taker *t, bool idle)
{
    bool empty, ends = t->l->o->until_empty && idle;
    if (!ends && clock_seconds() < t->look_due) return true;
    if (!look(t, &empty)) return false;
    if (ends && empty) stream_loop_stop(t->l);
    return true;
}

void *stream_take(void *stage)
{
    stream_stage *s = stage;
    taker t = {.l = s->loop, .connection = s->connection};
    bool going = true;
    while (going && !stream_loop_stopping(t.l)) {
        stream_slot *slot = stream_slot_free(t.l, FREE_SECONDS);
        size_t n = 0;
        if (slot != NULL) {
            going = gather(&t, &slot->batch);
            n = slot->batch.n;
        }
        if (n > 0) {
            judge_all(t.l, slot);
            stream_slot_taken(t.l);
        }
        if (going) going = look_when_due(&t, slot != NULL && n == 0);
    }
    s->connection = t.connection;
    pthread_mutex_lock(&t.l->lock);
    t.l->take_ended = true;
    pthread_cond_broadcast(&t.l->moved);
    pthread_mutex_unlock(&t.l->lock);
    return NULL;
}
