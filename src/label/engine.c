#include "label/engine_internal.h"

#include "base/clock.h"
#include "label/agreement.h"

#include <openssl/rand.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define TURN_SECONDS 0.25  /* the longest wait of a turn */
#define WATCH_SECONDS 0.1
#define LOOK_SECONDS 2.0   /* between two looks at the job's state and the others' spending */

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
    out->known = known >= FORMAT_PLAIN && known <= FORMAT_OBJECT;
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
    e->outcomes_tail = &e->outcomes;
    e->last_good = clock_seconds();
    e->last_renew = e->last_good;
    e->last_look = e->last_good;
    e->last_lease = e->last_watch = e->last_expired = -1e18;
    for (size_t i = 0; i < KEYS_MAX; i++) e->last_sent[i] = -1e18;
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

static finch_status check_quality(engine *e, finch_error *err)
{
    const engine_options *o = e->options;
    agreement a = {0};
    if (o->stop_kappa < -1 || e->n_gold_seen == 0 || e->n_gold_seen < o->stop_after) return FINCH_OK;
    FINCH_TRY(labels_gold(e->s, e->job, agreement_add, &a, err));
    e->n_gold_seen = 0; /* the next look needs as many new ones */
    if (a.n >= o->stop_after && agreement_kappa(&a) < o->stop_kappa)
        engine_stop(e, ENGINE_QUALITY,
                    "stopped: Cohen's kappa with the gold labels is %.3f after %zu of them, below --stop-kappa %.3g",
                    agreement_kappa(&a), a.n, o->stop_kappa);
    return FINCH_OK;
}

static finch_status look_around(engine *e, double now, finch_error *err)
{
    engine_progress *p = &e->result->progress;
    if (now - e->last_look < LOOK_SECONDS) return FINCH_OK;
    e->last_look = now;
    FINCH_TRY(labels_job_get_state(e->s, e->job->id, &e->state, err));
    if (e->state.size > 0 && strcmp(e->state.at, "paused") == 0)
        engine_stop(e, ENGINE_PAUSED, "paused by finch label pause; go on with: finch label resume --job %s",
                    e->job->name.at);
    if (e->options->max_cost >= 0 || store_is_shared(e->s)) FINCH_TRY(labels_spent(e->s, e->job, &p->job_cost_nano, err));
    return FINCH_OK;
}

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

/* A transaction that was run twice because its COMMIT stayed without answer may have leased texts the first time too, which
 * are in nobody's hand and would be renewed for ever. Nothing is in hand now, so all that the store says we have are these. */
static finch_status give_back_orphans(engine *e, finch_error *err)
{
    if (store_retries(e->s) == e->retries_seen) return FINCH_OK;
    e->retries_seen = store_retries(e->s);
    e->last_lease = -1e18;
    return store_transaction(e->s, give_back, e, err);
}

/* Nothing is in hand and the row is empty: is the job done, or do others hold the rest? */
static finch_status check_done(engine *e, bool *done, finch_error *err)
{
    labels_counts counts;
    engine_progress *p = &e->result->progress;
    *done = false;
    if (e->ready.n + e->planned.n + e->paced.n + e->flying.n > 0 || e->outcomes != NULL || e->last_lease < 0)
        return FINCH_OK;
    if (e->lease_more && e->leasing.n_leased + e->leasing.n_reused > 0) return FINCH_OK;
    FINCH_TRY(labels_count(e->s, e->job, &counts, err));
    *done = counts.waiting + counts.leased == 0;
    p->labelled = counts.labelled;
    p->aside = counts.aside;
    memcpy(p->classes, counts.classes, sizeof p->classes);
    return *done ? FINCH_OK : give_back_orphans(e, err);
}

/* ---- the loop ---- */

static finch_status take_responses(engine *e, finch_error *err)
{
    client_response r;
    while (client_take(e->provider, &r)) FINCH_TRY(engine_receive(e, &r, err));
    return FINCH_OK;
}

static finch_status turn(engine *e, bool *done, finch_error *err)
{
    double now = clock_seconds();
    FINCH_TRY(take_responses(e, err));
    FINCH_TRY(engine_plan(e, now, err));
    FINCH_TRY(engine_flush(e, now, err));
    FINCH_TRY(engine_send_due(e, clock_seconds(), err));
    watch(e, clock_seconds());
    FINCH_TRY(look_around(e, clock_seconds(), err));
    FINCH_TRY(check_quality(e, err));
    if (e->ending) *done = e->flying.n == 0 && e->paced.n == 0 && e->outcomes == NULL;
    else FINCH_TRY(check_done(e, done, err));
    if (*done) return FINCH_OK;
    /* Batches that can go at once wait for nothing. */
    double wait = engine_wait(e, clock_seconds(), TURN_SECONDS);
    bool room = e->flying.n + e->paced.n < pace_window_size(&e->window);
    if (!e->ending && e->last_lease < 0 && room && e->ready.n > 0) wait = 0;
    return client_poll(e->provider, wait, err);
}

static void drop_everything(engine *e)
{
    batch_list_free(&e->ready);
    batch_list_free(&e->planned);
    batch_list_free(&e->paced);
    batch_list_free(&e->flying);
    for (outcome *o = e->outcomes, *next; o != NULL; o = next) {
        next = o->next;
        batch_free(o->of);
        outcome_free(o);
    }
    labels_items_free(&e->leased);
    str_free(&e->body);
    str_free(&e->state);
}

finch_status engine_run(store *s, const labels_job *job, client *provider, key_ring *keys, const engine_options *options,
                        engine_result *out, finch_error *err)
{
    engine e = {.options = options, .s = s, .job = job, .provider = provider, .keys = keys, .result = out};
    double began = clock_seconds();
    bool done = false;
    *out = (engine_result){.end = ENGINE_DONE};
    finch_status st = begin(&e, err);
    while (st == FINCH_OK && !done) st = turn(&e, &done, err);
    out->seconds = clock_seconds() - began;
    finch_status released = store_transaction(s, give_back, &e, st == FINCH_OK ? err : NULL);
    drop_everything(&e);
    return st != FINCH_OK ? st : released;
}
