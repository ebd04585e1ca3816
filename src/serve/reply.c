#include "serve/reply.h"

#include "base/clock.h"
#include "serve/route.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* f32 values survive nine digits. */
#define REPLY_JSON_FLAGS (JSON_COMPACT | JSON_REAL_PRECISION(9))

static const char out_of_memory[] =
    "{\"success\":false,\"data\":null,\"error\":{\"code\":\"out_of_memory\",\"message\":\"out of memory; try again\","
    "\"details\":null},\"metadata\":{}}";

static void fail_memory(request *r)
{
    r->error_code = "out_of_memory";
    reply_static(r, 503, "application/json", out_of_memory, sizeof out_of_memory - 1);
}

static int add_bytes(const char *at, size_t size, void *out) { return str_add(out, at, size, NULL) == FINCH_OK ? 0 : -1; }

void reply_document(request *r, unsigned status, json_t *document)
{
    str_clear(&r->reply);
    r->status = status;
    r->content_type = "application/json";
    if (document == NULL || json_dump_callback(document, add_bytes, &r->reply, REPLY_JSON_FLAGS | JSON_ENCODE_ANY) != 0)
        fail_memory(r);
    json_decref(document);
}

static json_t *metadata(const request *r)
{
    return json_pack("{s:s, s:s, s:f}", "request_id", r->id, "trace_id", r->trace, "took_ms",
                     (clock_seconds() - r->began) * 1e3);
}

void reply_data(request *r, unsigned status, json_t *data)
{
    if (data == NULL) fail_memory(r);
    else
        reply_document(r, status,
                       json_pack("{s:b, s:o, s:n, s:o*}", "success", 1, "data", data, "error", "metadata", metadata(r)));
}

void reply_data_text(request *r, unsigned status, const str *data)
{
    static const char begin[] = "{\"success\":true,\"data\":", middle[] = ",\"error\":null,\"metadata\":";
    json_t *about = metadata(r);
    str_clear(&r->reply);
    r->status = status;
    r->content_type = "application/json";
    if (about == NULL || str_add(&r->reply, begin, sizeof begin - 1, NULL) != FINCH_OK ||
        str_add(&r->reply, data->at, data->size, NULL) != FINCH_OK ||
        str_add(&r->reply, middle, sizeof middle - 1, NULL) != FINCH_OK ||
        json_dump_callback(about, add_bytes, &r->reply, REPLY_JSON_FLAGS) != 0 ||
        str_add_text(&r->reply, "}", NULL) != FINCH_OK)
        fail_memory(r);
    json_decref(about);
}

void reply_text(request *r, unsigned status, const char *content_type, const char *text, size_t size)
{
    str_clear(&r->reply);
    r->status = status;
    r->content_type = content_type;
    if (str_add(&r->reply, text, size, NULL) != FINCH_OK) fail_memory(r);
}

void reply_static(request *r, unsigned status, const char *content_type, const void *at, size_t size)
{
    r->status = status;
    r->content_type = content_type;
    r->static_reply = at;
    r->static_size = size;
}

/* text-embeddings-inference's names of what went wrong. */
static const char *tei_error_type(unsigned status)
{
    switch (status) {
    case 429:
    case 503: return "Overloaded";
    case 413:
    case 422:
    case 400:
    case 415: return "Validation";
    case 401:
    case 403: return "Unauthorized";
    default: return "Backend";
    }
}

/* OpenAI's names; its clients tell errors apart by the status. */
static const char *openai_error_type(unsigned status)
{
    switch (status) {
    case 401: return "authentication_error";
    case 403: return "permission_error";
    case 429: return "rate_limit_error";
    default: return status >= 500 ? "server_error" : "invalid_request_error";
    }
}

/* "messages.0.role" of a field's place ["body", "messages", 0, "role"]. */
static json_t *openai_parameter(const json_t *details)
{
    const json_t *given = json_object_get(details, "param"), *part;
    const json_t *loc = json_object_get(json_array_get(details, 0), "loc");
    str name = {0};
    size_t i;
    if (given != NULL) return json_incref((json_t *)(uintptr_t)given);
    json_array_foreach(loc, i, part)
    {
        const char *dot = i > 1 ? "." : "";
        if (i > 0 && json_is_string(part)) (void)str_add_format(&name, NULL, "%s%s", dot, json_string_value(part));
        else if (i > 0) (void)str_add_format(&name, NULL, "%s%lld", dot, (long long)json_integer_value(part));
    }
    json_t *out = name.size > 0 ? json_stringn(name.at, name.size) : json_null();
    str_free(&name);
    return out;
}

/* A field that is wrong is a 400 there. */
static void openai_error(request *r, unsigned status, const char *code, json_t *details, const char *message)
{
    unsigned shown = status == 422 ? 400 : status;
    json_t *parameter = openai_parameter(details);
    json_decref(details);
    reply_document(r, shown,
                   json_pack("{s:{s:s, s:s, s:s, s:o}}", "error", "message", message, "type", openai_error_type(shown),
                             "code", code, "param", parameter));
}

static void error_body(request *r, unsigned status, const char *code, json_t *details, const char *message)
{
    if (r->route != NULL && r->route->format == ROUTE_TEI) {
        json_decref(details);
        reply_document(r, status, json_pack("{s:s, s:s}", "error", message, "error_type", tei_error_type(status)));
        return;
    }
    if (r->route != NULL && r->route->format == ROUTE_OPENAI) {
        openai_error(r, status, code, details, message);
        return;
    }
    json_t *error = details != NULL ? json_pack("{s:s, s:s, s:o}", "code", code, "message", message, "details", details)
                                    : json_pack("{s:s, s:s, s:n}", "code", code, "message", message, "details");
    if (error == NULL) fail_memory(r);
    else
        reply_document(r, status,
                       json_pack("{s:b, s:n, s:o, s:o*}", "success", 0, "data", "error", error, "metadata", metadata(r)));
}

void reply_error(request *r, unsigned status, const char *code, json_t *details, const char *format, ...)
{
    char message[sizeof((finch_error *)0)->message];
    va_list args;
    va_start(args, format);
    vsnprintf(message, sizeof message, format, args);
    va_end(args);
    r->error_code = code;
    error_body(r, status, code, details, message);
}

void reply_failure(request *r, finch_status status, const finch_error *err)
{
    static const char *const codes[FINCH_STATUS_COUNT] = {
        [FINCH_E_USAGE] = "bad_request",   [FINCH_E_DATA] = "validation_failed", [FINCH_E_UNSUPPORTED] = "unsupported",
        [FINCH_E_NOT_FOUND] = "not_found", [FINCH_E_MEMORY] = "out_of_memory",   [FINCH_E_BUSY] = "busy",
        [FINCH_E_REMOTE] = "remote_failed"};
    unsigned http = (unsigned)finch_status_http(status);
    const char *code = codes[status] != NULL ? codes[status] : "internal_error";
    if (http == 503) reply_retry_after(r, 1);
    reply_error(r, http, code, NULL, "%s",
                err != NULL && err->message[0] != '\0' ? err->message : finch_status_text(status));
}

void reply_limit(request *r, unsigned status, const char *code, const char *name, size_t value, const char *flag,
                 const char *what)
{
    reply_error(r, status, code,
                json_pack("{s:s, s:I, s:s+}", "limit", name, "value", (json_int_t)value, "flag", "--", flag),
                "%s; the limit is %s = %zu (--%s)", what, name, value, flag);
}

void reply_retry_after(request *r, size_t seconds) { request_add_header(r, "Retry-After", "%zu", seconds); }
