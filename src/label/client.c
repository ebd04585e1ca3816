#include "label/client.h"

#include "base/clock.h"
#include "label/values.h"

#include <curl/curl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

enum { KEYS_LINE_BYTES = 640 }; /* "Authorization: Bearer " and the longest key; any other header is shorter */

/* One POST and its handle, which is used again. */
typedef struct transfer {
    struct transfer *next; /* in the list of idle ones, or of those that ended */
    struct client *owner;
    CURL *easy;
    struct curl_slist *headers;
    void *tag;
    str request, response;
    double began, latest;
    bool missed;
    bool first_byte, too_big;
    bool left, left_told;
    bool over; /* in the list of those that have ended, or taken from it */
    CURLcode code;
    double retry_after;
    int64_t server_now;
    char retry_text[64];
    char error[CURL_ERROR_SIZE];
} transfer;

struct client {
    CURLM *multi;
    client_options options;
    str url;
    const char *authorities;
    bool loopback;
    transfer **all;
    size_t n_all;
    transfer *idle, *ended, **ended_tail, *taken;
    transfer *first; /* begins the connection, and is none of all; NULL once it is over */
    size_t n_in_flight;
    size_t n_left; /* have left, and were not told */
};

/* ---- the URL ---- */

static bool is_loopback(const char *host)
{
    return strcmp(host, "localhost") == 0 || strcmp(host, "[::1]") == 0 || strcmp(host, "::1") == 0 ||
           (strncmp(host, "127.", 4) == 0 && strspn(host, "0123456789.") == strlen(host));
}

static finch_status check_parts(CURLU *parts, const char *url, bool allow_plain, client_place *out, finch_error *err)
{
    char *scheme = NULL, *host = NULL, *user = NULL, *query = NULL;
    finch_status st = FINCH_OK;
    bool whole = curl_url_set(parts, CURLUPART_URL, url, 0) == CURLUE_OK &&
                 curl_url_get(parts, CURLUPART_SCHEME, &scheme, 0) == CURLUE_OK &&
                 curl_url_get(parts, CURLUPART_HOST, &host, 0) == CURLUE_OK && strlen(host) < sizeof out->host;
    bool hidden = curl_url_get(parts, CURLUPART_USER, &user, 0) == CURLUE_OK ||
                  curl_url_get(parts, CURLUPART_QUERY, &query, 0) == CURLUE_OK;
    if (!whole) st = finch_fail(err, FINCH_E_USAGE, "--provider-url is no URL; write it like https://openrouter.ai/api/v1");
    else if (hidden)
        st = finch_fail(err, FINCH_E_USAGE,
                        "the provider's URL may hold no user, password or query: they would be kept in the "
                        "store; keys come from the environment or a file");
    else {
        snprintf(out->host, sizeof out->host, "%s", host);
        out->loopback = is_loopback(host);
        out->tls = strcasecmp(scheme, "https") == 0;
        if (!out->tls && strcasecmp(scheme, "http") != 0)
            st = finch_fail(err, FINCH_E_USAGE, "the provider's URL must be https://");
        else if (!out->tls && !out->loopback && !allow_plain)
            st = finch_fail(err, FINCH_E_USAGE,
                            "%.200s would get your key and texts unencrypted; use https://, or --allow-http "
                            "where the network is yours",
                            host);
    }
    curl_free(scheme);
    curl_free(host);
    curl_free(user);
    curl_free(query);
    return st;
}

finch_status client_check_url(const char *url, bool allow_plain, client_place *out, finch_error *err)
{
    CURLU *parts = curl_url();
    *out = (client_place){0};
    if (parts == NULL) return finch_fail(err, FINCH_E_MEMORY, "out of memory for a URL");
    finch_status st = check_parts(parts, url, allow_plain, out, err);
    curl_url_cleanup(parts);
    return st;
}

finch_status client_check_header(const char *name, const char *value, finch_error *err)
{
    if (value == NULL) return FINCH_OK;
    size_t n = strlen(value);
    if (n > CLIENT_HEADER_MAX_BYTES)
        return finch_fail(err, FINCH_E_USAGE, "%s has %zu bytes; a header may have %d", name, n, CLIENT_HEADER_MAX_BYTES);
    for (size_t i = 0; i < n; i++)
        if ((unsigned char)value[i] < 0x20 || value[i] == 0x7f)
            return finch_fail(err, FINCH_E_USAGE, "%s has a control character at byte %zu; it is sent as one line", name,
                              i + 1);
    return FINCH_OK;
}

