/* What happened, in one order for all who share the store: predictions kept, progress of jobs, alerts, promotions.
 *
 * Ids come from one counter that is held until its transaction ends: an id that can be seen has no smaller one still to
 * come, so "everything after id N" (Last-Event-ID) never misses one. Predictions take their ids from the same counter and
 * are not written twice: events_after reads them from the history.
 * Events are dropped after EVENTS_KEPT_MS or when there are EVENTS_KEPT newer ones; predictions as the history says. */
#ifndef FINCH_STORE_EVENTS_H
#define FINCH_STORE_EVENTS_H

#include "base/json.h"
#include "store/store.h"

enum { EVENTS_KEPT = 10000, EVENTS_KEPT_MS = 24 * 3600 * 1000 };

/* n ids, the first of them in *first. Only inside a transaction (store_transaction). */
finch_status events_take_ids(store *s, int64_t n, int64_t *first, finch_error *err);

/* kind: "job", "alert", "model", ... data: borrowed JSON object. Inside a transaction, or as one of its own. */
finch_status events_add(store *s, const char *kind, const json_t *data, finch_error *err);

/* The id of the newest event or prediction; 0: none yet. */
finch_status events_last(store *s, int64_t *out, finch_error *err);
/* The largest id that is no longer there: a client that has seen less than this has missed some. */
finch_status events_forgotten(store *s, int64_t *out, finch_error *err);

typedef struct event {
    int64_t id, time_ms;
    const char *kind;       /* "prediction" for those of the history */
    finch_text data;        /* a JSON object, borrowed */
    finch_text tickers;     /* of a prediction: "AAPL TSLA"; empty otherwise */
} event;

typedef finch_status (*event_fn)(void *context, const event *e, finch_error *err);

/* Events and predictions with an id above after, in order, at most limit. visit must not use s. */
finch_status events_after(store *s, int64_t after, size_t limit, event_fn visit, void *context, finch_error *err);

#endif
