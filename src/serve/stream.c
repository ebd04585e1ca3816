#include "serve/stream.h"

#include "base/clock.h"
#include "serve/handlers.h"
#include "serve/reply.h"
#include "store/events.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#define STREAM_WAIT_SECONDS 0.25

enum { STREAM_BLOCK_BYTES = 1 << 16, STREAM_FETCH = 500, STREAM_BEAT_SECONDS = 5, FILTER_BYTES = 64 };

#define STREAM_TOLD_SECONDS 5.0 /* between two looks while the store tells what moves */

/* An event as it is sent, with what the listeners' filters look at. */
typedef struct stream_event {
    int64_t id;
    char kind[24];
    char *tickers; /* " AAPL TSLA " */
    char *text;    /* "id: ..\nevent: ..\ndata: ..\n\n" */
    size_t size;
} stream_event;

/* pending is what of the last event is still to be sent. */
typedef struct listener {
    struct listener *next, *previous;
    stream *s;
    struct MHD_Connection *connection;
    int64_t last;     /* the id it has seen */
    bool suspended;
    bool behind;      /* memory no longer has what comes next for it: the thread fetches from the store */
    double beat;
    char ticker[FILTER_BYTES], kind[FILTER_BYTES];
    str pending;
    size_t sent;
} listener;

/* lock guards all below it but asked, fetched, pool, figures and told. */
struct stream {
    pthread_mutex_t lock;
    pthread_cond_t wake;
    stream_event events[STREAM_KEPT];
    size_t first, n;
    int64_t last;    /* the newest id asked of the store; -1: not asked yet */
    int64_t covered; /* events holds all with an id above this, up to last */
    listener *listeners;
    size_t n_listeners;
    bool woken, ended;
    double asked;    /* when the store was asked last; like fetched the thread's own */
    size_t fetched;  /* events it then gave */
    pthread_t thread;
    store_pool *pool;
    metrics *figures;
    const atomic_bool *told;
};

/* ---- events in memory ------------------------------------------------------------------------------------------------ */

static void event_free(stream_event *e)
{
    mem_free(e->tickers);
    mem_free(e->text);
    *e = (stream_event){0};
}

static finch_status event_make(const event *from, stream_event *out, finch_error *err)
{
    str text = {0}, tickers = {0};
    *out = (stream_event){.id = from->id};
    snprintf(out->kind, sizeof out->kind, "%s", from->kind);
    finch_status st = str_add_format(&text, err, "id: %lld\nevent: %s\ndata: ", (long long)from->id, from->kind);
    if (st == FINCH_OK) st = str_add(&text, from->data.at, from->data.size_bytes, err);
    if (st == FINCH_OK) st = str_add_text(&text, "\n\n", err);
    if (st == FINCH_OK)
        st = str_add_format(&tickers, err, " %.*s ", (int)from->tickers.size_bytes,
                            from->tickers.size_bytes > 0 ? from->tickers.at : "");
    out->size = text.size;
    out->text = str_steal(&text);
    out->tickers = str_steal(&tickers);
    if (st != FINCH_OK) event_free(out);
    return st;
}

static bool wants(const listener *l, const stream_event *e)
{
    char word[FILTER_BYTES + 2];
    if (l->kind[0] != '\0' && strcmp(l->kind, e->kind) != 0) return false;
    if (l->ticker[0] == '\0' || strcmp(e->kind, "prediction") != 0) return true;
    snprintf(word, sizeof word, " %s ", l->ticker);
    return e->tickers != NULL && strstr(e->tickers, word) != NULL;
}

static finch_status keep_event(void *context, const event *e, finch_error *err)
{
    stream *s = context;
    stream_event made;
    FINCH_TRY(event_make(e, &made, err));
    s->fetched++;
    pthread_mutex_lock(&s->lock);
    if (s->n == STREAM_KEPT) {
        s->covered = s->events[s->first].id;
        event_free(&s->events[s->first]);
        s->first = (s->first + 1) % STREAM_KEPT;
        s->n--;
    }
    s->events[(s->first + s->n++) % STREAM_KEPT] = made;
    s->last = made.id;
    pthread_mutex_unlock(&s->lock);
    return FINCH_OK;
}

/* ---- a listener ------------------------------------------------------------------------------------------------------ */

