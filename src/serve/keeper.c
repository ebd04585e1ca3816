#include "serve/keeper.h"

#include "base/clock.h"
#include "base/mem.h"
#include "serve/beat.h"
#include "serve/journal.h"
#include "store/pool.h"
#include "store/registry.h"

#include <stdio.h>

#define KEEPER_PAUSE_SECONDS 1.0
#define KEEPER_SILENCE_SECONDS 5.0
#define KEEPER_TOLD_SECONDS 15.0 /* between two looks at the registry while the store tells what moves */

struct keeper {
    beat *rounds;
    serve *server;
    int64_t revision; /* of the registry when it was looked at; -1: never; the thread's own */
    double looked;    /* when that was */
    atomic_bool woken;
};

static void tell_not_loaded(const keeper *k, const char *name, const finch_error *err)
{
    journal_event(k->server->journal, "error", "model_not_loaded",
                  json_pack("{s:s, s:s}", "model", name, "reason", err->message));
}

/* The version in production takes the place of the one that is served. */
static finch_status follow_production(const keeper *k, store *from, const model_slot *slot, int64_t *number,
                                      finch_error *err)
{
    registry_version v = {0};
    bool found = true;
    finch_status st = registry_find(from, slot->name, &v, err);
    *number = v.number;
    if (st == FINCH_OK && v.number != slot->number) st = serve_load_registered(k->server, slot->name, &found, err);
    registry_version_free(&v);
    return st;
}

/* What is in the stage shadow runs beside it, unless it is the same version. */
static finch_status follow_shadow(const keeper *k, store *from, const model_slot *slot, int64_t production, finch_error *err)
{
    char reference[MODEL_NAME_BYTES + sizeof "@shadow"];
    registry_version v = {0};
    models *m = k->server->models;
    model_slot *shadow = models_acquire_shadow(m, slot->name);
    int64_t number = shadow != NULL ? shadow->number : 0;
    model_release(shadow);
    snprintf(reference, sizeof reference, "%s@shadow", slot->name);
    finch_status st = registry_find(from, reference, &v, err);
    if (st == FINCH_E_NOT_FOUND || (st == FINCH_OK && v.number == production)) {
        models_drop_shadow(m, slot->name);
        st = FINCH_OK;
    } else if (st == FINCH_OK && v.number != number) {
        st = serve_load_shadow(k->server, &v, err);
    }
    registry_version_free(&v);
    return st;
}

/* Names that follow the registry. A version that can not be loaded leaves the old one in place, and is told of once for each change
 * of the registry. */
static void follow(keeper *k, store *from)
{
    for (size_t i = 0;; i++) {
        finch_error err = {0};
        int64_t production = 0;
        model_slot *slot = models_at(k->server->models, i);
        if (slot == NULL) return;
        if (slot->follows && follow_production(k, from, slot, &production, &err) != FINCH_OK)
            tell_not_loaded(k, slot->name, &err);
        if (slot->follows && follow_shadow(k, from, slot, production, &err) != FINCH_OK)
            tell_not_loaded(k, slot->name, &err);
        model_release(slot);
    }
}

bool serve_store_reachable(serve *s)
{
    return s->pool != NULL && clock_seconds() - atomic_load(&s->store_seen) < KEEPER_SILENCE_SECONDS;
}

/* False where the store could not be asked. */
static bool look_at_registry(keeper *k)
{
    finch_error err;
    store *from = NULL;
    int64_t revision = k->revision;
    if (store_pool_borrow(k->server->pool, &from, &err) != FINCH_OK) return false;
    bool asked = registry_revision(from, &revision, &err) == FINCH_OK;
    if (asked && revision != k->revision) {
        follow(k, from);
        k->revision = revision;
    }
    store_pool_give(k->server->pool, from);
    return asked;
}

static void one_round(beat *self, void *context)
{
    keeper *k = context;
    serve *s = k->server;
    finch_error err;
    (void)self;
    bool written = store_pool_ready(s->pool, &err) == FINCH_OK;
    double now = clock_seconds();
    atomic_store(&s->store_seen, written ? now : 0.0);
    if (!atomic_load(&s->ready)) return;
    bool woken = atomic_exchange(&k->woken, false);
    if (!woken && atomic_load(&s->told) && now - k->looked < KEEPER_TOLD_SECONDS) return;
    if (look_at_registry(k)) k->looked = now;
    else atomic_store(&k->woken, true);
}

void keeper_wake(keeper *k)
{
    if (k == NULL) return;
    atomic_store(&k->woken, true);
    beat_wake(k->rounds);
}

finch_status keeper_create(serve *s, keeper **out, finch_error *err)
{
    keeper *k;
    *out = NULL;
    FINCH_TRY(MEM_NEW(&k, 1, err));
    k->server = s;
    k->revision = -1;
    k->looked = -KEEPER_TOLD_SECONDS;
    atomic_store(&s->store_seen, clock_seconds()); /* the pool has just opened one */
    finch_status st = beat_create("the store's state", KEEPER_PAUSE_SECONDS, one_round, k, &k->rounds, err);
    if (st == FINCH_OK) *out = k;
    else mem_free(k);
    return st;
}

void keeper_destroy(keeper *k)
{
    if (k == NULL) return;
    beat_destroy(k->rounds);
    mem_free(k);
}
