#include "serve/observer.h"

#include "base/clock.h"
#include "base/rng.h"
#include "serve/beat.h"
#include "serve/drift_book.h"
#include "serve/journal.h"
#include "serve/metrics.h"
#include "serve/recorder.h"
#include "serve/shadow.h"

#include <pthread.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#define OBSERVER_PAUSE_SECONDS 0.1
#define OBSERVER_FLUSH_SECONDS 5.0

enum { LOWEST_PRIORITY = 19 };

typedef struct observed {
    struct observed *next;
    model_slot *slot; /* a reference */
    cache_info info;
    bool keep;
    int64_t time_ms;
    float probabilities[MODEL_LABELS_MAX];
    finch_text text;
    char bytes[];
} observed;

/* lock guards first to n; the rest below the books belongs to the thread. */
struct observer {
    pthread_mutex_t lock;
    observed *first, *last;
    size_t n;
    serve *server;
    beat *rounds;
    drift_book *drift;
    shadow_book *shadows;
    text_scratch *scratch;
    arena memory;
    rng chance;
    double flushed;
    bool lowered, failing;
};

/* ---- the way in ------------------------------------------------------------------------------------------------------ */

static bool is_full(observer *o)
{
    pthread_mutex_lock(&o->lock);
    bool full = o->n == OBSERVER_MOST;
    pthread_mutex_unlock(&o->lock);
    return full;
}

static void push(observer *o, observed *x)
{
    pthread_mutex_lock(&o->lock);
    if (o->last != NULL) o->last->next = x;
    else o->first = x;
    o->last = x;
    o->n++;
    pthread_mutex_unlock(&o->lock);
}

/* Several threads may find the last place free at once: the row is then a few longer. */
void observer_add(observer *o, model_slot *slot, finch_text text, cache_info info, const float *probabilities, bool keep,
                  int64_t time_ms)
{
    observed *x = NULL;
    if (is_full(o) || mem_alloc_zero(sizeof *x + text.size_bytes + 1, 1, (void **)&x, NULL) != FINCH_OK) {
        metrics_add(&o->server->metrics->observer_dropped, 1);
        return;
    }
    x->slot = model_retain(slot);
    x->info = info;
    x->keep = keep;
    x->time_ms = time_ms;
    memcpy(x->probabilities, probabilities, slot->n_labels * sizeof *probabilities);
    if (text.size_bytes > 0) memcpy(x->bytes, text.at, text.size_bytes);
    x->text = (finch_text){x->bytes, text.size_bytes};
    push(o, x);
}

static observed *pop(observer *o)
{
    pthread_mutex_lock(&o->lock);
    observed *x = o->first;
    if (x != NULL) {
        o->first = x->next;
        if (o->first == NULL) o->last = NULL;
        o->n--;
    }
    pthread_mutex_unlock(&o->lock);
    return x;
}

static void drop(observed *x)
{
    model_release(x->slot);
    mem_free(x);
}

/* ---- one text -------------------------------------------------------------------------------------------------------- */

static finch_status score_shadow(observer *o, const observed *x, finch_error *err)
{
    float probabilities[MODEL_LABELS_MAX];
    double share = o->server->options.shadow_share;
    model_slot *candidate = models_acquire_shadow(o->server->models, x->slot->name);
    finch_status st = FINCH_OK;
    if (candidate != NULL && (share >= 1 || rng_unit(&o->chance) < share)) {
        arena_reset(&o->memory);
        st = shadow_score(candidate, x->text, &o->memory, o->scratch, probabilities, err);
        if (st == FINCH_OK) {
            shadow_note(o->shadows, x->slot, x->probabilities, candidate, probabilities);
            if (x->keep) recorder_keep(o->server->recorder, candidate, x->text, probabilities, x->time_ms, HISTORY_SHADOW);
        }
    }
    model_release(candidate);
    return st;
}