/* The next event for it out of memory into pending. The lock is held. */
static bool next_event(listener *l)
{
    stream *s = l->s;
    if (l->last < 0) l->last = s->last;
    if (l->last < s->covered) {
        l->behind = true;
        return false;
    }
    for (size_t i = 0; i < s->n; i++) {
        const stream_event *e = &s->events[(s->first + i) % STREAM_KEPT];
        if (e->id <= l->last) continue;
        l->last = e->id;
        if (!wants(l, e)) continue;
        return str_add(&l->pending, e->text, e->size, NULL) == FINCH_OK;
    }
    if (l->beat <= clock_seconds()) {
        l->beat = clock_seconds() + STREAM_BEAT_SECONDS;
        return str_add_text(&l->pending, ": still here\n\n", NULL) == FINCH_OK;
    }
    return false;
}

static ssize_t read_events(void *context, uint64_t position, char *out, size_t most)
{
    listener *l = context;
    stream *s = l->s;
    (void)position;
    pthread_mutex_lock(&s->lock);
    if (s->ended) {
        pthread_mutex_unlock(&s->lock);
        return MHD_CONTENT_READER_END_OF_STREAM;
    }
    /* Not a byte before the store was asked where "now" is: what a client does once it hears from us is not missed. */
    while (s->last < 0 || l->sent == l->pending.size) {
        if (l->sent == l->pending.size) {
            str_clear(&l->pending);
            l->sent = 0;
        }
        if (s->last >= 0 && next_event(l)) continue;
        /* Nothing yet: the connection sleeps until the thread has something (returning 0 alone would be asked again and again). */
        l->suspended = true;
        MHD_suspend_connection(l->connection);
        pthread_mutex_unlock(&s->lock);
        return 0;
    }
    size_t n = l->pending.size - l->sent < most ? l->pending.size - l->sent : most;
    memcpy(out, l->pending.at + l->sent, n);
    l->sent += n;
    pthread_mutex_unlock(&s->lock);
    return (ssize_t)n;
}

static void free_listener(void *context)
{
    listener *l = context;
    stream *s = l->s;
    pthread_mutex_lock(&s->lock);
    if (l->next != NULL) l->next->previous = l->previous;
    if (l->previous != NULL) l->previous->next = l->next;
    else s->listeners = l->next;
    s->n_listeners--;
    atomic_fetch_sub_explicit(&s->figures->listeners, 1, memory_order_relaxed);
    pthread_mutex_unlock(&s->lock);
    str_free(&l->pending);
    mem_free(l);
}

/* ---- the thread ------------------------------------------------------------------------------------------------------ */

typedef struct catch_up {
    listener *l;
    str text;
    int64_t last;
    size_t n;
} catch_up;

static finch_status add_missed(void *context, const event *e, finch_error *err)
{
    catch_up *c = context;
    stream_event made;
    FINCH_TRY(event_make(e, &made, err));
    finch_status st = wants(c->l, &made) ? str_add(&c->text, made.text, made.size, err) : FINCH_OK;
    c->last = made.id;
    c->n++;
    event_free(&made);
    return st;
}

/* One that waits for what memory does not hold. It is suspended, so it stays while the lock is not held: only its own
 * connection's thread frees it, and that sleeps until it is resumed below. */
static void fetch_for(stream *s, store *from, listener *l, int64_t last)
{
    catch_up c = {.l = l, .last = last};
    int64_t forgotten = 0;
    finch_error err;
    finch_status st = events_forgotten(from, &forgotten, &err);
    if (st == FINCH_OK && last < forgotten) {
        st = str_add_format(&c.text, &err, "event: gap\ndata: {\"after\":%lld,\"forgotten\":%lld}\n\n", (long long)last,
                            (long long)forgotten);
        c.last = forgotten;
    }
    if (st == FINCH_OK) st = events_after(from, c.last, STREAM_FETCH, add_missed, &c, &err);
    pthread_mutex_lock(&s->lock);
    if (st == FINCH_OK) {
        (void)str_add(&l->pending, c.text.size > 0 ? c.text.at : "", c.text.size, NULL);
        /* Fewer than asked for: that was all up to now. */
        l->last = c.n < STREAM_FETCH && c.last < s->last ? s->last : c.last;
        l->behind = false;
    }
    pthread_mutex_unlock(&s->lock);
    str_free(&c.text);
}

