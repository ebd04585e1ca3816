/* What the files of this room share: the server itself. Others see only serve.h. */
#ifndef FINCH_SERVE_SERVER_H
#define FINCH_SERVE_SERVER_H

#include "base/siphash.h"
#include "serve/serve.h"

#include <pthread.h>
#include <stdatomic.h>

struct MHD_Daemon;

struct serve {
    serve_options options;
    struct http *http;
    struct metrics *metrics;
    struct journal *journal;
    struct models *models;
    struct batcher *batcher;
    struct chat *chat;
    struct cache *cache;       /* NULL: none */
    struct schema_set *schemas;
    struct store_pool *pool;   /* NULL: no store; then none of the next ones but gate and desk */
    struct gate *gate;
    struct desk *desk;
    struct recorder *recorder;
    struct stream *stream;
    struct batches *batches;
    struct web *web;           /* NULL: no dashboard */
    struct observer *observer; /* what models see: drift, shadows */
    struct alarm_clock *alarm; /* NULL: alerts are not looked at here */
    struct keeper *keeper;     /* looks after the store and the models that are promoted */
    struct herald *herald;     /* NULL: the store does not tell what moves */
    struct janitor *janitor;   /* looks after the history */
    char *openapi;             /* the document, and its size */
    size_t openapi_bytes;
    siphash_key key;           /* for request ids and the tables that strangers feed */
    atomic_uint_fast64_t n_ids;
    atomic_bool ready;
    atomic_bool draining;
    atomic_bool told;          /* the store tells what moves: who looks by himself need not look often */
    _Atomic double store_seen; /* clock_seconds when the store was written last; 0: never, or it failed since */
    double began;              /* clock_seconds */
    int64_t began_unix;
};

/* Whether the store could be written a moment ago. A store that hangs is as good as gone. */
bool serve_store_reachable(serve *s);

#endif
