/* What a response means for its batch, for the key it was sent with, and for the run.
 *
 *   200 with rows          rows that hold are answers, the others are asked again alone
 *   200 without labels,    the batch is asked again in halves; a text alone is asked `attempts` times, then set aside
 *     filtered, cut, 413,
 *     other 4xx
 *   401, 403, 402          the key is out; the batch goes to another key
 *   429                    the key rests (Retry-After, else back-off); the batch goes to another key or waits
 *   5xx, 408, time-outs,   the batch waits (Retry-After, else back-off); where others are answered meanwhile, it is taken for
 *     resets                 the cause after a while and asked again in halves
 */
#include "label/engine_internal.h"

#include "base/clock.h"
#include "label/values.h"

#include <ctype.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#define BACKOFF_MOST_SECONDS 60.0

enum {
    WAY_TRIES_MAX = 6,     /* failures on the way while others are answered, until a batch is taken for the cause */
    REFUSED_MAX = 4        /* requests refused as malformed before any was answered: then all will be */
};

/* ---- outcomes ---- */

finch_status outcome_new(engine *e, batch *b, outcome **out, finch_error *err)
{
    FINCH_TRY(MEM_NEW(out, 1, err));
    outcome *o = *out;
    arena_init(&o->memory);
    finch_status st = ARENA_NEW(&o->memory, &o->rows, b->n, err);
    if (st == FINCH_OK) st = ARENA_NEW(&o->memory, &o->reasons, b->n, err);
    if (st == FINCH_OK) st = ARENA_NEW(&o->memory, &o->failed, b->n, err);
    if (st == FINCH_OK) st = ARENA_NEW(&o->memory, &o->verdicts, b->n, err);
    if (st == FINCH_OK) st = ARENA_NEW(&o->memory, &o->answers, b->n, err);
    if (st != FINCH_OK) {
        arena_free(&o->memory);
        mem_free(o);
        *out = NULL;
        return st;
    }
    memset(o->failed, 0, b->n * sizeof *o->failed);
    for (size_t i = 0; i < b->n; i++)
        o->rows[i] = (answer_row){.state = ROW_MISSING, .label = LABELS_NO_CLASS, .confidence = -1};
    o->of = b;
    o->told = (labels_outcome){.id = b->request_id, .outcome = "", .input_tokens = -1, .output_tokens = -1, .cost_nano = -1};
    *e->outcomes_tail = o;
    e->outcomes_tail = &o->next;
    return FINCH_OK;
}

void outcome_free(outcome *o)
{
    if (o == NULL) return;
    arena_free(&o->memory);
    str_free(&o->body);
    mem_free(o);
}

/* ---- what becomes of items ---- */

static void item_again(outcome *o, size_t i, size_t grain, size_t tries)
{
    const labels_item *item = &o->of->items[i];
    o->failed[i] = true;
    o->verdicts[i] = (labels_verdict){item->seq, LABELS_WAITING, item->stage, LABELS_NO_CLASS, grain, tries, -1, NULL};
}

static void item_aside(outcome *o, size_t i, const char *reason)
{
    const labels_item *item = &o->of->items[i];
    snprintf(o->reasons[i], sizeof o->reasons[i], "%s", reason);
    o->failed[i] = true;
    o->verdicts[i] = (labels_verdict){item->seq, LABELS_SETTLED,  item->stage, LABELS_NO_CLASS,
                                      1,         item->tries + 1, -1,          o->reasons[i]};
}

/* An item that was asked alone and failed. */
static void item_failed_alone(engine *e, outcome *o, size_t i, const char *reason)
{
    if (o->of->items[i].tries + 1 >= e->options->attempts) item_aside(o, i, reason);
    else item_again(o, i, 1, o->of->items[i].tries + 1);
}

/* The batch as a whole gave nothing: halves, at last alone. */
static void shrink(engine *e, outcome *o, const char *reason)
{
    size_t n = o->of->n;
    e->result->progress.retried_rows += n;
    for (size_t i = 0; i < n; i++) {
        if (n == 1) item_failed_alone(e, o, i, reason);
        else item_again(o, i, n / 2, 0);
    }
}

