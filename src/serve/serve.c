#include "serve/serve.h"

#include "base/clock.h"
#include "serve/alarm.h"
#include "serve/gate.h"
#include "serve/batcher.h"
#include "serve/batches.h"
#include "serve/chat.h"
#include "serve/desk.h"
#include "serve/herald.h"
#include "serve/http.h"
#include "serve/janitor.h"
#include "serve/journal.h"
#include "serve/keeper.h"
#include "serve/observer.h"
#include "serve/openapi.h"
#include "serve/recorder.h"
#include "serve/stream.h"
#include "serve/web.h"
#include "store/registry.h"

#include <stdio.h>
#include <string.h>

/* The desk's threads, and those of keeper, recorder, stream, batches, alarm, observer and janitor borrow a store each. */
enum { SERVE_DESK_THREADS = 4, SERVE_STORES = 11 };

/* What stands on the store. */
static finch_status open_store(serve *s, finch_error *err)
{
    const serve_options *o = &s->options;
    gate_options rules = {o->has_store, o->state, o->keys_required, o->rate_limit};
    if (o->has_store)
        FINCH_TRY(store_pool_open(&(store_pool_options){.place = o->state, .n_most = SERVE_STORES}, &s->pool, err));
    FINCH_TRY(gate_create(&rules, &s->gate, err));
    FINCH_TRY(desk_create(SERVE_DESK_THREADS, s->pool, &s->desk, err));
    if (!o->has_store) return FINCH_OK;
    FINCH_TRY(keeper_create(s, &s->keeper, err));
    FINCH_TRY(recorder_create(s->pool, s->metrics, &s->recorder, err));
    FINCH_TRY(stream_create(s->pool, s->metrics, &s->told, &s->stream, err));
    FINCH_TRY(observer_create(s, &s->observer, err));
    if (o->alerts_seconds > 0) FINCH_TRY(alarm_create(s, o->alerts_seconds, &s->alarm, err));
    FINCH_TRY(batches_create(s, &s->batches, err));
    FINCH_TRY(janitor_create(s, &s->janitor, err));
    return store_pool_is_shared(s->pool) ? herald_create(s, &s->herald, err) : FINCH_OK;
}

finch_status serve_create(const serve_options *options, serve **out, finch_error *err)
{
    serve *s;
    finch_status st;
    *out = NULL;
    FINCH_TRY(MEM_NEW(&s, 1, err));
    s->options = *options;
    s->key = siphash_key_make();
    s->began = clock_seconds();
    s->began_unix = clock_unix();
    FINCH_GO(done, st, metrics_create(&s->metrics, err));
    FINCH_GO(done, st, journal_create(options->log_descriptor, &s->journal, err));
    FINCH_GO(done, st, schema_set_create(&options->limits, &s->schemas, err));
    FINCH_GO(done, st, openapi_write(s->schemas, true, &s->openapi, &s->openapi_bytes, err));
    FINCH_GO(done, st, models_create(&s->models, err));
    if (options->web != NULL) FINCH_GO(done, st, web_open(options->web, &s->web, err));
    FINCH_GO(done, st, open_store(s, err));
    if (options->cache_entries > 0) FINCH_GO(done, st, cache_create(options->cache_entries, s->key, &s->cache, err));
    FINCH_GO(done, st,
             batcher_create(options->compute_threads, options->batch_tokens, options->limits.max_queue, s->cache, s->metrics,
                            &s->batcher, err));
    FINCH_GO(done, st, chat_create(s, &s->chat, err));
    st = http_create(s, &s->http, err);
done:
    if (st == FINCH_OK) *out = s;
    else serve_destroy(s);
    return st;
}

finch_status serve_start(serve *s, finch_error *err) { return http_start(s->http, err); }

uint16_t serve_port(const serve *s) { return http_port(s->http); }

finch_status serve_load_spec(serve *s, const models_new *spec, finch_error *err)
{
    FINCH_TRY(models_load(s->models, spec, err));
    metrics_add(&s->metrics->reloads, 1);
    model_slot *slot = models_acquire(s->models, spec->name);
    if (slot != NULL)
        journal_event(s->journal, "info", "model_loaded",
                      json_pack("{s:s, s:s}", "model", slot->title, "folder", slot->folder));
    model_release(slot);
    return FINCH_OK;
}

