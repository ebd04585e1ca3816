/* The transaction. It may be run twice (a lost connection, two writers), so it begins each time from what is in memory and
 * counts nothing; what it came to is taken over after the commit. Of the engine the writer touches only e->writing and what
 * does not change: the options, the job, the store, keys' names. */
#include "label/engine_internal.h"

#include "base/clock.h"
#include "label/values.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#define LEASE_PAUSE_SECONDS 0.5 /* between two looks at an empty row */
#define EXPIRED_PAUSE_SECONDS 1.0
#define PLACE_AHEAD_US INT64_C(25000) /* doubled with each place that a request missed */
#define PLACE_AHEAD_MOST_SECONDS 1.0 /* a store that was away for long is no measure */
#define LOOK_SECONDS 2.0 /* between two looks at the job's state and the others' spending */

/* ---- what becomes of answered items ---- */

static void settle(outcome *o, size_t i, int label, double confidence, const char *reason)
{
    const labels_item *item = &o->of->items[i];
    o->verdicts[i] = (labels_verdict){item->seq,   LABELS_SETTLED, item->stage, label,
                                      item->grain, item->tries,    confidence,  reason};
}

static void go_on(outcome *o, size_t i, int stage)
{
    const labels_item *item = &o->of->items[i];
    o->verdicts[i] = (labels_verdict){item->seq, LABELS_WAITING, stage, LABELS_NO_CLASS, INT32_MAX, 0, -1, NULL};
}

typedef struct tally {
    size_t of[LABELS_CLASSES], n, most;
    int best;
    bool tied;
} tally;

static tally count_votes(const int *labels, size_t n)
{
    tally t = {.best = LABELS_NO_CLASS};
    for (size_t i = 0; i < n; i++)
        if (labels[i] != LABELS_NO_CLASS) {
            t.of[labels[i]]++;
            t.n++;
        }
    for (int c = 0; c < LABELS_CLASSES; c++) {
        if (t.of[c] == 0 || t.of[c] < t.most) continue;
        t.tied = t.of[c] == t.most;
        t.most = t.of[c];
        t.best = c;
    }
    return t;
}

/* All votes are in: the majority, or the judge where they differ, or no label where neither says. */
static finch_status decide(engine *e, outcome *o, size_t i, finch_error *err)
{
    const labels_item *item = &o->of->items[i];
    size_t n = e->job->votes;
    int labels[64], judge[1];
    FINCH_TRY(labels_votes(e->s, e->job->asker, item->hash, labels, n, err));
    tally t = count_votes(labels, n);
    if ((size_t)item->stage >= n) {
        FINCH_TRY(labels_votes(e->s, e->job->judge, item->hash, judge, 1, err));
        if (judge[0] == LABELS_NO_CLASS) return finch_fail(err, FINCH_E_FAILED, "the judge's answer is not in the store");
        settle(o, i, judge[0], t.n > 0 ? (double)t.of[judge[0]] / (double)t.n : -1, NULL);
    } else if (t.most < t.n && e->job->judge != 0) go_on(o, i, (int)n);
    else if (t.tied || t.n == 0) {
        snprintf(o->reasons[i], sizeof o->reasons[i], "the votes are tied: SN %zu, N %zu, NEUTRAL %zu, P %zu, SP %zu",
                 t.of[0], t.of[1], t.of[2], t.of[3], t.of[4]);
        settle(o, i, LABELS_NO_CLASS, -1, o->reasons[i]);
    } else settle(o, i, t.best, (double)t.most / (double)t.n, NULL);
    return FINCH_OK;
}

static finch_status advance(engine *e, outcome *o, size_t i, size_t answer_at, finch_error *err)
{
    const labels_item *item = &o->of->items[i];
    if (e->job->votes > 1) {
        if ((size_t)item->stage + 1 < e->job->votes) {
            go_on(o, i, item->stage + 1);
            return FINCH_OK;
        }
        return decide(e, o, i, err);
    }
    settle(o, i, o->answers[answer_at].label, o->answers[answer_at].confidence, NULL);
    return FINCH_OK;
}

