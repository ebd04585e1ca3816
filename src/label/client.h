/* HTTP to one provider: many POSTs at once over few connections (HTTP/2 where the server has it, keep-alive else), TLS
 * verified, nothing followed or sent elsewhere. One thread: client_poll does all the work; client_wake is any thread's.
 * The certificates of authorities are the system's, or those of $FINCH_CA_BUNDLE, $CURL_CA_BUNDLE, $SSL_CERT_FILE. */
#ifndef FINCH_LABEL_CLIENT_H
#define FINCH_LABEL_CLIENT_H

#include "base/str.h"

typedef struct client client;

enum { CLIENT_RESPONSE_MAX_BYTES = 16 << 20, CLIENT_WHY_BYTES = 200, CLIENT_HEADER_MAX_BYTES = 512 };

typedef struct client_options {
    const char *url; /* the provider's, without /chat/completions */
    const char *referer, *title; /* HTTP-Referer and X-Title; NULL: not sent */
    size_t most_at_once;
    double connect_seconds, first_byte_seconds, total_seconds;
    bool allow_plain; /* http:// to other machines too; this machine's addresses may always be plain */
} client_options;

/* What a URL says of the place it leads to. Errors: FINCH_E_USAGE (no URL, http:// to another machine, user or key in it). */
typedef struct client_place {
    char host[256];
    bool loopback;
    bool tls;
} client_place;

finch_status client_check_url(const char *url, bool allow_plain, client_place *out, finch_error *err);

/* What is sent as a header has one line of at most CLIENT_HEADER_MAX_BYTES: a line break in it would begin another header. NULL is
 * legal. Errors: FINCH_E_USAGE, which names it as `name`. */
finch_status client_check_header(const char *name, const char *value, finch_error *err);

/* Begins a connection with a HEAD of /models, without a key, so that the first request need not wait for one. */
finch_status client_open(const client_options *options, client **out, finch_error *err);
void client_close(client *c);

/* Begins a POST. secret (may be NULL) goes into Authorization; body is copied. tag comes back with the response. It leaves in
 * a client_poll that follows, once there is a connection; after `latest` (clock_seconds) it does not leave any more and comes
 * back as CLIENT_MISSED, unless a connection was made for it alone. */
finch_status client_send(client *c, void *tag, double latest, const char *secret, const char *body, size_t size,
                         finch_error *err);
/* The tag of one that has left since; false where none has. To be asked before client_take: what has ended is not told. */
bool client_take_left(client *c, void **tag);
/* Whether the first connection was made, or could not be made: from then on what is sent leaves at once. */
bool client_ready(const client *c);
size_t client_in_flight(const client *c);

typedef enum client_failure {
    CLIENT_NONE,
    CLIENT_TIMEOUT,
    CLIENT_NETWORK,
    CLIENT_TLS,
    CLIENT_TOO_BIG,
    CLIENT_MISSED
} client_failure;

/* One that has ended. All borrowed until the next call of client_take or client_poll. */
typedef struct client_response {
    void *tag;
    client_failure failure; /* CLIENT_NONE: status and body are there, whole */
    char why[CLIENT_WHY_BYTES]; /* of a failure */
    int status;
    const char *body;
    size_t body_bytes;
    double retry_after_seconds; /* below 0: not told */
    double seconds; /* from sending to the end */
    int http_version; /* 1 or 2 */
} client_response;

/* Waits until a request has left or ended or client_wake was called, at most about `seconds`. */
finch_status client_poll(client *c, double seconds, finch_error *err);
/* Ends a client_poll that another thread waits in, or its next one at once. */
void client_wake(client *c);
/* False where none has ended since. */
bool client_take(client *c, client_response *out);

#endif
