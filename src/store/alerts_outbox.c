#include "store/alerts_outbox.h"

#include "store/events.h"
#include "store/values.h"

#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { ATTEMPTS_MOST = 12, BACKOFF_FIRST_MS = 5000, CANDIDATES = 32, REASON_MOST = 300 };

#define BACKOFF_MOST_MS (6 * INT64_C(3600000))

void alert_delivery_free(alert_delivery *d)
{
    str_free(&d->url);
    str_free(&d->secret);
    str_free(&d->body);
    *d = (alert_delivery){.id = ""};
}

/* ---- in ---- */

/* The body is written once and never changes: what is signed and sent again is the same to the byte. */
static json_t *body_json(const char *id, const alert_rule *rule, int64_t to, int64_t now_ms, const history_point *window,
                         const history_point *baseline)
{
    json_t *described = alert_rule_json(rule);
    if (described == NULL) return NULL;
    json_object_del(described, "url");
    return json_pack("{s:s, s:s, s:o, s:s, s:s, s:o, s:o, s:o}", "id", id, "type", "alert", "time", values_time(now_ms),
                     "ticker", rule->ticker.at, "turn", to > 0 ? "rise" : "fall", "window", history_point_json(window),
                     "baseline", history_point_json(baseline), "rule", described);
}

static finch_status insert_delivery(store *s, const char *id, const alert_rule *rule, int64_t now_ms, const char *body,
                                    finch_error *err)
{
    static const sql_statement insert = {"INSERT INTO alert_delivery (id, rule, created, state, attempt, next, owner, "
                                         "until, reason, body) VALUES ($1, $2, $3, "
                                         "'waiting', 0, $3, '', 0, '', $4)",
                                         NULL};
    sql_value values[] = {sql_text(id), sql_text(rule->id), sql_integer(now_ms), sql_text(body)};
    return store_run(s, &insert, values, 4, NULL, NULL, NULL, err);
}

finch_status alerts_outbox_add(store *s, const alert_rule *rule, int64_t to, int64_t now_ms, const history_point *window,
                               const history_point *baseline, finch_error *err)
{
    char id[STORE_HASH_BYTES];
    FINCH_TRY(store_random_name(id, err));
    json_t *body = body_json(id, rule, to, now_ms, window, baseline);
    char *text = body != NULL ? values_dump(body) : NULL;
    finch_status st = text != NULL ? insert_delivery(s, id, rule, now_ms, text, err)
                                   : finch_fail(err, FINCH_E_MEMORY, "out of memory for an alert");
    if (st == FINCH_OK) st = events_add(s, "alert", body, err);
    free(text); /* jansson's own */
    json_decref(body);
    return st;
}

/* ---- out ---- */

typedef struct candidate {
    char id[STORE_HASH_BYTES], owner[320];
    int64_t attempt, until;
    bool sending, resend;
} candidate;

typedef struct taking {
    int64_t lease_ms;
    candidate candidates[CANDIDATES];
    size_t n;
    alert_delivery *out;
    bool found;
} taking;

static finch_status take_candidate(void *context, const sql_row *row, finch_error *err)
{
    taking *t = context;
    candidate *c = &t->candidates[t->n];
    finch_text id = sql_row_text(row, 0), owner = sql_row_text(row, 1);
    if (id.size_bytes != STORE_HASH_BYTES - 1)
        return finch_fail(err, FINCH_E_DATA, "a delivery in the store has a broken id");
    *c = (candidate){.attempt = sql_row_integer(row, 2),
                     .until = sql_row_integer(row, 3),
                     .sending = sql_row_integer(row, 4) != 0,
                     .resend = sql_row_integer(row, 5) != 0};
    memcpy(c->id, id.at, id.size_bytes);
    snprintf(c->owner, sizeof c->owner, "%.*s", (int)owner.size_bytes, owner.at);
    t->n++;
    return FINCH_OK;
}

/* Whoever was sending is gone: whether it arrived nobody knows. */
static finch_status settle_doubt(store *s, const candidate *c, finch_error *err)
{
    static const sql_statement doubt = {"UPDATE alert_delivery SET state = $3, owner = '', next = $4, reason = 'the server "
                                        "ended while it was sent' WHERE id = $1 "
                                        "AND attempt = $2 AND state = 'sending'",
                                        NULL};
    sql_value values[] = {sql_text(c->id), sql_integer(c->attempt), sql_text(c->resend ? "waiting" : "in doubt"),
                          sql_integer(store_now_ms(s))};
    return store_run(s, &doubt, values, 4, NULL, NULL, NULL, err);
}

static finch_status read_delivery(void *context, const sql_row *row, finch_error *err)
{
    taking *t = context;
    t->found = true;
    FINCH_TRY(sql_row_copy(row, 0, &t->out->url, err));
    FINCH_TRY(sql_row_copy(row, 1, &t->out->secret, err));
    FINCH_TRY(sql_row_copy(row, 2, &t->out->body, err));
    t->out->attempt = sql_row_integer(row, 3);
    return FINCH_OK;
}

