/* Batches: made of leased items, given a key and a place in its row, journalled (by the flush), sent when due. */
#include "label/engine_internal.h"

#include "base/clock.h"

#include <math.h>
#include <string.h>

enum { BATCH_TEXT_BYTES = 96 << 10 }; /* a batch of long texts is smaller */

#define AHEAD_SECONDS 0.1 /* requests are journalled this long before their time */

void batch_list_open(batch_list *list) { *list = (batch_list){NULL, &list->first, 0}; }

void batch_list_add(batch_list *list, batch *b)
{
    b->next = NULL;
    *list->tail = b;
    list->tail = &b->next;
    list->n++;
}

batch *batch_list_take(batch_list *list)
{
    batch *b = list->first;
    if (b == NULL) return NULL;
    list->first = b->next;
    if (list->first == NULL) list->tail = &list->first;
    list->n--;
    b->next = NULL;
    return b;
}

void batch_list_remove(batch_list *list, batch *b)
{
    for (batch **at = &list->first; *at != NULL; at = &(*at)->next) {
        if (*at != b) continue;
        *at = b->next;
        if (*at == NULL) list->tail = at;
        list->n--;
        b->next = NULL;
        return;
    }
}

void batch_free(batch *b)
{
    if (b == NULL) return;
    for (size_t i = 0; i < b->n; i++) mem_free(b->items[i].text);
    mem_free(b->items);
    mem_free(b);
}

void batch_list_free(batch_list *list)
{
    for (batch *b; (b = batch_list_take(list)) != NULL;) batch_free(b);
}

/* ---- making ---- */

static finch_status new_batch(const labels_item *like, size_t most, batch **out, finch_error *err)
{
    FINCH_TRY(MEM_NEW(out, 1, err));
    batch *b = *out;
    b->stage = like->stage;
    b->grain = like->grain < most ? like->grain : most;
    if (b->grain < 1) b->grain = 1;
    b->capacity = b->grain;
    finch_status st = MEM_NEW(&b->items, b->capacity, err);
    if (st != FINCH_OK) {
        mem_free(b);
        *out = NULL;
    }
    return st;
}

static bool goes_into(const batch *b, const labels_item *item, size_t most)
{
    size_t grain = item->grain < most ? item->grain : most;
    return b->stage == item->stage && b->grain == (grain < 1 ? 1 : grain) && b->n < b->grain &&
           (b->n == 0 || b->text_bytes + item->text_bytes <= BATCH_TEXT_BYTES);
}

/* The open batches are those made in this call: items of one kind stand together in them, in their order. */
static finch_status place_item(engine *e, labels_item *item, batch_list *open, finch_error *err)
{
    batch *b = open->first;
    while (b != NULL && !goes_into(b, item, e->options->batch)) b = b->next;
    if (b == NULL) {
        FINCH_TRY(new_batch(item, e->options->batch, &b, err));
        batch_list_add(open, b);
    }
    b->text_bytes += item->text_bytes;
    b->items[b->n++] = *item;
    item->text = NULL; /* the batch's now */
    return FINCH_OK;
}

static finch_status place_answered(engine *e, labels_item *item, finch_error *err)
{
    batch *b = NULL;
    outcome *o = NULL;
    FINCH_TRY(new_batch(item, 1, &b, err));
    b->items[b->n++] = *item;
    item->text = NULL;
    finch_status st = outcome_new(e, b, &o, err);
    if (st == FINCH_OK) o->answered = true;
    else batch_free(b);
    return st;
}

finch_status engine_make_batches(engine *e, labels_items *leased, finch_error *err)
{
    batch_list open;
    finch_status st = FINCH_OK;
    batch_list_open(&open);
    for (size_t i = 0; st == FINCH_OK && i < leased->n; i++) {
        labels_item *item = &leased->at[i];
        st = item->answered ? place_answered(e, item, err) : place_item(e, item, &open, err);
    }
    for (batch *b; (b = batch_list_take(&open)) != NULL;) {
        e->ready_items += b->n;
        batch_list_add(&e->ready, b);
    }
    labels_items_free(leased);
    return st;
}

/* ---- planning ---- */

static const char *model_of(const engine *e, const batch *b)
{
    return engine_judges(e, b) ? e->job->judge_model.at : e->job->model.at;
}

