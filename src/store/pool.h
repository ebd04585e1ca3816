/* Stores for many threads: each borrows one, uses it alone, and gives it back.
 *
 * Opened as they are wanted, at most n_most; who comes when all are out waits. What was opened stays open.
 * A store from the pool gives up after patience_seconds where its database is away (store_set_patience).
 * Threads: any. */
#ifndef FINCH_STORE_POOL_H
#define FINCH_STORE_POOL_H

#include "store/store.h"

typedef struct store_pool store_pool;

typedef struct store_pool_options {
    const char *place;       /* as store_open; copied */
    size_t n_most;           /* stores at once; 0: 4 */
    double patience_seconds; /* 0: 2 */
} store_pool_options;

/* Opens one store at once, so that a wrong place is known at the beginning. */
finch_status store_pool_open(const store_pool_options *options, store_pool **out, finch_error *err);
/* All stores must have been given back. */
void store_pool_close(store_pool *pool);

/* Errors: store_open's, where another store had to be opened. */
finch_status store_pool_borrow(store_pool *pool, store **out, finch_error *err);
void store_pool_give(store_pool *pool, store *s); /* NULL is legal */

/* Whether the store can be read and written now: a row is written and committed. For /ready. */
finch_status store_pool_ready(store_pool *pool, finch_error *err);

/* As store_is_shared. */
bool store_pool_is_shared(const store_pool *pool);

/* For messages, as store_place. */
const char *store_pool_place(const store_pool *pool);

#endif
