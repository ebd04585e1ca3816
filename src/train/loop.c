#include "train/loop.h"

#include "base/clock.h"
#include "base/rng.h"
#include "train/loop_state.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

/* Streams of random numbers are (seed, purpose, epoch): the purpose keeps the order apart from other uses of the seed. */
#define ORDER_PURPOSE (UINT64_C(0x6F72646572) << 24)

/* ---- one step ---- */

static void order_epoch(loop *l, uint64_t epoch)
{
    if (l->order_epoch == epoch) return;
    rng r = {.seed = l->options->seed, .stream = ORDER_PURPOSE ^ epoch};
    for (size_t i = 0; i < l->objective->n_examples; i++) l->order[i] = i;
    if (!l->options->sequential) rng_shuffle(&r, l->order, l->objective->n_examples);
    l->order_epoch = epoch;
}

/* This rank's part of a batch, items [*begin, *end): the ranks' parts have about as many tokens. */
static void cut_batch(const loop *l, const size_t *items, size_t n, size_t *begin, size_t *end)
{
    const loop_objective *o = l->objective;
    const ranks *r = l->options->ranks;
    size_t total = 0, before = 0;
    *begin = *end = r == NULL ? 0 : n;
    if (r == NULL) *end = n;
    if (r == NULL) return;
    for (size_t i = 0; i < n; i++) total += o->n_tokens(o->context, items[i]);
    for (size_t i = 0; i < n; i++) {
        /* An item is the rank's in whose part of all tokens its middle lies. */
        size_t tokens = o->n_tokens(o->context, items[i]), place = 2 * before + tokens;
        if (*begin == n && place * r->n >= 2 * total * r->rank) *begin = i;
        if (*end == n && place * r->n >= 2 * total * (r->rank + 1)) *end = i;
        before += tokens;
    }
}

/* Forward and backward of one of the step's batches, or of this rank's part of it. */
static finch_status pass(loop *l, const size_t *items, size_t n, uint64_t epoch, double scale, uint64_t step, double *loss,
                         finch_error *err)
{
    const loop_objective *o = l->objective;
    size_t begin, end;
    *loss = 0.0;
    cut_batch(l, items, n, &begin, &end);
    if (begin == end) return FINCH_OK;
    if (l->options->ranks != NULL) FINCH_TRY(o->behind(o->context, items, begin, epoch, err));
    return o->step(o->context, items + begin, end - begin, epoch, scale, step, loss, err);
}

/* The ranks' gradients and losses become their sums. */
static finch_status exchange_step(loop *l, double *loss_sum, finch_error *err)
{
    double sums[2] = {*loss_sum, l->stop_wanted ? 1.0 : 0.0};
    FINCH_TRY(exchange_finish(&l->exchange, sums, 2, err));
    *loss_sum = sums[0];
    l->stop_agreed = sums[1] > 0.0;
    return FINCH_OK;
}

/* Forward and backward of the step's batches, one after the other. */
static finch_status accumulate(loop *l, const size_t *items, size_t n, uint64_t epoch, finch_error *err)
{
    const loop_objective *o = l->objective;
    double weight, loss_sum = 0.0;
    FINCH_TRY(o->weight(o->context, items, n, epoch, &weight, err));
    double scale = weight > 0.0 ? 1.0 / weight : 0.0;
    uint64_t dropout_step = l->at.step * l->options->accumulate;
    bool shared = l->options->ranks != NULL;
    if (shared) o->touch(o->context, items, n);
    for (size_t at = 0; at < n; at += l->options->batch) {
        size_t left = n - at, size = left < l->options->batch ? left : l->options->batch;
        double loss;
        if (shared && size == left) exchange_arm(&l->exchange);
        FINCH_TRY(pass(l, items + at, size, epoch, scale, dropout_step++, &loss, err));
        loss_sum += loss;
    }
    if (shared) FINCH_TRY(exchange_step(l, &loss_sum, err));
    if (!isfinite(loss_sum))
        return finch_fail(err, FINCH_E_FAILED, "the loss is not finite; a smaller --learning-rate helps");
    l->at.log_loss_sum += loss_sum;
    l->at.log_weight += weight;
    return FINCH_OK;
}