static finch_status take_one(store *s, taking *t, const candidate *c, finch_error *err)
{
    static const sql_statement mark = {
        "UPDATE alert_delivery SET state = 'sending', attempt = attempt + 1, owner = $3, until = $4 "
        "WHERE id = $1 AND attempt = $2 AND state = 'waiting'",
        NULL};
    static const sql_statement look = {
        "SELECT r.url, r.secret, d.body, d.attempt FROM alert_delivery d JOIN alert_rule r ON r.id = "
        "d.rule WHERE d.id = $1",
        NULL};
    uint64_t n = 0;
    sql_value values[] = {sql_text(c->id), sql_integer(c->attempt), sql_text(store_owner(s)),
                          sql_integer(store_now_ms(s) + t->lease_ms)};
    FINCH_TRY(store_run(s, &mark, values, 4, NULL, NULL, &n, err));
    if (n == 0) return FINCH_OK;
    memcpy(t->out->id, c->id, sizeof t->out->id);
    return store_run(s, &look, values, 1, read_delivery, t, NULL, err);
}

static finch_status take_work(store *s, void *context, finch_error *err)
{
#define LOOK                                                                                                         \
    "SELECT d.id, d.owner, d.attempt, d.until, CASE WHEN d.state = 'sending' THEN 1 ELSE 0 END, r.resend FROM "      \
    "alert_delivery d JOIN alert_rule r ON r.id = d.rule WHERE (d.state = 'waiting' AND d.next <= $1) OR d.state = " \
    "'sending' ORDER BY d.state, d.next LIMIT $2"
    static const sql_statement look = {LOOK, LOOK " FOR UPDATE OF d SKIP LOCKED"};
    taking *t = context;
    int64_t now = store_now_ms(s);
    sql_value values[] = {sql_integer(now), sql_integer(CANDIDATES)};
    t->n = 0;
    t->found = false;
    FINCH_TRY(store_run(s, &look, values, 2, take_candidate, t, NULL, err));
    for (size_t i = 0; i < t->n && !t->found; i++) {
        const candidate *c = &t->candidates[i];
        if (!c->sending) FINCH_TRY(take_one(s, t, c, err));
        else if (c->until < now || !store_owner_lives(s, c->owner)) FINCH_TRY(settle_doubt(s, c, err));
    }
    return FINCH_OK;
}

finch_status alerts_take(store *s, int64_t lease_ms, alert_delivery *out, bool *found, finch_error *err)
{
    taking t = {.lease_ms = lease_ms, .out = out};
    *out = (alert_delivery){.id = ""};
    *found = false;
    finch_status st = store_transaction(s, take_work, &t, err);
    *found = st == FINCH_OK && t.found;
    if (st != FINCH_OK) alert_delivery_free(out);
    return st;
}

/* ---- how it ended ---- */

/* 5 s, 10 s, 20 s, ... up to 6 hours; twelve attempts span about three hours. */
static int64_t pause_ms(int64_t attempt, int64_t retry_after_ms)
{
    int64_t pause = BACKOFF_FIRST_MS;
    for (int64_t i = 1; i < attempt && pause < BACKOFF_MOST_MS; i++) pause *= 2;
    if (retry_after_ms > pause) pause = retry_after_ms;
    return pause < BACKOFF_MOST_MS ? pause : BACKOFF_MOST_MS;
}

static const char *state_after(const alert_delivery *d, alert_answer answer, bool resend)
{
    bool enough = d->attempt >= ATTEMPTS_MOST;
    switch (answer) {
    case ALERT_SENT: return "sent";
    case ALERT_NOT_REACHED:
    case ALERT_AGAIN: return enough ? "failed" : "waiting";
    case ALERT_NO_ANSWER: return !resend ? "in doubt" : enough ? "failed" : "waiting";
    default: return "failed";
    }
}

typedef struct settling {
    const alert_delivery *d;
    alert_answer answer;
    int64_t retry_after_ms;
    const char *reason;
} settling;

static finch_status settle_work(store *s, void *context, finch_error *err)
{
    static const sql_statement resends = {
        "SELECT r.resend FROM alert_delivery d JOIN alert_rule r ON r.id = d.rule WHERE d.id = $1", NULL};
    static const sql_statement settle = {
        "UPDATE alert_delivery SET state = $3, owner = '', next = $4, reason = $5 WHERE id = $1 AND "
        "attempt = $2 AND state = 'sending'",
        NULL};
    const settling *x = context;
    int64_t resend = 0;
    sql_value values[] = {sql_text(x->d->id), sql_integer(x->d->attempt), sql_null(),
                          sql_integer(store_now_ms(s) + pause_ms(x->d->attempt, x->retry_after_ms)), sql_text(x->reason)};
    FINCH_TRY(store_run(s, &resends, values, 1, sql_take_integer, &resend, NULL, err));
    values[2] = sql_text(state_after(x->d, x->answer, resend != 0));
    return store_run(s, &settle, values, 5, NULL, NULL, NULL, err);
}

