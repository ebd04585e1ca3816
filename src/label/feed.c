#include "label/feed.h"

#include "label/aside.h"
#include "label/texts.h"

#include <string.h>

enum {
    CHUNKS = 2,
    CHUNK_BYTES = 1 << 20, /* a chunk of long texts is handed on in parts */
    FIRST_TEXTS = 768, /* handed on at first: nothing is asked before they are in the store, and more is not asked at once */
    TRIM_CHUNKS = 16
};

#define LOOK_SECONDS 0.1

typedef struct slot {
    labels_text texts[TEXTS_CHUNK_ROWS];
    feed_chunk chunk;
    str bytes; /* of its texts */
} slot;

struct feed {
    feed_options options;
    aside reading;
    ingest_result result; /* the thread's until it is over */
    uint64_t n_chunks; /* its own */
    /* The lock of the thread guards what follows, but for the insides of slots: those that are full are the taker's. */
    slot slots[CHUNKS];
    size_t first, n_full;
    bool ended, failed;
    uint64_t n_texts, n_bytes;
    void (*wake)(void *context);
    void *wake_context;
};

/* ---- the thread that reads ---- */

static finch_status fill_slot(slot *s, const labels_text *texts, size_t n, finch_error *err)
{
    str_clear(&s->bytes);
    for (size_t i = 0; i < n; i++) FINCH_TRY(str_add(&s->bytes, texts[i].text.at, texts[i].text.size_bytes, err));
    const char *at = s->bytes.at;
    for (size_t i = 0; i < n; at += texts[i].text.size_bytes, i++) {
        s->texts[i] = texts[i];
        s->texts[i].text.at = at;
    }
    s->chunk = (feed_chunk){s->texts, n};
    return FINCH_OK;
}

/* The slot that is to be filled, once there is one. */
static slot *wait_for_slot(feed *f)
{
    aside *a = &f->reading;
    pthread_mutex_lock(&a->lock);
    while (f->n_full == CHUNKS && !a->cancelled) pthread_cond_wait(&a->changed, &a->lock);
    slot *free = a->cancelled ? NULL : &f->slots[(f->first + f->n_full) % CHUNKS];
    pthread_mutex_unlock(&a->lock);
    return free;
}

static void tell(feed *f)
{
    pthread_cond_broadcast(&f->reading.changed);
    if (f->wake != NULL) f->wake(f->wake_context);
}

static finch_status hand_on(feed *f, const labels_text *texts, size_t n, finch_error *err)
{
    slot *s = wait_for_slot(f);
    if (s == NULL) return finch_fail(err, FINCH_E_CANCELLED, "interrupted");
    FINCH_TRY(fill_slot(s, texts, n, err));
    pthread_mutex_lock(&f->reading.lock);
    f->n_full++;
    f->n_texts += n;
    f->n_bytes += s->bytes.size;
    tell(f);
    pthread_mutex_unlock(&f->reading.lock);
    return FINCH_OK;
}

static finch_status take(void *context, const labels_text *texts, size_t n, finch_error *err)
{
    feed *f = context;
    if (f->n_chunks++ % TRIM_CHUNKS == 1) mem_trim_files(); /* of what opening took; the first chunk does not wait for it */
    for (size_t at = 0, next; at < n; at = next) {
        size_t bytes = texts[at].text.size_bytes;
        size_t end = f->n_texts == 0 && n - at > FIRST_TEXTS ? at + FIRST_TEXTS : n;
        for (next = at + 1; next < end && bytes + texts[next].text.size_bytes <= CHUNK_BYTES; next++)
            bytes += texts[next].text.size_bytes;
        FINCH_TRY(hand_on(f, texts + at, next - at, err));
    }
    return FINCH_OK;
}

static finch_status read_table(void *context, const progress *watch, finch_error *err)
{
    feed *f = context;
    const feed_options *o = &f->options;
    finch_status st = ingest_table(&o->source, o->text_column, o->output, o->rejects, watch, take, f, &f->result, err);
    pthread_mutex_lock(&f->reading.lock);
    f->ended = true;
    f->failed = st != FINCH_OK;
    tell(f);
    pthread_mutex_unlock(&f->reading.lock);
    return st;
}

/* ---- who takes ---- */

finch_status feed_open(const feed_options *options, feed **out, finch_error *err)
{
    FINCH_TRY(MEM_NEW(out, 1, err));
    (*out)->options = *options;
    finch_status st = aside_begin(&(*out)->reading, read_table, *out, err);
    if (st == FINCH_OK) return FINCH_OK;
    mem_free(*out);
    *out = NULL;
    return st;
}

void feed_close(feed *f)
{
    if (f == NULL) return;
    aside_cancel(&f->reading);
    (void)aside_end(&f->reading, NULL, NULL);
    for (size_t i = 0; i < CHUNKS; i++) str_free(&f->slots[i].bytes);
    mem_free(f);
}

finch_status feed_begin(feed *f, const progress *watch, finch_error *err)
{
    aside *a = &f->reading;
    pthread_mutex_lock(&a->lock);
    while (f->n_full == 0 && !f->ended && !a->cancelled) {
        uint64_t done = a->done, total = a->total;
        pthread_mutex_unlock(&a->lock);
        bool go_on = progress_report(watch, done, total, NULL);
        pthread_mutex_lock(&a->lock);
        if (!go_on) a->cancelled = true;
        else if (f->n_full == 0 && !f->ended) aside_wait(a, LOOK_SECONDS);
    }
    bool failed = a->cancelled || f->failed;
    pthread_mutex_unlock(&a->lock);
    return failed ? aside_end(a, NULL, err) : FINCH_OK;
}

const feed_chunk *feed_next(feed *f, bool *over)
{
    pthread_mutex_lock(&f->reading.lock);
    const feed_chunk *chunk = f->n_full > 0 ? &f->slots[f->first].chunk : NULL;
    *over = chunk == NULL && f->ended;
    pthread_mutex_unlock(&f->reading.lock);
    return chunk;
}

void feed_pass(feed *f)
{
    pthread_mutex_lock(&f->reading.lock);
    f->first = (f->first + 1) % CHUNKS;
    f->n_full--;
    pthread_cond_broadcast(&f->reading.changed);
    pthread_mutex_unlock(&f->reading.lock);
}

void feed_set_wake(feed *f, void (*wake)(void *context), void *context)
{
    pthread_mutex_lock(&f->reading.lock);
    f->wake = wake;
    f->wake_context = context;
    pthread_mutex_unlock(&f->reading.lock);
}

finch_status feed_end(feed *f, ingest_result *out, finch_error *err)
{
    FINCH_TRY(aside_end(&f->reading, NULL, err));
    *out = f->result;
    return FINCH_OK;
}

feed_guess feed_expect(feed *f)
{
    pthread_mutex_lock(&f->reading.lock);
    double rows = (double)f->reading.total, mean = f->n_texts > 0 ? (double)f->n_bytes / (double)f->n_texts : 0;
    feed_guess guess = {f->reading.total, mean * rows};
    pthread_mutex_unlock(&f->reading.lock);
    return guess;
}
