/* Alerts: rules on a ticker's turn in sentiment or volume, and deliveries that are made once.
 *
 * A rule compares the last window with the baseline before it. It fires once at the turn, and again only after the measure has
 * come back below half of the threshold or the other way, and not within its rest. The firing and its delivery are written in
 * one transaction: an outbox.
 *
 *             alerts_take                alerts_settle: answered 2xx
 *   waiting ---------------> sending ---------------------------------> sent
 *      ^                        |------ not reached, 429, 5xx: waiting again, later each time
 *      '------------------------'------ other answers, or out of attempts: failed
 *                               '------ nobody knows (killed while sending, or no answer after the bytes left): in doubt
 *
 * A delivery in doubt may have arrived, so it is not sent again by itself, unless its rule says so (resend_in_doubt): never
 * twice. It is listed, and alerts_retry sends it again by hand. The id of a delivery is in its body and headers. */
#ifndef FINCH_STORE_ALERTS_H
#define FINCH_STORE_ALERTS_H

#include "base/json.h"
#include "store/store.h"

typedef enum alert_measure { ALERT_SENTIMENT, ALERT_VOLUME } alert_measure;
typedef enum alert_direction { ALERT_RISE, ALERT_FALL, ALERT_EITHER } alert_direction;

typedef struct alert_rule {
    char id[STORE_HASH_BYTES]; /* made by alerts_add */
    str name, ticker;          /* ticker "*": all texts */
    alert_measure measure;
    alert_direction direction;
    int64_t window_ms, baseline_ms; /* the last window, and the time before it that it is held against */
    double threshold; /* sentiment: the difference of means, 0 to 2; volume: the ratio to the baseline's rate, over 1 */
    int64_t least_n; /* texts in window and baseline, each, below which nothing is said */
    int64_t rest_ms; /* after firing */
    str url, secret; /* secret: what signs (kept in the store; shown once, at adding) */
    bool enabled, resend_in_doubt;
    int64_t created_ms, fired_ms; /* 0: never */
    int64_t state; /* -1, 0, 1: the side it is on since it fired last */
} alert_rule;

void alert_rule_free(alert_rule *rule);

/* Takes everything from rule but id, created, fired and state, which are made; an empty secret is made too (32 random bytes in
 * hex). Errors: FINCH_E_DATA naming field and bound. */
finch_status alerts_add(store *s, alert_rule *rule, finch_error *err);
finch_status alerts_remove(store *s, const char *id, finch_error *err);
finch_status alerts_enable(store *s, const char *id, bool enabled, finch_error *err);
/* [{"id","name","ticker","measure","direction","window_ms","baseline_ms","threshold","least_n","rest_ms","url","enabled",
 *   "resend_in_doubt","created","fired"}], without secrets. */
finch_status alerts_list(store *s, json_t **out, finch_error *err);

/* Looks at every enabled rule at the time now_ms; *n_fired: how many fired. Several servers may do it at once: a turn fires
 * once. */
finch_status alerts_evaluate(store *s, int64_t now_ms, size_t *n_fired, finch_error *err);

typedef struct alert_delivery {
    char id[STORE_HASH_BYTES];
    int64_t attempt;
    str url, secret, body; /* body: JSON */
} alert_delivery;
void alert_delivery_free(alert_delivery *d);

/* The next delivery that is due, marked as being sent until now + lease_ms. *found false: none. Deliveries whose sender is
 * gone are settled as in doubt. */
finch_status alerts_take(store *s, int64_t lease_ms, alert_delivery *out, bool *found, finch_error *err);

typedef enum alert_answer { ALERT_SENT, ALERT_NOT_REACHED, ALERT_AGAIN, ALERT_REFUSED, ALERT_NO_ANSWER } alert_answer;
/* retry_after_ms: what the receiver asked for; 0: nothing. reason: for people. */
finch_status alerts_settle(store *s, const alert_delivery *d, alert_answer answer, int64_t retry_after_ms,
                           const char *reason, finch_error *err);
/* A delivery that failed or is in doubt waits again. Errors: FINCH_E_NOT_FOUND. */
finch_status alerts_retry(store *s, const char *id, finch_error *err);
/* Newest first: [{"id","rule","ticker","state","attempts","created","next","reason","body":{..}}]. */
finch_status alerts_deliveries(store *s, size_t limit, json_t **out, finch_error *err);

typedef struct alerts_counts {
    int64_t waiting, sending, sent, failed, in_doubt;
} alerts_counts;
finch_status alerts_count(store *s, alerts_counts *out, finch_error *err);

/* "t=UNIXSECONDS,v1=HEX": HMAC-SHA256 of "UNIXSECONDS.BODY" with the secret. out holds ALERT_SIGNATURE_BYTES. */
enum { ALERT_SIGNATURE_BYTES = 96 };
finch_status alerts_sign(const char *secret, int64_t unix_seconds, const char *body, size_t size,
                         char out[ALERT_SIGNATURE_BYTES], finch_error *err);

#endif