/* ---- the transaction ---- */

static finch_status keep_answers(engine *e, outcome *o, finch_error *err)
{
    batch *b = o->of;
    bool judge = engine_judges(e, b);
    size_t n = 0;
    for (size_t i = 0; i < b->n && o->has_request; i++)
        if (!o->failed[i])
            o->answers[n++] = (labels_answer){&b->items[i], judge ? e->job->judge : e->job->asker, o->rows[i].label,
                                              o->rows[i].confidence, b->request_id};
    FINCH_TRY(labels_answers(e->s, o->answers, n, judge ? 0 : b->stage, err));
    n = 0;
    for (size_t i = 0; i < b->n; i++)
        if (!o->failed[i]) FINCH_TRY(advance(e, o, i, n++, err));
    return FINCH_OK;
}

static finch_status keep_outcome(engine *e, outcome *o, finch_error *err)
{
    if (o->has_request) FINCH_TRY(labels_end_request(e->s, &o->told, err));
    if (o->keep) return FINCH_OK;
    if (o->answered) FINCH_TRY(keep_answers(e, o, err));
    bool any = o->answered;
    for (size_t i = 0; i < o->of->n; i++) any = any || o->failed[i];
    return any ? labels_verdicts(e->s, e->job, o->verdicts, o->of->n, err) : FINCH_OK;
}

/* The place lies as far ahead as the commit may take, so that it is not missed for that; and further each time that it was. */
static finch_status take_place(engine *e, batch *b, finch_error *err)
{
    double took = e->writing.took, now = clock_seconds(); /* before the store is asked, which may take its time */
    int64_t wait_us = 0, least_us = took > LATE_SECONDS / 2 ? (int64_t)(took * 1e6) : 0;
    if (b->late > 0) least_us += PLACE_AHEAD_US << (b->late < 6 ? b->late : 6);
    FINCH_TRY(labels_pace(e->s, b->by->print, b->interval_us, least_us, &wait_us, err));
    b->due = now + (double)wait_us * 1e-6;
    return FINCH_OK;
}

static finch_status journal_batch(engine *e, batch *b, finch_error *err)
{
    const labels_item **items = NULL;
    bool judge = engine_judges(e, b);
    if (b->interval_us > 0) FINCH_TRY(take_place(e, b, err));
    FINCH_TRY(mem_alloc(b->n, sizeof *items, (void **)&items, err));
    for (size_t i = 0; i < b->n; i++) items[i] = &b->items[i];
    labels_request request = {
        .asker = judge ? e->job->judge : e->job->asker, .key = b->by->name, .items = items, .n_items = b->n};
    memcpy(request.id, b->request_id, sizeof request.id);
    finch_status st = labels_journal(e->s, e->job, &request, err);
    mem_free(items);
    return st;
}

static finch_status lease(engine *e, writing *w, bool expired, finch_error *err)
{
    labels_items_free(&w->leased);
    w->leasing = (labels_lease_result){0};
    if (!w->lease) return FINCH_OK;
    return labels_lease(e->s, e->job, w->wanted, (int64_t)(e->options->lease_seconds * 1e3), expired, &w->leased,
                        &w->leasing, err);
}

static finch_status keep_format(engine *e, const char *model, const known_format *f, finch_error *err)
{
    return f->news ? labels_model_set_format(e->s, e->options->provider, model, (int)f->format, err) : FINCH_OK;
}

static finch_status look(engine *e, writing *w, finch_error *err)
{
    w->spent_nano = -1;
    FINCH_TRY(labels_job_get_state(e->s, e->job->id, &w->state, err));
    /* Others may spend too; where there is neither a bound nor anybody else our own sum will do. */
    if (e->options->max_cost < 0 && !store_is_shared(e->s)) return FINCH_OK;
    return labels_spent(e->s, e->job, &w->spent_nano, err);
}

