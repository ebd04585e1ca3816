/* Rules and their evaluation. What becomes of a firing is in alerts_outbox.c. */
#include "store/alerts.h"

#include "store/alerts_outbox.h"
#include "store/history.h"
#include "store/values.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { NAME_MOST = 80, URL_MOST = 2000, SECRET_RANDOM_BYTES = 32, SECRET_MOST = 200, RULES_MOST = 10000 };

#define SPAN_LEAST_MS 60000
#define SPAN_MOST_MS (400 * INT64_C(86400000))

void alert_rule_free(alert_rule *rule)
{
    str *texts[] = {&rule->name, &rule->ticker, &rule->url, &rule->secret};
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) str_free(texts[i]);
    *rule = (alert_rule){.id = ""};
}

/* ---- rules ---- */

static bool is_url(const char *url)
{
    size_t n = strlen(url);
    bool http = strncmp(url, "https://", 8) == 0 || strncmp(url, "http://", 7) == 0;
    for (size_t i = 0; i < n; i++)
        if ((unsigned char)url[i] <= ' ' || (unsigned char)url[i] >= 0x7F) return false;
    return http && n <= URL_MOST && strchr(url, '@') == NULL;
}

static bool in_span(int64_t ms) { return ms >= SPAN_LEAST_MS && ms <= SPAN_MOST_MS; }

static finch_status check_rule(const alert_rule *rule, finch_error *err)
{
    bool volume = rule->measure == ALERT_VOLUME;
    FINCH_TRY(values_check_name("a rule's name", rule->name.at != NULL ? rule->name.at : "", NAME_MOST, err));
    if (rule->ticker.at == NULL || (strcmp(rule->ticker.at, "*") != 0 && !history_ticker_valid(rule->ticker.at)))
        return finch_fail(err, FINCH_E_DATA, "ticker: an upper-case ticker without the $, or * for all texts");
    if (!in_span(rule->window_ms)) return finch_fail(err, FINCH_E_DATA, "window_ms: one minute to 400 days");
    if (!in_span(rule->baseline_ms)) return finch_fail(err, FINCH_E_DATA, "baseline_ms: one minute to 400 days");
    if (volume ? !(rule->threshold > 1 && rule->threshold <= 1e6) : !(rule->threshold > 0 && rule->threshold <= 2))
        return finch_fail(err, FINCH_E_DATA, "threshold: %s",
                          volume ? "of volume, a ratio over 1 and up to 1000000"
                                 : "of sentiment, a difference over 0 and up to 2");
    if (rule->least_n < 1 || rule->least_n > 1000000000)
        return finch_fail(err, FINCH_E_DATA, "least_n: 1 to 1000000000 texts");
    if (rule->rest_ms < 0 || rule->rest_ms > SPAN_MOST_MS) return finch_fail(err, FINCH_E_DATA, "rest_ms: 0 to 400 days");
    if (rule->url.at == NULL || !is_url(rule->url.at))
        return finch_fail(err, FINCH_E_DATA, "url: http:// or https://, at most %d bytes, no user name in it",
                          (int)URL_MOST);
    if (rule->secret.size > SECRET_MOST) return finch_fail(err, FINCH_E_DATA, "secret: at most %d bytes", (int)SECRET_MOST);
    return FINCH_OK;
}

static finch_status count_rules(store *s, finch_error *err)
{
    static const sql_statement count = {"SELECT count(*) FROM alert_rule", NULL};
    int64_t n = 0;
    FINCH_TRY(store_run(s, &count, NULL, 0, sql_take_integer, &n, NULL, err));
    if (n < RULES_MOST) return FINCH_OK;
    return finch_fail(err, FINCH_E_USAGE, "there are %d rules already; remove some first", (int)RULES_MOST);
}

finch_status alerts_add(store *s, alert_rule *rule, finch_error *err)
{
    static const sql_statement insert = {
        "INSERT INTO alert_rule (id, created, name, ticker, measure, direction, window_ms, baseline_ms, threshold, least_n, "
        "rest_ms, url, secret, enabled, resend, fired, state) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, "
        "$13, "
        "$14, $15, 0, 0) ON CONFLICT (id) DO NOTHING",
        NULL};
    char secret[2 * SECRET_RANDOM_BYTES + 1];
    FINCH_TRY(check_rule(rule, err));
    FINCH_TRY(count_rules(s, err));
    FINCH_TRY(store_random_name(rule->id, err));
    if (rule->secret.size == 0) {
        FINCH_TRY(values_random_hex(SECRET_RANDOM_BYTES, secret, err));
        FINCH_TRY(str_add_text(&rule->secret, secret, err));
    }
    rule->created_ms = store_now_ms(s);
    rule->fired_ms = rule->state = 0;
    sql_value values[] = {sql_text(rule->id),           sql_integer(rule->created_ms),  sql_text(rule->name.at),
                          sql_text(rule->ticker.at),    sql_integer(rule->measure),     sql_integer(rule->direction),
                          sql_integer(rule->window_ms), sql_integer(rule->baseline_ms), sql_real(rule->threshold),
                          sql_integer(rule->least_n),   sql_integer(rule->rest_ms),     sql_text(rule->url.at),
                          sql_text(rule->secret.at),    sql_integer(rule->enabled),     sql_integer(rule->resend_in_doubt)};
    return store_run(s, &insert, values, 15, NULL, NULL, NULL, err);
}