static void serve_those_behind(stream *s, store *from)
{
    pthread_mutex_lock(&s->lock);
    for (listener *l = s->listeners; l != NULL;) {
        if (!l->suspended || !l->behind) {
            l = l->next;
            continue;
        }
        int64_t last = l->last;
        pthread_mutex_unlock(&s->lock);
        fetch_for(s, from, l, last);
        pthread_mutex_lock(&s->lock);
        l = l->next;
    }
    pthread_mutex_unlock(&s->lock);
}

static void wake_listeners(stream *s, bool all)
{
    double now = clock_seconds();
    pthread_mutex_lock(&s->lock);
    for (listener *l = s->listeners; l != NULL; l = l->next) {
        bool due = (s->last >= 0 && l->pending.size > 0) || (!l->behind && l->last < s->last) || l->beat <= now;
        if (!l->suspended || !(due || all)) continue;
        l->suspended = false;
        MHD_resume_connection(l->connection);
    }
    pthread_mutex_unlock(&s->lock);
}

/* Whether anybody waits for what only the store has. The lock is held. */
static bool is_due(const stream *s)
{
    bool due = s->woken || s->last < 0 || !atomic_load(s->told) || clock_seconds() - s->asked >= STREAM_TOLD_SECONDS;
    for (const listener *l = s->listeners; l != NULL && !due; l = l->next) due = l->behind && l->suspended;
    return due;
}

static void ask_store(stream *s)
{
    finch_error err;
    store *from = NULL;
    int64_t last = s->last;
    s->fetched = 0;
    finch_status st = store_pool_borrow(s->pool, &from, &err);
    if (st == FINCH_OK && last < 0) {
        st = events_last(from, &last, &err);
        pthread_mutex_lock(&s->lock);
        if (st == FINCH_OK) s->last = s->covered = last;
        pthread_mutex_unlock(&s->lock);
    } else if (st == FINCH_OK) {
        st = events_after(from, last, STREAM_FETCH, keep_event, s, &err);
    }
    if (st == FINCH_OK) serve_those_behind(s, from);
    store_pool_give(s->pool, from);
    /* As many as it was asked for: there may be more. */
    s->asked = st == FINCH_OK && s->fetched < STREAM_FETCH ? clock_seconds() : 0;
}

static void wait_a_while(stream *s)
{
    struct timespec until = clock_after(CLOCK_REALTIME, STREAM_WAIT_SECONDS);
    if (!s->woken) pthread_cond_timedwait(&s->wake, &s->lock, &until);
}

void stream_wake(stream *s)
{
    pthread_mutex_lock(&s->lock);
    s->woken = true;
    pthread_cond_signal(&s->wake);
    pthread_mutex_unlock(&s->lock);
}

static void *stream_run(void *argument)
{
    stream *s = argument;
    pthread_mutex_lock(&s->lock);
    while (!s->ended) {
        wait_a_while(s);
        bool heard = s->n_listeners > 0 && !s->ended, due = heard && is_due(s);
        s->woken = false;
        /* Nobody listens: what is known grows old, and is asked anew when somebody comes. */
        if (s->n_listeners == 0) s->last = -1;
        while (s->n_listeners == 0 && s->n > 0) {
            event_free(&s->events[s->first]);
            s->first = (s->first + 1) % STREAM_KEPT;
            s->n--;
        }
        pthread_mutex_unlock(&s->lock);
        if (due) ask_store(s);
        if (heard) wake_listeners(s, false);
        pthread_mutex_lock(&s->lock);
    }
    pthread_mutex_unlock(&s->lock);
    return NULL;
}

finch_status stream_create(store_pool *pool, metrics *figures, const atomic_bool *told, stream **out, finch_error *err)
{
    stream *s;
    *out = NULL;
    FINCH_TRY(MEM_NEW(&s, 1, err));
    pthread_mutex_init(&s->lock, NULL);
    pthread_cond_init(&s->wake, NULL);
    s->pool = pool;
    s->figures = figures;
    s->told = told;
    s->last = -1;
    if (pthread_create(&s->thread, NULL, stream_run, s) == 0) {
        *out = s;
        return FINCH_OK;
    }
    pthread_cond_destroy(&s->wake);
    pthread_mutex_destroy(&s->lock);
    mem_free(s);
    return finch_fail(err, FINCH_E_BUSY, "a thread for the event stream could not be started");
}

