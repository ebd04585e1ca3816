#include "serve/batcher.h"

#include "base/clock.h"
#include "serve/drift_book.h"

#include <pthread.h>
#include <string.h>
#ifdef _OPENMP
#include <omp.h>
#endif

enum {
    BATCH_TEXTS_MAX = 1024,
    BATCH_BYTES_A_TOKEN = 4,
    SHARING_SLOW_MOST = 2,   /* texts in a row that sharing did not speed up: one alone may be chance */
    SHARING_PAUSE = 256,     /* texts that are not shared after that */
    SHARING_PASS_TOKENS = 16 /* a pass reads all weights, which takes about as long as so many tokens */
};

typedef struct worker {
    batcher *b;
    pthread_t thread;
    arena memory;
    text_scratch *scratch;
    batch_text *taken[BATCH_TEXTS_MAX];
    size_t n_taken;
    size_t team;
} worker;

/* lock guards what stands between it and threads, and each slot's sharing. */
struct batcher {
    pthread_mutex_t lock;
    pthread_cond_t work;
    batch_text *first, *last;
    size_t n_waiting;
    size_t n_idle; /* threads that wait for work */
    bool ended;
    worker *threads;
    size_t n_threads, n_started;
    size_t batch_tokens, max_queue;
    cache *results;
    metrics *figures;
};

/* ---- the queue ------------------------------------------------------------------------------------------------------- */

static void push(batcher *b, batch_text *t)
{
    t->next = NULL;
    if (b->last != NULL) b->last->next = t;
    else b->first = t;
    b->last = t;
    b->n_waiting++;
}

/* Takes t, which stands behind before (NULL: it is the first), out of the queue. */
static void unlink_text(batcher *b, batch_text *before, batch_text *t)
{
    if (before != NULL) before->next = t->next;
    else b->first = t->next;
    if (b->last == t) b->last = before;
    b->n_waiting--;
}

static size_t guess_tokens(const batch_text *t)
{
    size_t most = t->job->slot->max_tokens, guess = t->text.size_bytes / BATCH_BYTES_A_TOKEN + TEXT_TOKENS_MIN;
    return guess < most ? guess : most;
}

/* A text that is alone in the house gets all of it, unless that has not paid lately. A slot's first one shows what alone takes. */
static size_t team_for(const batcher *b, model_sharing *s, size_t n_taken)
{
    if (n_taken > 1 || b->n_waiting > 0 || b->n_idle + 1 < b->n_threads || s->alone <= 0) return 1;
    if (s->n_pause == 0) return b->n_threads;
    s->n_pause--;
    return 1;
}

/* The oldest text and what fits beside it. Those past their deadline are taken too: answering them is no work. */
static void take_batch(worker *w)
{
    batcher *b = w->b;
    model_slot *slot = b->first->job->slot;
    size_t fair = (b->n_waiting + b->n_idle) / (b->n_idle + 1), tokens = 0;
    if (fair > BATCH_TEXTS_MAX) fair = BATCH_TEXTS_MAX;
    w->n_taken = 0;
    for (batch_text *t = b->first, *before = NULL, *next; t != NULL && w->n_taken < fair; t = next) {
        next = t->next;
        size_t n = guess_tokens(t);
        if (t->job->slot != slot || (w->n_taken > 0 && tokens + n > b->batch_tokens)) {
            before = t;
            continue;
        }
        unlink_text(b, before, t);
        w->taken[w->n_taken++] = t;
        tokens += n;
    }
    w->team = team_for(b, &slot->sharing, w->n_taken);
}

/* ---- computing ------------------------------------------------------------------------------------------------------- */

static void finish_text(batch_text *t, text_outcome outcome)
{
    batch_job *job = t->job;
    t->outcome = outcome;
    if (__atomic_sub_fetch(&job->n_left, 1, __ATOMIC_ACQ_REL) == 0) job->done(job);
}

static void finish_all(worker *w, text_outcome outcome)
{
    for (size_t i = 0; i < w->n_taken; i++) finish_text(w->taken[i], outcome);
    w->n_taken = 0;
}

static void drop_late(worker *w)
{
    double now = clock_seconds();
    size_t kept = 0;
    for (size_t i = 0; i < w->n_taken; i++) {
        batch_text *t = w->taken[i];
        if (now > t->job->deadline) {
            metrics_add(&w->b->figures->dropped, 1);
            finish_text(t, TEXT_LATE);
        } else {
            metrics_seconds(&w->b->figures->wait, now - t->job->submitted);
            w->taken[kept++] = t;
        }
    }
    w->n_taken = kept;
}

