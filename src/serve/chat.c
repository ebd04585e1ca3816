#include "serve/chat.h"

#include "base/clock.h"
#include "serve/reply.h"
#include "serve/watch.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/socket.h>

/* Clients that left are looked for this often. */
#define LOOK_SECONDS 0.25

enum { IDLE_SECONDS = 2 };

/* A model's answers under way. */
typedef struct chat_model {
    model_slot *slot; /* a reference */
    generator *x;
    chat_work *running[GENERATE_MOST];
    size_t n_running;
} chat_model;

/* lock guards queue, last, n_waiting and ended; the rest is the thread's. */
struct chat {
    serve *server;
    pthread_mutex_t lock;
    pthread_cond_t wake;
    chat_work *queue, *last;
    size_t n_waiting;
    bool ended;
    pthread_t thread;
    chat_model models[CHAT_MODELS_MAX];
    size_t n_models;
    text_scratch *scratch;
    int32_t *ids; /* [n_ids] */
    size_t n_ids;
    double looked;
};

void chat_work_release(chat_work *w)
{
    if (w == NULL || atomic_fetch_sub_explicit(&w->n_references, 1, memory_order_acq_rel) > 1) return;
    model_release(w->slot);
    json_form_destroy(w->form);
    str_free(&w->stream.pending);
    pthread_mutex_destroy(&w->stream.lock);
    mem_free(w);
}

/* ---- the end of a work ------------------------------------------------------------------------------------------------ */

/* Its answer is there. */
static void answered(chat_work *w)
{
    request *r = w->r;
    w->r = NULL;
    chat_work_release(w);
    if (r != NULL) request_done(r);
}

static void shut_down(chat_work *w)
{
    if (w->r == NULL) {
        chat_stream_end(w, "the server is going down");
    } else {
        reply_retry_after(w->r, 1);
        reply_error(w->r, 503, "shutting_down", NULL, "the server is going down; try again");
    }
    answered(w);
}

static void fail(chat_work *w, finch_status st, const finch_error *err)
{
    if (w->r == NULL) chat_stream_end(w, err->message);
    else if (st == FINCH_E_USAGE || st == FINCH_E_DATA)
        reply_error(w->r, 400, "invalid_request", json_pack("{s:s}", "param", "messages"), "%s", err->message);
    else reply_failure(w->r, st == FINCH_E_MEMORY || st == FINCH_E_BUSY ? st : FINCH_E_FAILED, err);
    answered(w);
}

/* It closed its side of the connection: nobody would read the answer. What it may have sent before does not matter, nor does TLS. */
static bool client_left(chat_work *w)
{
    struct tcp_info info;
    socklen_t size = sizeof info;
    if (w->r == NULL) return chat_stream_left(w);
    if (w->r->watch == NULL) return false;
    return getsockopt(w->r->watch->descriptor, IPPROTO_TCP, TCP_INFO, &info, &size) == 0 &&
           info.tcpi_state != TCP_ESTABLISHED;
}

static void drop(chat_work *w)
{
    if (w->r != NULL) reply_error(w->r, 499, "client_left", NULL, "the client left before its answer was there");
    else chat_stream_end(w, NULL);
    answered(w);
}

/* ---- models ----------------------------------------------------------------------------------------------------------- */

static void forget_model(chat *c, size_t at)
{
    generator_destroy(c->models[at].x);
    model_release(c->models[at].slot);
    c->models[at] = c->models[--c->n_models];
}

/* Those that another one took the place of, once nothing runs on them; and one that is idle, where a place is needed. */
static void forget_models(chat *c, bool need_place)
{
    for (size_t i = c->n_models; i-- > 0;) {
        chat_model *m = &c->models[i];
        if (m->n_running > 0) continue;
        model_slot *now = models_acquire(c->server->models, m->slot->name);
        bool replaced = now != m->slot;
        model_release(now);
        if (replaced || (need_place && c->n_models == CHAT_MODELS_MAX)) forget_model(c, i);
    }
}

static finch_status model_of(chat *c, chat_work *w, chat_model **out, finch_error *err)
{
    generator *x;
    *out = NULL;
    for (size_t i = 0; i < c->n_models; i++)
        if (c->models[i].slot == w->slot) *out = &c->models[i];
    if (*out != NULL) return FINCH_OK;
    forget_models(c, true);
    if (c->n_models == CHAT_MODELS_MAX)
        return finch_fail(err, FINCH_E_BUSY, "%d models are answering chats; that is the most", CHAT_MODELS_MAX);
    const serve_options *o = &c->server->options;
    FINCH_TRY(generator_create(model_gemma(w->slot->engine), model_tokenizer(w->slot->engine), o->chats_together,
                               o->compute_threads, &x, err));
    *out = &c->models[c->n_models++];
    **out = (chat_model){.slot = model_retain(w->slot), .x = x};
    return FINCH_OK;
}

