#include "serve/recorder.h"

#include "base/clock.h"
#include "text/ticker.h"

#include <pthread.h>
#include <string.h>

#define RECORDER_WAIT_SECONDS 0.25

enum { RECORDER_WRITE_MOST = 1000 };

/* A prediction with the texts it points to. */
typedef struct kept {
    struct kept *next;
    history_prediction prediction;
    char tickers[HISTORY_TICKERS_MOST][HISTORY_TICKER_BYTES];
    char model[256];
    char text[];
} kept;

/* lock guards first to ended. */
struct recorder {
    pthread_mutex_t lock;
    pthread_cond_t wake;
    kept *first, *last;
    size_t n;
    bool ended;
    pthread_t thread;
    store_pool *pool;
    metrics *figures;
};

void recorder_add(recorder *r, const history_prediction *p)
{
    kept *k = NULL;
    size_t n_tickers = p->n_tickers < HISTORY_TICKERS_MOST ? p->n_tickers : HISTORY_TICKERS_MOST;
    if (mem_alloc_zero(sizeof *k + p->text.size_bytes + 1, 1, (void **)&k, NULL) != FINCH_OK) {
        metrics_add(&r->figures->history_lost, 1);
        return;
    }
    k->prediction = *p;
    if (n_tickers > 0) memcpy(k->tickers, p->tickers, n_tickers * sizeof k->tickers[0]);
    k->prediction.tickers = (const char(*)[HISTORY_TICKER_BYTES])k->tickers;
    k->prediction.n_tickers = n_tickers;
    snprintf(k->model, sizeof k->model, "%s", p->model);
    k->prediction.model = k->model;
    if (p->text.size_bytes > 0) memcpy(k->text, p->text.at, p->text.size_bytes);
    k->prediction.text.at = p->text.at != NULL ? k->text : NULL;
    pthread_mutex_lock(&r->lock);
    bool full = r->n == RECORDER_MOST;
    if (!full) {
        if (r->last != NULL) r->last->next = k;
        else r->first = k;
        r->last = k;
        r->n++;
    }
    pthread_mutex_unlock(&r->lock);
    if (full) {
        metrics_add(&r->figures->history_lost, 1);
        mem_free(k);
    }
}

_Static_assert((int)TEXT_SYMBOL_BYTES <= (int)HISTORY_TICKER_BYTES, "a symbol fits into the history");

static size_t find_tickers(finch_text text, char out[HISTORY_TICKERS_MOST][HISTORY_TICKER_BYTES])
{
    text_ticker found[HISTORY_TICKERS_MOST];
    size_t n = text_tickers_find(text, found, HISTORY_TICKERS_MOST), n_out = 0;
    for (size_t k = 0; k < n && k < HISTORY_TICKERS_MOST; k++) {
        bool seen = false;
        for (size_t j = 0; j < n_out; j++) seen = seen || strcmp(out[j], found[k].symbol) == 0;
        if (!seen) memcpy(out[n_out++], found[k].symbol, TEXT_SYMBOL_BYTES);
    }
    return n_out;
}

void recorder_keep(recorder *r, const model_slot *slot, finch_text text, const float *probabilities, int64_t time_ms,
                   unsigned flags)
{
    char tickers[HISTORY_TICKERS_MOST][HISTORY_TICKER_BYTES];
    history_prediction h = {.time_ms = time_ms,
                            .model = slot->title,
                            .source = "api",
                            .text = text,
                            .label = model_class_id(slot->engine, model_best_label(probabilities, slot->n_labels)),
                            .score = model_sentiment(slot->engine, probabilities),
                            .flags = flags};
    if (h.label < 0) return;
    for (size_t k = 0; k < slot->n_labels; k++) {
        int id = model_class_id(slot->engine, k);
        if (id >= 0) h.probabilities[id] = (double)probabilities[k];
    }
    h.n_tickers = find_tickers(text, tickers);
    h.tickers = (const char(*)[HISTORY_TICKER_BYTES])tickers;
    if (memchr(h.text.at, '\0', h.text.size_bytes) != NULL) h.text = (finch_text){0}; /* stores hold no NUL */
    if (h.text.at == NULL && store_hash(text.at, text.size_bytes, h.hash, NULL) != FINCH_OK) return;
    recorder_add(r, &h);
}

