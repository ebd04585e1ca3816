#include "serve/dispatch.h"

#include "serve/gate.h"
#include "serve/host.h"
#include "serve/reply.h"
#include "serve/schema.h"
#include "serve/upload.h"
#include "serve/web.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* ---- headers --------------------------------------------------------------------------------------------------------- */

static bool takes_file(const request *r)
{
    return r->route != NULL && r->route->request != NULL && strcmp(r->route->request, "Upload") == 0;
}

void dispatch_body_too_large(request *r)
{
    if (takes_file(r)) {
        reply_limit(r, 413, "upload_too_large", "max_upload_bytes", r->server->options.limits.max_upload_bytes,
                    "max-upload-bytes", "the upload is too large");
        return;
    }
    reply_limit(r, 413, "body_too_large", "max_body_bytes", r->server->options.limits.max_body_bytes, "max-body-bytes",
                "the body is too large");
}

typedef struct header_count {
    const char *name;
    size_t n;
} header_count;

static enum MHD_Result count_header(void *context, enum MHD_ValueKind kind, const char *name, const char *value)
{
    header_count *c = context;
    (void)kind, (void)value;
    if (strcasecmp(name, c->name) == 0) c->n++;
    return MHD_YES;
}

static size_t header_times(const request *r, const char *name)
{
    header_count c = {name, 0};
    MHD_get_connection_values(r->connection, MHD_HEADER_KIND, count_header, &c);
    return c.n;
}

static bool check_host(request *r)
{
    const serve_options *o = &r->server->options;
    if (header_times(r, MHD_HTTP_HEADER_HOST) > 1) {
        reply_error(r, 400, "bad_framing", NULL, "the request names two hosts");
        return false;
    }
    if (host_allowed(request_field(r, MHD_HTTP_HEADER_HOST), o->host, o->hosts, o->n_hosts)) return true;
    reply_error(r, 421, "host_not_allowed", NULL,
                "the server does not answer to the name in the Host header; --allowed-host NAME lets it (behind a proxy)");
    return false;
}

/* Two lengths, or a length and chunks, are read differently by different programs: such a request is none (RFC 9112, 6.3). */
static bool read_framing(request *r)
{
    const char *length = request_field(r, MHD_HTTP_HEADER_CONTENT_LENGTH);
    const char *encoding = request_field(r, MHD_HTTP_HEADER_TRANSFER_ENCODING);
    bool twice = header_times(r, MHD_HTTP_HEADER_CONTENT_LENGTH) > 1 ||
                 header_times(r, MHD_HTTP_HEADER_TRANSFER_ENCODING) > 1;
    if (twice || (length != NULL && encoding != NULL)) {
        reply_error(r, 400, "bad_framing", NULL, "the request says the size of its body in two ways");
        request_add_header(r, "Connection", "close");
        return false;
    }
    if (encoding != NULL && strcasecmp(encoding, "chunked") != 0) {
        reply_error(r, 400, "bad_framing", NULL, "the only transfer encoding that is read is chunked");
        request_add_header(r, "Connection", "close");
        return false;
    }
    if (length == NULL) return true;
    char *end = NULL;
    errno = 0;
    unsigned long long n = length[0] >= '0' && length[0] <= '9' ? strtoull(length, &end, 10) : 0;
    if (end == NULL || *end != '\0' || errno != 0) {
        reply_error(r, 400, "bad_framing", NULL, "Content-Length is no number");
        return false;
    }
    r->announced_bytes = n;
    return true;
}

static void answer_options(request *r, const char *allowed)
{
    r->status = 204;
    request_add_header(r, "Allow", "%s", allowed);
    if (request_field(r, "Origin") == NULL || request_field(r, "Access-Control-Request-Method") == NULL) return;
    request_add_header(r, "Access-Control-Allow-Methods", "%s", allowed);
    request_add_header(r, "Access-Control-Allow-Headers",
                       "Authorization, Content-Type, X-Api-Key, X-Request-Id, X-Timeout-Ms, Last-Event-ID, traceparent");
    request_add_header(r, "Access-Control-Max-Age", "600");
}

/* A file of the dashboard, or nothing. */
static void answer_other_path(request *r)
{
    const web *w = r->server->web;
    bool get = r->head || strcmp(r->method, "GET") == 0;
    if (get && web_answer(w, r)) return;
    if (get && web_answer_missing(w, r)) return;
    reply_error(r, 404, "not_found", NULL, "there is nothing at %s; GET /docs lists what there is", r->path_shown);
}

/* The route; else 204, 404 or 405. */
static bool find_route(request *r)
{
    char allowed[160];
    const char *method = r->method;
    r->head = strcmp(method, "HEAD") == 0;
    switch (route_find(r, r->head ? "GET" : method)) {
    case ROUTE_FOUND: return true;
    case ROUTE_NO_PATH: answer_other_path(r); break;
    case ROUTE_NO_METHOD:
        route_allowed(r, allowed, sizeof allowed);
        if (strcmp(method, "OPTIONS") == 0) {
            answer_options(r, allowed);
        } else {
            request_add_header(r, "Allow", "%s", allowed);
            reply_error(r, 405, "method_not_allowed", NULL, "%s does not take %s; it takes %s", r->path_shown, method,
                        allowed);
        }
        break;
    }
    return false;
}

