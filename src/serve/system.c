/* /api/v1/system, the log, keys and sessions. */
#include "base/clock.h"
#include "base/process.h"
#include "serve/gate.h"
#include "serve/batcher.h"
#include "serve/desk.h"
#include "serve/handlers.h"
#include "serve/journal.h"
#include "serve/reply.h"
#include "serve/when.h"
#include "store/values.h"

#include <stdlib.h>
#include <string.h>

/* ---- /system --------------------------------------------------------------------------------------------------------- */

static json_t *limits_json(const serve_options *o)
{
    json_t *all = json_object();
#define LIMIT_JSON(field, flag, preset, least, most, help) \
    json_object_set_new(all, #field, json_pack("{s:I, s:s}", "value", (json_int_t)o->limits.field, "flag", "--" flag));
    SERVE_LIMIT_LIST(LIMIT_JSON)
#undef LIMIT_JSON
    return all;
}

handler_answer handle_system(request *r)
{
    serve *s = r->server;
    const serve_options *o = &s->options;
    metrics *m = s->metrics;
    metrics_latency l = metrics_latencies(m);
    bool used = s->pool != NULL;
    json_t *requests = json_pack("{s:I, s:I, s:I, s:I}", "total", (json_int_t)l.n, "errors", (json_int_t)l.n_errors,
                                 "in_flight", (json_int_t)atomic_load(&m->in_flight), "connections",
                                 (json_int_t)atomic_load(&m->connections));
    json_t *queue = json_pack("{s:I, s:I, s:I, s:I, s:I}", "texts", (json_int_t)batcher_waiting(s->batcher), "most",
                              (json_int_t)o->limits.max_queue, "scored", (json_int_t)atomic_load(&m->texts), "dropped",
                              (json_int_t)atomic_load(&m->dropped), "rejected", (json_int_t)atomic_load(&m->rejected));
    json_t *cached = json_pack("{s:I, s:I, s:I, s:I}", "entries", (json_int_t)(s->cache != NULL ? cache_used(s->cache) : 0),
                               "most", (json_int_t)o->cache_entries, "hits", (json_int_t)atomic_load(&m->cache_hits),
                               "misses", (json_int_t)atomic_load(&m->cache_misses));
    json_t *kept = json_pack("{s:b, s:b, s:s?, s:I, s:I}", "used", (int)used, "reachable", (int)serve_store_reachable(s),
                             "place", used ? store_pool_place(s->pool) : NULL, "history_written",
                             (json_int_t)atomic_load(&m->history_written), "history_lost",
                             (json_int_t)atomic_load(&m->history_lost));
    reply_data(r, 200,
               json_pack("{s:s, s:f, s:o, s:f, s:{s:I, s:I}, s:o, s:{s:f, s:f, s:f}, s:o, s:o, s:o, s:o, s:o, s:b}",
                         "version", finch_version(), "uptime_seconds", clock_seconds() - s->began, "started",
                         values_time(s->began_unix * 1000), "memory_bytes", (double)process_resident_bytes(), "threads",
                         "http", (json_int_t)o->http_threads, "compute", (json_int_t)o->compute_threads, "requests",
                         requests, "latency_ms", "p50", l.p50 * 1e3, "p95", l.p95 * 1e3, "p99", l.p99 * 1e3, "queue", queue,
                         "cache", cached, "models", served_models_json(s), "store", kept, "limits", limits_json(o), "keys",
                         (int)gate_required(s->gate)));
    return HANDLER_ANSWERED;
}

/* ---- /log ------------------------------------------------------------------------------------------------------------ */

handler_answer handle_log(request *r)
{
    const char *limit = uri_get(&r->target, "limit"), *after = uri_get(&r->target, "after");
    uint64_t last;
    json_t *lines = journal_tail(r->server->journal, after != NULL ? strtoull(after, NULL, 10) : 0,
                                 limit != NULL ? (size_t)strtoul(limit, NULL, 10) : 100, &last);
    reply_data(r, 200, json_pack("{s:o, s:I}", "lines", lines, "last", (json_int_t)last));
    return HANDLER_ANSWERED;
}

/* ---- /keys ----------------------------------------------------------------------------------------------------------- */

static finch_status list_keys(request *r, store *s, finch_error *err)
{
    json_t *list;
    FINCH_TRY(keys_list(s, &list, err));
    reply_data(r, 200, json_pack("{s:o}", "keys", list));
    return FINCH_OK;
}

handler_answer handle_keys(request *r) { return desk_run(r, list_keys); }

static finch_status read_key(const json_t *body, keys_new *out, finch_error *err)
{
    const json_t *scopes = json_object_get(body, "scopes"), *scope;
    const char *expires = json_string_value(json_object_get(body, "expires"));
    size_t i;
    *out = (keys_new){.name = json_string_value(json_object_get(body, "name")),
                      .requests_a_minute = json_integer_value(json_object_get(body, "requests_a_minute")),
                      .store_predictions = json_is_true(json_object_get(body, "store_predictions"))};
    json_array_foreach(scopes, i, scope)
    {
        unsigned bits;
        FINCH_TRY(keys_scopes_parse(json_string_value(scope), &bits, err));
        out->scopes |= bits;
    }
    if (expires != NULL && !when_parse(expires, &out->expires_ms))
        return finch_fail(err, FINCH_E_DATA, "expires is no time: write 2027-01-31 or 2027-01-31T12:00:00Z");
    return FINCH_OK;
}

static finch_status create_key(request *r, store *s, finch_error *err)
{
    char text[KEYS_TEXT_BYTES], id[KEYS_ID_BYTES] = "";
    keys_new spec;
    FINCH_TRY(read_key(r->json, &spec, err));
    finch_status st = keys_create(s, &spec, text, err);
    if (st == FINCH_E_USAGE) return finch_fail(err, FINCH_E_DATA, "%s", err->message);
    FINCH_TRY(st);
    FINCH_TRY(keys_cache_refresh(gate_keys(r->server->gate), err));
    memcpy(id, text + strlen("finch_"), KEYS_ID_BYTES - 1);
    reply_data(r, 200, json_pack("{s:s, s:s}", "key", text, "id", id));
    return FINCH_OK;
}

handler_answer handle_key_create(request *r) { return desk_run(r, create_key); }

static finch_status revoke_key(request *r, store *s, finch_error *err)
{
    FINCH_TRY(keys_revoke(s, r->arguments[0], err));
    FINCH_TRY(keys_cache_refresh(gate_keys(r->server->gate), err));
    reply_data(r, 200, json_pack("{s:s, s:b}", "id", r->arguments[0], "revoked", 1));
    return FINCH_OK;
}

handler_answer handle_key_revoke(request *r) { return desk_run(r, revoke_key); }

/* ---- /session -------------------------------------------------------------------------------------------------------- */

static void set_cookie(request *r, const char *id, const char *more)
{
    request_add_header(r, "Set-Cookie", "%s=%s; Path=/; HttpOnly; SameSite=Strict%s%s", GATE_COOKIE, id,
                       r->server->options.tls_key != NULL ? "; Secure" : "", more);
}

handler_answer handle_session_open(request *r)
{
    char id[GATE_SESSION_BYTES];
    finch_error err = {0};
    const char *bearer = request_field(r, MHD_HTTP_HEADER_AUTHORIZATION), *key = request_field(r, "X-Api-Key");
    if (bearer != NULL && strncasecmp(bearer, "Bearer ", 7) == 0) key = bearer + 7;
    if (r->caller[0] != '\0' && key != NULL) {
        finch_status st = gate_session_open(r->server->gate, key, id, &err);
        if (st != FINCH_OK) {
            reply_failure(r, st, &err);
            return HANDLER_ANSWERED;
        }
        set_cookie(r, id, "");
    }
    reply_data(r, 200, json_pack("{s:b, s:s?}", "signed_in", 1, "key", r->caller[0] != '\0' ? r->caller : NULL));
    return HANDLER_ANSWERED;
}

handler_answer handle_session_close(request *r)
{
    char id[GATE_SESSION_BYTES];
    if (gate_session_cookie(r, id)) gate_session_close(r->server->gate, id);
    set_cookie(r, "", "; Max-Age=0");
    reply_data(r, 200, json_pack("{s:b, s:n}", "signed_in", 0, "key"));
    return HANDLER_ANSWERED;
}