static finch_status look_at_gold(engine *e, writing *w, finch_error *err)
{
    w->gold = (agreement){0};
    return labels_gold(e->s, e->job, agreement_add, &w->gold, err);
}

static finch_status look_at_rest(engine *e, writing *w, finch_error *err)
{
    w->any_left = true;
    if (w->more) return FINCH_OK;
    FINCH_TRY(labels_any_left(e->s, e->job, &w->any_left, err));
    return w->any_left ? FINCH_OK : labels_count(e->s, e->job, &w->counts, err);
}

static finch_status write_all(store *s, void *context, finch_error *err)
{
    engine *e = context;
    writing *w = &e->writing;
    /* Run once more the store was away, for how long nobody knows: ours is renewed before anybody's expired is looked at. */
    bool again = store_retries(s) != w->retries;
    if (w->orphans) FINCH_TRY(labels_release(s, e->job, err));
    for (outcome *o = w->outcomes; o != NULL; o = o->next) FINCH_TRY(keep_outcome(e, o, err));
    for (batch *b = w->planned.first; b != NULL; b = b->next) FINCH_TRY(journal_batch(e, b, err));
    FINCH_TRY(keep_format(e, e->job->model.at, &w->formats[0], err));
    FINCH_TRY(keep_format(e, e->job->judge_model.at, &w->formats[1], err));
    if (w->renew || again) FINCH_TRY(labels_renew(s, e->job, (int64_t)(e->options->lease_seconds * 1e3), err));
    FINCH_TRY(lease(e, w, w->expired && !again, err));
    if (w->look) FINCH_TRY(look(e, w, err));
    if (w->quality) FINCH_TRY(look_at_gold(e, w, err));
    return w->rest ? look_at_rest(e, w, err) : FINCH_OK;
}

/* Texts can be read again: they do not wait for the disk as the journal does. The mark that all are in is flushed with them. */
static finch_status write_texts(engine *e, writing *w, finch_error *err)
{
    if (w->texts != NULL) {
        FINCH_TRY(store_set_bulk(e->s, true, err));
        finch_status st = labels_add(e->s, e->job, w->texts->texts, w->texts->n, err);
        finch_status back = store_set_bulk(e->s, false, st == FINCH_OK ? err : NULL);
        FINCH_TRY(st != FINCH_OK ? st : back);
    }
    if (!w->all_in) return FINCH_OK;
    labels_job job = *e->job; /* the loop reads it meanwhile; none of its texts is touched */
    FINCH_TRY(labels_added(e->s, &job, (int64_t)w->in.n_rows, &w->in.n_reused, err));
    w->n_items = job.n_items;
    return w->in.n_reused > 0 ? labels_count(e->s, &job, &w->counts_in, err) : FINCH_OK;
}

finch_status engine_write(engine *e, finch_error *err)
{
    e->writing.retries = store_retries(e->s);
    finch_status st = write_texts(e, &e->writing, err);
    double began = clock_seconds();
    if (st == FINCH_OK) st = store_transaction(e->s, write_all, e, err);
    e->writing.took = fmin(clock_seconds() - began, PLACE_AHEAD_MOST_SECONDS);
    e->writing.retried = store_retries(e->s) != e->writing.retries;
    return st;
}

/* ---- before it ---- */

/* More is leased while there is less in hand than half of what goes out at once; an empty row is looked at now and then. */
static void want_lease(engine *e, writing *w, bool idle, double now)
{
    size_t low = (pace_window_size(&e->window) + 1) / 2 * e->options->batch;
    bool low_now = e->ready_items < low && e->ready.n < e->options->in_flight * 2;
    bool time = now - e->last_lease >= LEASE_PAUSE_SECONDS || (idle && e->heard);
    w->lease = !e->ending && low_now && time;
    /* At first as many as are sent at once, later a part of that each time. */
    size_t hand = e->ready.n + e->planned.n + e->paced.n + e->flying.n;
    w->wanted = ((hand == 0 ? e->options->in_flight : e->options->in_flight / 2) + 8) * e->options->batch;
    w->expired = w->lease && now - e->last_expired >= EXPIRED_PAUSE_SECONDS;
    w->renew = now - e->last_renew >= e->options->lease_seconds / 3;
}

