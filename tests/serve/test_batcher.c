/* Batching by several threads: every text gets its own result, whatever it was packed with, also while its model is replaced. */
#define _GNU_SOURCE /* sched_setaffinity */
#include "harness.h"

#include "base/clock.h"
#include "serve/batcher.h"

#include <pthread.h>
#include <sched.h>
#include <time.h>

#define TINY FIXTURES "/models/tiny-bert"

enum { CLIENTS = 8, ROUNDS = 12, TEXTS = 5 };

static finch_error err;
static models *served;
static metrics *figures;
static batcher *b;
static float expected[TEXTS * 5];
static const char *const texts[TEXTS] = {"", "up", "$AAPL to the moon", "down we go again and again", "\xff\xfe"};

/* A job that somebody waits for. */
typedef struct waiter {
    pthread_mutex_t lock;
    pthread_cond_t wake;
    bool ready, done;
} waiter;

static void on_ready(void *context)
{
    waiter *w = context;
    pthread_mutex_lock(&w->lock);
    w->ready = true;
    pthread_mutex_unlock(&w->lock);
}

static void on_done(batch_job *job)
{
    waiter *w = job->context;
    pthread_mutex_lock(&w->lock);
    w->done = true;
    pthread_cond_signal(&w->wake);
    pthread_mutex_unlock(&w->lock);
}

static finch_status score(batch_text *all, size_t n, double deadline, bool use_cache, finch_error *e)
{
    waiter w = {PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, false, false};
    batch_job job = {.slot = models_acquire(served, NULL),
                     .texts = all,
                     .n_texts = n,
                     .deadline = deadline,
                     .use_cache = use_cache,
                     .done = on_done,
                     .context = &w};
    bool finished;
    finch_status st = batcher_submit(b, &job, on_ready, &finished, e);
    pthread_mutex_lock(&w.lock);
    while (st == FINCH_OK && !finished && !w.done) pthread_cond_wait(&w.wake, &w.lock);
    pthread_mutex_unlock(&w.lock);
    model_release(job.slot);
    return st;
}

static void fill(batch_text *all, float *logits)
{
    for (size_t i = 0; i < TEXTS; i++) all[i] = (batch_text){.text = {texts[i], strlen(texts[i])}, .logits = logits + i * 5};
}

static void begin(size_t n_threads, size_t max_queue, cache *results)
{
    CHECK_OK(models_create(&served, &err), &err);
    CHECK_OK(models_load(served, &(models_new){.name = "tiny", .version = "1", .folder = TINY, .max_tokens = 64}, &err),
             &err);
    CHECK_OK(metrics_create(&figures, &err), &err);
    CHECK_OK(batcher_create(n_threads, 64, max_queue, results, figures, &b, &err), &err);
    model_scorer *scorer;
    model_slot *slot = models_acquire(served, NULL);
    finch_text given[TEXTS];
    for (size_t i = 0; i < TEXTS; i++) given[i] = (finch_text){texts[i], strlen(texts[i])};
    CHECK_EQUAL(5, slot->n_labels);
    CHECK_OK(model_scorer_create(slot->engine, 1, &scorer, &err), &err);
    CHECK_OK(model_score_texts(scorer, given, TEXTS, slot->max_tokens, expected, NULL, &err), &err);
    model_scorer_destroy(scorer);
    model_release(slot);
}

static void end(void)
{
    batcher_destroy(b);
    metrics_destroy(figures);
    models_destroy(served);
}

static void *client(void *argument)
{
    size_t *n_wrong = argument;
    for (size_t round = 0; round < ROUNDS; round++) {
        batch_text all[TEXTS];
        float logits[TEXTS * 5];
        finch_error e;
        fill(all, logits);
        if (score(all, TEXTS, clock_seconds() + 60, round % 2 == 0, &e) != FINCH_OK) ++*n_wrong;
        for (size_t i = 0; i < TEXTS; i++) *n_wrong += all[i].outcome != TEXT_SCORED || all[i].info.n_tokens < 2 ? 1 : 0;
        *n_wrong += memcmp(logits, expected, sizeof logits) != 0 ? 1 : 0;
    }
    return NULL;
}