/* ---- what libcurl calls ---- */

static size_t on_body(char *at, size_t size, size_t n, void *context)
{
    transfer *t = context;
    size_t bytes = size * n; /* size is 1 */
    if (bytes > CLIENT_RESPONSE_MAX_BYTES - t->response.size) {
        t->too_big = true;
        return 0;
    }
    return str_add(&t->response, at, bytes, NULL) == FINCH_OK ? bytes : 0;
}

static bool header_is(const char *at, size_t size, const char *name, const char **value, size_t *value_size)
{
    size_t n = strlen(name);
    if (size <= n || at[n] != ':' || strncasecmp(at, name, n) != 0) return false;
    *value = at + n + 1;
    *value_size = size - n - 1;
    while (*value_size > 0 && strchr(" \t", **value) != NULL) (*value)++, (*value_size)--;
    while (*value_size > 0 && strchr(" \t\r\n", (*value)[*value_size - 1]) != NULL) (*value_size)--;
    return true;
}

static size_t on_header(char *at, size_t size, size_t n, void *context)
{
    transfer *t = context;
    const char *value;
    size_t value_size, bytes = size * n;
    t->first_byte = true;
    if (bytes > 5 && strncmp(at, "HTTP/", 5) == 0) { /* a new set of headers: after 100 Continue and the like */
        t->retry_text[0] = '\0';
        t->server_now = -1;
        str_clear(&t->response);
    } else if (header_is(at, bytes, "retry-after", &value, &value_size)) {
        snprintf(t->retry_text, sizeof t->retry_text, "%.*s", (int)(value_size < 60 ? value_size : 60), value);
    } else if (header_is(at, bytes, "date", &value, &value_size)) {
        if (!values_http_date(value, value_size, &t->server_now)) t->server_now = -1;
    }
    return bytes;
}

/* Its connection is there, and the request is written next. */
static int on_leaving(void *context, char *remote, char *local, int remote_port, int local_port)
{
    transfer *t = context;
    long n_connects = 0;
    (void)remote, (void)local, (void)remote_port, (void)local_port;
    curl_easy_getinfo(t->easy, CURLINFO_NUM_CONNECTS, &n_connects);
    t->missed = t->tag != NULL && n_connects == 0 && clock_seconds() > t->latest;
    if (t->missed) return CURL_PREREQFUNC_ABORT;
    bool known = t->tag == NULL || (t->left && !t->left_told); /* libcurl sends again where a kept connection had ended */
    t->owner->n_left += !known;
    t->left = true;
    t->left_told = false;
    return CURL_PREREQFUNC_OK;
}

/* ---- handles ---- */

static bool set_common(const client *c, transfer *t)
{
    CURL *e = t->easy;
    bool ok = curl_easy_setopt(e, CURLOPT_URL, c->url.at) == CURLE_OK;
    ok = ok && curl_easy_setopt(e, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_2TLS) == CURLE_OK;
    ok = ok && curl_easy_setopt(e, CURLOPT_PROTOCOLS_STR, "http,https") == CURLE_OK;
    ok = ok && curl_easy_setopt(e, CURLOPT_FOLLOWLOCATION, 0L) == CURLE_OK;
    ok = ok && curl_easy_setopt(e, CURLOPT_NOSIGNAL, 1L) == CURLE_OK;
    ok = ok && curl_easy_setopt(e, CURLOPT_TCP_NODELAY, 1L) == CURLE_OK;
    ok = ok && curl_easy_setopt(e, CURLOPT_PIPEWAIT, 1L) == CURLE_OK;
    ok = ok && curl_easy_setopt(e, CURLOPT_CONNECTTIMEOUT_MS, (long)(c->options.connect_seconds * 1e3)) == CURLE_OK;
    ok = ok && curl_easy_setopt(e, CURLOPT_TIMEOUT_MS, (long)(c->options.total_seconds * 1e3)) == CURLE_OK;
    ok = ok && curl_easy_setopt(e, CURLOPT_ACCEPT_ENCODING, "") == CURLE_OK;
    ok = ok && curl_easy_setopt(e, CURLOPT_USERAGENT, "finch/" FINCH_VERSION) == CURLE_OK;
    ok = ok && curl_easy_setopt(e, CURLOPT_WRITEFUNCTION, on_body) == CURLE_OK;
    ok = ok && curl_easy_setopt(e, CURLOPT_WRITEDATA, t) == CURLE_OK;
    ok = ok && curl_easy_setopt(e, CURLOPT_HEADERFUNCTION, on_header) == CURLE_OK;
    ok = ok && curl_easy_setopt(e, CURLOPT_HEADERDATA, t) == CURLE_OK;
    ok = ok && curl_easy_setopt(e, CURLOPT_PREREQFUNCTION, on_leaving) == CURLE_OK;
    ok = ok && curl_easy_setopt(e, CURLOPT_PREREQDATA, t) == CURLE_OK;
    ok = ok && curl_easy_setopt(e, CURLOPT_ERRORBUFFER, t->error) == CURLE_OK;
    ok = ok && curl_easy_setopt(e, CURLOPT_PRIVATE, t) == CURLE_OK;
    if (c->authorities != NULL) ok = ok && curl_easy_setopt(e, CURLOPT_CAINFO, c->authorities) == CURLE_OK;
    if (c->loopback) ok = ok && curl_easy_setopt(e, CURLOPT_PROXY, "") == CURLE_OK;
    return ok;
}

