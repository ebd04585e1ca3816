/* finch alerts: rules on a ticker's turn in sentiment or volume, and the deliveries they make. */
#include "cli/cli.h"
#include "cli/pen.h"

#include "base/clock.h"
#include "store/alerts.h"
#include "store/webhook.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { DELIVERIES_AT_ONCE = 100 };

static const cli_option options[] = {
    {"name", "TEXT", CLI_TEXT, NULL, "add: what the rule is called", false, 0, 0},
    {"ticker", "TICKER", CLI_TEXT, "*", "add: the ticker; * for all texts", false, 0, 0},
    {"measure", "sentiment|volume", CLI_CHOICE, "sentiment", "add: the mean score, or the number of texts", false, 0, 0},
    {"direction", "rise|fall|either", CLI_CHOICE, "either", "add: which turn is told", false, 0, 0},
    {"window", "MINUTES", CLI_SIZE, "60", "add: how long the stretch is that is judged, up to now", false, 1, 576000},
    {"baseline", "MINUTES", CLI_SIZE, "1440", "add: how long the stretch before it is that it is held against", false, 1,
     576000},
    {"threshold", "X", CLI_REAL, "0.3",
     "add: of sentiment, the difference of the means; of volume, the ratio of the rates (over 1)", false, 0, 1e6},
    {"least", "N", CLI_SIZE, "20", "add: texts in window and baseline below which nothing is said", false, 1, 1e9},
    {"rest", "MINUTES", CLI_SIZE, "60", "add: silence after a firing", false, 0, 576000},
    {"url", "URL", CLI_TEXT, NULL, "add: where it is sent, a POST signed with the rule's secret", false, 0, 0},
    {"resend-in-doubt", NULL, CLI_FLAG, NULL, "add: send again what may have arrived; without it nothing comes twice", false,
     0, 0},
    {"limit", "N", CLI_SIZE, "20", "deliveries: how many, newest first", false, 1, 10000},
    {"every", "SECONDS", CLI_REAL, "30", "run: how often the rules are looked at", false, 0.1, 86400},
    {"once", NULL, CLI_FLAG, NULL, "run: look and deliver once, then end", false, 0, 0},
    CLI_OPTION_STATE,
    {0},
};

#define MINUTE_MS INT64_C(60000)

typedef struct alerts_call {
    const cli_args *args;
    store *store;
    const char *id; /* of the rule or the delivery; NULL: none written */
} alerts_call;

/* ---- add ---- */

static finch_status read_rule(const cli_args *args, alert_rule *rule, finch_error *err)
{
    const char *name = cli_text(args, "name"), *url = cli_text(args, "url");
    if (name == NULL || url == NULL) return finch_fail(err, FINCH_E_USAGE, "finch alerts add needs --name and --url");
    rule->measure = cli_choice(args, "measure") == 1 ? ALERT_VOLUME : ALERT_SENTIMENT;
    rule->direction = (alert_direction)cli_choice(args, "direction");
    rule->window_ms = (int64_t)cli_size(args, "window") * MINUTE_MS;
    rule->baseline_ms = (int64_t)cli_size(args, "baseline") * MINUTE_MS;
    rule->threshold = cli_real(args, "threshold");
    rule->least_n = (int64_t)cli_size(args, "least");
    rule->rest_ms = (int64_t)cli_size(args, "rest") * MINUTE_MS;
    rule->enabled = true;
    rule->resend_in_doubt = cli_flag(args, "resend-in-doubt");
    FINCH_TRY(str_add_text(&rule->name, name, err));
    FINCH_TRY(str_add_text(&rule->ticker, cli_text(args, "ticker"), err));
    return str_add_text(&rule->url, url, err);
}

/* The secret alone goes to stdout. */
static finch_status show_added(const cli_args *args, const alert_rule *rule, finch_error *err)
{
    if (cli_wants_json(args)) return cli_print_json(json_pack("{s:s, s:s}", "id", rule->id, "secret", rule->secret.at), err);
    cli_say(args, "rule %s; the secret that signs its deliveries, shown this once:\n", rule->id);
    FINCH_TRY(cli_print(rule->secret.at, rule->secret.size, err));
    return cli_print("\n", 1, err);
}

