#include "label/engine_internal.h"

#include "base/clock.h"
#include "label/agreement.h"

#include <openssl/rand.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

enum { RESPONSES_A_TURN = 4 };

#define TURN_SECONDS 0.25  /* the longest wait of a turn */
#define WATCH_SECONDS 0.1

void engine_stop(engine *e, engine_end end, const char *format, ...)
{
    va_list args;
    if (e->ending) return;
    e->ending = true;
    e->result->end = end;
    va_start(args, format);
    vsnprintf(e->result->why, sizeof e->result->why, format, args);
    va_end(args);
}

/* ---- beginning ---- */

static finch_status begin_work(store *s, void *context, finch_error *err)
{
    engine *e = context;
    return labels_take_over(s, e->job, err);
}

static finch_status read_progress(engine *e, finch_error *err)
{
    labels_counts counts;
    engine_progress *p = &e->result->progress;
    FINCH_TRY(labels_count(e->s, e->job, &counts, err));
    p->items = counts.waiting + counts.leased + counts.labelled + counts.aside;
    if (e->feeding) p->items += (int64_t)feed_expect(e->options->texts).rows; /* until it is known how many differ */
    p->labelled = counts.labelled;
    p->aside = counts.aside;
    p->job_cost_nano = counts.cost_nano;
    e->worst_item_nano = (double)counts.worst_item_nano;
    memcpy(p->classes, counts.classes, sizeof p->classes);
    return FINCH_OK;
}

static finch_status read_format(engine *e, const char *model, known_format *out, finch_error *err)
{
    int known = -1;
    *out = (known_format){.format = e->options->format};
    if (e->options->format_fixed) return FINCH_OK;
    FINCH_TRY(labels_model_format(e->s, e->options->provider, model, &known, err));
    out->known = known >= FORMAT_PLAIN && known <= FORMAT_GUIDED;
    if (out->known) out->format = (request_format)known;
    return FINCH_OK;
}

bool engine_judges(const engine *e, const batch *b) { return (size_t)b->stage >= e->job->votes; }

static finch_status begin(engine *e, finch_error *err)
{
    uint64_t seed = 0;
    batch_list_open(&e->ready);
    batch_list_open(&e->planned);
    batch_list_open(&e->paced);
    batch_list_open(&e->flying);
    batch_list_open(&e->writing.planned);
    e->outcomes_tail = &e->outcomes;
    e->last_good = clock_seconds();
    e->last_renew = e->last_good;
    e->last_look = e->last_good;
    e->last_lease = e->last_watch = e->last_expired = -1e18;
    for (size_t i = 0; i < KEYS_MAX; i++) e->free_at[i] = -1e18;
    /* Chance only spreads retries out; without the system's randomness they are spread by the clock. */
    if (RAND_bytes((unsigned char *)&seed, sizeof seed) != 1) seed = (uint64_t)clock_unix();
    e->random = (rng){.seed = seed};
    pace_window_open(&e->window, e->options->in_flight);
    FINCH_TRY(store_transaction(e->s, begin_work, e, err));
    FINCH_TRY(read_progress(e, err));
    e->result->progress.cost_known = e->options->price_in >= 0 && e->options->price_out >= 0;
    FINCH_TRY(read_format(e, e->job->model.at, &e->formats[0], err));
    return read_format(e, e->job->judge_model.at, &e->formats[1], err);
}

/* ---- looking around ---- */

static void watch(engine *e, double now)
{
    const engine_options *o = e->options;
    engine_progress *p = &e->result->progress;
    p->in_flight = e->flying.n;
    p->window = pace_window_size(&e->window);
    if (o->watch == NULL || now - e->last_watch < WATCH_SECONDS) return;
    e->last_watch = now;
    if (!o->watch(o->watch_context, p)) engine_stop(e, ENGINE_CANCELLED, "interrupted; what was answered is kept");
}

static finch_status give_back(store *s, void *context, finch_error *err)
{
    engine *e = context;
    return labels_release(s, e->job, err);
}

/* ---- the loop ---- */

/* Not all that have come at once: the next requests leave in between, where else the first place that is free would stay so until
 * the last of a burst is taken apart. */
static finch_status take_responses(engine *e, finch_error *err)
{
    client_response r;
    engine_note_left(e);
    for (int n = 0; n < RESPONSES_A_TURN && client_take(e->provider, &r); n++) FINCH_TRY(engine_receive(e, &r, err));
    return FINCH_OK;
}

/* Nothing is on its way or unwritten; and but for a run that ends early, nothing else is left in the store either. */
static bool nothing_left(const engine *e)
{
    const writing *last = &e->writing;
    bool underway = e->planned.n + e->paced.n + e->flying.n > 0 || e->outcomes != NULL;
    if (underway || e->ending) return !underway;
    return e->ready.n == 0 && last->rest && !last->any_left;
}

static finch_status turn(engine *e, bool *done, finch_error *err)
{
    FINCH_TRY(take_responses(e, err));
    FINCH_TRY(engine_send_due(e, clock_seconds(), err));
    if (!engine_writer_busy(e)) {
        if (e->given) FINCH_TRY(engine_end_writing(e, err));
        FINCH_TRY(engine_send_due(e, clock_seconds(), err));
        *done = nothing_left(e);
        if (*done) return FINCH_OK;
        FINCH_TRY(engine_plan(e, clock_seconds(), err));
        engine_begin_writing(e, clock_seconds());
    }
    watch(e, clock_seconds());
    return client_poll(e->provider, engine_wait(e, clock_seconds(), TURN_SECONDS), err);
}

static void drop_outcomes(outcome *first)
{
    for (outcome *o = first, *next; o != NULL; o = next) {
        next = o->next;
        batch_free(o->of);
        outcome_free(o);
    }
}

static void drop_everything(engine *e)
{
    drop_outcomes(e->outcomes);
    drop_outcomes(e->writing.outcomes);
    batch_list *lists[] = {&e->ready, &e->planned, &e->paced, &e->flying, &e->writing.planned};
    for (size_t i = 0; i < sizeof lists / sizeof lists[0]; i++) batch_list_free(lists[i]);
    labels_items_free(&e->writing.leased);
    str_free(&e->writing.state);
    str_free(&e->body);
}

static void wake(void *context) { client_wake(context); }

finch_status engine_run(store *s, const labels_job *job, client *provider, key_ring *keys, const engine_options *options,
                        engine_result *out, finch_error *err)
{
    engine e = {.options = options, .s = s, .job = job, .provider = provider, .keys = keys, .result = out};
    e.feeding = options->texts != NULL;
    double began = clock_seconds();
    bool done = false;
    *out = (engine_result){.end = ENGINE_DONE};
    /* Answers wait for a store that is away as long as the run waits for the provider. */
    if (options->give_up_seconds > STORE_PATIENCE_SECONDS) store_set_patience(s, options->give_up_seconds);
    if (e.feeding) feed_set_wake(options->texts, wake, provider);
    finch_status st = begin(&e, err);
    if (st == FINCH_OK) {
        st = engine_writer_open(&e, err);
        while (st == FINCH_OK && !done) st = turn(&e, &done, err);
        engine_writer_close(&e);
    }
    out->seconds = clock_seconds() - began;
    finch_status released = store_transaction(s, give_back, &e, st == FINCH_OK ? err : NULL);
    store_set_patience(s, STORE_PATIENCE_SECONDS);
    drop_everything(&e);
    return st != FINCH_OK ? st : released;
}
