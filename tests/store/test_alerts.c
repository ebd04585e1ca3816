/* Alert rules, the outbox, and what is sent: once. */
#include "store_test.h"

#include "store/alerts.h"
#include "store/history.h"
#include "store/webhook.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <pthread.h>
#include <sys/socket.h>
#include <unistd.h>

#define MINUTE INT64_C(60000)
#define NOW (INT64_C(1700000000000) / MINUTE * MINUTE)

static const char gme[][HISTORY_TICKER_BYTES] = {"GME"};
static char url[64] = "https://receiver.example/hook";

/* n texts on GME with the score, spread over the span. */
static void tweet(int64_t from, int64_t to, int n, double score)
{
    history_prediction p[64];
    CHECK(n <= 64);
    for (int i = 0; i < n; i++)
        p[i] = (history_prediction){.time_ms = from + (to - from) * i / n,
                                    .model = "m@1",
                                    .text = {"t", 1},
                                    .tickers = gme,
                                    .n_tickers = 1,
                                    .label = 2,
                                    .probabilities = {0, 0, 1, 0, 0},
                                    .score = score};
    CHECK_OK(history_append(s, NULL, p, (size_t)n, NULL, &err), &err);
}

static alert_rule rule_of(alert_measure measure, alert_direction direction, double threshold)
{
    alert_rule rule = {.measure = measure,
                       .direction = direction,
                       .threshold = threshold,
                       .window_ms = 60 * MINUTE,
                       .baseline_ms = 240 * MINUTE,
                       .least_n = 5,
                       .rest_ms = 30 * MINUTE,
                       .enabled = true};
    CHECK_OK(str_add_text(&rule.name, "turn of GME", &err), &err);
    CHECK_OK(str_add_text(&rule.ticker, "GME", &err), &err);
    CHECK_OK(str_add_text(&rule.url, url, &err), &err);
    return rule;
}

static void add_rule(alert_rule *rule, alert_measure measure, alert_direction direction, double threshold)
{
    *rule = rule_of(measure, direction, threshold);
    CHECK_OK(alerts_add(s, rule, &err), &err);
    CHECK_EQUAL(64, rule->secret.size);
}

static size_t evaluate(int64_t now)
{
    size_t n;
    CHECK_OK(alerts_evaluate(s, now, &n, &err), &err);
    return n;
}

TEST(a_turn_fires_once_and_again_after_it_came_back)
{
    alert_rule rule;
    test_begin();
    add_rule(&rule, ALERT_SENTIMENT, ALERT_FALL, 0.5);
    tweet(NOW - 300 * MINUTE, NOW - 60 * MINUTE, 40, 0.4);
    tweet(NOW - 60 * MINUTE, NOW, 10, 0.3);
    CHECK_EQUAL(0, evaluate(NOW));
    tweet(NOW - 10 * MINUTE, NOW, 40, -0.6); /* the window's mean is now 0.82 below */
    CHECK_EQUAL(1, evaluate(NOW));
    CHECK_EQUAL(0, evaluate(NOW));
    CHECK_EQUAL(0, evaluate(NOW + MINUTE));
    CHECK_EQUAL(1, test_number("SELECT count(*) FROM alert_delivery"));
    CHECK_EQUAL(1, test_number("SELECT count(*) FROM event WHERE kind = 'alert'"));
    /* Back up for hours, then down again. */
    int64_t later = NOW + 600 * MINUTE;
    tweet(later - 290 * MINUTE, later - 60 * MINUTE, 40, 0.4);
    tweet(later - 50 * MINUTE, later, 10, 0.4);
    CHECK_EQUAL(0, evaluate(later));
    CHECK_EQUAL(0, test_number("SELECT state FROM alert_rule"));
    tweet(later, later + 30 * MINUTE, 60, -0.9);
    CHECK_EQUAL(1, evaluate(later + 31 * MINUTE));
    alert_rule_free(&rule);
    test_end();
}