static finch_status add(alerts_call *c, finch_error *err)
{
    alert_rule rule = {.id = ""};
    finch_status st = read_rule(c->args, &rule, err);
    if (st == FINCH_OK) st = alerts_add(c->store, &rule, err);
    if (st == FINCH_E_DATA) st = finch_fail(err, FINCH_E_USAGE, "%.300s", err->message); /* it came from the command line */
    if (st == FINCH_OK) st = show_added(c->args, &rule, err);
    alert_rule_free(&rule);
    return st;
}

/* ---- looking ---- */

static const char *text_of(const json_t *object, const char *key)
{
    const char *text = json_string_value(json_object_get(object, key));
    return text != NULL ? text : "-";
}

static finch_status add_rule_line(pen *p, const json_t *rule, finch_error *err)
{
    FINCH_TRY(str_add_format(&p->out, err, "  %s  %-3s  %-8s %-9s %-6s %g  ", text_of(rule, "id"),
                             json_is_true(json_object_get(rule, "enabled")) ? "on" : "off", text_of(rule, "ticker"),
                             text_of(rule, "measure"), text_of(rule, "direction"),
                             json_number_value(json_object_get(rule, "threshold"))));
    FINCH_TRY(pen_add_sane(p, text_of(rule, "name"), 40, NULL, err));
    return str_add_text(&p->out, "\n", err);
}

static finch_status add_delivery_line(pen *p, const json_t *delivery, finch_error *err)
{
    FINCH_TRY(str_add_format(&p->out, err, "  %s  %.19sZ  %-8s  %-8s  %lld  ", text_of(delivery, "id"),
                             text_of(delivery, "created"), text_of(delivery, "ticker"), text_of(delivery, "state"),
                             (long long)json_integer_value(json_object_get(delivery, "attempts"))));
    FINCH_TRY(pen_add_sane(p, text_of(delivery, "reason"), 60, NULL, err));
    return str_add_text(&p->out, "\n", err);
}

/* Takes over the list. */
static finch_status print_list(const cli_args *args, const char *key, json_t *list,
                               finch_status (*line)(pen *p, const json_t *one, finch_error *err), finch_error *err)
{
    if (cli_wants_json(args)) return cli_print_json(json_pack("{s:o}", key, list), err);
    pen p = pen_open(STDOUT_FILENO);
    finch_status st = FINCH_OK;
    for (size_t i = 0; st == FINCH_OK && i < json_array_size(list); i++) st = line(&p, json_array_get(list, i), err);
    json_decref(list);
    return pen_print(&p, st, err);
}

static finch_status list(alerts_call *c, finch_error *err)
{
    json_t *rules;
    FINCH_TRY(alerts_list(c->store, &rules, err));
    return print_list(c->args, "rules", rules, add_rule_line, err);
}

static finch_status deliveries(alerts_call *c, finch_error *err)
{
    json_t *all;
    FINCH_TRY(alerts_deliveries(c->store, cli_size(c->args, "limit"), &all, err));
    return print_list(c->args, "deliveries", all, add_delivery_line, err);
}

/* ---- changes ---- */

static finch_status say_done(const alerts_call *c, const char *what, finch_error *err)
{
    cli_say(c->args, "%s\n", what);
    return cli_wants_json(c->args) ? cli_print_json(json_pack("{s:s}", "id", c->id), err) : FINCH_OK;
}

static finch_status take_away(alerts_call *c, finch_error *err)
{
    FINCH_TRY(alerts_remove(c->store, c->id, err));
    return say_done(c, "removed", err);
}

static finch_status turn_on(alerts_call *c, finch_error *err)
{
    FINCH_TRY(alerts_enable(c->store, c->id, true, err));
    return say_done(c, "on", err);
}

static finch_status turn_off(alerts_call *c, finch_error *err)
{
    FINCH_TRY(alerts_enable(c->store, c->id, false, err));
    return say_done(c, "off", err);
}

static finch_status retry(alerts_call *c, finch_error *err)
{
    FINCH_TRY(alerts_retry(c->store, c->id, err));
    return say_done(c, "it is sent again when finch serve or finch alerts run looks next", err);
}

/* ---- run ---- */

typedef struct round_counts {
    uint64_t n_fired, n_sent;
} round_counts;

