/* The stage that publishes: the answers of a batch, then its acknowledgement. */
#include "base/clock.h"
#include "stream/loop.h"

#include <inttypes.h>
#include <stdio.h>

typedef struct putter {
    stream_loop *l;
    void *connection;
    size_t output_max;
    str text;               /* the answers of a batch, end to end */
    size_t *ends;           /* [batch] in text */
    stream_output *outputs; /* [batch] */
} putter;

/* ---- answers ---- */

/* One that the broker would not take makes its message a dead letter. */
static finch_status write_answers(putter *p, stream_slot *slot, finch_error *err)
{
    const stream_loop *l = p->l;
    str_clear(&p->text);
    for (size_t i = 0; i < slot->batch.n; i++) {
        data_score_object *o = &slot->objects[i];
        size_t begin = p->text.size;
        if (o->object != NULL) FINCH_TRY(data_score_object_write(o, l->scoring, &l->added, &slot->rows[i], &p->text, err));
        if (p->text.size - begin > p->output_max)
            data_score_object_refuse(o, "its answer has %zu bytes, and the broker takes %zu", p->text.size - begin,
                                     p->output_max);
        p->ends[i] = p->text.size;
    }
    return FINCH_OK;
}

static void list_outputs(putter *p, const stream_slot *slot)
{
    for (size_t i = 0; i < slot->batch.n; i++) {
        const stream_message *m = &slot->batch.messages[i];
        const data_score_object *o = &slot->objects[i];
        stream_output *out = &p->outputs[i];
        size_t begin = i > 0 ? p->ends[i - 1] : 0;
        *out = (stream_output){0};
        snprintf(out->id, sizeof out->id, "%.*s@%.*s", STREAM_ID_BYTES - STREAM_NAME_BYTES - 2, m->id, STREAM_NAME_BYTES - 1,
                 p->l->o->model_version);
        if (o->object != NULL) out->data = (finch_text){p->text.at + begin, p->ends[i] - begin};
        else {
            out->data = (finch_text){stream_message_at(&slot->batch, i), m->size};
            out->reason = o->reason;
        }
    }
}

/* ---- publishing ---- */

static finch_status send(const putter *p, const stream_batch *batch, finch_error *err)
{
    FINCH_TRY(p->l->o->broker->publish(p->connection, batch, p->outputs, err));
    return p->l->o->broker->acknowledge(p->connection, batch, err);
}

/* Until it is confirmed, however often the broker is lost. */
static bool send_surely(putter *p, const stream_batch *batch)
{
    finch_error err;
    for (;;) {
        finch_status st = send(p, batch, &err);
        if (st == FINCH_OK) return true;
        if (st == FINCH_E_REMOTE && stream_loop_reconnect(p->l, &p->connection, &err, false)) continue;
        finch_fail_prefix(&err, "%zu messages are not acknowledged and will come again", batch->n);
        stream_loop_fail(p->l, &err);
        return false;
    }
}

static void count(const putter *p, const stream_slot *slot)
{
    stream_figures *f = p->l->figures;
    int64_t now_ms = clock_unix_ms();
    for (size_t i = 0; i < slot->batch.n; i++) {
        bool dead = slot->objects[i].object == NULL, scored = slot->rows[i].scored;
        stream_count(dead ? &f->dead : scored ? &f->scored : &f->without_text, 1);
        if (scored && slot->rows[i].truncated) stream_count(&f->truncated, 1);
        if (slot->batch.messages[i].time_ms > 0) stream_figures_latency(f, now_ms - slot->batch.messages[i].time_ms);
    }
    atomic_fetch_sub_explicit(&f->in_flight, (int_fast64_t)slot->batch.n, memory_order_relaxed);
}

static bool put_slot(putter *p, stream_slot *slot)
{
    finch_error err;
    finch_status st = write_answers(p, slot, &err);
    if (st != FINCH_OK) {
        stream_loop_fail(p->l, &err);
        return false;
    }
    list_outputs(p, slot);
    if (!send_surely(p, &slot->batch)) return false;
    count(p, slot);
    for (size_t i = 0; i < slot->batch.n; i++) data_score_object_free(&slot->objects[i]);
    p->l->o->broker->release(&slot->batch);
    return true;
}

void *stream_put(void *stage)
{
    stream_stage *s = stage;
    putter p = {.l = s->loop, .connection = s->connection};
    finch_error err;
    p.output_max = p.l->o->broker->output_max(p.connection);
    finch_status st = MEM_NEW(&p.ends, p.l->o->batch, &err);
    if (st == FINCH_OK) st = MEM_NEW(&p.outputs, p.l->o->batch, &err);
    if (st != FINCH_OK) stream_loop_fail(p.l, &err);
    for (;;) {
        stream_slot *slot = stream_slot_scored(p.l);
        if (slot == NULL || !put_slot(&p, slot)) break;
        stream_slot_put(p.l);
    }
    s->connection = p.connection;
    str_free(&p.text);
    mem_free(p.ends);
    mem_free(p.outputs);
    return NULL;
}
