/* One request on its way: what came, who asks, and the answer being made. Made when its first line is read, freed when the
 * answer has gone out; nothing of it outlives that.
 *
 *        headers            body            handler returns WAIT          request_done
 *   OPEN ---------> BODY ---------> RUNNING ----------------> WAITING ----------------> DONE -> sent
 * Threads: the HTTP thread of its connection, but from WAITING to request_done the one thread that works on it. */
#ifndef FINCH_SERVE_REQUEST_H
#define FINCH_SERVE_REQUEST_H

#include "base/arena.h"
#include "base/str.h"
#include "serve/server.h"
#include "serve/uri.h"

#include <jansson.h>
#include <microhttpd.h>

typedef enum request_stage { REQUEST_OPEN, REQUEST_BODY, REQUEST_WAITING, REQUEST_DONE, REQUEST_SENT } request_stage;

enum { REQUEST_HEADERS_MAX = 12, REQUEST_ID_BYTES = 65, TRACE_ID_BYTES = 33, REQUEST_ARGUMENTS_MAX = 2 };

typedef struct request_header {
    const char *name; /* static */
    char value[160];
} request_header;

typedef struct request {
    serve *server;
    struct MHD_Connection *connection;
    struct connection_watch *watch;
    const struct route *route;
    size_t route_index; /* in the table; route_count() where none fits */
    _Atomic request_stage stage;
    double began;       /* clock_seconds */
    double answered;    /* when its answer was handed to the HTTP library; 0: none was */
    int64_t began_ms;   /* Unix milliseconds */
    double headers_at;
    arena memory;
    char method[24];    /* as written, cut; only letters a log may hold */
    bool head;          /* HEAD: the answer of GET without its body */
    bool upload_refused; /* the answer is there already: the body is dropped */
    uint64_t received_bytes, refused_at;
    uint64_t announced_bytes; /* Content-Length; 0: none */
    char *raw_target;
    uri target;
    char path_shown[128]; /* for the log: the path as written, cut, without the query */
    const char *arguments[REQUEST_ARGUMENTS_MAX]; /* what stands in the place of {id} */
    char id[REQUEST_ID_BYTES];
    char trace[TRACE_ID_BYTES]; /* W3C trace id */
    char caller[64];            /* the key's name, "" for none */
    bool is_admin;
    bool store_predictions;
    str body;
    struct upload *upload;      /* instead of body, where the route takes a file */
    json_t *json;               /* of the body, validated; NULL where the route takes none */
    void *work;                 /* what the handler holds while it waits; freed by it */
    size_t n_texts, n_tokens;   /* for the log */
    const char *error_code;     /* static; NULL where all went well */

    const char *policy;         /* Content-Security-Policy of a page that has one of its own; borrowed */
    unsigned status;
    const char *content_type;   /* static */
    str reply;
    const void *static_reply;   /* instead of reply: bytes that outlive the server's answers */
    size_t static_size;
    struct MHD_Response *prepared; /* instead of both: a response of the handler's own making */
    request_header headers[REQUEST_HEADERS_MAX];
    size_t n_headers;
} request;

/* NULL where memory is short. target is the raw one. */
request *request_open(serve *s, struct MHD_Connection *connection, const char *target);
/* Takes apart the target and reads ids and traces; false where an error was answered. Called once the headers are there. */
bool request_begin(request *r);
void request_close(request *r);

const char *request_field(const request *r, const char *name); /* a header's value or NULL */
/* When it has waited long enough (clock_seconds): most_ms after it began, or X-Timeout-Ms where that is less. */
double request_deadline(const request *r, size_t most_ms);
/* A header of the answer; cut where it is longer than a value may be. */
void request_add_header(request *r, const char *name, const char *format, ...) FINCH_PRINTF(3, 4);

/* Before a request is handed to another thread: by the handler that will say HANDLER_WAITS. */
void request_suspend(request *r);
/* The answer is there: from any thread, once, after the handler said HANDLER_WAITS. */
void request_done(request *r);

#endif