finch_status alerts_settle(store *s, const alert_delivery *d, alert_answer answer, int64_t retry_after_ms,
                           const char *reason, finch_error *err)
{
    char line[REASON_MOST + 1];
    size_t n = 0;
    for (; reason[n] != '\0' && n < REASON_MOST; n++) /* what a stranger's server said: ASCII, one line */
        line[n] = reason[n] < ' ' || reason[n] > '~' ? '?' : reason[n];
    line[n] = '\0';
    settling x = {d, answer, retry_after_ms, line};
    return store_transaction(s, settle_work, &x, err);
}

finch_status alerts_retry(store *s, const char *id, finch_error *err)
{
    static const sql_statement again = {"UPDATE alert_delivery SET state = 'waiting', next = $2 WHERE id = $1 AND "
                                        "state IN ('failed', 'in doubt')",
                                        NULL};
    uint64_t n = 0;
    sql_value values[] = {sql_text(id), sql_integer(store_now_ms(s))};
    FINCH_TRY(store_run(s, &again, values, 2, NULL, NULL, &n, err));
    if (n == 0) return finch_fail(err, FINCH_E_NOT_FOUND, "there is no delivery %.40s that failed or is in doubt", id);
    return FINCH_OK;
}

/* ---- looking ---- */

static finch_status list_delivery(void *context, const sql_row *row, finch_error *err)
{
    finch_text id = sql_row_text(row, 0), rule = sql_row_text(row, 1), state = sql_row_text(row, 2),
               body = sql_row_text(row, 7);
    json_t *parsed = json_loadb(body.at, body.size_bytes, 0, NULL);
    json_t *one = json_pack("{s:s%, s:s%, s:O?, s:s%, s:I, s:o, s:o, s:o, s:o?}", "id", id.at, id.size_bytes, "rule",
                            rule.at, rule.size_bytes, "ticker", json_object_get(parsed, "ticker"), "state", state.at,
                            state.size_bytes, "attempts", (json_int_t)sql_row_integer(row, 3), "created",
                            values_time(sql_row_integer(row, 4)), "next", values_time(sql_row_integer(row, 5)), "reason",
                            values_text(sql_row_text(row, 6)), "body", parsed);
    if (json_array_append_new(context, one) != 0) return finch_fail(err, FINCH_E_MEMORY, "out of memory for the deliveries");
    return FINCH_OK;
}

finch_status alerts_deliveries(store *s, size_t limit, json_t **out, finch_error *err)
{
    static const sql_statement all = {
        "SELECT id, rule, state, attempt, created, CASE WHEN state = 'waiting' THEN next ELSE 0 END, reason, body FROM "
        "alert_delivery ORDER BY created DESC, id LIMIT $1",
        NULL};
    json_t *list = json_array();
    sql_value value = sql_integer((int64_t)limit);
    finch_status st = store_run(s, &all, &value, 1, list_delivery, list, NULL, err);
    *out = st == FINCH_OK ? list : NULL;
    if (st != FINCH_OK) json_decref(list);
    return st;
}

static finch_status take_count(void *context, const sql_row *row, finch_error *err)
{
    alerts_counts *c = context;
    finch_text state = sql_row_text(row, 0);
    const struct {
        const char *name;
        int64_t *n;
    } states[] = {{"waiting", &c->waiting},
                  {"sending", &c->sending},
                  {"sent", &c->sent},
                  {"failed", &c->failed},
                  {"in doubt", &c->in_doubt}};
    (void)err;
    for (size_t i = 0; i < sizeof states / sizeof states[0]; i++)
        if (strlen(states[i].name) == state.size_bytes && memcmp(states[i].name, state.at, state.size_bytes) == 0)
            *states[i].n = sql_row_integer(row, 1);
    return FINCH_OK;
}

finch_status alerts_count(store *s, alerts_counts *out, finch_error *err)
{
    static const sql_statement count = {"SELECT state, count(*) FROM alert_delivery GROUP BY state", NULL};
    *out = (alerts_counts){0};
    return store_run(s, &count, NULL, 0, take_count, out, NULL, err);
}

/* ---- signing ---- */

finch_status alerts_sign(const char *secret, int64_t unix_seconds, const char *body, size_t size,
                         char out[ALERT_SIGNATURE_BYTES], finch_error *err)
{
    unsigned char digest[EVP_MAX_MD_SIZE];
    unsigned int digest_size = 0;
    char hex[VALUES_SHA256_BYTES];
    str message = {0};
    finch_status st = str_add_format(&message, err, "%lld.", (long long)unix_seconds);
    if (st == FINCH_OK) st = str_add(&message, body, size, err);
    if (st == FINCH_OK && HMAC(EVP_sha256(), secret, (int)strlen(secret), (const unsigned char *)message.at, message.size,
                               digest, &digest_size) == NULL)
        st = finch_fail(err, FINCH_E_FAILED, "HMAC-SHA256 is not at hand");
    str_free(&message);
    if (st != FINCH_OK) return st;
    values_hex(digest, digest_size, hex);
    snprintf(out, ALERT_SIGNATURE_BYTES, "t=%lld,v1=%s", (long long)unix_seconds, hex);
    return FINCH_OK;
}
