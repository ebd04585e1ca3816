#include "serve/alarm.h"

#include "serve/beat.h"
#include "serve/journal.h"
#include "serve/metrics.h"
#include "store/pool.h"
#include "store/webhook.h"

struct alarm_clock {
    serve *server;
    beat *rounds;
    bool failing; /* told of once */
};

static finch_status look_and_send(alarm_clock *a, beat *self, store *s, finch_error *err)
{
    metrics *m = a->server->metrics;
    size_t n_fired = 0, n_taken = 0, n_sent = 0;
    alerts_counts counts;
    FINCH_TRY(alerts_evaluate(s, store_now_ms(s), &n_fired, err));
    metrics_add(&m->alerts_fired, n_fired);
    do {
        FINCH_TRY(webhook_deliver(s, 0, 1, &n_taken, &n_sent, err));
        metrics_add(&m->alerts_tried, n_taken);
        metrics_add(&m->alerts_sent, n_sent);
    } while (n_taken > 0 && !beat_ended(self));
    FINCH_TRY(alerts_count(s, &counts, err));
    atomic_store(&m->alerts_waiting, counts.waiting);
    atomic_store(&m->alerts_failed, counts.failed);
    atomic_store(&m->alerts_in_doubt, counts.in_doubt);
    return FINCH_OK;
}

static void one_round(beat *self, void *context)
{
    alarm_clock *a = context;
    store *s = NULL;
    finch_error err = {0};
    if (!atomic_load(&a->server->ready)) return;
    finch_status st = store_pool_borrow(a->server->pool, &s, &err);
    if (st == FINCH_OK) st = look_and_send(a, self, s, &err);
    store_pool_give(a->server->pool, s);
    if (st != FINCH_OK && !a->failing)
        journal_event(a->server->journal, "error", "alerts_not_looked_at", json_pack("{s:s}", "reason", err.message));
    a->failing = st != FINCH_OK;
}

finch_status alarm_create(serve *s, double pause_seconds, alarm_clock **out, finch_error *err)
{
    alarm_clock *a;
    *out = NULL;
    FINCH_TRY(MEM_NEW(&a, 1, err));
    a->server = s;
    finch_status st = beat_create("alerts", pause_seconds, one_round, a, &a->rounds, err);
    if (st == FINCH_OK) *out = a;
    else mem_free(a);
    return st;
}

void alarm_destroy(alarm_clock *a)
{
    if (a == NULL) return;
    beat_destroy(a->rounds);
    mem_free(a);
}