static void transfer_free(transfer *t)
{
    if (t->easy != NULL) curl_easy_cleanup(t->easy);
    curl_slist_free_all(t->headers);
    str_free(&t->request);
    str_free(&t->response);
    mem_free(t);
}

static finch_status new_transfer(client *c, transfer **out, finch_error *err)
{
    FINCH_TRY(MEM_NEW(out, 1, err));
    transfer *t = *out;
    t->owner = c;
    t->easy = curl_easy_init();
    if (t->easy != NULL && set_common(c, t)) return FINCH_OK;
    transfer_free(t);
    *out = NULL;
    return finch_fail(err, FINCH_E_MEMORY, "libcurl could not be set up");
}

static finch_status add_transfer(client *c, transfer **out, finch_error *err)
{
    FINCH_TRY(mem_grow((void **)&c->all, c->n_all * sizeof *c->all, c->n_all + 1, sizeof *c->all, err));
    FINCH_TRY(new_transfer(c, out, err));
    c->all[c->n_all++] = *out;
    return FINCH_OK;
}

static bool add_header(transfer *t, const char *name, const char *value)
{
    char line[KEYS_LINE_BYTES + 64];
    if (value == NULL) return true;
    snprintf(line, sizeof line, "%.40s: %s", name, value);
    struct curl_slist *longer = curl_slist_append(t->headers, line);
    explicit_bzero(line, sizeof line);
    if (longer == NULL) return false;
    t->headers = longer;
    return true;
}

static bool set_headers(const client *c, transfer *t, const char *secret)
{
    char bearer[KEYS_LINE_BYTES];
    curl_slist_free_all(t->headers);
    t->headers = NULL;
    bool ok = add_header(t, "Content-Type", "application/json") && add_header(t, "Accept", "application/json") &&
              add_header(t, "HTTP-Referer", c->options.referer) && add_header(t, "X-Title", c->options.title) &&
              add_header(t, "Expect", "");
    if (secret != NULL) {
        snprintf(bearer, sizeof bearer, "Bearer %s", secret);
        ok = ok && add_header(t, "Authorization", bearer);
        explicit_bzero(bearer, sizeof bearer);
    }
    return ok && curl_easy_setopt(t->easy, CURLOPT_HTTPHEADER, t->headers) == CURLE_OK;
}

/* ---- the client ---- */

static const char *find_authorities(void)
{
    static const char *const names[] = {"FINCH_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        const char *path = getenv(names[i]);
        if (path != NULL && path[0] != '\0') return path;
    }
    return NULL;
}

static finch_status connect_first(client *c, int url_bytes, finch_error *err)
{
    str url = {0};
    FINCH_TRY(new_transfer(c, &c->first, err));
    finch_status st = str_add_format(&url, err, "%.*s/models", url_bytes, c->options.url);
    CURL *e = c->first->easy;
    if (st == FINCH_OK &&
        (curl_easy_setopt(e, CURLOPT_URL, url.at) != CURLE_OK || curl_easy_setopt(e, CURLOPT_NOBODY, 1L) != CURLE_OK ||
         curl_multi_add_handle(c->multi, e) != CURLM_OK))
        st = finch_fail(err, FINCH_E_MEMORY, "libcurl could not begin a connection");
    str_free(&url); /* copied */
    return st;
}

