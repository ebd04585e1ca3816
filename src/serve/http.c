#include "serve/http.h"

#include "base/clock.h"
#include "base/mem.h"
#include "serve/acceptor.h"
#include "serve/dispatch.h"
#include "serve/journal.h"
#include "serve/metrics.h"
#include "serve/reply.h"
#include "serve/upload.h"
#include "serve/watch.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdlib.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

enum { HTTP_BODY_RATE = 16384, HTTP_SEND_SECONDS = 60, HTTP_DESCRIPTORS_SPARE = 64 };

struct http {
    serve *server;
    /* Of one thread each: libmicrohttpd's pool needs a listening socket, and the acceptor has that. */
    struct MHD_Daemon **daemons;
    size_t n_daemons;
    size_t next;         /* the daemon of the next connection; the acceptor's thread alone uses it */
    acceptor *accepting; /* NULL: not yet */
    watch *watching;
    uint16_t port;
    int listening; /* until the acceptor has it; -1 */
};

/* ---- answers --------------------------------------------------------------------------------------------------------- */

static struct MHD_Response *make_response(request *r)
{
    if (r->prepared != NULL) {
        struct MHD_Response *prepared = r->prepared;
        r->prepared = NULL;
        return prepared;
    }
    if (r->static_reply != NULL)
        return MHD_create_response_from_buffer(r->static_size, (void *)(uintptr_t)r->static_reply, MHD_RESPMEM_PERSISTENT);
    /* Borrowed: a request outlives the sending of its answer. */
    return MHD_create_response_from_buffer(r->reply.size, r->reply.size > 0 ? r->reply.at : "", MHD_RESPMEM_PERSISTENT);
}

static bool origin_allowed(const serve_options *o, const char *origin)
{
    for (size_t i = 0; i < o->n_origins; i++)
        if (strcmp(o->origins[i], "*") == 0 || strcmp(o->origins[i], origin) == 0) return true;
    return false;
}

static void add_cors(const request *r, struct MHD_Response *response)
{
    const serve_options *o = &r->server->options;
    const char *origin = request_field(r, "Origin");
    if (o->n_origins > 0) MHD_add_response_header(response, "Vary", "Origin");
    if (origin == NULL || !origin_allowed(o, origin)) return;
    MHD_add_response_header(response, "Access-Control-Allow-Origin", origin);
    MHD_add_response_header(response, "Access-Control-Expose-Headers",
                            "X-Request-Id, Retry-After, RateLimit-Limit, RateLimit-Remaining, RateLimit-Reset, ETag");
}

static const char page_policy[] =
    "default-src 'self'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "object-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'";

static void add_security(const request *r, struct MHD_Response *response)
{
    bool page = r->content_type != NULL && strncmp(r->content_type, "text/html", 9) == 0;
    MHD_add_response_header(response, "X-Content-Type-Options", "nosniff");
    MHD_add_response_header(response, "X-Frame-Options", "DENY");
    MHD_add_response_header(response, "Referrer-Policy", "no-referrer");
    MHD_add_response_header(response, "Cross-Origin-Opener-Policy", "same-origin");
    MHD_add_response_header(response, "Content-Security-Policy",
                            r->policy != NULL ? r->policy
                            : page            ? page_policy
                                              : "default-src 'none'; frame-ancestors 'none'");
    if (r->server->options.tls_key != NULL)
        MHD_add_response_header(response, "Strict-Transport-Security", "max-age=31536000");
}

static enum MHD_Result send_answer(request *r)
{
    struct MHD_Response *response = make_response(r);
    bool cacheable = false;
    if (response == NULL) return MHD_NO;
    if (r->content_type != NULL) MHD_add_response_header(response, MHD_HTTP_HEADER_CONTENT_TYPE, r->content_type);
    for (size_t i = 0; i < r->n_headers; i++) {
        MHD_add_response_header(response, r->headers[i].name, r->headers[i].value);
        cacheable = cacheable || strcmp(r->headers[i].name, "Cache-Control") == 0;
    }
    if (!cacheable) MHD_add_response_header(response, "Cache-Control", "no-store");
    MHD_add_response_header(response, "X-Request-Id", r->id);
    add_security(r, response);
    add_cors(r, response);
    if (atomic_load_explicit(&r->server->draining, memory_order_relaxed))
        MHD_add_response_header(response, "Connection", "close");
    size_t size = r->static_reply != NULL ? r->static_size : r->reply.size;
    watch_set(r->watch, r->content_type != NULL && strcmp(r->content_type, "text/event-stream") == 0
                            ? 0
                            : clock_seconds() + HTTP_SEND_SECONDS + (double)size / HTTP_BODY_RATE);
    metrics_add(&r->server->metrics->bytes_out, size);
    r->answered = clock_seconds();
    enum MHD_Result sent = MHD_queue_response(r->connection, r->status, response);
    MHD_destroy_response(response);
    r->stage = REQUEST_SENT;
    return sent;
}