/* ---- from the queue to an answer -------------------------------------------------------------------------------------- */

static finch_status room_for_ids(chat *c, const chat_work *w, finch_error *err)
{
    size_t n = gemma_get_config(model_gemma(w->slot->engine))->n_positions;
    void *block = c->ids;
    if (n <= c->n_ids) return FINCH_OK;
    FINCH_TRY(mem_grow(&block, c->n_ids * sizeof *c->ids, n, sizeof *c->ids, err));
    c->ids = block;
    c->n_ids = n;
    return FINCH_OK;
}

static finch_status begin_answer(chat *c, chat_model *m, chat_work *w, finch_error *err)
{
    FINCH_TRY(room_for_ids(c, w, err));
    size_t n_positions = gemma_get_config(model_gemma(w->slot->engine))->n_positions;
    FINCH_TRY(chat_encode(w, c->scratch, n_positions, c->ids, &w->ask.n_prompt, err));
    w->ask.prompt = c->ids;
    w->ask.take = w->wants_stream ? chat_stream_text : NULL;
    w->ask.context = w;
    return generator_add(m->x, &w->ask, &w->g, err);
}

static void begin(chat *c, chat_model *m, chat_work *w)
{
    finch_error err = {0};
    finch_status st = begin_answer(c, m, w, &err);
    if (st != FINCH_OK) {
        fail(w, st, &err);
        return;
    }
    if (w->wants_stream && !chat_stream_begin(w)) {
        generator_remove(m->x, w->g);
        answered(w);
        return;
    }
    m->running[m->n_running++] = w;
}

static bool late(chat *c, chat_work *w)
{
    if (clock_seconds() < w->deadline) return false;
    reply_retry_after(w->r, 1);
    reply_limit(w->r, 503, "deadline_exceeded", "chat_ms", c->server->options.limits.chat_ms, "chat-ms",
                "the chat waited longer than it may, and was not answered");
    answered(w);
    return true;
}

/* The oldest that waits is taken out where its model has a place; those behind it keep their order. */
static chat_work *take_next(chat *c, bool look)
{
    chat_work *found = NULL;
    pthread_mutex_lock(&c->lock);
    for (chat_work **at = &c->queue, *before = NULL; *at != NULL && found == NULL;) {
        chat_work *w = *at;
        bool full = false;
        for (size_t i = 0; i < c->n_models; i++)
            full = full || (c->models[i].slot == w->slot && c->models[i].n_running == c->server->options.chats_together);
        if (full && !(look && (clock_seconds() >= w->deadline || client_left(w)))) {
            before = w;
            at = &w->next;
            continue;
        }
        found = w;
        *at = w->next;
        if (c->last == w) c->last = before;
        c->n_waiting--;
    }
    pthread_mutex_unlock(&c->lock);
    return found;
}

static void begin_all(chat *c, bool look)
{
    chat_work *w;
    while ((w = take_next(c, look)) != NULL) {
        finch_error err = {0};
        chat_model *m;
        if (late(c, w)) continue;
        if (client_left(w)) {
            drop(w);
            continue;
        }
        finch_status st = model_of(c, w, &m, &err);
        if (st != FINCH_OK) fail(w, st, &err);
        else begin(c, m, w);
    }
}

/* ---- steps ------------------------------------------------------------------------------------------------------------ */

static void end_work(chat_model *m, size_t at)
{
    chat_work *w = m->running[at];
    generate_result result = generation_result(w->g);
    m->running[at] = m->running[--m->n_running];
    if (result.end == GENERATE_CANCELLED) {
        generator_remove(m->x, w->g);
        drop(w);
        return;
    }
    if (w->r != NULL) chat_answer_whole(w);
    else chat_stream_end(w, NULL);
    generator_remove(m->x, w->g);
    answered(w);
}

static void fail_all(chat_model *m, finch_status st, const finch_error *err)
{
    while (m->n_running > 0) {
        chat_work *w = m->running[--m->n_running];
        generator_remove(m->x, w->g);
        w->g = NULL;
        fail(w, st == FINCH_E_MEMORY ? st : FINCH_E_FAILED, err);
    }
}