static bool is_json_type(const char *type)
{
    size_t n = strcspn(type, "; \t");
    return n == strlen("application/json") && strncasecmp(type, "application/json", n) == 0;
}

static bool refuse_upload(request *r)
{
    reply_error(r, 503, "no_store", NULL, "the server runs without a store (--state none)");
    return false;
}

static bool check_body_headers(request *r)
{
    const char *type = request_field(r, MHD_HTTP_HEADER_CONTENT_TYPE), *encoding = request_field(r, "Content-Encoding");
    const serve_limits *limits = &r->server->options.limits;
    if (r->announced_bytes > (takes_file(r) ? limits->max_upload_bytes : limits->max_body_bytes)) {
        dispatch_body_too_large(r);
        return false;
    }
    if (r->route->request == NULL) return true;
    if (encoding != NULL && strcasecmp(encoding, "identity") != 0) {
        reply_error(r, 415, "unsupported_encoding", NULL, "the body's Content-Encoding is read as identity only");
        return false;
    }
    if (takes_file(r))
        return r->server->options.batch_folder != NULL ? upload_open(r, r->server->options.batch_folder, &r->upload)
                                                       : refuse_upload(r);
    if (type != NULL && is_json_type(type)) return true;
    reply_error(r, 415, "unsupported_media_type", NULL, "the body must be JSON: send Content-Type: application/json");
    return false;
}

bool dispatch_headers(request *r)
{
    return request_begin(r) && check_host(r) && read_framing(r) && find_route(r) && gate_check(r->server->gate, r) &&
           check_body_headers(r);
}

/* ---- fields ---------------------------------------------------------------------------------------------------------- */

static bool answer_errors(request *r, json_t *errors)
{
    size_t n = json_array_size(errors);
    if (n == 0) {
        json_decref(errors);
        return true;
    }
    const json_t *first = json_array_get(errors, 0);
    const char *message = json_string_value(json_object_get(first, "msg"));
    char *place = json_dumps(json_object_get(first, "loc"), 0);
    reply_error(r, 422, "validation_failed", errors, "%zu %s wrong; the first: %s: %s", n,
                n == 1 ? "field is" : "fields are", place != NULL ? place : "", message != NULL ? message : "");
    free(place);
    return false;
}

static bool check_parameters(request *r)
{
    finch_error err = {0};
    json_t *errors = json_array();
    finch_status st = errors != NULL ? FINCH_OK : FINCH_E_MEMORY;
    for (const route_parameter *p = r->route->parameters; st == FINCH_OK && p != NULL && p->name != NULL; p++) {
        const char *value = uri_get(&r->target, p->name);
        if (value != NULL) st = schema_check_text(r->server->schemas, p->schema, value, p->name, errors, &err);
        else if (p->required)
            json_array_append_new(errors, json_pack("{s:s, s:[s,s], s:s}", "type", "missing", "loc", "query", p->name, "msg",
                                                    "Field required"));
    }
    if (st == FINCH_OK) return answer_errors(r, errors);
    json_decref(errors);
    reply_failure(r, st, &err);
    return false;
}

static bool read_json(request *r)
{
    finch_error err = {0};
    finch_status st = json_parse(r->body.size > 0 ? r->body.at : "", r->body.size, "the body", &r->json, &err);
    if (st == FINCH_OK && !json_is_object(r->json)) st = finch_fail(&err, FINCH_E_DATA, "the body is not a JSON object");
    if (st == FINCH_E_DATA && r->json == NULL) reply_error(r, 400, "invalid_json", NULL, "%s", err.message);
    else if (st == FINCH_E_DATA)
        reply_error(
            r, 422, "validation_failed",
            json_pack("[{s:s, s:[s], s:s}]", "type", "dict_type", "loc", "body", "msg", "Input should be a valid object"),
            "%s", err.message);
    else if (st != FINCH_OK) reply_failure(r, st, &err);
    return st == FINCH_OK;
}

static bool check_body(request *r)
{
    finch_error err = {0};
    if (r->route->request == NULL || r->upload != NULL) return true;
    if (!read_json(r)) return false;
    json_t *errors = json_array();
    finch_status st = schema_check(r->server->schemas, r->route->request, r->json, "body", errors, &err);
    if (st == FINCH_OK) return answer_errors(r, errors);
    json_decref(errors);
    reply_failure(r, st, &err);
    return false;
}

handler_answer dispatch_run(request *r)
{
    if (!check_parameters(r) || !check_body(r)) return HANDLER_ANSWERED;
    return r->route->run(r);
}