/* Each text's ids are put aside at their true length first: room for the longest possible ones end to end would be far more. */
static finch_status encode_batch(worker *w, const model_slot *slot, model_batch *out, finch_error *err)
{
    int32_t *one, **each, *ids;
    const text_tokenizer *tokenizer = model_tokenizer(slot->engine);
    uint32_t *offsets;
    FINCH_TRY(ARENA_NEW(&w->memory, &one, slot->max_tokens, err));
    FINCH_TRY(ARENA_NEW(&w->memory, &each, w->n_taken, err));
    FINCH_TRY(ARENA_NEW(&w->memory, &offsets, w->n_taken + 1, err));
    offsets[0] = 0;
    for (size_t i = 0; i < w->n_taken; i++) {
        batch_text *t = w->taken[i];
        size_t n;
        FINCH_TRY(text_encode(tokenizer, t->text, slot->max_tokens, one, &n, &t->info.truncated, NULL, w->scratch, err));
        FINCH_TRY(ARENA_NEW(&w->memory, &each[i], n, err));
        memcpy(each[i], one, n * sizeof *one);
        t->info.n_tokens = (uint32_t)n;
        t->info.n_unknown = drift_book_unknown(tokenizer, one, n);
        offsets[i + 1] = offsets[i] + (uint32_t)n;
    }
    FINCH_TRY(ARENA_NEW(&w->memory, &ids, offsets[w->n_taken], err));
    for (size_t i = 0; i < w->n_taken; i++) memcpy(ids + offsets[i], each[i], (offsets[i + 1] - offsets[i]) * sizeof *ids);
    *out = (model_batch){ids, offsets, w->n_taken, offsets[w->n_taken]};
    return FINCH_OK;
}

static void judge_sharing(worker *w, model_sharing *s, double seconds, size_t n_tokens)
{
    double each = seconds / (double)(n_tokens + SHARING_PASS_TOKENS);
    pthread_mutex_lock(&w->b->lock);
    if (w->team == 1) {
        s->alone = s->alone > 0 ? s->alone + (each - s->alone) / 8 : each;
    } else if (each < s->alone) {
        s->n_slow = 0;
    } else if (++s->n_slow >= SHARING_SLOW_MOST) {
        s->n_slow = SHARING_SLOW_MOST - 1; /* behind the pause one slow text is enough */
        s->n_pause = SHARING_PAUSE;
    }
    pthread_mutex_unlock(&w->b->lock);
}

static finch_status compute_batch(worker *w, model_slot *slot, finch_error *err)
{
    model_batch batch;
    float *logits;
    metrics *f = w->b->figures;
    double begin = clock_seconds();
    FINCH_TRY(encode_batch(w, slot, &batch, err));
    FINCH_TRY(ARENA_NEW(&w->memory, &logits, batch.n_texts * slot->n_labels, err));
#ifdef _OPENMP
    omp_set_num_threads((int)w->team);
#endif
    double before = clock_seconds();
    FINCH_TRY(model_logits(slot->engine, &batch, logits, &w->memory, err));
    judge_sharing(w, &slot->sharing, clock_seconds() - before, batch.n_tokens);
    for (size_t i = 0; i < batch.n_texts; i++) {
        batch_text *t = w->taken[i];
        memcpy(t->logits, logits + i * slot->n_labels, slot->n_labels * sizeof *logits);
        metrics_add(&f->truncated, t->info.truncated ? 1 : 0);
        if (w->b->results != NULL && t->job->use_cache)
            cache_put(w->b->results, slot->serial, t->text, t->logits, slot->n_labels, t->info);
    }
    metrics_add(&f->texts, batch.n_texts);
    metrics_add(&f->shared, w->team > 1 ? 1 : 0);
    metrics_add(&f->tokens, batch.n_tokens);
    metrics_size(&f->batch_texts, batch.n_texts);
    metrics_size(&f->batch_tokens, batch.n_tokens);
    metrics_seconds(&f->compute, clock_seconds() - begin);
    return FINCH_OK;
}

static void run_batch(worker *w)
{
    finch_error err = {0};
    drop_late(w);
    if (w->n_taken == 0) return;
    /* The jobs may be gone once they are finished: the slot stays for the length of the batch. */
    model_slot *slot = model_retain(w->taken[0]->job->slot);
    arena_reset(&w->memory);
    finch_status st = compute_batch(w, slot, &err);
    if (st != FINCH_OK)
        for (size_t i = 0; i < w->n_taken; i++) {
            finch_status none = FINCH_OK;
            /* Several threads may fail texts of one job: the first one's reason stays. */
            if (__atomic_compare_exchange_n(&w->taken[i]->job->failing, &none, st, false, __ATOMIC_ACQ_REL,
                                            __ATOMIC_RELAXED))
                w->taken[i]->job->err = err;
        }
    finish_all(w, st == FINCH_OK ? TEXT_SCORED : TEXT_FAILED);
    model_release(slot);
}

