/* The deadlines of connections: a thread looks twice a second and shuts those whose client took too long. */
#ifndef FINCH_SERVE_WATCH_H
#define FINCH_SERVE_WATCH_H

#include "base/status.h"

#include <stdatomic.h>

/* Of one connection. deadline is in clock_seconds; 0: none. */
typedef struct connection_watch {
    struct connection_watch *next, *previous;
    int descriptor;
    _Atomic double deadline;
} connection_watch;

typedef struct watch watch;

/* tick is called twice a second too. */
finch_status watch_create(void (*tick)(void *context), void *context, atomic_uint_fast64_t *n_cut, watch **out,
                          finch_error *err);
void watch_destroy(watch *w); /* ends the thread; NULL is legal */
/* NULL where memory is short. */
connection_watch *watch_add(watch *w, int descriptor, double deadline);
void watch_remove(watch *w, connection_watch *c);
static inline void watch_set(connection_watch *c, double deadline)
{
    if (c != NULL) atomic_store_explicit(&c->deadline, deadline, memory_order_relaxed);
}

#endif