void request_done(request *r)
{
    r->stage = REQUEST_DONE;
    MHD_resume_connection(r->connection);
}

/* ---- bodies ---------------------------------------------------------------------------------------------------------- */

/* The answer is there; what of the body still comes is dropped. */
static void refuse_body(request *r)
{
    r->upload_refused = true;
    r->refused_at = r->received_bytes;
}

static enum MHD_Result take_upload(request *r, const char *at, size_t size)
{
    if (r->received_bytes > r->server->options.limits.max_upload_bytes) {
        dispatch_body_too_large(r);
        refuse_body(r);
        return MHD_YES;
    }
    (void)upload_write(r->upload, at, size); /* upload_finish tells what went wrong */
    return MHD_YES;
}

static enum MHD_Result take_body(request *r, const char *at, size_t size)
{
    const serve_limits *limits = &r->server->options.limits;
    r->received_bytes += size;
    metrics_add(&r->server->metrics->bytes_in, size);
    watch_set(r->watch, r->headers_at + (double)limits->body_seconds + (double)r->received_bytes / HTTP_BODY_RATE);
    if (r->upload_refused) return r->received_bytes - r->refused_at > HTTP_DROP_BYTES ? MHD_NO : MHD_YES;
    if (r->upload != NULL) return take_upload(r, at, size);
    if (r->received_bytes > limits->max_body_bytes) {
        str_free(&r->body);
        dispatch_body_too_large(r);
        refuse_body(r);
        return MHD_YES;
    }
    finch_error err = {0};
    if (str_add(&r->body, at, size, &err) == FINCH_OK) return MHD_YES;
    reply_failure(r, FINCH_E_MEMORY, &err);
    refuse_body(r);
    return MHD_YES;
}

static bool waits_for_continue(const request *r)
{
    const char *expect = request_field(r, "Expect");
    return expect != NULL && strcasecmp(expect, "100-continue") == 0;
}

