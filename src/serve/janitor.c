#include "serve/janitor.h"

#include "base/clock.h"
#include "base/mem.h"
#include "serve/beat.h"
#include "serve/journal.h"
#include "store/history.h"
#include "store/pool.h"

#define JANITOR_PAUSE_SECONDS 3600.0
#define DAY_MS INT64_C(86400000)

struct janitor {
    beat *rounds;
    serve *server;
};

/* Between two steps others write. */
static void rest(void) { clock_sleep(0.02); }

static finch_status tend(const janitor *j, beat *self, uint64_t *n_gone, finch_error *err)
{
    store *s = NULL;
    int64_t keep_ms = (int64_t)j->server->options.history_days * DAY_MS;
    bool more = keep_ms > 0; /* 0: for ever */
    FINCH_TRY(store_pool_borrow(j->server->pool, &s, err));
    finch_status st = history_tend(s, err);
    while (st == FINCH_OK && more && !beat_ended(self)) {
        uint64_t n = 0;
        st = history_expire(s, keep_ms, &n, &more, err);
        *n_gone += n;
        if (more) rest();
    }
    store_pool_give(j->server->pool, s);
    return st;
}

/* A store that is away is asked again an hour later: nothing waits for this. */
static void one_round(beat *self, void *context)
{
    const janitor *j = context;
    uint64_t n_gone = 0;
    finch_error err;
    finch_status st = tend(j, self, &n_gone, &err);
    if (n_gone > 0)
        journal_event(j->server->journal, "info", "history_pruned", json_pack("{s:I}", "rows", (json_int_t)n_gone));
    if (st != FINCH_OK)
        journal_event(j->server->journal, "error", "history_not_tended", json_pack("{s:s}", "reason", err.message));
}

finch_status janitor_create(serve *s, janitor **out, finch_error *err)
{
    janitor *j;
    *out = NULL;
    FINCH_TRY(MEM_NEW(&j, 1, err));
    j->server = s;
    finch_status st = beat_create("the history", JANITOR_PAUSE_SECONDS, one_round, j, &j->rounds, err);
    if (st == FINCH_OK) *out = j;
    else mem_free(j);
    return st;
}

void janitor_destroy(janitor *j)
{
    if (j == NULL) return;
    beat_destroy(j->rounds);
    mem_free(j);
}