void stream_stop(stream *s)
{
    if (s == NULL) return;
    pthread_mutex_lock(&s->lock);
    bool first = !s->ended;
    s->ended = true;
    pthread_cond_signal(&s->wake);
    pthread_mutex_unlock(&s->lock);
    if (!first) return;
    pthread_join(s->thread, NULL);
    wake_listeners(s, true);
}

void stream_destroy(stream *s)
{
    if (s == NULL) return;
    stream_stop(s);
    for (size_t i = 0; i < s->n; i++) event_free(&s->events[(s->first + i) % STREAM_KEPT]);
    pthread_cond_destroy(&s->wake);
    pthread_mutex_destroy(&s->lock);
    mem_free(s);
}

/* ---- the request ----------------------------------------------------------------------------------------------------- */

static void fill_filters(const request *r, listener *l)
{
    const char *ticker = uri_get(&r->target, "ticker"), *kind = uri_get(&r->target, "kind");
    if (kind != NULL) snprintf(l->kind, sizeof l->kind, "%s", kind);
    if (ticker == NULL) return;
    snprintf(l->ticker, sizeof l->ticker, "%s", ticker[0] == '$' ? ticker + 1 : ticker);
    for (char *c = l->ticker; *c != '\0'; c++)
        if (*c >= 'a' && *c <= 'z') *c = (char)(*c - 'a' + 'A');
}

/* -1: from now on. */
static int64_t last_seen(const request *r)
{
    const char *text = request_field(r, "Last-Event-ID");
    char *end = NULL;
    if (text == NULL) text = uri_get(&r->target, "last_event_id");
    if (text == NULL || text[0] < '0' || text[0] > '9') return -1;
    errno = 0;
    long long id = strtoll(text, &end, 10);
    return errno == 0 && *end == '\0' ? id : -1;
}

static bool add_listener(stream *s, listener *l)
{
    pthread_mutex_lock(&s->lock);
    bool room = !s->ended && s->n_listeners < STREAM_LISTENERS_MOST;
    if (room) {
        l->next = s->listeners;
        if (l->next != NULL) l->next->previous = l;
        s->listeners = l;
        s->n_listeners++;
        atomic_fetch_add_explicit(&s->figures->listeners, 1, memory_order_relaxed);
        s->woken = true;
        pthread_cond_signal(&s->wake);
    }
    pthread_mutex_unlock(&s->lock);
    return room;
}

handler_answer handle_stream(request *r)
{
    stream *s = r->server->stream;
    listener *l;
    finch_error err = {0};
    if (s == NULL) {
        reply_error(r, 503, "no_store", NULL, "the server runs without a store (--state none)");
        return HANDLER_ANSWERED;
    }
    finch_status st = MEM_NEW(&l, 1, &err);
    if (st != FINCH_OK) {
        reply_failure(r, st, &err);
        return HANDLER_ANSWERED;
    }
    l->s = s;
    l->connection = r->connection;
    l->last = last_seen(r);
    l->beat = clock_seconds() + STREAM_BEAT_SECONDS;
    fill_filters(r, l);
    /* Sent at once, so that the client knows that it is connected; the browser comes back after three seconds. */
    if (str_add_text(&l->pending, "retry: 3000\n\n", NULL) != FINCH_OK || !add_listener(s, l)) {
        str_free(&l->pending);
        mem_free(l);
        reply_retry_after(r, 5);
        reply_error(r, 503, "too_many_streams", NULL, "%d listen already", STREAM_LISTENERS_MOST);
        return HANDLER_ANSWERED;
    }
    r->prepared = MHD_create_response_from_callback(MHD_SIZE_UNKNOWN, STREAM_BLOCK_BYTES, read_events, l, free_listener);
    if (r->prepared == NULL) {
        free_listener(l);
        reply_failure(r, FINCH_E_MEMORY, NULL);
        return HANDLER_ANSWERED;
    }
    r->status = 200;
    r->content_type = "text/event-stream";
    request_add_header(r, "X-Accel-Buffering", "no");
    return HANDLER_ANSWERED;
}