static finch_status step_once(loop *l, double *rate, double *grad_norm, finch_error *err)
{
    size_t per_step = l->options->batch * l->options->accumulate;
    uint64_t epoch = l->at.step / l->steps_per_epoch;
    size_t from = (size_t)(l->at.step % l->steps_per_epoch) * per_step, left = l->objective->n_examples - from;
    double began = clock_seconds();
    l->saved = false;
    order_epoch(l, epoch);
    *rate = schedule_rate(&l->schedule, l->at.step);
    FINCH_TRY(accumulate(l, l->order + from, left < per_step ? left : per_step, epoch, err));
    FINCH_TRY(adamw_step(l->optimiser, *rate, grad_norm, err));
    l->at.step++;
    if (l->at.step % LOOP_EMA_STEPS == 0) loop_ema_update(l);
    l->at.train_seconds += clock_seconds() - began;
    return FINCH_OK;
}

static uint64_t examples_done(const loop *l)
{
    uint64_t n = l->objective->n_examples, per_step = (uint64_t)l->options->batch * l->options->accumulate;
    uint64_t in_epoch = l->at.step % l->steps_per_epoch * per_step;
    return l->at.step / l->steps_per_epoch * n + in_epoch;
}

static double epochs_done(const loop *l) { return (double)examples_done(l) / (double)l->objective->n_examples; }

/* ---- events ---- */

/* Takes over the reference. */
static finch_status add_event(loop *l, json_t *event, finch_error *err)
{
    if (loop_leads(l)) return journal_add(&l->journal, event, err);
    json_decref(event);
    return FINCH_OK;
}

static finch_status log_step(loop *l, double rate, double grad_norm, finch_error *err)
{
    double loss = l->at.log_weight > 0.0 ? l->at.log_loss_sum / l->at.log_weight : 0.0;
    json_t *event = json_pack("{s:s,s:I,s:f,s:f,s:f,s:f,s:f,s:f}", "event", "train", "step", (json_int_t)l->at.step, "epoch",
                              epochs_done(l), "loss", loss, "learning_rate", rate, "grad_norm", grad_norm, "seconds",
                              l->at.train_seconds, "examples_per_second",
                              (double)examples_done(l) / fmax(l->at.train_seconds, 1e-9));
    l->at.log_loss_sum = l->at.log_weight = 0.0;
    return add_event(l, event, err);
}

static finch_status log_evaluation(loop *l, json_t *report, bool progressed, bool kept_now, finch_error *err)
{
    json_t *event = json_pack("{s:s,s:I,s:f,s:b,s:b,s:f}", "event", "evaluation", "step", (json_int_t)l->at.step, "epoch",
                              epochs_done(l), "progress", progressed, "kept", kept_now, "seconds", l->at.evaluation_seconds);
    if (event != NULL && json_object_update(event, report) != 0) {
        json_decref(event);
        event = NULL;
    }
    return add_event(l, event, err);
}

/* ---- evaluation ---- */

/* Evaluates the weights (or their moving average), keeps them where they are among the best, and writes the checkpoint.
 * Order: kept weights, checkpoint, then the file that fell out, so that no checkpoint names a file that is not there. */
static finch_status evaluate(loop *l, finch_error *err)
{
    const loop_options *o = l->options;
    double values[METRICS_COUNT], began = clock_seconds();
    json_t *report = NULL;
    kept_entry dropped = {0};
    bool kept_now = false;
    adamw_settle(l->optimiser);
    if (o->ranks != NULL) FINCH_TRY(exchange_check_values(&l->exchange, err));
    loop_ema_swap(l);
    finch_status st = l->objective->evaluate(l->objective->context, values, &report, err);
    if (st == FINCH_OK) {
        kept_now = kept_insert(&l->at.kept, l->at.step, values[o->keep], &dropped);
        if (kept_now && loop_leads(l)) st = kept_write(o->folder, l->at.step, l->trained, err);
    }
    loop_ema_swap(l);
    if (st == FINCH_OK) {
        bool progressed = stopping_update(&o->rule, &l->at.stopping, values, l->at.step);
        l->at.last_value = values[o->keep];
        l->at.evaluation_seconds += clock_seconds() - began;
        l->saved = false;
        st = log_evaluation(l, report, progressed, kept_now, err);
    }
    json_decref(report);
    if (st == FINCH_OK) st = loop_save(l, err);
    if (st == FINCH_OK && dropped.step > 0 && loop_leads(l)) st = kept_remove(o->folder, dropped.step, err);
    return st;
}

/* ---- the whole ---- */

static bool report_progress(const loop *l, const progress *watch, double loss)
{
    char note[160];
    const char *metric = metrics_name(l->options->keep);
    uint64_t total = l->total_steps / l->steps_per_epoch * l->objective->n_examples +
                     l->total_steps % l->steps_per_epoch * l->options->batch * l->options->accumulate;
    int used = snprintf(note, sizeof note, "loss %.4f", loss);
    if (l->at.kept.n > 0 && used > 0)
        snprintf(note + used, sizeof note - (size_t)used, ", %s %.4f (best %.4f)", metric, l->at.last_value,
                 l->at.kept.entry[0].value);
    return progress_report(watch, examples_done(l), total, note);
}