static void end_first(client *c)
{
    if (c->first == NULL) return;
    if (c->multi != NULL) curl_multi_remove_handle(c->multi, c->first->easy);
    transfer_free(c->first);
    c->first = NULL;
}

finch_status client_open(const client_options *options, client **out, finch_error *err)
{
    client_place place;
    client *c = NULL;
    *out = NULL;
    FINCH_TRY(client_check_url(options->url, options->allow_plain, &place, err));
    FINCH_TRY(MEM_NEW(&c, 1, err));
    c->options = *options;
    c->loopback = place.loopback;
    c->authorities = find_authorities();
    c->ended_tail = &c->ended;
    size_t size = strlen(options->url);
    while (size > 0 && options->url[size - 1] == '/') size--;
    finch_status st = str_add_format(&c->url, err, "%.*s/chat/completions", (int)size, options->url);
    if (st == FINCH_OK && (curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK || (c->multi = curl_multi_init()) == NULL))
        st = finch_fail(err, FINCH_E_MEMORY, "libcurl could not be set up");
    if (st == FINCH_OK) {
        curl_multi_setopt(c->multi, CURLMOPT_PIPELINING, (long)CURLPIPE_MULTIPLEX);
        curl_multi_setopt(c->multi, CURLMOPT_MAX_CONCURRENT_STREAMS, (long)options->most_at_once + 1); /* and the first */
        curl_multi_setopt(c->multi, CURLMOPT_MAXCONNECTS, (long)options->most_at_once + 1);
        st = connect_first(c, (int)size, err);
    }
    if (st == FINCH_OK) *out = c;
    else client_close(c);
    return st;
}

void client_close(client *c)
{
    if (c == NULL) return;
    end_first(c);
    for (size_t i = 0; i < c->n_all; i++) {
        if (c->multi != NULL) curl_multi_remove_handle(c->multi, c->all[i]->easy);
        transfer_free(c->all[i]);
    }
    if (c->multi != NULL) curl_multi_cleanup(c->multi);
    mem_free(c->all);
    str_free(&c->url);
    mem_free(c);
}

size_t client_in_flight(const client *c) { return c->n_in_flight; }

finch_status client_send(client *c, void *tag, double latest, const char *secret, const char *body, size_t size,
                         finch_error *err)
{
    transfer *t = c->idle;
    if (t != NULL) c->idle = t->next;
    else FINCH_TRY(add_transfer(c, &t, err));
    t->next = NULL;
    t->tag = tag;
    t->latest = latest;
    t->missed = false;
    t->first_byte = t->too_big = t->over = t->left = t->left_told = false;
    t->server_now = -1;
    t->retry_text[0] = t->error[0] = '\0';
    t->began = clock_seconds();
    str_clear(&t->request);
    str_clear(&t->response);
    finch_status st = str_add(&t->request, body, size, err);
    if (st == FINCH_OK &&
        (!set_headers(c, t, secret) || curl_easy_setopt(t->easy, CURLOPT_POSTFIELDS, t->request.at) != CURLE_OK ||
         curl_easy_setopt(t->easy, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)size) != CURLE_OK ||
         curl_multi_add_handle(c->multi, t->easy) != CURLM_OK))
        st = finch_fail(err, FINCH_E_MEMORY, "libcurl could not begin a request");
    if (st != FINCH_OK) {
        t->next = c->idle;
        c->idle = t;
        return st;
    }
    c->n_in_flight++;
    return FINCH_OK;
}

static void end_transfer(client *c, transfer *t, CURLcode code)
{
    curl_multi_remove_handle(c->multi, t->easy);
    c->n_in_flight--;
    c->n_left -= t->left && !t->left_told;
    t->left_told = true;
    t->over = true;
    t->code = code;
    t->next = NULL;
    *c->ended_tail = t;
    c->ended_tail = &t->next;
}

/* libcurl has no limit for the first byte alone. */
static void end_silent(client *c)
{
    double now = clock_seconds();
    for (size_t i = 0; i < c->n_all; i++) {
        transfer *t = c->all[i];
        if (t->tag == NULL || t->over || t->first_byte || now - t->began < c->options.first_byte_seconds) continue;
        snprintf(t->error, sizeof t->error, "no answer began within %.3g s", c->options.first_byte_seconds);
        end_transfer(c, t, CURLE_OPERATION_TIMEDOUT);
    }
}