static finch_status change_one(store *s, const sql_statement *statement, const sql_value *values, size_t n_values,
                               const char *id, finch_error *err)
{
    uint64_t n = 0;
    FINCH_TRY(store_run(s, statement, values, n_values, NULL, NULL, &n, err));
    return n > 0 ? FINCH_OK : finch_fail(err, FINCH_E_NOT_FOUND, "there is no alert rule %.40s", id);
}

finch_status alerts_remove(store *s, const char *id, finch_error *err)
{
    static const sql_statement remove = {"DELETE FROM alert_rule WHERE id = $1", NULL};
    sql_value value = sql_text(id);
    return change_one(s, &remove, &value, 1, id, err);
}

/* A rule that is turned on again begins anew. */
finch_status alerts_enable(store *s, const char *id, bool enabled, finch_error *err)
{
    static const sql_statement set = {"UPDATE alert_rule SET enabled = $2, state = 0 WHERE id = $1", NULL};
    sql_value values[] = {sql_text(id), sql_integer(enabled)};
    return change_one(s, &set, values, 2, id, err);
}

/* ---- reading them ---- */

#define RULE_COLUMNS                                                                                                 \
    "id, name, ticker, url, secret, measure, direction, window_ms, baseline_ms, least_n, rest_ms, enabled, resend, " \
    "created, "                                                                                                      \
    "fired, state, threshold"

static finch_status read_rule(alert_rule *rule, const sql_row *row, finch_error *err)
{
    str *texts[] = {&rule->name, &rule->ticker, &rule->url, &rule->secret};
    finch_text id = sql_row_text(row, 0);
    if (id.size_bytes != STORE_HASH_BYTES - 1) return finch_fail(err, FINCH_E_DATA, "a rule in the store has a broken id");
    memcpy(rule->id, id.at, id.size_bytes);
    for (size_t i = 0; i < 4; i++) FINCH_TRY(sql_row_copy(row, 1 + i, texts[i], err));
    rule->measure = sql_row_integer(row, 5) == ALERT_VOLUME ? ALERT_VOLUME : ALERT_SENTIMENT;
    rule->direction = (alert_direction)sql_row_integer(row, 6);
    int64_t *const numbers[] = {&rule->window_ms, &rule->baseline_ms, &rule->least_n, &rule->rest_ms};
    for (size_t i = 0; i < 4; i++) *numbers[i] = sql_row_integer(row, 7 + i);
    rule->enabled = sql_row_integer(row, 11) != 0;
    rule->resend_in_doubt = sql_row_integer(row, 12) != 0;
    rule->created_ms = sql_row_integer(row, 13);
    rule->fired_ms = sql_row_integer(row, 14);
    rule->state = sql_row_integer(row, 15);
    rule->threshold = sql_row_real(row, 16);
    return FINCH_OK;
}

static const char *measure_name(alert_measure measure) { return measure == ALERT_VOLUME ? "volume" : "sentiment"; }

static const char *direction_name(alert_direction direction)
{
    return direction == ALERT_RISE ? "rise" : direction == ALERT_FALL ? "fall" : "either";
}

json_t *alert_rule_json(const alert_rule *rule)
{
    return json_pack("{s:s, s:s, s:s, s:s, s:s, s:I, s:I, s:f, s:I, s:I, s:s, s:b, s:b, s:o, s:o}", "id", rule->id, "name",
                     rule->name.at, "ticker", rule->ticker.at, "measure", measure_name(rule->measure), "direction",
                     direction_name(rule->direction), "window_ms", (json_int_t)rule->window_ms, "baseline_ms",
                     (json_int_t)rule->baseline_ms, "threshold", rule->threshold, "least_n", (json_int_t)rule->least_n,
                     "rest_ms", (json_int_t)rule->rest_ms, "url", rule->url.at, "enabled", (int)rule->enabled,
                     "resend_in_doubt", (int)rule->resend_in_doubt, "created", values_time(rule->created_ms), "fired",
                     values_time(rule->fired_ms));
}

static finch_status list_rule(void *context, const sql_row *row, finch_error *err)
{
    alert_rule rule = {.id = ""};
    finch_status st = read_rule(&rule, row, err);
    if (st == FINCH_OK && json_array_append_new(context, alert_rule_json(&rule)) != 0)
        st = finch_fail(err, FINCH_E_MEMORY, "out of memory for the rules");
    alert_rule_free(&rule);
    return st;
}

finch_status alerts_list(store *s, json_t **out, finch_error *err)
{
    static const sql_statement all = {"SELECT " RULE_COLUMNS " FROM alert_rule ORDER BY created DESC, id", NULL};
    json_t *list = json_array();
    finch_status st = store_run(s, &all, NULL, 0, list_rule, list, NULL, err);
    *out = st == FINCH_OK ? list : NULL;
    if (st != FINCH_OK) json_decref(list);
    return st;
}