static void step(chat_model *m, bool look)
{
    finch_error err = {0};
    for (size_t i = 0; look && i < m->n_running; i++)
        if (client_left(m->running[i])) generation_cancel(m->running[i]->g);
    finch_status st = generator_step(m->x, &err);
    if (st != FINCH_OK) {
        fail_all(m, st, &err);
        return;
    }
    for (size_t i = m->n_running; i-- > 0;)
        if (generation_result(m->running[i]->g).end != GENERATE_RUNS) end_work(m, i);
}

static bool anything_runs(const chat *c)
{
    for (size_t i = 0; i < c->n_models; i++)
        if (c->models[i].n_running > 0) return true;
    return false;
}

static bool look_now(chat *c)
{
    double now = clock_seconds();
    if (now < c->looked + LOOK_SECONDS) return false;
    c->looked = now;
    return true;
}

/* Waits for work where there is none; false at the end. While a model is held it looks up now and then whether another one took
 * that one's place. */
static bool wait_for_work(chat *c)
{
    bool idle = !anything_runs(c);
    pthread_mutex_lock(&c->lock);
    while (idle && !c->ended && c->queue == NULL && c->n_models == 0) pthread_cond_wait(&c->wake, &c->lock);
    if (idle && !c->ended && c->queue == NULL) {
        struct timespec until = clock_after(CLOCK_REALTIME, IDLE_SECONDS);
        (void)pthread_cond_timedwait(&c->wake, &c->lock, &until);
    }
    bool go_on = !c->ended;
    pthread_mutex_unlock(&c->lock);
    return go_on;
}

static void *chat_run(void *argument)
{
    chat *c = argument;
    while (wait_for_work(c)) {
        bool look = look_now(c);
        begin_all(c, look);
        for (size_t i = 0; i < c->n_models; i++) step(&c->models[i], look);
        if (look || !anything_runs(c)) forget_models(c, false);
    }
    for (size_t i = 0; i < c->n_models; i++)
        while (c->models[i].n_running > 0) {
            chat_work *w = c->models[i].running[--c->models[i].n_running];
            generator_remove(c->models[i].x, w->g);
            w->g = NULL;
            shut_down(w);
        }
    for (chat_work *w = c->queue, *next; w != NULL; w = next) {
        next = w->next;
        shut_down(w);
    }
    c->queue = NULL;
    return NULL;
}

/* ---- from outside ----------------------------------------------------------------------------------------------------- */

finch_status chat_create(serve *s, chat **out, finch_error *err)
{
    chat *c;
    *out = NULL;
    FINCH_TRY(MEM_NEW(&c, 1, err));
    c->server = s;
    finch_status st = text_scratch_create(&c->scratch, err);
    if (st == FINCH_OK) {
        pthread_mutex_init(&c->lock, NULL);
        pthread_cond_init(&c->wake, NULL);
        if (pthread_create(&c->thread, NULL, chat_run, c) == 0) {
            *out = c;
            return FINCH_OK;
        }
        st = finch_fail(err, FINCH_E_BUSY, "a thread for chat completions could not be started");
        pthread_cond_destroy(&c->wake);
        pthread_mutex_destroy(&c->lock);
        text_scratch_destroy(c->scratch);
    }
    mem_free(c);
    return st;
}

finch_status chat_submit(chat *c, chat_work *w, finch_error *err)
{
    pthread_mutex_lock(&c->lock);
    bool room = !c->ended && c->n_waiting < c->server->options.limits.max_chats;
    if (room) {
        request_suspend(w->r);
        w->next = NULL;
        if (c->queue == NULL) c->queue = w;
        else c->last->next = w;
        c->last = w;
        c->n_waiting++;
        pthread_cond_signal(&c->wake);
    }
    pthread_mutex_unlock(&c->lock);
    return room ? FINCH_OK : finch_fail(err, FINCH_E_BUSY, "too many chat completions are waiting already");
}

void chat_stop(chat *c)
{
    if (c == NULL) return;
    pthread_mutex_lock(&c->lock);
    bool first = !c->ended;
    c->ended = true;
    pthread_cond_signal(&c->wake);
    pthread_mutex_unlock(&c->lock);
    if (first) pthread_join(c->thread, NULL);
}

void chat_destroy(chat *c)
{
    if (c == NULL) return;
    chat_stop(c);
    while (c->n_models > 0) forget_model(c, 0);
    pthread_cond_destroy(&c->wake);
    pthread_mutex_destroy(&c->lock);
    text_scratch_destroy(c->scratch);
    mem_free(c->ids);
    mem_free(c);
}