static void wait_for(outcome *o, double due)
{
    o->keep = true;
    o->of->due = due;
}

/* ---- the run ---- */

static void note_failure(engine *e, const char *reason)
{
    double now = clock_seconds();
    snprintf(e->last_failure, sizeof e->last_failure, "%s", reason);
    e->n_failed_row++;
    e->result->progress.failed++;
    if (e->n_failed_row >= 5 && now - e->last_good > e->options->give_up_seconds)
        engine_stop(e, ENGINE_REMOTE,
                    "no good answer for %.0f s and %llu failures in a row, the last: %.180s; nothing is lost, later: finch "
                    "label resume",
                    now - e->last_good, (unsigned long long)e->n_failed_row, reason);
}

static void note_good(engine *e)
{
    e->n_good++;
    e->n_failed_row = 0;
    e->last_good = clock_seconds();
}

/* ---- failures on the way ---- */

static double retry_due(engine *e, const client_response *r, size_t tries)
{
    double told = r->retry_after_seconds;
    return clock_seconds() +
           (told >= 0 ? told : pace_backoff(&e->random, e->options->backoff_seconds, BACKOFF_MOST_SECONDS, tries));
}

static void failed_on_the_way(engine *e, outcome *o, const client_response *r, const char *reason)
{
    batch *b = o->of;
    if (b->tries == 0) b->good_at_failure = e->n_good;
    b->tries++;
    note_failure(e, reason);
    if (b->tries >= WAY_TRIES_MAX && e->n_good > b->good_at_failure) {
        char whole[ANSWER_REASON_BYTES];
        snprintf(whole, sizeof whole, "the request failed %zu times while others were answered: %.150s", b->tries, reason);
        if (b->n == 1) item_aside(o, 0, whole);
        else shrink(e, o, whole);
    } else wait_for(o, retry_due(e, r, b->tries - 1));
}

static void rate_limited(engine *e, outcome *o, const client_response *r, const char *reason)
{
    key *k = o->of->by;
    double now = clock_seconds();
    e->result->progress.rate_limited++;
    pace_window_limited(&e->window, now);
    k->strikes++;
    double due = retry_due(e, r, k->strikes - 1);
    if (due > k->rests_until) k->rests_until = due;
    note_failure(e, reason);
    wait_for(o, now); /* another key may take it at once */
}

static void key_out(engine *e, outcome *o, key_state state, const char *reason)
{
    o->of->by->state = state;
    note_failure(e, reason);
    if (keys_usable(e->keys) == 0)
        engine_stop(e, ENGINE_REMOTE, "the provider takes no key any more (%s: %.180s)%s", o->of->by->name, reason,
                    state == KEY_EMPTY ? "; add credit, then: finch label resume"
                                       : "; check the key, then: finch label resume");
    wait_for(o, clock_seconds());
}

static bool mentions(const char *text, const char *word)
{
    size_t n = strlen(word);
    for (; *text != '\0'; text++) {
        size_t i = 0;
        while (i < n && tolower((unsigned char)text[i]) == word[i]) i++;
        if (i == n) return true;
    }
    return false;
}

/* The form below the one that a batch was asked in, for all requests of its model that follow; the batches that were in flight
 * meanwhile come back with the same refusal and move nothing. */
static void ask_less(engine *e, const batch *b, bool told)
{
    known_format *f = &e->formats[engine_judges(e, b)];
    f->told = f->told || told;
    if (f->format != b->format) return;
    f->format = b->format == FORMAT_SCHEMA ? FORMAT_GUIDED : b->format == FORMAT_GUIDED ? FORMAT_OBJECT : FORMAT_PLAIN;
    f->known = false;
}

static bool may_ask_less(const engine *e, const batch *b)
{
    return b->format != FORMAT_PLAIN && !e->options->format_fixed && !e->formats[engine_judges(e, b)].known;
}

/* A request the provider will not take as it is: the schema it does not know, a text it stumbles over, or a mistake in the
 * options, which shows by nothing ever being answered. */