static void *worker_run(void *argument)
{
    worker *w = argument;
    batcher *b = w->b;
    pthread_mutex_lock(&b->lock);
    for (;;) {
        b->n_idle++;
        while (b->first == NULL && !b->ended) pthread_cond_wait(&b->work, &b->lock);
        b->n_idle--;
        if (b->first == NULL) break;
        take_batch(w);
        bool ended = b->ended;
        pthread_mutex_unlock(&b->lock);
        if (ended) finish_all(w, TEXT_STOPPED);
        else run_batch(w);
        pthread_mutex_lock(&b->lock);
    }
    pthread_mutex_unlock(&b->lock);
    return NULL;
}

/* ---- the way in ------------------------------------------------------------------------------------------------------ */

size_t batcher_waiting(batcher *b)
{
    pthread_mutex_lock(&b->lock);
    size_t n = b->n_waiting;
    pthread_mutex_unlock(&b->lock);
    return n;
}

/* Texts the cache holds are answered; returns how many are left. */
static size_t look_up(batcher *b, batch_job *job)
{
    size_t n_left = 0;
    for (size_t i = 0; i < job->n_texts; i++) {
        batch_text *t = &job->texts[i];
        t->job = job;
        t->outcome = TEXT_WAITS;
        t->cached = b->results != NULL && job->use_cache &&
                    cache_get(b->results, job->slot->serial, t->text, t->logits, job->slot->n_labels, &t->info);
        if (t->cached) t->outcome = TEXT_SCORED;
        else n_left++;
    }
    if (b->results != NULL && job->use_cache) {
        metrics_add(&b->figures->cache_hits, job->n_texts - n_left);
        metrics_add(&b->figures->cache_misses, n_left);
    }
    return n_left;
}

finch_status batcher_submit(batcher *b, batch_job *job, void (*ready)(void *context), bool *finished, finch_error *err)
{
    size_t n_left = look_up(b, job);
    job->submitted = clock_seconds();
    job->n_left = n_left;
    job->failing = FINCH_OK;
    *finished = n_left == 0;
    if (n_left == 0) return FINCH_OK;
    pthread_mutex_lock(&b->lock);
    bool full = b->ended || b->n_waiting + n_left > b->max_queue;
    if (!full) {
        /* Under the lock: nothing is taken, so nothing can be done, before ready has run. */
        ready(job->context);
        for (size_t i = 0; i < job->n_texts; i++)
            if (job->texts[i].outcome == TEXT_WAITS) push(b, &job->texts[i]);
        if (n_left > 1) pthread_cond_broadcast(&b->work);
        else pthread_cond_signal(&b->work);
    }
    pthread_mutex_unlock(&b->lock);
    if (!full) return FINCH_OK;
    metrics_add(&b->figures->rejected, n_left);
    return finch_fail(err, FINCH_E_BUSY, "the queue of texts is full");
}

/* ---- the whole ------------------------------------------------------------------------------------------------------- */

finch_status batcher_create(size_t n_threads, size_t batch_tokens, size_t max_queue, cache *results, metrics *figures,
                            batcher **out, finch_error *err)
{
    batcher *b;
    finch_status st;
    *out = NULL;
    FINCH_TRY(MEM_NEW(&b, 1, err));
    pthread_mutex_init(&b->lock, NULL);
    pthread_cond_init(&b->work, NULL);
    b->batch_tokens = batch_tokens;
    b->max_queue = max_queue;
    b->results = results;
    b->figures = figures;
    FINCH_GO(done, st, MEM_NEW(&b->threads, n_threads, err));
    b->n_threads = n_threads;
    for (; b->n_started < n_threads; b->n_started++) {
        worker *w = &b->threads[b->n_started];
        w->b = b;
        arena_init(&w->memory);
        FINCH_GO(done, st, text_scratch_create(&w->scratch, err));
        if (pthread_create(&w->thread, NULL, worker_run, w) == 0) continue;
        text_scratch_destroy(w->scratch);
        st = finch_fail(err, FINCH_E_BUSY, "compute thread %zu of %zu could not be started", b->n_started + 1, n_threads);
        goto done;
    }
done:
    if (st == FINCH_OK) *out = b;
    else batcher_destroy(b);
    return st;
}

void batcher_stop(batcher *b)
{
    pthread_mutex_lock(&b->lock);
    b->ended = true;
    pthread_cond_broadcast(&b->work);
    pthread_mutex_unlock(&b->lock);
    for (size_t i = 0; i < b->n_started; i++) {
        pthread_join(b->threads[i].thread, NULL);
        arena_free(&b->threads[i].memory);
        text_scratch_destroy(b->threads[i].scratch);
    }
    b->n_started = 0;
}

void batcher_destroy(batcher *b)
{
    if (b == NULL) return;
    batcher_stop(b);
    mem_free(b->threads);
    pthread_cond_destroy(&b->work);
    pthread_mutex_destroy(&b->lock);
    mem_free(b);
}
