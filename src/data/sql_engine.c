#include "data/sql_engine.h"

#include "base/clock.h"
#include "data/sql_memory.h"

#ifdef _OPENMP
#include <omp.h>
#endif
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>

/* CALL_TEXTS: texts of one call of the model, as in data/scoring.c; between calls the stop is seen. */
#define POLL_SECONDS 0.05

enum { CALL_TEXTS = 512 };

/* A chunk that waits for its scores; lies on the stack of the thread that asks. */
typedef struct request {
    const finch_text *texts;
    size_t n;
    sql_answer *answers;
    float *probabilities;
    finch_status status;
    finch_error error;
    bool done;
    struct request *next;
} request;

struct sql_engine {
    pthread_mutex_t lock; /* guards first, last, closing and the requests' done */
    pthread_cond_t asked, answered;
    request *first, *last;
    bool closing;
    atomic_bool stopped;
    atomic_uint_least64_t n_scored;
    pthread_t thread, owner;
    bool running;
    const progress *watch;
    const model *m;
    size_t n_threads, n_labels, max_tokens;
    /* below: the engine's thread only */
    model_scorer *scorer;
    sql_memory memory;
    finch_text *texts; /* [capacity] that are new */
    size_t *entries;   /* [capacity] where their values go */
    size_t *row_entry; /* [capacity] SIZE_MAX: null or empty */
    size_t capacity;
    float logits[CALL_TEXTS * MODEL_LABELS_MAX];
};

/* ---- the engine's thread ---- */

static finch_status make_room(sql_engine *e, size_t n, finch_error *err)
{
    if (n <= e->capacity) return FINCH_OK;
    FINCH_TRY(mem_grow((void **)&e->texts, e->capacity * sizeof *e->texts, n, sizeof *e->texts, err));
    FINCH_TRY(mem_grow((void **)&e->entries, e->capacity * sizeof *e->entries, n, sizeof *e->entries, err));
    FINCH_TRY(mem_grow((void **)&e->row_entry, e->capacity * sizeof *e->row_entry, n, sizeof *e->row_entry, err));
    e->capacity = n;
    return FINCH_OK;
}

/* The same steps as finch score's (data/scoring.c), so the same bits. */
static void keep_scores(sql_engine *e, const size_t *entries, size_t n)
{
    model_probabilities(e->m, e->logits, n, e->logits);
    for (size_t i = 0; i < n; i++) {
        const float *p = e->logits + i * e->n_labels;
        e->memory.young.labels[entries[i]] = (uint16_t)model_best_label(p, e->n_labels);
        e->memory.young.scores[entries[i]] = (float)model_sentiment(e->m, p);
        memcpy(e->memory.young.probabilities + entries[i] * e->n_labels, p, e->n_labels * sizeof *p);
    }
}

static finch_status score_new(sql_engine *e, size_t n_new, finch_error *err)
{
    for (size_t begin = 0; begin < n_new; begin += CALL_TEXTS) {
        size_t n = n_new - begin < CALL_TEXTS ? n_new - begin : CALL_TEXTS;
        if (atomic_load(&e->stopped)) return finch_fail(err, FINCH_E_CANCELLED, "interrupted");
        FINCH_TRY(model_score_texts(e->scorer, e->texts + begin, n, e->max_tokens, e->logits, NULL, err));
        keep_scores(e, e->entries + begin, n);
        atomic_fetch_add(&e->n_scored, n);
    }
    return FINCH_OK;
}

static void answer_rows(const sql_engine *e, request *r, size_t begin, size_t n)
{
    const sql_memory_half *known = &e->memory.young;
    for (size_t i = 0; i < n; i++) {
        size_t entry = e->row_entry[i], row = begin + i;
        r->answers[row] = (sql_answer){0};
        if (entry == SIZE_MAX) continue;
        r->answers[row] = (sql_answer){true, known->labels[entry], known->scores[entry]};
        if (r->probabilities != NULL)
            memcpy(r->probabilities + row * e->n_labels, known->probabilities + entry * e->n_labels,
                   e->n_labels * sizeof *r->probabilities);
    }
}

static finch_status answer_part(sql_engine *e, request *r, size_t begin, size_t n, finch_error *err)
{
    size_t n_new = 0;
    FINCH_TRY(make_room(e, n, err));
    sql_memory_reserve(&e->memory, n);
    for (size_t i = 0; i < n; i++) {
        finch_text text = r->texts[begin + i];
        bool is_new = false;
        e->row_entry[i] = SIZE_MAX;
        if (text.at == NULL || text.size_bytes == 0) continue;
        e->row_entry[i] = sql_memory_find(&e->memory, text, &is_new);
        if (!is_new) continue;
        e->texts[n_new] = text;
        e->entries[n_new++] = e->row_entry[i];
    }
    finch_status st = score_new(e, n_new, err);
    if (st == FINCH_OK) answer_rows(e, r, begin, n);
    else sql_memory_forget(&e->memory); /* it has entries without values */
    return st;
}

