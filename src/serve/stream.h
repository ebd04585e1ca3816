/* Server-sent events: GET /api/v1/stream. While somebody listens, a thread asks the store for what is new four times a second, or
 * where the store tells what moves when it is woken, and keeps the last STREAM_KEPT events in memory; each listener reads from there at its own pace. A listener that comes back with
 * Last-Event-ID first gets what it missed, from memory or from the store; where the store has forgotten some of it, an event
 * "gap" says so. A comment every five seconds tells who has left, and keeps proxies from closing the connection. */
#ifndef FINCH_SERVE_STREAM_H
#define FINCH_SERVE_STREAM_H

#include "serve/metrics.h"
#include "serve/request.h"
#include "serve/route.h"
#include "store/pool.h"

typedef struct stream stream;

enum { STREAM_KEPT = 4096, STREAM_LISTENERS_MOST = 1024 };

/* told is borrowed: whether stream_wake is called when something is new. */
finch_status stream_create(store_pool *pool, metrics *figures, const atomic_bool *told, stream **out, finch_error *err);
void stream_wake(stream *s);
/* Ends all listeners' streams; no more are taken. */
void stream_stop(stream *s);
void stream_destroy(stream *s); /* NULL is legal; after the HTTP threads */

#endif