static finch_status count_drift(observer *o, const observed *x, finch_error *err)
{
    size_t label = model_best_label(x->probabilities, x->slot->n_labels);
    FINCH_TRY(drift_book_count(o->drift, x->slot, x->text, x->info, model_class_id(x->slot->engine, label), err));
    metrics_add(&o->server->metrics->observed, 1);
    return FINCH_OK;
}

/* ---- the thread ------------------------------------------------------------------------------------------------------ */

static finch_status flush(observer *o, finch_error *err)
{
    store *s = NULL;
    o->flushed = clock_seconds();
    finch_status st = store_pool_borrow(o->server->pool, &s, err);
    if (st == FINCH_OK) st = drift_book_flush(o->drift, s, OBSERVER_DAYS, err);
    store_pool_give(o->server->pool, s);
    return st;
}

static void tell(observer *o, finch_status st, const finch_error *err)
{
    if (st != FINCH_OK && !o->failing)
        journal_event(o->server->journal, "error", "not_observed", json_pack("{s:s}", "reason", err->message));
    o->failing = st != FINCH_OK;
}

static void one_round(beat *self, void *context)
{
    observer *o = context;
    finch_error err = {0};
    finch_status st = FINCH_OK;
    if (!o->lowered) {
        /* Of this thread alone: requests come first. Where the system does not allow it, it runs like the others. */
        (void)setpriority(PRIO_PROCESS, (id_t)syscall(SYS_gettid), LOWEST_PRIORITY);
        o->lowered = true;
    }
    for (observed *x = pop(o); x != NULL; x = beat_ended(self) ? NULL : pop(o)) {
        finch_status own = count_drift(o, x, &err);
        if (own == FINCH_OK) own = score_shadow(o, x, &err);
        if (own != FINCH_OK) st = own;
        drop(x);
    }
    if (st == FINCH_OK && clock_seconds() - o->flushed >= OBSERVER_FLUSH_SECONDS) st = flush(o, &err);
    tell(o, st, &err);
}

finch_status observer_create(serve *s, observer **out, finch_error *err)
{
    observer *o;
    finch_status st;
    *out = NULL;
    FINCH_TRY(MEM_NEW(&o, 1, err));
    pthread_mutex_init(&o->lock, NULL);
    arena_init(&o->memory);
    o->server = s;
    o->chance = (rng){.seed = s->key.word[0]};
    o->flushed = clock_seconds();
    FINCH_GO(done, st, drift_book_create(&o->drift, err));
    FINCH_GO(done, st, shadow_book_create(&o->shadows, err));
    FINCH_GO(done, st, text_scratch_create(&o->scratch, err));
    st = beat_create("what models see", OBSERVER_PAUSE_SECONDS, one_round, o, &o->rounds, err);
done:
    if (st == FINCH_OK) *out = o;
    else observer_destroy(o);
    return st;
}

void observer_destroy(observer *o)
{
    finch_error err = {0};
    if (o == NULL) return;
    beat_destroy(o->rounds);
    for (observed *x = pop(o); x != NULL; x = pop(o)) {
        if (o->drift != NULL) (void)count_drift(o, x, &err); /* shadows would hold up the end */
        drop(x);
    }
    if (o->drift != NULL) (void)flush(o, &err);
    drift_book_destroy(o->drift);
    shadow_book_destroy(o->shadows);
    text_scratch_destroy(o->scratch);
    arena_free(&o->memory);
    pthread_mutex_destroy(&o->lock);
    mem_free(o);
}

/* ---- telling --------------------------------------------------------------------------------------------------------- */

finch_status observer_metrics(observer *o, str *out, finch_error *err)
{
    if (o == NULL) return FINCH_OK;
    FINCH_TRY(drift_book_metrics(o->drift, out, err));
    return shadow_metrics(o->shadows, out, err);
}

json_t *observer_drift_json(observer *o, const char *title) { return o != NULL ? drift_book_json(o->drift, title) : NULL; }

json_t *observer_shadow_json(observer *o, const char *name) { return o != NULL ? shadow_json(o->shadows, name) : NULL; }
