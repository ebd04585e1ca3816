#include "data/hub_http.h"

#include "base/clock.h"
#include "data/hub_header.h"

#include <pthread.h>
#include <stddef.h>
#include <string.h>
#include <unistd.h>

enum { HEADER_BYTES = 16 << 10, RECEIVE_BYTES = 512 << 10, POLL_MS = 50, CONNECT_RETRIES = 2, WAIT_MOST = 600 };

static pthread_once_t curl_once = PTHREAD_ONCE_INIT;
static CURLcode curl_ready;

static void start_curl(void) { curl_ready = curl_global_init(CURL_GLOBAL_DEFAULT); }

/* ---- the client ---- */

static bool add_header(struct curl_slist **list, const char *line)
{
    struct curl_slist *longer = curl_slist_append(*list, line);
    if (longer != NULL) *list = longer;
    return longer != NULL;
}

static finch_status make_headers(hub_client *client, finch_error *err)
{
    static const char counted[] = "X-HF-Download-Counter: 1";
    str line = {0};
    finch_status st = str_add_format(&line, err, "Authorization: Bearer %s",
                                     client->env->token.size > 0 ? client->env->token.at : "");
    bool good = st == FINCH_OK && add_header(&client->plain_headers, counted) &&
                add_header(&client->token_headers, counted) &&
                (client->env->token.size == 0 || add_header(&client->token_headers, line.at));
    if (line.at != NULL) explicit_bzero(line.at, line.size);
    str_free(&line);
    if (st == FINCH_OK && !good) st = finch_fail(err, FINCH_E_MEMORY, "out of memory for the request's headers");
    return st;
}

finch_status hub_client_open(hub_client *client, finch_error *err)
{
    client->multi = NULL;
    client->plain_headers = client->token_headers = NULL;
    pthread_once(&curl_once, start_curl);
    if (curl_ready != CURLE_OK)
        return finch_fail(err, FINCH_E_FAILED, "libcurl does not start: %s", curl_easy_strerror(curl_ready));
    client->jitter = (rng){.seed = (uint64_t)getpid(), .stream = (uint64_t)(clock_seconds() * 1e6)};
    client->multi = curl_multi_init();
    finch_status st = client->multi != NULL ? make_headers(client, err) : finch_fail(err, FINCH_E_MEMORY, "out of memory");
    if (st != FINCH_OK) hub_client_close(client);
    return st;
}

/* The lists hold the token: its bytes do not stay behind. */
static void free_headers(struct curl_slist **list)
{
    for (struct curl_slist *at = *list; at != NULL; at = at->next) explicit_bzero(at->data, strlen(at->data));
    curl_slist_free_all(*list);
    *list = NULL;
}

void hub_client_close(hub_client *client)
{
    if (client->multi != NULL) curl_multi_cleanup(client->multi);
    client->multi = NULL;
    free_headers(&client->plain_headers);
    free_headers(&client->token_headers);
}

/* ---- the head of an answer ---- */

static const struct {
    const char *name;
    size_t offset;
} head_fields[] = {
    {"location", offsetof(hub_head, location)},
    {"link", offsetof(hub_head, link)},
    {"content-range", offsetof(hub_head, content_range)},
    {"etag", offsetof(hub_head, etag)},
    {"x-linked-etag", offsetof(hub_head, linked_etag)},
    {"x-error-code", offsetof(hub_head, error_code)},
    {"x-error-message", offsetof(hub_head, error_message)},
    {"retry-after", offsetof(hub_head, retry_after)},
    {"ratelimit", offsetof(hub_head, rate_limit)},
};

enum { N_HEAD_FIELDS = sizeof head_fields / sizeof head_fields[0] };

static str *field_of(hub_head *head, size_t i) { return (str *)((char *)head + head_fields[i].offset); }

static void head_clear(hub_head *head)
{
    head->status = 0;
    for (size_t i = 0; i < N_HEAD_FIELDS; i++) str_clear(field_of(head, i));
}

