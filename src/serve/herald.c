#include "serve/herald.h"

#include "base/mem.h"
#include "serve/beat.h"
#include "serve/gate.h"
#include "serve/journal.h"
#include "serve/keeper.h"
#include "serve/metrics.h"
#include "serve/stream.h"

#define HERALD_PAUSE_SECONDS 0.5 /* before it calls again where nobody answered */

enum { HERALD_WAIT_MS = 250, HERALD_ALL = STORE_EVENTS | STORE_KEYS | STORE_REGISTRY };

struct herald {
    beat *rounds;
    serve *server;
};

static void tell(serve *s, unsigned moved)
{
    if ((moved & STORE_EVENTS) != 0) stream_wake(s->stream);
    if ((moved & STORE_KEYS) != 0) keys_cache_wake(gate_keys(s->gate));
    if ((moved & STORE_REGISTRY) != 0) keeper_wake(s->keeper);
}

/* Until the connection is lost or the server ends. */
static finch_status hear(const herald *h, beat *self, store *from, finch_error *err)
{
    unsigned moved = HERALD_ALL;
    FINCH_TRY(store_listen(from, err));
    atomic_store(&h->server->told, true);
    metrics_add(&h->server->metrics->store_listens, 1);
    finch_status st = FINCH_OK;
    while (st == FINCH_OK && !beat_ended(self)) {
        tell(h->server, moved);
        st = store_wait(from, HERALD_WAIT_MS, &moved, err);
        if (moved != 0) metrics_add(&h->server->metrics->store_notices, 1);
    }
    atomic_store(&h->server->told, false);
    return st;
}

static void one_round(beat *self, void *context)
{
    const herald *h = context;
    store *from = NULL;
    finch_error err;
    if (store_open(h->server->options.state, &from, &err) != FINCH_OK) return; /* the keeper tells of a store that is away */
    if (hear(h, self, from, &err) != FINCH_OK)
        journal_event(h->server->journal, "warning", "store_notices_lost", json_pack("{s:s}", "reason", err.message));
    store_close(from);
}

finch_status herald_create(serve *s, herald **out, finch_error *err)
{
    herald *h;
    *out = NULL;
    FINCH_TRY(MEM_NEW(&h, 1, err));
    h->server = s;
    finch_status st = beat_create("the store's notices", HERALD_PAUSE_SECONDS, one_round, h, &h->rounds, err);
    if (st == FINCH_OK) *out = h;
    else mem_free(h);
    return st;
}

void herald_destroy(herald *h)
{
    if (h == NULL) return;
    beat_destroy(h->rounds);
    mem_free(h);
}