/* What a batch will cost at most, as far as can be told: by prices, or by the dearest text so far. */
static void expect(engine *e, batch *b)
{
    const engine_options *o = e->options;
    request_size size = request_estimate(o->words->system.size + o->words->user.size, b->text_bytes, b->n);
    b->tokens = size.input_tokens + size.output_tokens;
    double nano = 0;
    if (o->price_in >= 0 && o->price_out >= 0)
        nano = (size.input_tokens * o->price_in + size.output_tokens * o->price_out) * 1e3;
    double seen = e->worst_item_nano * (double)b->n * 1.2;
    b->cost_nano = (int64_t)fmax(nano, seen);
}

/* Whether the budget has room for one more; stops the run where it has none and nothing in flight can change that. */
static bool affordable(engine *e, const batch *b)
{
    const engine_options *o = e->options;
    size_t underway = e->flying.n + e->paced.n + e->planned.n;
    if (o->max_requests > 0 && e->result->progress.requests + e->planned.n + e->paced.n >= o->max_requests) {
        if (underway == 0)
            engine_stop(e, ENGINE_BUDGET, "stopped at --max-requests %llu", (unsigned long long)o->max_requests);
        return false;
    }
    if (o->max_cost < 0) return true;
    int64_t pending = e->flying_cost_nano, most = (int64_t)(o->max_cost * 1e9);
    bool priced = o->price_in >= 0 && o->price_out >= 0;
    if (!priced && e->worst_item_nano <= 0) return underway == 0; /* the first one tells what they cost */
    if (e->result->progress.job_cost_nano + pending + b->cost_nano <= most) return true;
    if (underway == 0)
        engine_stop(e, ENGINE_BUDGET, "stopped before --max-cost: $%.6f are spent, the next request may cost $%.6f of $%.6f",
                    (double)e->result->progress.job_cost_nano * 1e-9, (double)b->cost_nano * 1e-9, o->max_cost);
    return false;
}

/* How many may be journalled and unsent at once. Without a rate: a whole window more than have a place, so that each answer's
 * place is taken at once and none waits for the disk. With one: as many as are sent in AHEAD_SECONDS, at least one a key. */
static size_t most_paced(const engine *e, size_t window)
{
    size_t places = window > e->flying.n ? window - e->flying.n : 0;
    if (e->options->rpm <= 0 && e->options->tpm <= 0) return places + window;
    double ahead = e->options->rpm / 60 * AHEAD_SECONDS;
    size_t most = keys_usable(e->keys) * (ahead > 1 ? (size_t)ahead : 1);
    return most < places ? most : places;
}

static batch *take_due(engine *e, double now)
{
    for (size_t n = e->ready.n; n > 0; n--) {
        batch *b = batch_list_take(&e->ready);
        if (b->due <= now) return b;
        batch_list_add(&e->ready, b); /* keeps the order: the whole list goes round */
    }
    return NULL;
}

static void put_first(batch_list *list, batch *b)
{
    b->next = list->first;
    list->first = b;
    if (b->next == NULL) list->tail = &b->next;
    list->n++;
}

/* Nothing is on its way: is there a key that something could be sent with before long? */
static void check_keys(engine *e, double now)
{
    double when = keys_when(e->keys, now);
    if (when < 0)
        engine_stop(e, ENGINE_REMOTE,
                    "the provider takes none of the %zu keys any more (%.150s); when they work again: finch label resume",
                    e->keys->n, e->last_failure);
    else if (when - now > e->options->give_up_seconds)
        engine_stop(e, ENGINE_REMOTE, "the provider asks to come back in %.0f s; then: finch label resume", when - now);
}

static finch_status plan_batch(engine *e, batch *b, key *by, finch_error *err)
{
    finch_status st = store_random_name(b->request_id, err);
    e->ready_items -= b->n;
    b->by = by;
    b->late = 0;
    b->interval_us = pace_interval_us(e->options->rpm, e->options->tpm, b->tokens);
    e->flying_cost_nano += b->cost_nano;
    batch_list_add(&e->planned, b);
    return st;
}

finch_status engine_plan(engine *e, double now, finch_error *err)
{
    size_t most = most_paced(e, pace_window_size(&e->window));
    bool paced = e->options->rpm > 0 || e->options->tpm > 0;
    if (paced && !client_ready(e->provider)) return FINCH_OK; /* they would wait for the connection and leave together */
    if (!e->ending && e->flying.n == 0 && e->ready.n + e->paced.n > 0) check_keys(e, now);
    while (!e->ending && e->paced.n + e->planned.n < most) {
        batch *b = take_due(e, now);
        if (b == NULL) break;
        expect(e, b);
        key *by = affordable(e, b) ? keys_pick(e->keys, now) : NULL;
        if (by == NULL) {
            put_first(&e->ready, b);
            break;
        }
        FINCH_TRY(plan_batch(e, b, by, err));
    }
    return FINCH_OK;
}

