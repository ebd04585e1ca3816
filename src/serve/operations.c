/* What tells of the server itself: health, readiness, figures, documentation. */
#include "serve/handlers.h"

#include "base/clock.h"
#include "serve/assets.h"
#include "serve/metrics.h"
#include "serve/models.h"
#include "serve/reply.h"
#include "serve/web.h"

handler_answer handle_health(request *r)
{
    reply_data(r, 200,
               json_pack("{s:s, s:s, s:f}", "status", "ok", "version", finch_version(), "uptime_seconds",
                         clock_seconds() - r->server->began));
    return HANDLER_ANSWERED;
}

handler_answer handle_ready(request *r)
{
    serve *s = r->server;
    bool loaded = atomic_load(&s->ready), draining = atomic_load(&s->draining);
    bool kept = s->pool == NULL || serve_store_reachable(s);
    json_t *checks = json_pack("{s:s, s:s, s:s}", "models", loaded ? "ok" : "loading", "server",
                               draining ? "draining" : "ok", "store",
                               s->pool == NULL ? "none"
                               : kept          ? "ok"
                                               : "not reachable");
    if (loaded && !draining && kept) {
        reply_data(r, 200, json_pack("{s:b, s:o}", "ready", 1, "checks", checks));
        return HANDLER_ANSWERED;
    }
    reply_retry_after(r, 1);
    reply_error(r, 503, "not_ready", checks, "%s",
                draining ? "the server is going down"
                : loaded ? "the store can not be reached; predictions go on"
                         : "the models are being loaded");
    return HANDLER_ANSWERED;
}

handler_answer handle_metrics(request *r)
{
    finch_error err = {0};
    finch_status st = metrics_write(r->server, &r->reply, &err);
    r->status = 200;
    r->content_type = r->route->media;
    if (st != FINCH_OK) reply_failure(r, st, &err);
    return HANDLER_ANSWERED;
}

handler_answer handle_openapi(request *r)
{
    reply_static(r, 200, "application/json", r->server->openapi, r->server->openapi_bytes);
    return HANDLER_ANSWERED;
}

static handler_answer answer_asset(request *r, const unsigned char *at, size_t size)
{
    reply_static(r, 200, r->route->media, at, size);
    return HANDLER_ANSWERED;
}

handler_answer handle_docs(request *r) { return answer_asset(r, asset_docs_html, asset_docs_html_bytes); }
handler_answer handle_docs_script(request *r) { return answer_asset(r, asset_docs_js, asset_docs_js_bytes); }
handler_answer handle_docs_style(request *r) { return answer_asset(r, asset_docs_css, asset_docs_css_bytes); }

/* The dashboard's first page where there is one. */
handler_answer handle_root(request *r)
{
    return web_answer(r->server->web, r) ? HANDLER_ANSWERED : answer_asset(r, asset_root_html, asset_root_html_bytes);
}