finch_status serve_load(serve *s, const char *name, const char *version, const char *folder, model_compute compute,
                        finch_error *err)
{
    models_new spec = {
        .name = name, .version = version, .folder = folder, .compute = compute, .max_tokens = s->options.max_tokens};
    return serve_load_spec(s, &spec, err);
}

enum { NUMBER_BYTES = 24 };

static models_new spec_of(const serve *s, const registry_version *v, bool follows, char number[NUMBER_BYTES])
{
    snprintf(number, NUMBER_BYTES, "%lld", (long long)v->number);
    return (models_new){.name = v->name.at,
                        .version = number,
                        .folder = v->folder.at,
                        .compute = s->options.compute,
                        .max_tokens = s->options.max_tokens,
                        .number = v->number,
                        .follows = follows};
}

static finch_status load_version(serve *s, const char *reference, const registry_version *v, finch_error *err)
{
    char number[NUMBER_BYTES];
    models_new spec = spec_of(s, v, strchr(reference, '@') == NULL, number);
    return serve_load_spec(s, &spec, err);
}

finch_status serve_load_shadow(serve *s, const registry_version *v, finch_error *err)
{
    char number[NUMBER_BYTES];
    models_new spec = spec_of(s, v, false, number);
    FINCH_TRY(models_load_shadow(s->models, &spec, err));
    journal_event(s->journal, "info", "shadow_loaded",
                  json_pack("{s:s, s:s, s:s}", "model", spec.name, "version", number, "folder", spec.folder));
    return FINCH_OK;
}

finch_status serve_load_registered(serve *s, const char *reference, bool *found, finch_error *err)
{
    store *from = NULL;
    registry_version v = {0};
    finch_error why;
    *found = false;
    if (s->pool == NULL) return FINCH_OK;
    FINCH_TRY(store_pool_borrow(s->pool, &from, err));
    finch_status st = registry_find(from, reference, &v, &why);
    store_pool_give(s->pool, from);
    *found = st == FINCH_OK;
    if (*found) st = load_version(s, reference, &v, err);
    else if (st == FINCH_E_NOT_FOUND || st == FINCH_E_USAGE) st = FINCH_OK;
    else if (err != NULL) *err = why;
    registry_version_free(&v);
    return st;
}

finch_status serve_set_default(serve *s, const char *name, finch_error *err)
{
    return models_set_default(s->models, name, err);
}

bool serve_keys_required(const serve *s) { return gate_required(s->gate); }

void serve_set_ready(serve *s) { atomic_store(&s->ready, true); }

static void wait_for_requests(serve *s, double seconds)
{
    double until = clock_seconds() + seconds;
    while (atomic_load_explicit(&s->metrics->in_flight, memory_order_acquire) > 0 && clock_seconds() < until)
        clock_sleep(0.005);
}

void serve_drain(serve *s)
{
    atomic_store(&s->draining, true);
    journal_event(s->journal, "info", "draining", NULL);
    http_quiesce(s->http);
    stream_stop(s->stream);
    wait_for_requests(s, (double)s->options.limits.drain_seconds);
}

void serve_destroy(serve *s)
{
    if (s == NULL) return;
    atomic_store(&s->draining, true);
    /* What still waits is answered with 503 here, so that no connection is left suspended. */
    stream_stop(s->stream);
    if (s->batcher != NULL) batcher_stop(s->batcher);
    chat_stop(s->chat);
    if (s->desk != NULL) desk_stop(s->desk);
    herald_destroy(s->herald);
    janitor_destroy(s->janitor);
    batches_destroy(s->batches);
    alarm_destroy(s->alarm);
    http_destroy(s->http);
    observer_destroy(s->observer);
    recorder_destroy(s->recorder);
    stream_destroy(s->stream);
    keeper_destroy(s->keeper);
    desk_destroy(s->desk);
    batcher_destroy(s->batcher);
    chat_destroy(s->chat);
    gate_destroy(s->gate);
    store_pool_close(s->pool);
    cache_destroy(s->cache);
    models_destroy(s->models);
    web_close(s->web);
    schema_set_destroy(s->schemas);
    mem_free(s->openapi);
    journal_destroy(s->journal);
    metrics_destroy(s->metrics);
    mem_free(s);
}
