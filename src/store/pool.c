#include "store/pool.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

enum { N_PRESET = 4 };
#define PATIENCE_PRESET 2.0

struct store_pool {
    pthread_mutex_t lock; /* guards idle, n_idle, n_open */
    pthread_cond_t given; /* a store came back, or one that was to be opened was not */
    store **idle;         /* [n_most] */
    size_t n_idle, n_open, n_most;
    double patience_seconds;
    bool shared;
    char *place; /* NULL: the preset */
    str shown;
};

static finch_status open_one(store_pool *pool, store **out, finch_error *err)
{
    FINCH_TRY(store_open(pool->place, out, err));
    store_set_patience(*out, pool->patience_seconds);
    return FINCH_OK;
}

static finch_status fill(store_pool *pool, const store_pool_options *options, finch_error *err)
{
    pool->n_most = options->n_most > 0 ? options->n_most : N_PRESET;
    pool->patience_seconds = options->patience_seconds > 0 ? options->patience_seconds : PATIENCE_PRESET;
    if (options->place != NULL) FINCH_TRY(mem_text(options->place, strlen(options->place), &pool->place, err));
    FINCH_TRY(MEM_NEW(&pool->idle, pool->n_most, err));
    FINCH_TRY(open_one(pool, &pool->idle[0], err));
    pool->n_idle = pool->n_open = 1;
    pool->shared = store_is_shared(pool->idle[0]);
    return str_add_text(&pool->shown, store_place(pool->idle[0]), err);
}

finch_status store_pool_open(const store_pool_options *options, store_pool **out, finch_error *err)
{
    store_pool *pool = NULL;
    *out = NULL;
    FINCH_TRY(MEM_NEW(&pool, 1, err));
    pthread_mutex_init(&pool->lock, NULL);
    pthread_cond_init(&pool->given, NULL);
    finch_status st = fill(pool, options, err);
    if (st == FINCH_OK) *out = pool;
    else store_pool_close(pool);
    return st;
}

void store_pool_close(store_pool *pool)
{
    if (pool == NULL) return;
    for (size_t i = 0; i < pool->n_idle; i++) store_close(pool->idle[i]);
    pthread_cond_destroy(&pool->given);
    pthread_mutex_destroy(&pool->lock);
    mem_free(pool->idle);
    mem_free(pool->place);
    str_free(&pool->shown);
    mem_free(pool);
}

/* An idle store, or NULL where one may be opened. */
static store *wait_for_one(store_pool *pool)
{
    store *s = NULL;
    pthread_mutex_lock(&pool->lock);
    while (pool->n_idle == 0 && pool->n_open == pool->n_most) pthread_cond_wait(&pool->given, &pool->lock);
    if (pool->n_idle > 0) s = pool->idle[--pool->n_idle];
    else pool->n_open++;
    pthread_mutex_unlock(&pool->lock);
    return s;
}

finch_status store_pool_borrow(store_pool *pool, store **out, finch_error *err)
{
    *out = wait_for_one(pool);
    if (*out != NULL) return FINCH_OK;
    finch_status st = open_one(pool, out, err);
    if (st == FINCH_OK) return FINCH_OK;
    pthread_mutex_lock(&pool->lock);
    pool->n_open--;
    pthread_cond_signal(&pool->given);
    pthread_mutex_unlock(&pool->lock);
    return st;
}

void store_pool_give(store_pool *pool, store *s)
{
    if (s == NULL) return;
    pthread_mutex_lock(&pool->lock);
    pool->idle[pool->n_idle++] = s;
    pthread_cond_signal(&pool->given);
    pthread_mutex_unlock(&pool->lock);
}

finch_status store_pool_ready(store_pool *pool, finch_error *err)
{
    static const sql_statement touch = {
        "INSERT INTO store_alive (id, time) VALUES (1, $1) ON CONFLICT (id) DO UPDATE SET time = excluded.time", NULL};
    store *s;
    FINCH_TRY(store_pool_borrow(pool, &s, err));
    sql_value now = sql_integer(store_now_ms(s));
    finch_status st = store_run(s, &touch, &now, 1, NULL, NULL, NULL, err);
    store_pool_give(pool, s);
    return st;
}

bool store_pool_is_shared(const store_pool *pool) { return pool->shared; }

const char *store_pool_place(const store_pool *pool) { return pool->shown.at; }