TEST(directions_thin_data_and_rests_are_minded)
{
    alert_rule up, thin;
    test_begin();
    add_rule(&up, ALERT_SENTIMENT, ALERT_RISE, 0.5);
    tweet(NOW - 300 * MINUTE, NOW - 60 * MINUTE, 40, 0.0);
    tweet(NOW - 60 * MINUTE, NOW, 20, -0.9);
    CHECK_EQUAL(0, evaluate(NOW)); /* a fall is not asked for */
    CHECK_EQUAL(-1, test_number("SELECT state FROM alert_rule"));
    CHECK_OK(alerts_remove(s, up.id, &err), &err);
    thin = rule_of(ALERT_SENTIMENT, ALERT_EITHER, 0.5);
    thin.least_n = 21;
    CHECK_OK(alerts_add(s, &thin, &err), &err);
    CHECK_EQUAL(0, evaluate(NOW)); /* 20 texts are too few */
    CHECK_OK(alerts_remove(s, thin.id, &err), &err);
    CHECK_STATUS(FINCH_E_NOT_FOUND, alerts_remove(s, thin.id, &err), &err);
    alert_rule_free(&up);
    alert_rule_free(&thin);
    test_end();
}

TEST(volume_is_held_against_the_baselines_rate)
{
    alert_rule rule;
    test_begin();
    add_rule(&rule, ALERT_VOLUME, ALERT_EITHER, 3);
    tweet(NOW - 300 * MINUTE, NOW - 60 * MINUTE, 40, 0.1); /* ten an hour */
    tweet(NOW - 60 * MINUTE, NOW, 29, 0.1);
    CHECK_EQUAL(0, evaluate(NOW));
    tweet(NOW - 30 * MINUTE, NOW, 1, 0.1); /* thirty in the hour */
    CHECK_EQUAL(1, evaluate(NOW));
    CHECK_OK(alerts_enable(s, rule.id, false, &err), &err);
    CHECK_EQUAL(0, evaluate(NOW));
    CHECK_OK(alerts_enable(s, rule.id, true, &err), &err);
    CHECK_EQUAL(0, evaluate(NOW)); /* it rests */
    tweet(NOW, NOW + 30 * MINUTE, 60, 0.1);
    CHECK_EQUAL(1, evaluate(NOW + 30 * MINUTE)); /* and the turn has lasted */
    json_t *list;
    CHECK_OK(alerts_list(s, &list, &err), &err);
    CHECK_TEXT("volume", json_string_value(json_object_get(json_array_get(list, 0), "measure")));
    CHECK(json_object_get(json_array_get(list, 0), "secret") == NULL);
    json_decref(list);
    alert_rule_free(&rule);
    test_end();
}

TEST(what_is_no_rule_is_refused_by_its_field)
{
    static const char *const fields[] = {"window_ms", "baseline_ms", "threshold", "least_n", "rest_ms",
                                         "ticker",    "url",         "url",       "secret"};
    test_begin();
    for (size_t i = 0; i < sizeof fields / sizeof fields[0]; i++) {
        alert_rule rule = rule_of(ALERT_SENTIMENT, ALERT_RISE, 0.5);
        if (i == 0) rule.window_ms = 59999;
        if (i == 1) rule.baseline_ms = INT64_MAX;
        if (i == 2) rule.threshold = NAN;
        if (i == 3) rule.least_n = 0;
        if (i == 4) rule.rest_ms = -1;
        if (i == 5) rule.ticker.at[0] = 'g';
        if (i == 6) rule.url.at[0] = 'f';
        if (i == 7) rule.url.at[9] = '@';
        if (i == 8)
            for (int k = 0; k < 201; k++) CHECK_OK(str_add_text(&rule.secret, "x", &err), &err);
        CHECK_STATUS(FINCH_E_DATA, alerts_add(s, &rule, &err), &err);
        CHECK(strncmp(err.message, fields[i], strlen(fields[i])) == 0);
        alert_rule_free(&rule);
    }
    test_end();
}

/* ---- the outbox ---- */

/* A rule that has fired. */
static void fire(alert_rule *rule, bool resend)
{
    *rule = rule_of(ALERT_SENTIMENT, ALERT_FALL, 0.5);
    rule->resend_in_doubt = resend;
    CHECK_OK(alerts_add(s, rule, &err), &err);
    tweet(NOW - 300 * MINUTE, NOW - 60 * MINUTE, 40, 0.4);
    tweet(NOW - 60 * MINUTE, NOW, 40, -0.6);
    CHECK_EQUAL(1, evaluate(NOW));
}

static bool take(alert_delivery *d, int64_t lease_ms)
{
    bool found;
    CHECK_OK(alerts_take(s, lease_ms, d, &found, &err), &err);
    return found;
}

static void check_state(const char *state)
{
    json_t *list;
    CHECK_OK(alerts_deliveries(s, 10, &list, &err), &err);
    CHECK_TEXT(state, json_string_value(json_object_get(json_array_get(list, 0), "state")));
    CHECK_TEXT("GME", json_string_value(json_object_get(json_array_get(list, 0), "ticker")));
    json_decref(list);
}