static void refused(engine *e, outcome *o, int status, const char *reason)
{
    if (may_ask_less(e, o->of)) {
        ask_less(e, o->of, false);
        wait_for(o, clock_seconds());
        return;
    }
    note_failure(e, reason);
    if (e->n_good == 0 && (++e->n_refused >= REFUSED_MAX || status == 404)) {
        engine_stop(e, ENGINE_REMOTE, "the provider refuses every request: %.250s; check --model and --provider-url",
                    reason);
        wait_for(o, clock_seconds());
        return;
    }
    shrink(e, o, reason);
}

/* Some servers say that they know no schema with the status of a fault of their own. What was known before may be so no more. */
static bool about_format(const engine *e, const outcome *o, const char *message)
{
    return o->of->format != FORMAT_PLAIN && !e->options->format_fixed &&
           (mentions(message, "response_format") || mentions(message, "json_schema") || mentions(message, "json_object") ||
            mentions(message, "structured output") || mentions(message, "grammar"));
}

static void format_refused(engine *e, outcome *o)
{
    ask_less(e, o->of, true);
    wait_for(o, clock_seconds());
}

static void failed_status(engine *e, outcome *o, const client_response *r, int status, const char *message)
{
    char reason[ANSWER_REASON_BYTES];
    snprintf(reason, sizeof reason, "HTTP %d: %.180s", status, message[0] != '\0' ? message : "no reason given");
    o->told.outcome = status == 429 ? "rate limited" : status >= 500 ? "provider failed" : "refused";
    if (status == 429) rate_limited(e, o, r, reason);
    else if (status >= 400 && status != 401 && status != 402 && about_format(e, o, message)) format_refused(e, o);
    else if (status == 403 && (mentions(message, "moderation") || mentions(message, "flagged"))) shrink(e, o, reason);
    else if (status == 401 || status == 403) key_out(e, o, KEY_REFUSED, reason);
    else if (status == 402) key_out(e, o, KEY_EMPTY, reason);
    else if (status >= 500 || status == 408 || status == 409 || status == 425) failed_on_the_way(e, o, r, reason);
    else if (status >= 300 && status < 400) {
        engine_stop(e, ENGINE_REMOTE,
                    "the provider's URL leads elsewhere (HTTP %d), and keys are not sent on; correct --provider-url",
                    status);
        wait_for(o, clock_seconds());
    } else if (status == 413) shrink(e, o, reason);
    else refused(e, o, status, reason);
}

/* ---- answers ---- */

static void take_rows(engine *e, outcome *o)
{
    static const char *const words[] = {"", "left it out", "gave it twice", "gave it an unknown class: "};
    batch *b = o->of;
    char reason[ANSWER_REASON_BYTES];
    bool any = false;
    for (size_t i = 0; i < b->n; i++) {
        const answer_row *row = &o->rows[i];
        any = any || row->state == ROW_OK;
        if (row->state == ROW_OK) continue;
        e->result->progress.retried_rows++;
        snprintf(reason, sizeof reason, "the model %s%s", words[row->state], row->state == ROW_UNKNOWN ? row->said : "");
        if (b->n == 1) item_failed_alone(e, o, i, reason);
        else item_again(o, i, 1, 0);
    }
    o->answered = true;
    o->told.outcome = any ? "answered" : "no labels";
    b->tries = 0;
    if (any) note_good(e);
}

/* A form below the first is remembered where the provider said that it lacks those above: other refusals have other causes. */
static void note_format(engine *e, const batch *b, const answer *a)
{
    known_format *f = &e->formats[engine_judges(e, b)];
    if (e->options->format_fixed || f->known || b->format != f->format) return;
    if (b->format != FORMAT_PLAIN && !a->by_schema_text) return; /* taken, but does it hold? the next answers say */
    f->known = true;
    f->news = f->told || b->format == e->options->format;
}