/* Whether there is anything to look at: the job, people's labels, the end. */
static void want_looks(engine *e, writing *w, bool idle, double now)
{
    const engine_options *o = e->options;
    w->look = now - e->last_look >= LOOK_SECONDS;
    w->quality = o->stop_kappa >= -1 && e->n_gold_seen > 0 && e->n_gold_seen >= o->stop_after;
    w->rest = idle && w->lease;
    w->orphans = w->rest && e->orphans && e->outcomes == NULL; /* they may hold batches that are asked again as they are */
}

/* A chunk of texts, but not before the first requests are on their way: what is planned goes first. */
static void want_texts(engine *e, writing *w)
{
    bool over = false;
    w->texts = NULL;
    w->all_in = false;
    if (e->feeding && !e->ending && (e->planned.n == 0 || e->flying.n > 0)) w->texts = feed_next(e->options->texts, &over);
    if (over) {
        finch_error *why = &e->result->input_error;
        w->all_in = feed_end(e->options->texts, &w->in, why) == FINCH_OK;
        if (!w->all_in) engine_stop(e, ENGINE_INPUT, "%s", why->message);
        e->feeding = false;
    }
    w->more = e->feeding;
}

void engine_begin_writing(engine *e, double now)
{
    writing *w = &e->writing;
    /* What came in last is written and looked behind in one transaction. */
    bool idle = e->ready.n + e->planned.n + e->paced.n + e->flying.n == 0;
    want_texts(e, w);
    want_lease(e, w, idle, now);
    want_looks(e, w, idle, now);
    if (w->rest) e->heard = false;
    for (int i = 0; i < 2; i++) w->formats[i] = e->formats[i];
    bool news = e->formats[0].news || e->formats[1].news;
    if (e->outcomes == NULL && e->planned.n == 0 && !w->lease && !w->renew && !w->look && !w->quality && !news &&
        w->texts == NULL && !w->all_in)
        return;
    w->outcomes = e->outcomes;
    e->outcomes = NULL;
    e->outcomes_tail = &e->outcomes;
    batch_list_open(&w->planned);
    for (batch *b; (b = batch_list_take(&e->planned)) != NULL;) batch_list_add(&w->planned, b);
    e->formats[0].news = e->formats[1].news = false;
    e->given = true;
    engine_writer_give(e);
}

/* ---- after the commit ---- */

static void count_verdicts(engine *e, const outcome *o)
{
    engine_progress *p = &e->result->progress;
    for (size_t i = 0; i < o->of->n; i++) {
        const labels_verdict *v = &o->verdicts[i];
        if (v->state != LABELS_SETTLED) continue;
        if (o->of->items[i].gold != LABELS_NO_CLASS) e->n_gold_seen++;
        if (v->label == LABELS_NO_CLASS) p->aside++;
        else {
            p->labelled++;
            p->classes[v->label]++;
        }
    }
}

static void take_texts(engine *e, writing *w)
{
    engine_progress *p = &e->result->progress;
    if (w->texts != NULL) {
        feed_pass(e->options->texts);
        e->last_lease = -1e18; /* there is something to lease again */
    }
    w->texts = NULL;
    if (!w->all_in) return;
    w->all_in = false;
    e->last_lease = -1e18;
    e->result->all_in = true;
    e->result->in = w->in;
    e->result->n_items = p->items = w->n_items;
    if (w->in.n_reused == 0) return;
    p->labelled = w->counts_in.labelled; /* without what this transaction brought: that is counted next */
    p->aside = w->counts_in.aside;
    memcpy(p->classes, w->counts_in.classes, sizeof p->classes);
}