static void head_free(hub_head *head)
{
    for (size_t i = 0; i < N_HEAD_FIELDS; i++) str_free(field_of(head, i));
}

static bool same_name(const char *line, size_t size, const char *name)
{
    if (strlen(name) != size) return false;
    for (size_t i = 0; i < size; i++) {
        char c = line[i] >= 'A' && line[i] <= 'Z' ? (char)(line[i] + 32) : line[i];
        if (c != name[i]) return false;
    }
    return true;
}

/* One header line. Of a field sent twice the last one counts; one past the bound, or with a NUL, counts as not sent. */
static size_t on_header(char *line, size_t one, size_t size, void *context)
{
    hub_call *call = context;
    size_t whole = one * size;
    if (whole >= 5 && memcmp(line, "HTTP/", 5) == 0) {
        head_clear(&call->head);
        return whole;
    }
    const char *colon = memchr(line, ':', whole);
    if (colon == NULL) return whole;
    size_t name = (size_t)(colon - line), from = name + 1, to = whole;
    while (to > from && (line[to - 1] == '\r' || line[to - 1] == '\n' || line[to - 1] == ' ')) to--;
    while (from < to && (line[from] == ' ' || line[from] == '\t')) from++;
    if (to - from > HEADER_BYTES || memchr(line + from, '\0', to - from) != NULL) return whole;
    for (size_t i = 0; i < N_HEAD_FIELDS; i++) {
        if (!same_name(line, name, head_fields[i].name)) continue;
        str *field = field_of(&call->head, i);
        str_clear(field);
        if (str_add(field, line + from, to - from, NULL) != FINCH_OK) return 0;
    }
    return whole;
}

static bytes as_bytes(const str *s) { return (bytes){(const unsigned char *)s->at, s->size}; }

/* ---- one call ---- */

void hub_call_end(hub_client *client, hub_call *call)
{
    if (call->added) curl_multi_remove_handle(client->multi, call->easy);
    call->added = false;
}

void hub_call_close(hub_client *client, hub_call *call)
{
    if (call->easy != NULL) {
        hub_call_end(client, call);
        curl_easy_cleanup(call->easy);
    }
    head_free(&call->head);
    *call = (hub_call){0};
}

#define SET(option, value) good = good && curl_easy_setopt(call->easy, (option), (value)) == CURLE_OK