static void run_clients(bool replace)
{
    pthread_t threads[CLIENTS];
    size_t n_wrong[CLIENTS] = {0};
    for (size_t i = 0; i < CLIENTS; i++) CHECK_EQUAL(0, pthread_create(&threads[i], NULL, client, &n_wrong[i]));
    for (int i = 0; replace && i < 3; i++)
        CHECK_OK(models_load(served, &(models_new){.name = "tiny", .version = "2", .folder = TINY, .max_tokens = 64}, &err),
                 &err);
    for (size_t i = 0; i < CLIENTS; i++) {
        pthread_join(threads[i], NULL);
        CHECK_EQUAL(0, n_wrong[i]);
    }
}

TEST(many_clients_get_the_bits_of_one)
{
    begin(2, 1000, NULL);
    run_clients(false);
    CHECK_EQUAL(CLIENTS * ROUNDS * TEXTS, atomic_load(&figures->texts));
    CHECK_EQUAL(0, batcher_waiting(b));
    end();
}

TEST(models_change_without_a_failed_text)
{
    cache *results;
    CHECK_OK(cache_create(64, (siphash_key){{1, 2}}, &results, &err), &err);
    begin(2, 1000, results);
    run_clients(true);
    CHECK(atomic_load(&figures->cache_hits) > 0);
    model_slot *now = models_acquire(served, "tiny");
    CHECK_TEXT("tiny@2", now->title);
    model_release(now);
    CHECK(models_acquire(served, "tiny@1") == NULL);
    CHECK(models_acquire(served, "other") == NULL);
    end();
    cache_destroy(results);
}

TEST(a_full_queue_takes_all_or_nothing)
{
    begin(1, TEXTS - 1, NULL);
    batch_text all[TEXTS];
    float logits[TEXTS * 5];
    fill(all, logits);
    CHECK_STATUS(FINCH_E_BUSY, score(all, TEXTS, clock_seconds() + 60, true, &err), &err);
    CHECK_EQUAL(0, batcher_waiting(b));
    CHECK_EQUAL(TEXTS, atomic_load(&figures->rejected));
    CHECK_OK(score(all, TEXTS - 1, clock_seconds() + 60, true, &err), &err);
    end();
}

TEST(late_texts_are_not_computed)
{
    begin(2, 100, NULL);
    batch_text all[TEXTS];
    float logits[TEXTS * 5];
    fill(all, logits);
    CHECK_OK(score(all, TEXTS, clock_seconds() - 1, true, &err), &err);
    for (size_t i = 0; i < TEXTS; i++) CHECK_EQUAL(TEXT_LATE, all[i].outcome);
    CHECK_EQUAL(TEXTS, atomic_load(&figures->dropped));
    CHECK_EQUAL(0, atomic_load(&figures->texts));
    end();
}

/* Two threads on one core can only wait for each other. */
TEST(a_text_is_not_shared_where_that_does_not_pay)
{
    enum { ALONE = 200, SHARED_MOST = 8 };
    cpu_set_t before, one;
    CHECK_EQUAL(0, sched_getaffinity(0, sizeof before, &before));
    CPU_ZERO(&one);
    for (size_t cpu = 0; cpu < CPU_SETSIZE && CPU_COUNT(&one) == 0; cpu++)
        if (CPU_ISSET(cpu, &before)) CPU_SET(cpu, &one);
    CHECK_EQUAL(0, sched_setaffinity(0, sizeof one, &one)); /* threads that are started from here on have it too */
    begin(2, 100, NULL);
    for (size_t i = 0; i < ALONE; i++) {
        batch_text text = {.text = {texts[2], strlen(texts[2])}, .logits = (float[5]){0}};
        CHECK_OK(score(&text, 1, clock_seconds() + 60, true, &err), &err);
        CHECK(memcmp(text.logits, expected + 2 * 5, 5 * sizeof(float)) == 0);
        nanosleep(&(struct timespec){.tv_nsec = 1000000},
                  NULL); /* both threads wait again, so that the next may be shared */
    }
    CHECK_EQUAL(ALONE, atomic_load(&figures->texts));
    CHECK(atomic_load(&figures->shared) > 0);
    CHECK(atomic_load(&figures->shared) <= SHARED_MOST);
    end();
    CHECK_EQUAL(0, sched_setaffinity(0, sizeof before, &before));
}

TEST(after_the_stop_nothing_is_taken)
{
    begin(2, 100, NULL);
    batch_text all[TEXTS];
    float logits[TEXTS * 5];
    batcher_stop(b);
    fill(all, logits);
    CHECK_STATUS(FINCH_E_BUSY, score(all, TEXTS, clock_seconds() + 60, true, &err), &err);
    end();
}
