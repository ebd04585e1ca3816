#include "store/webhook.h"

#include "base/clock.h"

#include <curl/curl.h>
#include <stdio.h>
#include <string.h>

enum { ANSWER_MOST = 4096 };
#define TIMEOUT_PRESET 10.0
/* A delivery's sender counts as gone after its time-out and a good while. */
#define LEASE_MARGIN_MS 60000

/* The answer is read so that the connection can end in order; nothing of it is kept. */
static size_t drop_answer(char *at, size_t size, size_t n, void *context)
{
    size_t *left = context;
    (void)at;
    if (size * n > *left) return 0;
    *left -= size * n;
    return size * n;
}

static finch_status make_headers(const alert_delivery *d, struct curl_slist **out, finch_error *err)
{
    char signature[ALERT_SIGNATURE_BYTES], lines[3][160];
    FINCH_TRY(alerts_sign(d->secret.at, clock_unix(), d->body.at, d->body.size, signature, err));
    snprintf(lines[0], sizeof lines[0], "X-Finch-Delivery: %s", d->id);
    snprintf(lines[1], sizeof lines[1], "X-Finch-Attempt: %lld", (long long)d->attempt);
    snprintf(lines[2], sizeof lines[2], "X-Finch-Signature: %s", signature);
    const char *all[] = {lines[0], lines[1], lines[2], "Content-Type: application/json", "Expect:"};
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) {
        struct curl_slist *longer = curl_slist_append(*out, all[i]);
        if (longer == NULL) return finch_fail(err, FINCH_E_MEMORY, "out of memory for a webhook");
        *out = longer;
    }
    return FINCH_OK;
}

static void set_options(CURL *call, const alert_delivery *d, struct curl_slist *headers, double timeout_seconds,
                        size_t *left)
{
    long timeout_ms = (long)(timeout_seconds * 1000);
    curl_easy_setopt(call, CURLOPT_URL, d->url.at);
    curl_easy_setopt(call, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(call, CURLOPT_FOLLOWLOCATION, 0L);
    curl_easy_setopt(call, CURLOPT_HTTPHEADER, headers);
    curl_easy_setopt(call, CURLOPT_USERAGENT, "finch/" FINCH_VERSION);
    curl_easy_setopt(call, CURLOPT_POSTFIELDS, d->body.at);
    curl_easy_setopt(call, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)d->body.size);
    curl_easy_setopt(call, CURLOPT_TIMEOUT_MS, timeout_ms);
    curl_easy_setopt(call, CURLOPT_CONNECTTIMEOUT_MS, timeout_ms);
    curl_easy_setopt(call, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(call, CURLOPT_WRITEFUNCTION, drop_answer);
    curl_easy_setopt(call, CURLOPT_WRITEDATA, left);
}

/* What the call's end means. Once bytes of the request have left and no status came back, it may have arrived. */
static alert_answer judge(CURL *call, CURLcode code, int64_t *retry_after_ms, char *reason, size_t room)
{
    long status = 0, sent = 0;
    curl_off_t retry_after = 0;
    curl_easy_getinfo(call, CURLINFO_RESPONSE_CODE, &status);
    curl_easy_getinfo(call, CURLINFO_REQUEST_SIZE, &sent);
    curl_easy_getinfo(call, CURLINFO_RETRY_AFTER, &retry_after);
    *retry_after_ms = retry_after > 0 && retry_after < 86400 ? (int64_t)retry_after * 1000 : 0;
    if (status > 0) snprintf(reason, room, "the receiver answered %ld", status);
    else snprintf(reason, room, "%s", curl_easy_strerror(code));
    if (status >= 200 && status < 300) return ALERT_SENT;
    if (status == 408 || status == 429 || status >= 500) return ALERT_AGAIN;
    if (status > 0) return ALERT_REFUSED;
    return sent > 0 ? ALERT_NO_ANSWER : ALERT_NOT_REACHED;
}

static finch_status send_one(store *s, CURL *call, const alert_delivery *d, double timeout_seconds, bool *sent,
                             finch_error *err)
{
    char reason[200];
    size_t left = ANSWER_MOST;
    int64_t retry_after_ms = 0;
    struct curl_slist *headers = NULL;
    finch_status st = make_headers(d, &headers, err);
    alert_answer answer = ALERT_NOT_REACHED;
    snprintf(reason, sizeof reason, "it could not be signed");
    if (st == FINCH_OK) {
        set_options(call, d, headers, timeout_seconds, &left);
        CURLcode code = curl_easy_perform(call);
        answer = judge(call, code, &retry_after_ms, reason, sizeof reason);
    }
    curl_slist_free_all(headers);
    *sent = answer == ALERT_SENT;
    finch_status settled = alerts_settle(s, d, answer, retry_after_ms, reason, st == FINCH_OK ? err : NULL);
    return st != FINCH_OK ? st : settled;
}

/* A fresh handle each time: nothing of one receiver's connection is seen by another. */
static finch_status deliver_next(store *s, double timeout_seconds, bool *found, bool *sent, finch_error *err)
{
    alert_delivery d;
    *sent = false;
    FINCH_TRY(alerts_take(s, (int64_t)(timeout_seconds * 1000) + LEASE_MARGIN_MS, &d, found, err));
    if (!*found) return FINCH_OK;
    CURL *call = curl_easy_init();
    finch_status st = call != NULL ? send_one(s, call, &d, timeout_seconds, sent, err)
                                   : finch_fail(err, FINCH_E_MEMORY, "out of memory for a webhook");
    curl_easy_cleanup(call);
    alert_delivery_free(&d);
    return st;
}

finch_status webhook_deliver(store *s, double timeout_seconds, size_t most, size_t *n_taken, size_t *n_sent,
                             finch_error *err)
{
    *n_taken = *n_sent = 0;
    if (timeout_seconds <= 0) timeout_seconds = TIMEOUT_PRESET;
    for (size_t i = 0; i < most; i++) {
        bool found, sent;
        FINCH_TRY(deliver_next(s, timeout_seconds, &found, &sent, err));
        if (!found) break;
        ++*n_taken;
        *n_sent += sent;
    }
    return FINCH_OK;
}