static finch_status collect(client *c, finch_error *err)
{
    int running = 0, left = 0;
    CURLMsg *message;
    CURLMcode code = curl_multi_perform(c->multi, &running);
    if (code != CURLM_OK) return finch_fail(err, FINCH_E_FAILED, "libcurl: %s", curl_multi_strerror(code));
    while ((message = curl_multi_info_read(c->multi, &left)) != NULL) {
        transfer *t = NULL;
        CURLcode result = message->data.result; /* gone once the handle is removed */
        if (message->msg != CURLMSG_DONE) continue;
        curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, (char **)&t);
        if (t != NULL && t == c->first) end_first(c); /* whatever it was answered */
        else if (t != NULL && t->tag != NULL && !t->over) end_transfer(c, t, result);
    }
    end_silent(c);
    return FINCH_OK;
}

finch_status client_poll(client *c, double seconds, finch_error *err)
{
    FINCH_TRY(collect(c, err));
    if (c->ended != NULL || c->n_left > 0 || seconds <= 0) return FINCH_OK;
    double most = seconds < 60 ? seconds : 60;
    CURLMcode code = curl_multi_poll(c->multi, NULL, 0, (int)(most * 1e3 + 0.999), NULL);
    if (code != CURLM_OK) return finch_fail(err, FINCH_E_FAILED, "libcurl: %s", curl_multi_strerror(code));
    return collect(c, err);
}

bool client_ready(const client *c) { return c->first == NULL || c->first->left; }

bool client_take_left(client *c, void **tag)
{
    for (size_t i = 0; i < c->n_all && c->n_left > 0; i++) {
        transfer *t = c->all[i];
        if (t->tag == NULL || !t->left || t->left_told) continue;
        t->left_told = true;
        c->n_left--;
        *tag = t->tag;
        return true;
    }
    return false;
}

void client_wake(client *c) { curl_multi_wakeup(c->multi); }

static client_failure failure_of(const transfer *t)
{
    if (t->missed) return CLIENT_MISSED;
    switch (t->code) {
    case CURLE_OK: return CLIENT_NONE;
    case CURLE_OPERATION_TIMEDOUT: return CLIENT_TIMEOUT;
    case CURLE_PEER_FAILED_VERIFICATION:
    case CURLE_SSL_CACERT_BADFILE:
    case CURLE_SSL_CERTPROBLEM:
    case CURLE_SSL_CIPHER: return CLIENT_TLS;
    default: return t->too_big ? CLIENT_TOO_BIG : CLIENT_NETWORK;
    }
}

bool client_take(client *c, client_response *out)
{
    transfer *t = c->ended;
    long status = 0, version = 0;
    if (c->taken != NULL) { /* its response was borrowed until now */
        c->taken->next = c->idle;
        c->idle = c->taken;
        c->taken = NULL;
    }
    if (t == NULL) return false;
    c->ended = t->next;
    if (c->ended == NULL) c->ended_tail = &c->ended;
    c->taken = t;
    curl_easy_getinfo(t->easy, CURLINFO_RESPONSE_CODE, &status);
    curl_easy_getinfo(t->easy, CURLINFO_HTTP_VERSION, &version);
    *out = (client_response){
        .tag = t->tag,
        .failure = failure_of(t),
        .status = (int)status,
        .body = t->response.at != NULL ? t->response.at : "",
        .body_bytes = t->response.size,
        .retry_after_seconds = -1,
        .seconds = clock_seconds() - t->began,
        .http_version = version == CURL_HTTP_VERSION_2 ? 2 : 1,
    };
    if (t->retry_text[0] != '\0' &&
        !values_retry_after(t->retry_text, strlen(t->retry_text), t->server_now, &out->retry_after_seconds))
        out->retry_after_seconds = -1;
    const char *why = t->too_big            ? "the response is larger than 16 MiB"
                      : t->error[0] != '\0' ? t->error
                                            : curl_easy_strerror(t->code);
    if (out->failure != CLIENT_NONE) values_line(why, strlen(why), out->why, sizeof out->why);
    t->tag = NULL;
    return true;
}