/* The headers are there: either an answer that needs no body, or the body is wanted. */
static enum MHD_Result take_headers(request *r, const char *method)
{
    size_t n = strspn(method, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz-_");
    memcpy(r->method, method, n < sizeof r->method ? n : sizeof r->method - 1);
    r->stage = REQUEST_BODY;
    r->headers_at = clock_seconds();
    watch_set(r->watch, r->headers_at + (double)r->server->options.limits.body_seconds);
    if (dispatch_headers(r)) return MHD_YES;
    if (waits_for_continue(r) || r->announced_bytes > HTTP_DROP_BYTES) return send_answer(r);
    refuse_body(r); /* answered once the body has come: an answer before that would end the connection */
    return MHD_YES;
}

static enum MHD_Result run_request(request *r)
{
    if (r->upload_refused) return send_answer(r);
    watch_set(r->watch, 0);
    if (dispatch_run(r) == HANDLER_WAITS) return MHD_YES;
    return send_answer(r);
}

void request_suspend(request *r)
{
    r->stage = REQUEST_WAITING;
    MHD_suspend_connection(r->connection);
}

static enum MHD_Result on_access(void *context, struct MHD_Connection *connection, const char *url, const char *method,
                                 const char *version, const char *data, size_t *data_size, void **state)
{
    request *r = *state;
    (void)context, (void)connection, (void)url, (void)version;
    if (r == NULL) return MHD_NO;
    switch ((request_stage)r->stage) {
    case REQUEST_OPEN: return take_headers(r, method);
    case REQUEST_BODY:
        if (*data_size == 0) return run_request(r);
        size_t size = *data_size;
        *data_size = 0;
        return take_body(r, data, size);
    case REQUEST_DONE: return send_answer(r);
    case REQUEST_WAITING: return MHD_YES;
    case REQUEST_SENT: break;
    }
    return MHD_NO;
}

/* ---- connections and requests, from their first byte to their last --------------------------------------------------- */

static connection_watch *watch_of(struct MHD_Connection *connection)
{
    const union MHD_ConnectionInfo *info = MHD_get_connection_info(connection, MHD_CONNECTION_INFO_SOCKET_CONTEXT);
    return info != NULL ? info->socket_context : NULL;
}

static void *on_target(void *context, const char *target, struct MHD_Connection *connection)
{
    http *h = context;
    request *r = request_open(h->server, connection, target);
    if (r == NULL) return NULL;
    r->watch = watch_of(connection);
    atomic_fetch_add_explicit(&h->server->metrics->in_flight, 1, memory_order_relaxed);
    return r;
}

static void on_completed(void *context, struct MHD_Connection *connection, void **state, enum MHD_RequestTerminationCode how)
{
    http *h = context;
    request *r = *state;
    (void)connection;
    if (r == NULL) return;
    *state = NULL;
    double seconds = clock_seconds() - r->began;
    if (how != MHD_REQUEST_TERMINATED_COMPLETED_OK && r->error_code == NULL) r->error_code = "client_left";
    if (r->status == 0) r->status = 499;
    /* The histogram's seconds end with the answer's first byte: an event stream stays open for hours, a reader may be slow. */
    metrics_request(h->server->metrics, r->route_index, r->status, r->answered > 0 ? r->answered - r->began : seconds);
    journal_request(h->server->journal, r, seconds);
    watch_set(r->watch, clock_seconds() + (double)h->server->options.limits.idle_seconds);
    request_close(r);
    atomic_fetch_sub_explicit(&h->server->metrics->in_flight, 1, memory_order_release);
}

static void on_connection(void *context, struct MHD_Connection *connection, void **state,
                          enum MHD_ConnectionNotificationCode what)
{
    http *h = context;
    if (what == MHD_CONNECTION_NOTIFY_CLOSED) {
        watch_remove(h->watching, *state);
        *state = NULL;
        atomic_fetch_sub_explicit(&h->server->metrics->connections, 1, memory_order_relaxed);
        acceptor_closed(h->accepting);
        return;
    }
    const union MHD_ConnectionInfo *info = MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CONNECTION_FD);
    int on = 1;
    if (info != NULL) setsockopt(info->connect_fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    *state = info == NULL ? NULL
                          : watch_add(h->watching, info->connect_fd,
                                      clock_seconds() + (double)h->server->options.limits.header_seconds);
    atomic_fetch_add_explicit(&h->server->metrics->connections, 1, memory_order_relaxed);
}

/* The target is taken apart by uri.c; MHD is to leave it as it came. */
static size_t leave_escapes(void *context, struct MHD_Connection *connection, char *text)
{
    (void)context, (void)connection;
    return strlen(text);
}

static void silent(void *context, const char *format, va_list args) { (void)context, (void)format, (void)args; }

static void on_tick(void *context)
{
    http *h = context;
    journal_flush(h->server->journal);
}

/* ---- listening ------------------------------------------------------------------------------------------------------- */

/* As many connections as the system lets this process have descriptors for, beside those of files and the store. The soft limit is
 * raised to the hard one; only the process's owner can raise that. */
static size_t allow_descriptors(size_t n_connections)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0) return n_connections;
    rlim_t want = (rlim_t)n_connections + HTTP_DESCRIPTORS_SPARE;
    if (limit.rlim_cur < want) {
        limit.rlim_cur = limit.rlim_max < want ? limit.rlim_max : want;
        (void)setrlimit(RLIMIT_NOFILE, &limit);
        (void)getrlimit(RLIMIT_NOFILE, &limit);
    }
    if (limit.rlim_cur >= want) return n_connections;
    return limit.rlim_cur > 2 * HTTP_DESCRIPTORS_SPARE ? (size_t)limit.rlim_cur - HTTP_DESCRIPTORS_SPARE
                                                       : HTTP_DESCRIPTORS_SPARE;
}

/* What /system shows is what holds; the log says why it is less than was asked for. */
static void limit_connections(serve *s)
{
    size_t asked = s->options.limits.max_connections, allowed = allow_descriptors(asked);
    if (allowed == asked) return;
    s->options.limits.max_connections = allowed;
    journal_event(
        s->journal, "warning", "connections_limited",
        json_pack("{s:I, s:I, s:s}", "asked", (json_int_t)asked, "allowed", (json_int_t)allowed, "message",
                  "the system's hard limit of open files is lower than --max-connections: raise it (ulimit -Hn, "
                  "LimitNOFILE= of a systemd unit, --ulimit nofile= of a container) or ask for fewer connections"));
}

static int bind_one(const struct addrinfo *at)
{
    int on = 1, fd = socket(at->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0) return -1;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (bind(fd, at->ai_addr, at->ai_addrlen) == 0 && listen(fd, SOMAXCONN) == 0) return fd;
    int code = errno;
    close(fd);
    errno = code;
    return -1;
}