static bool is_over(const loop *l)
{
    return l->at.step >= l->total_steps || stopping_is_due(&l->options->rule, &l->at.stopping);
}

static finch_status cancel(loop *l, finch_error *err)
{
    FINCH_TRY(loop_save(l, err));
    return finch_fail(err, FINCH_E_CANCELLED,
                      "interrupted after step %llu of %llu; the same command with --resume goes on from there",
                      (unsigned long long)l->at.step, (unsigned long long)l->total_steps);
}

static finch_status train(loop *l, const progress *watch, finch_error *err)
{
    const loop_options *o = l->options;
    double shown_loss = 0.0;
    while (!is_over(l)) {
        double rate, grad_norm;
        finch_status st = step_once(l, &rate, &grad_norm, err);
        if (st == FINCH_E_CANCELLED) return cancel(l, err);
        if (st != FINCH_OK) return finch_fail_prefix(err, "step %llu", (unsigned long long)l->at.step + 1);
        shown_loss = l->at.log_weight > 0.0 ? l->at.log_loss_sum / l->at.log_weight : shown_loss;
        bool last = l->at.step == l->total_steps;
        if (l->at.step % o->log_every == 0 || last) FINCH_TRY(log_step(l, rate, grad_norm, err));
        if (l->at.step % l->eval_every == 0 || last) FINCH_TRY(evaluate(l, err));
        else if (o->checkpoint_every > 0 && l->at.step % o->checkpoint_every == 0) FINCH_TRY(loop_save(l, err));
        if (!report_progress(l, watch, shown_loss)) l->stop_wanted = true;
        /* Several ranks stop after the same step: what one wants is told with the next step's sums. */
        if (o->ranks == NULL ? l->stop_wanted : l->stop_agreed) return cancel(l, err);
    }
    return FINCH_OK;
}

/* Puts the best evaluation's weights into the model, or the mean of several where that is better. */
static finch_status choose(loop *l, loop_result *out, finch_error *err)
{
    const loop_options *o = l->options;
    const kept *k = &l->at.kept;
    double values[METRICS_COUNT];
    out->best_step = k->entry[0].step;
    out->value = k->entry[0].value;
    out->n_averaged = 1;
    if (o->average > 1 && k->n > 1) {
        json_t *report = NULL;
        FINCH_TRY(kept_load(k, k->n, o->folder, l->trained, err));
        FINCH_TRY(l->objective->evaluate(l->objective->context, values, &report, err));
        json_decref(report);
        if (kept_is_better(k, values[o->keep], out->value)) {
            out->value = values[o->keep];
            out->n_averaged = k->n;
            return FINCH_OK;
        }
    }
    return kept_load(k, 1, o->folder, l->trained, err);
}

static void describe(const loop *l, loop_result *out)
{
    out->steps = l->at.step;
    out->examples = examples_done(l);
    out->epochs = epochs_done(l);
    out->seconds = l->at.train_seconds;
    out->evaluation_seconds = l->at.evaluation_seconds;
    out->n_evaluations = (size_t)l->at.stopping.n_evaluations;
    out->resumed = l->resumed;
    out->stopped_early = l->at.step < l->total_steps;
    if (out->stopped_early) {
        char reason[STOPPING_REASON_BYTES];
        stopping_reason(&l->options->rule, &l->at.stopping, reason);
        snprintf(out->stop_reason, sizeof out->stop_reason, "stopped early after step %llu of %llu: %s",
                 (unsigned long long)l->at.step, (unsigned long long)l->total_steps, reason);
    } else {
        snprintf(out->stop_reason, sizeof out->stop_reason, "all %llu steps are done", (unsigned long long)l->total_steps);
    }
}

finch_status loop_run(trainable *t, const loop_objective *objective, const loop_options *options, const progress *watch,
                      loop_result *out, finch_error *err)
{
    loop l;
    *out = (loop_result){0};
    FINCH_TRY(loop_open(t, objective, options, &l, err));
    finch_status st = train(&l, watch, err);
    if (st == FINCH_OK) {
        describe(&l, out);
        if (options->ranks != NULL) objective->alone(objective->context);
        if (loop_leads(&l)) st = choose(&l, out, err);
    }
    loop_close(&l);
    return st;
}