static finch_status one_round(alerts_call *c, round_counts *counts, finch_error *err)
{
    size_t n_fired = 0, n_taken = 0, n_sent = 0;
    FINCH_TRY(alerts_evaluate(c->store, store_now_ms(c->store), &n_fired, err));
    FINCH_TRY(webhook_deliver(c->store, 0, DELIVERIES_AT_ONCE, &n_taken, &n_sent, err));
    if (n_fired > 0 || n_sent > 0) cli_say(c->args, "%zu rules fired, %zu deliveries were answered\n", n_fired, n_sent);
    counts->n_fired += n_fired;
    counts->n_sent += n_sent;
    return FINCH_OK;
}

static void wait_seconds(double seconds)
{
    for (double end = clock_seconds() + seconds; !cli_cancelled() && clock_seconds() < end;) clock_sleep_or_signal(0.05);
}

/* A store that is away for a while ends nothing: the next round looks again. Ctrl-C and SIGTERM are the way to end it. */
static finch_status keep_running(alerts_call *c, finch_error *err)
{
    round_counts counts = {0, 0};
    bool once = cli_flag(c->args, "once");
    do {
        finch_status st = one_round(c, &counts, err);
        if (once || (st != FINCH_OK && st != FINCH_E_BUSY && st != FINCH_E_IO)) FINCH_TRY(st);
        if (st != FINCH_OK) cli_warn(c->args, "%s", err->message);
        if (!once) wait_seconds(cli_real(c->args, "every"));
    } while (!once && !cli_cancelled());
    if (!cli_wants_json(c->args)) return FINCH_OK;
    return cli_print_json(json_pack("{s:I, s:I}", "fired", (json_int_t)counts.n_fired, "sent", (json_int_t)counts.n_sent),
                          err);
}

/* ---- the command ---- */

static const struct {
    const char *word;
    finch_status (*run)(alerts_call *c, finch_error *err);
    bool takes_id;
} actions[] = {{"add", add, false},    {"list", list, false},       {"remove", take_away, true},
               {"on", turn_on, true},  {"off", turn_off, true},     {"deliveries", deliveries, false},
               {"retry", retry, true}, {"run", keep_running, false}};

static finch_status run(const cli_args *args, finch_error *err)
{
    size_t n, at = 0;
    const char *const *words = cli_operands(args, &n);
    while (at < sizeof actions / sizeof actions[0] && strcmp(actions[at].word, words[0]) != 0) at++;
    if (at == sizeof actions / sizeof actions[0])
        return finch_fail(err, FINCH_E_USAGE,
                          "finch alerts does add, list, remove, on, off, deliveries, retry and run, not \"%.100s\"",
                          words[0]);
    if ((n == 2) != actions[at].takes_id)
        return finch_fail(err, FINCH_E_USAGE, "finch alerts %s takes %s", words[0],
                          actions[at].takes_id ? "an id" : "no id");
    alerts_call c = {.args = args, .id = n == 2 ? words[1] : NULL};
    FINCH_TRY(store_open(cli_text(args, "state"), &c.store, err));
    finch_status st = actions[at].run(&c, err);
    store_close(c.store);
    return st;
}

const cli_command cli_command_alerts = {
    .name = "alerts",
    .group = CLI_GROUP_USE,
    .summary = "rules on a ticker's turn in sentiment or volume, sent to a signed webhook",
    .about =
        "A rule holds the last window of the history against the baseline before it and fires once at the turn. run "
        "looks at the rules and "
        "sends what is due, until it is stopped, as a running finch serve does by itself; several may run on one store.\n"
        "A delivery is a POST with X-Finch-Delivery and X-Finch-Signature: t=SECONDS,v1=HEX, the HMAC-SHA256 of "
        "SECONDS.BODY with the rule's "
        "secret. It is tried again where it did not arrive. What may have arrived is in doubt and not sent again but "
        "by retry.",
    .example =
        "finch alerts add --name 'GME turns' --ticker GME --direction fall --threshold 0.4 --url https://example.org/hook\n"
        "finch alerts run --every 30\n"
        "finch alerts deliveries --json",
    .operands = "add|list|remove|on|off|deliveries|retry|run [ID]",
    .operands_min = 1,
    .operands_max = 2,
    .options = options,
    .run = run,
};