static void answer(sql_engine *e, request *r)
{
    enum { PART_TEXTS = 1 << 14 };
    r->status = FINCH_OK;
    for (size_t begin = 0; r->status == FINCH_OK && begin < r->n; begin += PART_TEXTS)
        r->status = answer_part(e, r, begin, r->n - begin < PART_TEXTS ? r->n - begin : PART_TEXTS, &r->error);
}

static void *run(void *context)
{
    sql_engine *e = context;
#ifdef _OPENMP
    omp_set_num_threads((int)e->n_threads);
#endif
    pthread_mutex_lock(&e->lock);
    for (;;) {
        while (e->first == NULL && !e->closing) pthread_cond_wait(&e->asked, &e->lock);
        request *r = e->first;
        if (r == NULL) break;
        e->first = r->next;
        pthread_mutex_unlock(&e->lock);
        answer(e, r);
        pthread_mutex_lock(&e->lock);
        r->done = true;
        pthread_cond_broadcast(&e->answered);
    }
    pthread_mutex_unlock(&e->lock);
    return NULL;
}

/* ---- who asks ---- */

static finch_status start(sql_engine *e, finch_error *err)
{
    e->owner = pthread_self();
    if (pthread_create(&e->thread, NULL, run, e) != 0)
        return finch_fail(err, FINCH_E_FAILED, "the system gives no thread for the model; look at ulimit -u");
    e->running = true;
    return FINCH_OK;
}

finch_status sql_engine_open(const model *m, size_t n_threads, size_t max_tokens, const progress *watch, sql_engine **out,
                             finch_error *err)
{
    sql_engine *e;
    finch_status st;
    *out = NULL;
    FINCH_TRY(MEM_NEW(&e, 1, err));
    e->m = m;
    e->n_threads = n_threads > 0 ? n_threads : 1;
    e->n_labels = model_get_config(m)->n_labels;
    e->max_tokens = max_tokens;
    e->watch = watch;
    pthread_mutex_init(&e->lock, NULL);
    pthread_cond_init(&e->asked, NULL);
    pthread_cond_init(&e->answered, NULL);
    st = model_scorer_create(m, n_threads, &e->scorer, err);
    if (st == FINCH_OK) st = sql_memory_open(SQL_ENGINE_REMEMBERED, e->n_labels, &e->memory, err);
    if (st == FINCH_OK) st = start(e, err);
    if (st == FINCH_OK) *out = e;
    else sql_engine_close(e);
    return st;
}

void sql_engine_close(sql_engine *e)
{
    if (e == NULL) return;
    if (e->running) {
        pthread_mutex_lock(&e->lock);
        e->closing = true;
        pthread_cond_signal(&e->asked);
        pthread_mutex_unlock(&e->lock);
        pthread_join(e->thread, NULL);
    }
    pthread_cond_destroy(&e->asked);
    pthread_cond_destroy(&e->answered);
    pthread_mutex_destroy(&e->lock);
    model_scorer_destroy(e->scorer);
    sql_memory_close(&e->memory);
    mem_free(e->texts);
    mem_free(e->entries);
    mem_free(e->row_entry);
    mem_free(e);
}

const model *sql_engine_model(const sql_engine *e) { return e->m; }
void sql_engine_stop(sql_engine *e) { atomic_store(&e->stopped, true); }
bool sql_engine_stopped(const sql_engine *e) { return atomic_load(&e->stopped); }
uint64_t sql_engine_count(const sql_engine *e) { return atomic_load(&e->n_scored); }

/* The lock is held. */
static void wait_for(sql_engine *e, const request *r)
{
    bool asks_watch = pthread_equal(pthread_self(), e->owner) != 0;
    while (!r->done) {
        struct timespec until = clock_after(CLOCK_REALTIME, POLL_SECONDS);
        pthread_cond_timedwait(&e->answered, &e->lock, &until);
        if (asks_watch && !progress_report(e->watch, atomic_load(&e->n_scored), 0, NULL)) sql_engine_stop(e);
    }
}

finch_status sql_engine_score(sql_engine *e, const finch_text *texts, size_t n, sql_answer *answers, float *probabilities,
                              finch_error *err)
{
    request r = {.texts = texts, .n = n, .answers = answers, .probabilities = probabilities};
    pthread_mutex_lock(&e->lock);
    if (e->first == NULL) e->first = &r;
    else e->last->next = &r;
    e->last = &r;
    pthread_cond_signal(&e->asked);
    wait_for(e, &r);
    pthread_mutex_unlock(&e->lock);
    if (r.status != FINCH_OK && err != NULL) *err = r.error;
    return r.status;
}