static finch_status bind_listener(http *h, finch_error *err)
{
    const serve_options *o = &h->server->options;
    char port[8], text[128];
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE | AI_NUMERICSERV}, *found = NULL;
    snprintf(port, sizeof port, "%u", o->port);
    if (getaddrinfo(o->host, port, &hints, &found) != 0 || found == NULL)
        return finch_fail(err, FINCH_E_USAGE, "--host %s is no address of this machine; try 127.0.0.1 or 0.0.0.0", o->host);
    h->listening = bind_one(found);
    int code = errno;
    freeaddrinfo(found);
    if (h->listening < 0) {
        if (strerror_r(code, text, sizeof text) != 0) text[0] = '\0';
        return finch_fail(err, FINCH_E_IO, "%s port %u can not be listened on: %s%s", o->host, o->port, text,
                          code == EADDRINUSE ? "; another server is there: choose another --port" : "");
    }
    struct sockaddr_storage name;
    socklen_t size = sizeof name;
    if (getsockname(h->listening, (struct sockaddr *)&name, &size) == 0)
        h->port = ntohs(name.ss_family == AF_INET6 ? ((struct sockaddr_in6 *)&name)->sin6_port
                                                   : ((struct sockaddr_in *)&name)->sin_port);
    return FINCH_OK;
}

finch_status http_create(serve *s, http **out, finch_error *err)
{
    FINCH_TRY(MEM_NEW(out, 1, err));
    (*out)->server = s;
    (*out)->listening = -1;
    return watch_create(on_tick, *out, &s->metrics->cut_slow, &(*out)->watching, err);
}

static bool admit(void *context, int descriptor, const struct sockaddr *from, socklen_t from_size)
{
    http *h = context;
    return MHD_add_connection(h->daemons[h->next++ % h->n_daemons], descriptor, from, from_size) == MHD_YES;
}

static struct MHD_Daemon *start_daemon(http *h)
{
    const serve_options *o = &h->server->options;
    unsigned flags = MHD_USE_EPOLL_INTERNAL_THREAD | MHD_USE_NO_LISTEN_SOCKET | MHD_ALLOW_SUSPEND_RESUME |
                     MHD_USE_ERROR_LOG | (o->tls_key != NULL ? MHD_USE_TLS : 0);
    struct MHD_OptionItem items[] = {
        {MHD_OPTION_EXTERNAL_LOGGER, (intptr_t)silent, NULL},
        {MHD_OPTION_CONNECTION_MEMORY_LIMIT, (intptr_t)o->limits.max_header_bytes + 8192, NULL},
        {MHD_OPTION_CONNECTION_LIMIT, (intptr_t)o->limits.max_connections, NULL},
        {MHD_OPTION_CONNECTION_TIMEOUT, (intptr_t)o->limits.idle_seconds, NULL},
        {MHD_OPTION_URI_LOG_CALLBACK, (intptr_t)on_target, h},
        {MHD_OPTION_UNESCAPE_CALLBACK, (intptr_t)leave_escapes, NULL},
        {MHD_OPTION_NOTIFY_COMPLETED, (intptr_t)on_completed, h},
        {MHD_OPTION_NOTIFY_CONNECTION, (intptr_t)on_connection, h},
        {MHD_OPTION_END, 0, NULL},
    };
    if (o->tls_key == NULL)
        return MHD_start_daemon(flags, 0, NULL, NULL, on_access, h, MHD_OPTION_ARRAY, items, MHD_OPTION_END);
    return MHD_start_daemon(flags, 0, NULL, NULL, on_access, h, MHD_OPTION_HTTPS_MEM_KEY, o->tls_key,
                            MHD_OPTION_HTTPS_MEM_CERT, o->tls_certificate, MHD_OPTION_ARRAY, items, MHD_OPTION_END);
}

finch_status http_start(http *h, finch_error *err)
{
    const serve_options *o = &h->server->options;
    limit_connections(h->server);
    FINCH_TRY(bind_listener(h, err));
    FINCH_TRY(MEM_NEW(&h->daemons, o->http_threads, err));
    /* Before the daemons' threads, which say to it that a connection is closed. */
    FINCH_TRY(acceptor_create(o->limits.max_connections, admit, h, &h->accepting, err));
    for (; h->n_daemons < o->http_threads; h->n_daemons++) {
        h->daemons[h->n_daemons] = start_daemon(h);
        if (h->daemons[h->n_daemons] == NULL)
            return finch_fail(
                err, FINCH_E_FAILED, "the HTTP server could not be started on port %u%s", h->port,
                o->tls_key != NULL ? "; check that --tls-certificate and --tls-key are PEM files that belong together" : "");
    }
    FINCH_TRY(acceptor_start(h->accepting, h->listening, err));
    h->listening = -1;
    return FINCH_OK;
}

uint16_t http_port(const http *h) { return h->port; }

void http_quiesce(http *h)
{
    if (h->accepting != NULL) acceptor_stop(h->accepting);
}

void http_destroy(http *h)
{
    if (h == NULL) return;
    http_quiesce(h);
    for (size_t i = 0; i < h->n_daemons; i++) MHD_stop_daemon(h->daemons[i]); /* closes its connections, and says so */
    acceptor_destroy(h->accepting);
    if (h->listening >= 0) close(h->listening);
    watch_destroy(h->watching);
    mem_free(h->daemons);
    mem_free(h);
}