TEST(a_delivery_is_taken_once_and_sent_for_good)
{
    alert_rule rule;
    alert_delivery d, none;
    test_begin();
    fire(&rule, false);
    CHECK(take(&d, 60000));
    CHECK_EQUAL(1, d.attempt);
    CHECK(strstr(d.body.at, d.id) != NULL && strstr(d.body.at, rule.secret.at) == NULL && strstr(d.body.at, url) == NULL);
    CHECK_TEXT(rule.secret.at, d.secret.at);
    CHECK(!take(&none, 60000));
    CHECK_OK(alerts_settle(s, &d, ALERT_SENT, 0, "200", &err), &err);
    check_state("sent");
    CHECK_OK(alerts_settle(s, &d, ALERT_AGAIN, 0, "late", &err), &err); /* changes nothing */
    check_state("sent");
    CHECK_STATUS(FINCH_E_NOT_FOUND, alerts_retry(s, d.id, &err), &err);
    alert_delivery_free(&d);
    alert_rule_free(&rule);
    test_end();
}

TEST(what_was_not_reached_waits_longer_each_time_and_ends)
{
    alert_rule rule;
    alert_delivery d;
    int64_t before = 0;
    test_begin();
    fire(&rule, false);
    for (int i = 1; i <= 12; i++) {
        test_run("UPDATE alert_delivery SET next = 0");
        CHECK(take(&d, 60000));
        CHECK_EQUAL(i, d.attempt);
        CHECK_OK(alerts_settle(s, &d, i % 2 == 1 ? ALERT_NOT_REACHED : ALERT_AGAIN, 0, "no route\n\xFF", &err), &err);
        int64_t pause = test_number("SELECT next FROM alert_delivery") - store_now_ms(s);
        CHECK(pause > before || i > 12);
        before = pause + 1000;
        check_state(i < 12 ? "waiting" : "failed");
        alert_delivery_free(&d);
    }
    test_run("UPDATE alert_delivery SET next = 0");
    CHECK(!take(&d, 60000));
    json_t *list;
    CHECK_OK(alerts_deliveries(s, 10, &list, &err), &err);
    CHECK_TEXT("no route??", json_string_value(json_object_get(json_array_get(list, 0), "reason")));
    const char *id = json_string_value(json_object_get(json_array_get(list, 0), "id"));
    CHECK_OK(alerts_retry(s, id, &err), &err);
    json_decref(list);
    CHECK(take(&d, 60000));
    CHECK_OK(alerts_settle(s, &d, ALERT_AGAIN, 7200000, "429", &err), &err);
    check_state("failed");
    alert_delivery_free(&d);
    alert_rule_free(&rule);
    test_end();
}

/* A sender that died while it sent: nobody knows, so nothing is sent again by itself. */
static void die_while_sending(bool resend, const char *state)
{
    alert_rule rule;
    alert_delivery d, again;
    test_begin();
    fire(&rule, resend);
    CHECK(take(&d, 1));
    usleep(20000);
    bool found = take(&again, 60000); /* settles the doubt */
    if (resend && !found) found = take(&again, 60000);
    CHECK(found == resend);
    check_state(state);
    CHECK_OK(alerts_settle(s, &d, ALERT_AGAIN, 0, "late", &err), &err); /* who wakes up late changes nothing */
    check_state(state);
    if (!resend) {
        CHECK_OK(alerts_retry(s, d.id, &err), &err); /* by hand */
        CHECK(take(&again, 60000));
        CHECK_TEXT(d.id, again.id);
        CHECK_TEXT(d.body.at, again.body.at);
    }
    alert_delivery_free(&d);
    alert_delivery_free(&again);
    alert_rule_free(&rule);
    test_end();
}

TEST(what_is_in_doubt_is_not_sent_twice)
{
    die_while_sending(false, "in doubt");
}
TEST(what_is_in_doubt_is_sent_again_where_the_rule_says_so)
{
    die_while_sending(true, "sending");
}

TEST(the_signature_is_hmacs)
{
    char signature[ALERT_SIGNATURE_BYTES];
    CHECK_OK(alerts_sign("secret", 1700000000, "{\"a\":1}", 7, signature, &err), &err);
    CHECK_TEXT("t=1700000000,v1="
               "49f24e537407743fa4a0242bb63b94b9a47ee99cbbe071ccd8a22550ae411686",
               signature);
}

/* ---- over the wire ---- */

typedef struct receiver {
    int listener;
    const char *const *answers; /* NULL: hang up after reading; ended by "" */
    char seen[8][4096];
    size_t n;
} receiver;