/* The first n of the row stay in it while they are written, so that a failure loses none. */
static finch_status write_some(recorder *r, const kept *first, size_t n, const char *batch, finch_error *err)
{
    history_prediction *all;
    store *s = NULL;
    FINCH_TRY(MEM_NEW(&all, n, err));
    for (size_t i = 0; i < n; i++) {
        all[i] = first->prediction;
        if (i + 1 < n) first = first->next; /* the last one's is written by who adds */
    }
    finch_status st = store_pool_borrow(r->pool, &s, err);
    if (st == FINCH_OK) st = history_append(s, batch, all, n, NULL, err);
    store_pool_give(r->pool, s);
    mem_free(all);
    return st;
}

static void drop_first(recorder *r, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        pthread_mutex_lock(&r->lock);
        kept *k = r->first;
        r->first = k->next;
        if (r->first == NULL) r->last = NULL;
        r->n--;
        pthread_mutex_unlock(&r->lock);
        mem_free(k);
    }
}

/* Writes all there is. A batch keeps its name until it is written, so one whose commit was lost on the way is not written twice. */
static void write_all(recorder *r, char batch[STORE_HASH_BYTES], size_t *n_batch)
{
    for (;;) {
        finch_error err;
        pthread_mutex_lock(&r->lock);
        const kept *first = r->first;
        size_t n = r->n < RECORDER_WRITE_MOST ? r->n : RECORDER_WRITE_MOST;
        pthread_mutex_unlock(&r->lock);
        if (n == 0) return;
        if (*n_batch == 0) {
            if (store_random_name(batch, &err) != FINCH_OK) return;
            *n_batch = n;
        }
        finch_status st = write_some(r, first, *n_batch, batch, &err);
        if (st == FINCH_OK) metrics_add(&r->figures->history_written, *n_batch);
        else if (st == FINCH_E_DATA) metrics_add(&r->figures->history_lost, *n_batch);
        else return;
        drop_first(r, *n_batch);
        *n_batch = 0;
    }
}

static void *recorder_run(void *argument)
{
    recorder *r = argument;
    char batch[STORE_HASH_BYTES] = "";
    size_t n_batch = 0;
    pthread_mutex_lock(&r->lock);
    while (!r->ended) {
        struct timespec until = clock_after(CLOCK_REALTIME, RECORDER_WAIT_SECONDS);
        pthread_cond_timedwait(&r->wake, &r->lock, &until);
        pthread_mutex_unlock(&r->lock);
        write_all(r, batch, &n_batch);
        pthread_mutex_lock(&r->lock);
    }
    pthread_mutex_unlock(&r->lock);
    write_all(r, batch, &n_batch);
    return NULL;
}

finch_status recorder_create(store_pool *pool, metrics *figures, recorder **out, finch_error *err)
{
    recorder *r;
    *out = NULL;
    FINCH_TRY(MEM_NEW(&r, 1, err));
    pthread_mutex_init(&r->lock, NULL);
    pthread_cond_init(&r->wake, NULL);
    r->pool = pool;
    r->figures = figures;
    if (pthread_create(&r->thread, NULL, recorder_run, r) == 0) {
        *out = r;
        return FINCH_OK;
    }
    pthread_cond_destroy(&r->wake);
    pthread_mutex_destroy(&r->lock);
    mem_free(r);
    return finch_fail(err, FINCH_E_BUSY, "a thread for the history could not be started");
}

void recorder_destroy(recorder *r)
{
    if (r == NULL) return;
    pthread_mutex_lock(&r->lock);
    r->ended = true;
    pthread_cond_signal(&r->wake);
    pthread_mutex_unlock(&r->lock);
    pthread_join(r->thread, NULL);
    metrics_add(&r->figures->history_lost, r->n);
    while (r->first != NULL) {
        kept *next = r->first->next;
        mem_free(r->first);
        r->first = next;
    }
    pthread_cond_destroy(&r->wake);
    pthread_mutex_destroy(&r->lock);
    mem_free(r);
}