static void count_cost(engine *e, outcome *o, const answer *a)
{
    const engine_options *options = e->options;
    engine_progress *p = &e->result->progress;
    int64_t cost = a->cost_nano;
    if (cost < 0 && options->price_in >= 0 && options->price_out >= 0) {
        request_size guess = request_estimate(options->words->system.size + options->words->user.size, o->of->text_bytes,
                                              o->of->n);
        double in = a->input_tokens >= 0 ? (double)a->input_tokens : guess.input_tokens;
        double out = a->output_tokens >= 0 ? (double)a->output_tokens : guess.output_tokens;
        cost = llround((in * options->price_in + out * options->price_out) * 1e3);
    }
    if (a->input_tokens >= 0) p->input_tokens += a->input_tokens;
    if (a->output_tokens >= 0) p->output_tokens += a->output_tokens;
    o->told.input_tokens = a->input_tokens;
    o->told.output_tokens = a->output_tokens;
    o->told.cost_nano = cost;
    if (cost < 0) {
        p->unknown_cost++;
        if (options->max_cost >= 0)
            engine_stop(e, ENGINE_BUDGET,
                        "the provider does not say what an answer costs, so --max-cost can not be held; give "
                        "--price-in and --price-out");
        return;
    }
    p->cost_known = true;
    p->cost_nano += cost;
    p->job_cost_nano += cost;
    e->worst_item_nano = fmax(e->worst_item_nano, (double)cost / (double)o->of->n);
}

static void answered(engine *e, outcome *o, const client_response *r)
{
    answer a;
    answer_read(o->body.at != NULL ? o->body.at : "", o->body.size, o->rows, o->of->n, &a);
    snprintf(o->provider_id, sizeof o->provider_id, "%s", a.provider_id);
    o->told.provider_id = o->provider_id;
    if (a.kind == ANSWER_ERROR) {
        failed_status(e, o, r, a.status, a.reason);
        return;
    }
    static const char *const words[] = {"answered", "no labels", "miscounted", "cut", "filtered", "", "broken"};
    o->told.outcome = words[a.kind];
    o->of->by->strikes = 0;
    pace_window_answered(&e->window, clock_seconds(), r->seconds);
    if (a.kind == ANSWER_BROKEN) {
        failed_on_the_way(e, o, r, a.reason);
        return;
    }
    count_cost(e, o, &a);
    if (a.kind == ANSWER_ROWS) {
        note_format(e, o->of, &a);
        take_rows(e, o);
        return;
    }
    note_failure(e, a.reason);
    shrink(e, o, a.reason);
}

static void not_arrived(engine *e, outcome *o, const client_response *r)
{
    char reason[ANSWER_REASON_BYTES];
    snprintf(reason, sizeof reason, "%s", r->why);
    o->told.outcome = r->failure == CLIENT_TIMEOUT ? "timeout" : r->failure == CLIENT_TLS ? "tls" : "network";
    if (r->failure == CLIENT_TLS && e->n_good == 0) {
        engine_stop(e, ENGINE_REMOTE,
                    "the provider's certificate is not trusted: %.200s; an authority of your own goes into FINCH_CA_BUNDLE",
                    r->why);
        wait_for(o, clock_seconds());
        return;
    }
    failed_on_the_way(e, o, r, reason);
}

finch_status engine_receive(engine *e, const client_response *r, finch_error *err)
{
    batch *b = r->tag;
    outcome *o = NULL;
    batch_list_remove(&e->flying, b);
    engine_left(e, b);
    if (r->failure == CLIENT_MISSED) { /* it never left */
        e->result->progress.requests--;
        engine_missed(e, b);
        return FINCH_OK;
    }
    e->flying_cost_nano -= b->cost_nano;
    e->heard = true;
    finch_status st = outcome_new(e, b, &o, err);
    if (st != FINCH_OK) {
        batch_free(b);
        return st;
    }
    o->has_request = true;
    o->told.status = r->status;
    FINCH_TRY(str_add(&o->body, r->body, r->body_bytes, err));
    keys_redact(e->keys, o->body.at, o->body.size);
    o->told.body = o->body.at;
    o->told.body_bytes = o->body.size;
    if (r->http_version > 0) e->result->http_version = r->http_version;
    if (r->failure != CLIENT_NONE) not_arrived(e, o, r);
    else if (r->status == 200) answered(e, o, r);
    else {
        char message[200];
        answer_error_text(o->body.at, o->body.size, message, sizeof message);
        failed_status(e, o, r, r->status, message);
    }
    return FINCH_OK;
}