static void *receive(void *context)
{
    receiver *r = context;
    for (size_t i = 0; r->answers[i] == NULL || r->answers[i][0] != '\0'; i++) {
        int peer = accept(r->listener, NULL, NULL);
        size_t size = 0;
        ssize_t n = 1;
        while (n > 0 && size + 1 < sizeof r->seen[0]) { /* to the end of the JSON body */
            n = read(peer, r->seen[i] + size, sizeof r->seen[0] - 1 - size);
            size += n > 0 ? (size_t)n : 0;
            r->seen[i][size] = '\0';
            const char *body = strstr(r->seen[i], "\r\n\r\n");
            if (body != NULL && size > 0 && r->seen[i][size - 1] == '}') break;
        }
        if (r->answers[i] != NULL && write(peer, r->answers[i], strlen(r->answers[i])) < 0) r->n = 1000;
        close(peer);
        r->n++;
    }
    return NULL;
}

static void listen_here(receiver *r)
{
    struct sockaddr_in here = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof here;
    r->listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    CHECK_EQUAL(0, bind(r->listener, (struct sockaddr *)&here, sizeof here));
    CHECK_EQUAL(0, listen(r->listener, 8));
    CHECK_EQUAL(0, getsockname(r->listener, (struct sockaddr *)&here, &size));
    snprintf(url, sizeof url, "http://127.0.0.1:%d/hook", ntohs(here.sin_port));
}

static size_t deliver(void)
{
    size_t n_taken, n;
    test_run("UPDATE alert_delivery SET next = 0");
    CHECK_OK(webhook_deliver(s, 5, 1, &n_taken, &n, &err), &err);
    return n;
}

TEST(what_is_sent_is_signed_and_its_answer_decides)
{
    static const char *const answers[] = {"HTTP/1.1 503 No\r\nContent-Length: 0\r\n\r\n",
                                          "HTTP/1.1 302 Found\r\nLocation: /hook\r\nContent-Length: 0\r\n\r\n",
                                          "HTTP/1.1 204 Good\r\n\r\n", NULL, ""};
    static receiver r;
    pthread_t thread;
    alert_rule rule, second;
    r = (receiver){.answers = answers};
    listen_here(&r);
    CHECK_EQUAL(0, pthread_create(&thread, NULL, receive, &r));
    test_begin();
    fire(&rule, false);
    CHECK_EQUAL(0, deliver());
    check_state("waiting");
    CHECK_EQUAL(0, deliver());
    check_state("failed"); /* a redirection is no answer, and is not followed */
    json_t *list;
    CHECK_OK(alerts_deliveries(s, 10, &list, &err), &err);
    CHECK_OK(alerts_retry(s, json_string_value(json_object_get(json_array_get(list, 0), "id")), &err), &err);
    json_decref(list);
    CHECK_EQUAL(1, deliver());
    check_state("sent");
    CHECK_EQUAL(0, deliver());
    CHECK_OK(alerts_remove(s, rule.id, &err), &err);
    fire(&second, false);
    CHECK_EQUAL(0, deliver()); /* hung up after it had all: it may have arrived */
    CHECK_EQUAL(1, test_number("SELECT count(*) FROM alert_delivery WHERE state = 'in doubt'"));
    pthread_join(thread, NULL);
    close(r.listener);
    CHECK_EQUAL(4, r.n);
    char *body = strstr(r.seen[0], "\r\n\r\n"), *signature = strstr(r.seen[0], "X-Finch-Signature: t="),
         expected[ALERT_SIGNATURE_BYTES];
    CHECK(body != NULL && signature != NULL && strstr(r.seen[0], "X-Finch-Attempt: 1\r\n") != NULL);
    CHECK_OK(alerts_sign(rule.secret.at, strtoll(signature + 21, NULL, 10), body + 4, strlen(body + 4), expected, &err),
             &err);
    CHECK(strncmp(signature + 19, expected, strlen(expected)) == 0);
    CHECK_TEXT(body, strstr(r.seen[2], "\r\n\r\n"));
    CHECK_EQUAL(0, evaluate(NOW)); /* nobody listens any more: */
    test_run("UPDATE alert_delivery SET state = 'waiting'");
    CHECK_EQUAL(0, deliver());
    CHECK_EQUAL(1, test_number("SELECT count(*) FROM alert_delivery WHERE reason LIKE '%onnect%'"));
    alert_rule_free(&rule);
    alert_rule_free(&second);
    test_end();
}
