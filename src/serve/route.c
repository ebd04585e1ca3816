#include "serve/handlers.h"

#include <stdio.h>
#include <string.h>

#define API "/api/v1"

/* clang-format off */
const route routes[] = {
    {"GET", "/health", SCOPE_OPEN, ROUTE_ENVELOPE, "health", "operations", "whether the process lives",
     NULL, "Health", NULL, NULL, handle_health},
    {"GET", "/ready", SCOPE_OPEN, ROUTE_ENVELOPE, "ready", "operations", "whether it can answer: models loaded, store reachable",
     NULL, "Ready", NULL, NULL, handle_ready},
    {"GET", "/metrics", SCOPE_READ, ROUTE_FILE, "metrics", "operations", "figures in Prometheus' text format",
     NULL, NULL, "text/plain; version=0.0.4; charset=utf-8", NULL, handle_metrics},
    {"GET", "/openapi.json", SCOPE_OPEN, ROUTE_PLAIN, "openapi", "documentation", "this document",
     NULL, "Any", NULL, NULL, handle_openapi},
    {"GET", "/docs", SCOPE_OPEN, ROUTE_FILE, "docs", "documentation", "the interactive documentation",
     NULL, NULL, "text/html; charset=utf-8", NULL, handle_docs},
    {"GET", "/docs/docs.js", SCOPE_OPEN, ROUTE_FILE, "docsScript", "documentation", "its script",
     NULL, NULL, "text/javascript; charset=utf-8", NULL, handle_docs_script},
    {"GET", "/docs/docs.css", SCOPE_OPEN, ROUTE_FILE, "docsStyle", "documentation", "its style",
     NULL, NULL, "text/css; charset=utf-8", NULL, handle_docs_style},
    {"GET", "/", SCOPE_OPEN, ROUTE_FILE, "root", "documentation", "the first page",
     NULL, NULL, "text/html; charset=utf-8", NULL, handle_root},
    {"POST", API "/predict", SCOPE_PREDICT, ROUTE_ENVELOPE, "predict", "predictions", "the sentiment of one text or of many",
     "PredictRequest", "PredictData", NULL, NULL, handle_predict},
    {"POST", "/predict", SCOPE_PREDICT, ROUTE_TEI, "teiPredict", "text-embeddings-inference", "the same in text-embeddings-inference's format",
     "TeiRequest", "TeiPredictions", NULL, NULL, handle_tei_predict},
    {"POST", "/", SCOPE_PREDICT, ROUTE_TEI, "teiRoot", "text-embeddings-inference", "the same as POST /predict, where its clients post to the server's address",
     "TeiRequest", "TeiPredictions", NULL, NULL, handle_tei_predict},
    {"GET", "/info", SCOPE_READ, ROUTE_TEI, "teiInfo", "text-embeddings-inference", "the default model and the limits, in text-embeddings-inference's format",
     NULL, "TeiInfo", NULL, NULL, handle_tei_info},
};
/* clang-format on */

size_t route_count(void) { return sizeof routes / sizeof routes[0]; }

/* Segment by segment; {id} takes any that is not empty. */
static bool path_fits(const char *pattern, const uri *u, const char **arguments)
{
    size_t n_arguments = 0, at = 0;
    if (strcmp(pattern, "/") == 0) return u->n_segments == 0;
    for (const char *p = pattern; *p == '/'; at++) {
        size_t n = strcspn(p + 1, "/");
        if (at == u->n_segments) return false;
        const char *segment = u->segments[at];
        if (p[1] == '{') {
            if (segment[0] == '\0') return false;
            arguments[n_arguments++] = segment;
        } else if (strlen(segment) != n || memcmp(segment, p + 1, n) != 0) {
            return false;
        }
        p += 1 + n;
    }
    return at == u->n_segments;
}

route_match route_find(request *r, const char *method)
{
    route_match match = ROUTE_NO_PATH;
    for (size_t i = 0; i < route_count(); i++) {
        if (!path_fits(routes[i].path, &r->target, r->arguments)) continue;
        if (strcmp(routes[i].method, method) == 0) {
            r->route = &routes[i];
            r->route_index = i;
            return ROUTE_FOUND;
        }
        match = ROUTE_NO_METHOD;
    }
    return match;
}

void route_allowed(const request *r, char *out, size_t size)
{
    const char *arguments[REQUEST_ARGUMENTS_MAX];
    size_t used = 0;
    out[0] = '\0';
    for (size_t i = 0; i < route_count(); i++) {
        if (!path_fits(routes[i].path, &r->target, arguments)) continue;
        int n = snprintf(out + used, size - used, "%s%s, ", strcmp(routes[i].method, "GET") == 0 ? "GET, " : "",
                         strcmp(routes[i].method, "GET") == 0 ? "HEAD" : routes[i].method);
        if (n > 0 && (size_t)n < size - used) used += (size_t)n;
    }
    if (used > 0 && size - used > sizeof "OPTIONS") memcpy(out + used, "OPTIONS", sizeof "OPTIONS");
}