/* ---- evaluation ---- */

typedef struct rules {
    alert_rule *at;
    size_t n, n_room;
} rules;

static finch_status keep_rule(void *context, const sql_row *row, finch_error *err)
{
    rules *r = context;
    FINCH_TRY(MEM_ROOM(&r->at, r->n, 1, &r->n_room, err));
    r->at[r->n] = (alert_rule){.id = ""};
    return read_rule(&r->at[r->n++], row, err);
}

static finch_status measure(store *s, const alert_rule *rule, int64_t from, int64_t to, history_point *out, finch_error *err)
{
    history_query query = {.ticker = rule->ticker.at, .from_ms = from > 0 ? from : 0, .to_ms = to};
    return history_total(s, &query, out, err);
}

/* How far the window is from the baseline, in thresholds: 1 and above is a rise, -1 and below a fall; 0 where too little is
 * known. Of volume by the logarithm of the ratio of rates, so that twice and half are equally far. */
static double lean(const alert_rule *rule, const history_point *window, const history_point *baseline)
{
    if (baseline->n < rule->least_n) return 0;
    if (rule->measure == ALERT_SENTIMENT)
        return window->n < rule->least_n ? 0 : (window->mean - baseline->mean) / rule->threshold;
    double expected = (double)baseline->n * (double)rule->window_ms / (double)rule->baseline_ms;
    if (window->n < rule->least_n && expected < (double)rule->least_n) return 0;
    return log(fmax((double)window->n, 0.5) / expected) / log(rule->threshold);
}

/* The side the rule is on now: it leaves a side only when it has come half of the way back. */
static int64_t side(double lean_now, int64_t before)
{
    if (lean_now >= 1) return 1;
    if (lean_now <= -1) return -1;
    if (before > 0 && lean_now > 0.5) return 1;
    if (before < 0 && lean_now < -0.5) return -1;
    return 0;
}

static bool wanted(const alert_rule *rule, int64_t to)
{
    return to != 0 && (rule->direction == ALERT_EITHER || (to > 0) == (rule->direction == ALERT_RISE));
}

typedef struct firing {
    const alert_rule *rule;
    int64_t to, now_ms;
    const history_point *window, *baseline;
    bool fires, fired;
} firing;

/* Only where the rule is still as it was looked at: of several servers one fires. */
static finch_status note_side(store *s, void *context, finch_error *err)
{
    static const sql_statement turn = {"UPDATE alert_rule SET state = $2, fired = CASE WHEN $3 = 1 THEN $4 ELSE fired END "
                                       "WHERE id = $1 AND state = $5 AND fired = "
                                       "$6 AND enabled = 1",
                                       NULL};
    firing *f = context;
    uint64_t n = 0;
    sql_value values[] = {sql_text(f->rule->id),  sql_integer(f->to),          sql_integer(f->fires),
                          sql_integer(f->now_ms), sql_integer(f->rule->state), sql_integer(f->rule->fired_ms)};
    FINCH_TRY(store_run(s, &turn, values, 6, NULL, NULL, &n, err));
    f->fired = f->fires && n > 0;
    return f->fired ? alerts_outbox_add(s, f->rule, f->to, f->now_ms, f->window, f->baseline, err) : FINCH_OK;
}

static finch_status evaluate(store *s, const alert_rule *rule, int64_t now_ms, bool *fired, finch_error *err)
{
    history_point window, baseline;
    int64_t begin = now_ms - rule->window_ms;
    *fired = false;
    if (begin <= 0) return FINCH_OK;
    FINCH_TRY(measure(s, rule, begin, now_ms, &window, err));
    FINCH_TRY(measure(s, rule, begin - rule->baseline_ms, begin, &baseline, err));
    int64_t to = side(lean(rule, &window, &baseline), rule->state);
    bool rested = rule->fired_ms == 0 || now_ms - rule->fired_ms >= rule->rest_ms;
    if (to == rule->state || (wanted(rule, to) && !rested))
        return FINCH_OK; /* a turn within the rest fires after it, if it lasts */
    firing f = {rule, to, now_ms, &window, &baseline, wanted(rule, to), false};
    finch_status st = store_transaction(s, note_side, &f, err);
    *fired = f.fired;
    return st;
}

finch_status alerts_evaluate(store *s, int64_t now_ms, size_t *n_fired, finch_error *err)
{
    static const sql_statement all = {"SELECT " RULE_COLUMNS " FROM alert_rule WHERE enabled = 1 ORDER BY id", NULL};
    rules r = {NULL, 0, 0};
    *n_fired = 0;
    finch_status st = store_run(s, &all, NULL, 0, keep_rule, &r, NULL, err);
    for (size_t i = 0; st == FINCH_OK && i < r.n; i++) {
        bool fired;
        st = evaluate(s, &r.at[i], now_ms, &fired, err);
        if (st == FINCH_OK && fired) ++*n_fired;
    }
    for (size_t i = 0; i < r.n; i++) alert_rule_free(&r.at[i]);
    mem_free(r.at);
    return st;
}