/* ---- sending ---- */

static finch_status send_batch(engine *e, batch *b, finch_error *err)
{
    const engine_options *o = e->options;
    b->format = e->formats[engine_judges(e, b)].format; /* as it is known now: the batch may have waited */
    request_options request = {
        .model = model_of(e, b),
        .words = o->words,
        .temperature = o->temperature,
        .max_tokens = o->max_tokens,
        .format = b->format,
        .logprobs = o->logprobs,
        .usage_cost = o->usage_cost,
    };
    const labels_item **items = NULL;
    FINCH_TRY(mem_alloc(b->n, sizeof *items, (void **)&items, err));
    for (size_t i = 0; i < b->n; i++) items[i] = &b->items[i];
    finch_status st = request_write(&request, items, b->n, &e->body, err);
    mem_free(items);
    double latest = b->interval_us > 0 ? b->due + LATE_SECONDS : INFINITY;
    if (st == FINCH_OK) st = client_send(e->provider, b, latest, b->by->secret, e->body.at, e->body.size, err);
    if (st == FINCH_OK) {
        b->left = false;
        e->n_leaving[b->by - e->keys->at]++;
        batch_list_add(&e->flying, b);
        e->result->progress.requests++;
    } else batch_free(b);
    return st;
}

void engine_missed(engine *e, batch *b)
{
    b->late++;
    batch_list_add(&e->planned, b);
}

void engine_left(engine *e, batch *b)
{
    if (b->left) return;
    b->left = true;
    e->n_leaving[b->by - e->keys->at]--;
}

void engine_note_left(engine *e)
{
    void *tag;
    while (client_take_left(e->provider, &tag)) {
        batch *b = tag;
        engine_left(e, b);
        e->free_at[b->by - e->keys->at] = clock_seconds() + (double)b->interval_us * 1e-6;
    }
}

/* When a journalled batch may go: at its place in the key's row, a whole interval after the key's last one was on the wire -
 * whatever held that one up, no second has more than its share - and not while the key rests. */
static double send_time(const engine *e, const batch *b)
{
    size_t k = (size_t)(b->by - e->keys->at);
    double at = fmax(b->due, b->by->rests_until);
    if (b->interval_us <= 0) return at;
    return e->n_leaving[k] > 0 ? INFINITY : fmax(at, e->free_at[k]);
}

/* A journalled batch that will not be sent: the run ends, or its key was refused meanwhile. */
static finch_status call_back(engine *e, batch *b, finch_error *err)
{
    outcome *o = NULL;
    e->flying_cost_nano -= b->cost_nano;
    finch_status st = outcome_new(e, b, &o, err);
    if (st != FINCH_OK) {
        batch_free(b);
        return st;
    }
    o->has_request = true;
    o->keep = !e->ending;
    o->told.outcome = "unsent";
    return FINCH_OK;
}

/* Whether its key rests while another one could take it. */
static bool better_elsewhere(const engine *e, const batch *b, double now)
{
    return b->by->rests_until > now && keys_when(e->keys, now) == 0;
}

finch_status engine_send_due(engine *e, double now, finch_error *err)
{
    size_t window = pace_window_size(&e->window);
    for (size_t n = e->paced.n; n > 0; n--) {
        batch *b = batch_list_take(&e->paced);
        if (e->ending || b->by->state != KEY_USABLE || better_elsewhere(e, b, now)) {
            FINCH_TRY(call_back(e, b, err));
        } else if (e->flying.n >= window || send_time(e, b) > now) {
            batch_list_add(&e->paced, b);
        } else if (b->interval_us > 0 && now - b->due > LATE_SECONDS) {
            engine_missed(e, b);
        } else FINCH_TRY(send_batch(e, b, err));
    }
    return FINCH_OK;
}

double engine_wait(const engine *e, double now, double most)
{
    double wait = most;
    bool place = e->flying.n < pace_window_size(&e->window);
    for (const batch *b = e->paced.first; b != NULL && place; b = b->next) wait = fmin(wait, send_time(e, b) - now);
    for (const batch *b = e->ready.first; b != NULL && !e->ending; b = b->next)
        if (b->due > now) wait = fmin(wait, b->due - now);
    return wait > 0 ? wait : 0;
}
