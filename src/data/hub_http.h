/* Requests to the Hub and to where it sends on, through libcurl's multi interface: one thread, no callback of ours blocks.
 *
 * 1. Redirects are followed here and not by libcurl, one request each: the token goes to the endpoint's own scheme, host and
 *    port and nowhere else, and an address from the server is checked before it is asked (hub_url_join).
 * 2. Certificates are always checked. Only http and https are spoken.
 * 3. A failure is either worth another try (lost connections, 408, 429, 5xx) or final; hub_judge says which and why.
 * 4. No message holds the token or an address's query, which on a CDN is a signature. */
#ifndef FINCH_DATA_HUB_HTTP_H
#define FINCH_DATA_HUB_HTTP_H

#include "base/progress.h"
#include "base/rng.h"
#include "data/hub_env.h"
#include "data/hub_url.h"

#include <curl/curl.h>

enum { HUB_REDIRECTS_MOST = 10 };

typedef struct hub_client {
    const hub_env *env;
    hub_kind kind;
    const char *repo;
    const char *revision;
    const progress *watch;
    size_t n_retries;     /* of a request that brought nothing */
    double retry_seconds; /* before the first one; doubled up to eight times that */
    rng jitter;
    CURLM *multi;
    struct curl_slist *plain_headers, *token_headers;
} hub_client;

/* The fields above multi are the caller's to set before. */
finch_status hub_client_open(hub_client *client, finch_error *err);
void hub_client_close(hub_client *client);

/* What the server said before the body; a field it did not send is empty. */
typedef struct hub_head {
    long status;
    str location, link, content_range, etag, linked_etag, error_code, error_message, retry_after, rate_limit;
} hub_head;

typedef struct hub_call {
    CURL *easy;
    hub_head head;
    char trouble[CURL_ERROR_SIZE];
    bool at_hub; /* the address is the endpoint's */
    bool added;
} hub_call;

typedef size_t (*hub_body_fn)(char *data, size_t one, size_t size, void *context);

finch_status hub_call_open(const hub_client *client, hub_call *call, finch_error *err);
void hub_call_close(hub_client *client, hub_call *call);
/* Starts a GET of url; range is "0-99" or NULL; context goes to on_body and is the handle's CURLINFO_PRIVATE. A call can be
 * started again once it ended. quiet_seconds without a byte end it. */
finch_status hub_call_begin(hub_client *client, hub_call *call, const char *url, const char *range, size_t quiet_seconds,
                            hub_body_fn on_body, void *context, finch_error *err);
/* Takes it out of the multi handle, whether it ended or not. */
void hub_call_end(hub_client *client, hub_call *call);

typedef enum hub_verdict {
    HUB_GOOD,  /* 200 or 206 */
    HUB_ON,    /* go on at head.location */
    HUB_AGAIN, /* err is filled; *wait says how long the server wants, below 0: nothing said */
    HUB_LOST,  /* err is filled */
} hub_verdict;

hub_verdict hub_judge(const hub_client *client, hub_call *call, CURLcode code, double *wait, finch_error *err);
/* Before the attempt-th further try (from 0): doubling, with a quarter of jitter so that many clients do not return at once. */
double hub_backoff(hub_client *client, size_t attempt);
/* Waits and listens for a wish to stop. Errors: FINCH_E_CANCELLED. */
finch_status hub_wait(hub_client *client, double seconds, const char *note, finch_error *err);

/* A small document, redirects and further tries included. link (may be NULL): the Link header. Errors: FINCH_E_REMOTE,
 * FINCH_E_CANCELLED, FINCH_E_MEMORY; *unreachable (may be NULL): nobody answered or the Hub itself is in trouble, so the
 * cache may serve. */
finch_status hub_get(hub_client *client, const char *url, size_t limit_bytes, str *body, str *link, bool *unreachable,
                     finch_error *err);

#endif
