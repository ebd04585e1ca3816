#include "serve/request.h"

#include "base/clock.h"
#include "serve/reply.h"
#include "serve/route.h"
#include "serve/upload.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

request *request_open(serve *s, struct MHD_Connection *connection, const char *target)
{
    request *r;
    char *copy;
    if (mem_text(target, strlen(target), &copy, NULL) != FINCH_OK) return NULL;
    if (MEM_NEW(&r, 1, NULL) != FINCH_OK) {
        mem_free(copy);
        return NULL;
    }
    r->raw_target = copy;
    r->server = s;
    r->connection = connection;
    r->began = clock_seconds();
    r->began_ms = clock_unix_ms();
    r->store_predictions = s->options.keep_predictions; /* a key says it for itself */
    r->route_index = route_count();
    arena_init(&r->memory);
    size_t shown = strcspn(target, "?");
    if (shown >= sizeof r->path_shown) shown = sizeof r->path_shown - 1;
    memcpy(r->path_shown, target, shown);
    for (size_t i = 0; i < shown; i++)
        if ((unsigned char)r->path_shown[i] < 0x20 || (unsigned char)r->path_shown[i] > 0x7E) r->path_shown[i] = '?';
    return r;
}

void request_close(request *r)
{
    if (r == NULL) return;
    json_decref(r->json);
    upload_close(r->upload);
    mem_free(r->raw_target);
    str_free(&r->body);
    str_free(&r->reply);
    if (r->prepared != NULL) MHD_destroy_response(r->prepared);
    arena_free(&r->memory);
    mem_free(r);
}

const char *request_field(const request *r, const char *name)
{
    return MHD_lookup_connection_value(r->connection, MHD_HEADER_KIND, name);
}

double request_deadline(const request *r, size_t most_ms)
{
    const char *asked = request_field(r, "X-Timeout-Ms");
    char *end = NULL;
    errno = 0;
    unsigned long long n = asked != NULL && asked[0] >= '0' && asked[0] <= '9' ? strtoull(asked, &end, 10) : 0;
    if (end != NULL && *end == '\0' && errno == 0 && n < most_ms) most_ms = (size_t)n;
    return r->began + (double)most_ms / 1e3;
}

void request_add_header(request *r, const char *name, const char *format, ...)
{
    va_list args;
    if (r->n_headers == REQUEST_HEADERS_MAX) return;
    request_header *h = &r->headers[r->n_headers++];
    h->name = name;
    va_start(args, format);
    vsnprintf(h->value, sizeof h->value, format, args);
    va_end(args);
}

/* ---- who asked what: ids ---- */

static bool is_id(const char *text)
{
    size_t n = text == NULL ? 0 : strlen(text);
    return n > 0 && n < REQUEST_ID_BYTES &&
           strspn(text, "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ._-") == n;
}

/* https://www.w3.org/TR/trace-context/: version-trace-parent-flags, lower-case hex, a trace of zeros is none. */
static bool is_traceparent(const char *text)
{
    if (text == NULL || strlen(text) < 55 || text[2] != '-' || text[35] != '-' || text[52] != '-') return false;
    static const char hex[] = "0123456789abcdef";
    if (strspn(text, hex) != 2 || strspn(text + 3, hex) != 32 || strspn(text + 36, hex) != 16 || strspn(text + 53, hex) < 2)
        return false;
    if (strncmp(text, "ff", 2) == 0 || strspn(text + 3, "0") == 32 || strspn(text + 36, "0") == 16) return false;
    return strncmp(text, "00", 2) != 0 ? text[55] == '\0' || text[55] == '-' : text[55] == '\0';
}

static void make_ids(request *r)
{
    uint64_t n = atomic_fetch_add_explicit(&r->server->n_ids, 1, memory_order_relaxed);
    siphash128 h = siphash(r->server->key, &n, sizeof n);
    const char *given = request_field(r, "X-Request-Id"), *parent = request_field(r, "traceparent");
    if (is_id(given)) snprintf(r->id, sizeof r->id, "%s", given);
    else snprintf(r->id, sizeof r->id, "%016llx%016llx", (unsigned long long)h.high, (unsigned long long)h.low);
    if (is_traceparent(parent)) snprintf(r->trace, sizeof r->trace, "%.32s", parent + 3);
    else snprintf(r->trace, sizeof r->trace, "%016llx%016llx", (unsigned long long)h.low, (unsigned long long)h.high);
}

bool request_begin(request *r)
{
    finch_error err = {0};
    make_ids(r);
    if (uri_parse(r->raw_target, strlen(r->raw_target), &r->memory, &r->target, &err) == FINCH_OK) return true;
    if (err.status == FINCH_E_MEMORY) reply_failure(r, err.status, &err);
    else reply_error(r, 400, "bad_target", NULL, "%s", err.message);
    return false;
}