static void take_outcomes(engine *e, writing *w)
{
    for (outcome *o = w->outcomes, *next; o != NULL; o = next) {
        next = o->next;
        if (o->keep) {
            e->ready_items += o->of->n;
            batch_list_add(&e->ready, o->of);
        } else {
            bool any = o->answered;
            for (size_t i = 0; i < o->of->n; i++) any = any || o->failed[i];
            if (any) count_verdicts(e, o);
            batch_free(o->of);
        }
        outcome_free(o);
    }
    w->outcomes = NULL;
}

static void take_planned(engine *e, writing *w)
{
    for (batch *b; (b = batch_list_take(&w->planned)) != NULL;) batch_list_add(&e->paced, b);
}

static void take_lease(engine *e, const writing *w, double now)
{
    engine_progress *p = &e->result->progress;
    if (!w->lease) return;
    p->reused += w->leasing.n_reused;
    for (int c = 0; c < LABELS_CLASSES; c++) {
        p->labelled += (int64_t)w->leasing.reused_classes[c];
        p->classes[c] += (int64_t)w->leasing.reused_classes[c];
    }
    bool empty = w->leasing.n_leased + w->leasing.n_reused == 0;
    e->last_lease = empty ? now : -1e18; /* where there is more: no pause */
}

static void take_looks(engine *e, const writing *w, double now)
{
    engine_progress *p = &e->result->progress;
    if (w->look) {
        e->last_look = now;
        if (w->spent_nano >= 0) p->job_cost_nano = w->spent_nano;
        for (const outcome *o = e->outcomes; o != NULL && w->spent_nano >= 0; o = o->next) /* they came in meanwhile */
            if (o->told.cost_nano > 0) p->job_cost_nano += o->told.cost_nano;
        if (w->state.size > 0 && strcmp(w->state.at, "paused") == 0)
            engine_stop(e, ENGINE_PAUSED, "paused by finch label pause; go on with: finch label resume --job %s",
                        e->job->name.at);
    }
    if (w->quality) {
        e->n_gold_seen = 0; /* the next look needs as many new ones */
        double kappa = agreement_kappa(&w->gold);
        if (w->gold.n >= e->options->stop_after && kappa < e->options->stop_kappa)
            engine_stop(e, ENGINE_QUALITY,
                        "stopped: Cohen's kappa with the gold labels is %.3f after %zu of them, below --stop-kappa %.3g",
                        kappa, w->gold.n, e->options->stop_kappa);
    }
    if (w->rest && !w->any_left) {
        p->labelled = w->counts.labelled;
        p->aside = w->counts.aside;
        memcpy(p->classes, w->counts.classes, sizeof p->classes);
    }
}

finch_status engine_end_writing(engine *e, finch_error *err)
{
    writing *w = &e->writing;
    double now = clock_seconds();
    if (w->status != FINCH_OK) {
        if (err != NULL) *err = w->error;
        return w->status;
    }
    e->given = false;
    if (w->expired) e->last_expired = w->leasing.n_over > 0 ? -1e18 : now; /* where there are some: no pause */
    if (w->renew) e->last_renew = now;
    if (w->orphans) e->orphans = false;
    if (w->retried) {
        e->orphans = true;
        /* While the store was away nobody could renew a lease: others get the time to do so before what they hold is taken. */
        e->last_expired = now + e->options->lease_seconds / 3;
    }
    take_texts(e, w);
    take_outcomes(e, w);
    take_planned(e, w);
    take_lease(e, w, now);
    take_looks(e, w, now);
    FINCH_TRY(engine_make_batches(e, &w->leased, err));
    if ((e->options->texts == NULL || e->result->all_in) && e->options->committed != NULL)
        e->options->committed(e->options->commit_context, &e->result->progress);
    return FINCH_OK;
}
