/* Work that waits for the store or the disk: threads of their own, so that the HTTP threads never wait. Requests wait in a bounded
 * row; each thread borrows a store from the pool for the request it works on. */
#ifndef FINCH_SERVE_DESK_H
#define FINCH_SERVE_DESK_H

#include "serve/route.h"
#include "store/pool.h"

typedef struct desk desk;

enum { DESK_MOST_WAITING = 256 };

/* pool may be NULL: requests that need the store are then answered 503. */
finch_status desk_create(size_t n_threads, store_pool *pool, desk **out, finch_error *err);
/* What waits is answered 503; later requests too. */
void desk_stop(desk *d);
void desk_destroy(desk *d); /* stops it first; NULL is legal */

/* Answers the request on a thread of the desk. A failed status is answered by reply_failure. */
typedef finch_status (*desk_fn)(request *r, store *s, finch_error *err);
handler_answer desk_run(request *r, desk_fn work);

#endif