/* Set once: some can not be changed while a connection is kept for the next request. */
static bool set_always(const hub_client *client, hub_call *call)
{
    bool good = true;
    const hub_env *env = client->env;
    SET(CURLOPT_USERAGENT, "finch/" FINCH_VERSION);
    SET(CURLOPT_PROTOCOLS_STR, "http,https");
    SET(CURLOPT_FOLLOWLOCATION, 0L);
    SET(CURLOPT_NOSIGNAL, 1L);
    SET(CURLOPT_SUPPRESS_CONNECT_HEADERS, 1L);
    SET(CURLOPT_TCP_KEEPALIVE, 1L);
    SET(CURLOPT_BUFFERSIZE, (long)RECEIVE_BYTES);
    /* Parallel ranges want connections of their own: HTTP/2 would put them all on one. */
    SET(CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
    SET(CURLOPT_LOW_SPEED_LIMIT, 1L);
    SET(CURLOPT_SSL_VERIFYPEER, 1L);
    SET(CURLOPT_SSL_VERIFYHOST, 2L);
    if (env->ca_file.size > 0) SET(CURLOPT_CAINFO, env->ca_file.at);
    if (env->ca_folder.size > 0) SET(CURLOPT_CAPATH, env->ca_folder.at);
    SET(CURLOPT_ERRORBUFFER, call->trouble);
    SET(CURLOPT_HEADERFUNCTION, on_header);
    SET(CURLOPT_HEADERDATA, call);
    return good;
}

finch_status hub_call_open(const hub_client *client, hub_call *call, finch_error *err)
{
    *call = (hub_call){.easy = curl_easy_init()};
    if (call->easy == NULL) return finch_fail(err, FINCH_E_MEMORY, "out of memory for a connection");
    if (set_always(client, call)) return FINCH_OK;
    curl_easy_cleanup(call->easy);
    call->easy = NULL;
    return finch_fail(err, FINCH_E_FAILED, "libcurl refuses an option; it may be too old or cut down");
}

finch_status hub_call_begin(hub_client *client, hub_call *call, const char *url, const char *range, size_t quiet_seconds,
                            hub_body_fn on_body, void *context, finch_error *err)
{
    hub_call_end(client, call);
    head_clear(&call->head);
    call->trouble[0] = '\0';
    call->at_hub = hub_url_same_origin(client->env->endpoint.at, url);
    bool good = true;
    SET(CURLOPT_CONNECTTIMEOUT, (long)quiet_seconds);
    SET(CURLOPT_LOW_SPEED_TIME, (long)quiet_seconds);
    SET(CURLOPT_HTTPHEADER, call->at_hub ? client->token_headers : client->plain_headers);
    SET(CURLOPT_RANGE, range);
    SET(CURLOPT_WRITEFUNCTION, on_body);
    SET(CURLOPT_WRITEDATA, context);
    SET(CURLOPT_PRIVATE, context);
    SET(CURLOPT_URL, url);
    if (!good) return finch_fail(err, FINCH_E_FAILED, "libcurl refuses an option of the request");
    if (curl_multi_add_handle(client->multi, call->easy) != CURLM_OK)
        return finch_fail(err, FINCH_E_FAILED, "libcurl does not take the request");
    call->added = true;
    return FINCH_OK;
}

/* ---- what an answer means ---- */

/* The server's own words, made harmless, without the token should it send that back. */
static void server_words(const hub_client *client, const hub_call *call, char out[256])
{
    const str *token = &client->env->token, *words = &call->head.error_message;
    out[0] = '\0';
    if (words->size == 0 || (token->size > 0 && strstr(words->at, token->at) != NULL)) return;
    size_t n = 0;
    memcpy(out, " (it says: ", 11);
    n = 11;
    for (size_t i = 0; i < words->size && n < 200; i++, n++) {
        unsigned char c = (unsigned char)words->at[i];
        out[n] = c < ' ' || c >= 0x7F ? '?' : (char)c;
    }
    memcpy(out + n, ")", 2);
}

static bool is_code(const hub_call *call, const char *code)
{
    return call->head.error_code.size > 0 && strcmp(call->head.error_code.at, code) == 0;
}

static finch_status fail_gated(const hub_client *client, finch_error *err)
{
    const char *of = client->kind == HUB_DATASET ? "datasets/" : "", *endpoint = client->env->endpoint.at;
    if (client->env->token.size == 0)
        return finch_fail(
            err, FINCH_E_REMOTE,
            "%s is gated: accept its conditions at %s/%s%s with your account, make a token at %s/settings/tokens "
            "and set HF_TOKEN to it",
            client->repo, endpoint, of, client->repo, endpoint);
    return finch_fail(
        err, FINCH_E_REMOTE,
        "%s is gated, and the account of your token has no access: accept its conditions at %s/%s%s (some owners "
        "answer by hand), and see at %s/settings/tokens that the token may read gated repositories",
        client->repo, endpoint, of, client->repo, endpoint);
}

static finch_status fail_unknown(const hub_client *client, const char *words, finch_error *err)
{
    const char *what = client->kind == HUB_DATASET ? "dataset" : "model";
    if (client->env->token.size == 0)
        return finch_fail(err, FINCH_E_REMOTE,
                          "%s has no %s %s, or it is private%s; check the name%s, and set HF_TOKEN where it is private",
                          client->env->endpoint.at, what, client->repo, words,
                          client->kind == HUB_MODEL ? " (a dataset needs --dataset)" : "");
    return finch_fail(err, FINCH_E_REMOTE, "%s has no %s %s, or your token may not see it%s; check the name%s and the token",
                      client->env->endpoint.at, what, client->repo, words,
                      client->kind == HUB_MODEL ? " (a dataset needs --dataset)" : "");
}

static hub_verdict judge_client_error(const hub_client *client, const hub_call *call, const char *url, finch_error *err)
{
    char words[256];
    long status = call->head.status;
    server_words(client, call, words);
    if (!call->at_hub) {
        finch_fail(err, FINCH_E_REMOTE, "%s answered HTTP %ld%s", url, status, words);
    } else if (is_code(call, "GatedRepo")) {
        fail_gated(client, err);
    } else if (is_code(call, "RevisionNotFound")) {
        finch_fail(err, FINCH_E_REMOTE, "%s has no revision \"%s\"; its branches are at %s/%s%s", client->repo,
                   client->revision, client->env->endpoint.at, client->kind == HUB_DATASET ? "datasets/" : "", client->repo);
    } else if (is_code(call, "EntryNotFound")) {
        finch_fail(err, FINCH_E_REMOTE, "%s is not there any more (HTTP %ld)%s", url, status, words);
    } else if (status == 401 || is_code(call, "RepoNotFound") || status == 404) {
        fail_unknown(client, words, err);
    } else if (status == 403) {
        finch_fail(err, FINCH_E_REMOTE,
                   "%s forbids reading %s%s; see at %s/settings/tokens what the token in HF_TOKEN may read",
                   client->env->endpoint.at, client->repo, words, client->env->endpoint.at);
    } else {
        finch_fail(err, FINCH_E_REMOTE, "%s answered HTTP %ld%s", url, status, words);
    }
    return HUB_LOST;
}

static double asked_wait(const hub_call *call)
{
    uint64_t seconds;
    curl_off_t by_date = 0;
    if (hub_header_retry_after(as_bytes(&call->head.retry_after), &seconds)) return (double)seconds;
    if (call->head.status == 429 && hub_header_rate_limit(as_bytes(&call->head.rate_limit), &seconds))
        return (double)seconds + 1;
    /* Of a date libcurl makes seconds. */
    if (curl_easy_getinfo(call->easy, CURLINFO_RETRY_AFTER, &by_date) == CURLE_OK && by_date > 0) return (double)by_date;
    return -1;
}

static hub_verdict judge_busy(const hub_client *client, const hub_call *call, const char *url, double *wait,
                              finch_error *err)
{
    char words[256];
    server_words(client, call, words);
    *wait = asked_wait(call);
    finch_fail(err, FINCH_E_REMOTE, "%s answered HTTP %ld%s%s", url, call->head.status,
               call->head.status == 429 ? ", too many requests" : "", words);
    if (*wait <= WAIT_MOST) return HUB_AGAIN;
    finch_fail(err, FINCH_E_REMOTE,
               "%s answered HTTP %ld and asks to come back in %.0f seconds%s; run the command again then", url,
               call->head.status, *wait, client->env->token.size == 0 ? " (with a token in HF_TOKEN more is allowed)" : "");
    return HUB_LOST;
}

static hub_verdict judge_transport(const hub_call *call, CURLcode code, const char *url, finch_error *err)
{
    const char *what = call->trouble[0] != '\0' ? call->trouble : curl_easy_strerror(code);
    switch (code) {
    case CURLE_PEER_FAILED_VERIFICATION:
    case CURLE_SSL_CACERT_BADFILE:
        finch_fail(err, FINCH_E_REMOTE,
                   "%s: the certificate is not trusted: %.200s; where a proxy has its own, set SSL_CERT_FILE", url, what);
        return HUB_LOST;
    case CURLE_COULDNT_RESOLVE_PROXY:
    case CURLE_PROXY:
        finch_fail(err, FINCH_E_REMOTE, "%s: the proxy does not serve: %.200s; see https_proxy, http_proxy and no_proxy",
                   url, what);
        return HUB_LOST;
    case CURLE_COULDNT_RESOLVE_HOST:
    case CURLE_COULDNT_CONNECT:
        finch_fail(err, FINCH_E_REMOTE, "%s can not be reached: %.200s", url, what);
        return HUB_AGAIN;
    case CURLE_OPERATION_TIMEDOUT: finch_fail(err, FINCH_E_REMOTE, "%s fell silent: %.200s", url, what); return HUB_AGAIN;
    case CURLE_SSL_CONNECT_ERROR:
    case CURLE_PARTIAL_FILE:
    case CURLE_RECV_ERROR:
    case CURLE_SEND_ERROR:
    case CURLE_GOT_NOTHING:
    case CURLE_UNSUPPORTED_PROTOCOL: /* no HTTP came: what an earlier answer sent too much, say */
    case CURLE_WEIRD_SERVER_REPLY:
        finch_fail(err, FINCH_E_REMOTE, "%s: the connection broke: %.200s", url, what);
        return HUB_AGAIN;
    case CURLE_OUT_OF_MEMORY: finch_fail(err, FINCH_E_MEMORY, "out of memory while asking %s", url); return HUB_LOST;
    default: finch_fail(err, FINCH_E_REMOTE, "%s: %.200s", url, what); return HUB_LOST;
    }
}

static bool is_busy(long status)
{
    return status == 408 || status == 429 || status == 500 || status == 502 || status == 503 || status == 504;
}

hub_verdict hub_judge(const hub_client *client, hub_call *call, CURLcode code, double *wait, finch_error *err)
{
    str shown = {0};
    char *effective = NULL;
    long status = 0;
    *wait = -1;
    curl_easy_getinfo(call->easy, CURLINFO_EFFECTIVE_URL, &effective);
    curl_easy_getinfo(call->easy, CURLINFO_RESPONSE_CODE, &status);
    call->head.status = status;
    hub_url_shown(effective != NULL ? effective : "the Hub", &shown, NULL);
    const char *url = shown.at != NULL ? shown.at : "the Hub";
    hub_verdict verdict;
    if (code != CURLE_OK && !(code == CURLE_WRITE_ERROR && status >= 300)) verdict = judge_transport(call, code, url, err);
    else if (status == 200 || status == 206) verdict = HUB_GOOD;
    else if (status >= 300 && status < 400 && call->head.location.size > 0) verdict = HUB_ON;
    else if (is_busy(status)) verdict = judge_busy(client, call, url, wait, err);
    else verdict = judge_client_error(client, call, url, err);
    str_free(&shown);
    return verdict;
}

double hub_backoff(hub_client *client, size_t attempt)
{
    double seconds = client->retry_seconds * (double)(1u << (attempt < 3 ? attempt : 3));
    return seconds * (0.75 + 0.5 * rng_unit(&client->jitter));
}

finch_status hub_wait(hub_client *client, double seconds, const char *note, finch_error *err)
{
    double until = clock_seconds() + seconds;
    for (;;) {
        if (!progress_report(client->watch, 0, 0, note)) return finch_fail(err, FINCH_E_CANCELLED, "interrupted");
        double left = until - clock_seconds();
        if (left <= 0) return FINCH_OK;
        int ms = left * 1000 < POLL_MS ? (int)(left * 1000) + 1 : POLL_MS;
        curl_multi_poll(client->multi, NULL, 0, ms, NULL);
    }
}

/* ---- small documents ---- */

typedef struct small_body {
    str *into;
    size_t limit;
    bool too_large, no_memory;
} small_body;

static size_t on_small_body(char *data, size_t one, size_t size, void *context)
{
    small_body *body = context;
    size_t whole = one * size;
    body->too_large = whole > body->limit - body->into->size;
    if (body->too_large) return 0;
    body->no_memory = str_add(body->into, data, whole, NULL) != FINCH_OK;
    return body->no_memory ? 0 : whole;
}

/* Until the one call in the multi handle has ended. */
static finch_status run_call(hub_client *client, CURLcode *code, finch_error *err)
{
    int running = 1;
    while (running > 0) {
        if (!progress_report(client->watch, 0, 0, NULL)) return finch_fail(err, FINCH_E_CANCELLED, "interrupted");
        CURLMcode m = curl_multi_perform(client->multi, &running);
        if (m == CURLM_OK && running > 0) m = curl_multi_poll(client->multi, NULL, 0, POLL_MS, NULL);
        if (m != CURLM_OK) return finch_fail(err, FINCH_E_FAILED, "libcurl: %s", curl_multi_strerror(m));
    }
    int left;
    CURLMsg *message = curl_multi_info_read(client->multi, &left);
    *code = message != NULL ? message->data.result : CURLE_GOT_NOTHING;
    return FINCH_OK;
}

static finch_status get_once(hub_client *client, hub_call *call, const char *url, size_t limit, str *body,
                             hub_verdict *verdict, CURLcode *code, double *wait, finch_error *err)
{
    small_body small = {.into = body, .limit = limit};
    str_clear(body);
    FINCH_TRY(hub_call_begin(client, call, url, NULL, client->env->etag_timeout, on_small_body, &small, err));
    finch_status st = run_call(client, code, err);
    if (st == FINCH_OK && small.no_memory) st = finch_fail(err, FINCH_E_MEMORY, "out of memory for an answer of the Hub");
    if (st == FINCH_OK && small.too_large)
        st = finch_fail(err, FINCH_E_REMOTE, "%s answered with more than the %zu bytes such an answer may have",
                        client->env->endpoint.at, limit);
    if (st == FINCH_OK) *verdict = hub_judge(client, call, *code, wait, err);
    hub_call_end(client, call);
    return st;
}

static bool is_connect(CURLcode code)
{
    return code == CURLE_COULDNT_RESOLVE_HOST || code == CURLE_COULDNT_CONNECT || code == CURLE_COULDNT_RESOLVE_PROXY;
}

static finch_status get_all(hub_client *client, hub_call *call, const char *url, size_t limit, str *body, bool *unreachable,
                            finch_error *err)
{
    str at = {0}, next = {0};
    finch_status st = str_add_text(&at, url, err);
    size_t n_redirects = 0, attempt = 0;
    while (st == FINCH_OK) {
        hub_verdict verdict = HUB_LOST;
        CURLcode code = CURLE_OK;
        double wait = -1;
        st = get_once(client, call, at.at, limit, body, &verdict, &code, &wait, err);
        if (st != FINCH_OK || verdict == HUB_GOOD) break;
        if (verdict == HUB_ON && ++n_redirects > HUB_REDIRECTS_MOST) {
            st = finch_fail(err, FINCH_E_REMOTE, "%s sends on more than %d times", client->env->endpoint.at,
                            HUB_REDIRECTS_MOST);
        } else if (verdict == HUB_ON) {
            st = hub_url_join(at.at, call->head.location.at, &next, err);
            if (st != FINCH_OK) finch_fail_prefix(err, "%s", client->env->endpoint.at);
            str_clear(&at);
            if (st == FINCH_OK) st = str_add(&at, next.at, next.size, err);
        } else if (verdict == HUB_AGAIN &&
                   attempt <
                       (is_connect(code) && client->n_retries > CONNECT_RETRIES ? CONNECT_RETRIES : client->n_retries)) {
            st = hub_wait(client, wait >= 0 ? wait : hub_backoff(client, attempt), "the Hub does not answer, trying again",
                          err);
            attempt++;
        } else {
            st = FINCH_E_REMOTE;
            if (err != NULL && err->status != FINCH_OK) st = err->status;
            if (unreachable != NULL) *unreachable = verdict == HUB_AGAIN;
        }
    }
    str_free(&at);
    str_free(&next);
    return st;
}

finch_status hub_get(hub_client *client, const char *url, size_t limit_bytes, str *body, str *link, bool *unreachable,
                     finch_error *err)
{
    hub_call call;
    if (unreachable != NULL) *unreachable = false;
    FINCH_TRY(hub_call_open(client, &call, err));
    finch_status st = get_all(client, &call, url, limit_bytes, body, unreachable, err);
    if (st == FINCH_OK && link != NULL) {
        str_clear(link);
        st = str_add(link, call.head.link.at != NULL ? call.head.link.at : "", call.head.link.size, err);
    }
    hub_call_close(client, &call);
    return st;
}
