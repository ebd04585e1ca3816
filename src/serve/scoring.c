#include "serve/scoring.h"

#include "base/clock.h"
#include "serve/observer.h"
#include "serve/recorder.h"
#include "serve/reply.h"

static void not_ready(request *r)
{
    reply_retry_after(r, 1);
    reply_error(r, 503, "not_ready", NULL, "the models are being loaded; GET /ready says when they are there");
}

bool scoring_open(request *r, const char *name, size_t n_texts, scoring_answer_fn answer, void *context, scoring **out)
{
    scoring *s;
    float *logits;
    *out = NULL;
    model_slot *slot = models_acquire(r->server->models, name);
    if (slot == NULL) {
        if (!atomic_load(&r->server->ready)) not_ready(r);
        else if (name == NULL) reply_error(r, 503, "no_model", NULL, "no model is served; start finch serve with --model");
        else
            reply_error(r, 404, "model_not_found", NULL,
                        "no model of that name and version is served; GET /api/v1/models lists them");
        return false;
    }
    finch_error err = {0};
    finch_status st = ARENA_NEW(&r->memory, &s, 1, &err);
    if (st == FINCH_OK) {
        *s = (scoring){.r = r, .answer = answer, .context = context};
        s->job = (batch_job){.slot = slot,
                             .n_texts = n_texts,
                             .use_cache = true,
                             .deadline = request_deadline(r, r->server->options.limits.request_ms)};
        st = ARENA_NEW(&r->memory, &s->job.texts, n_texts, &err);
    }
    if (st == FINCH_OK) st = ARENA_NEW(&r->memory, &logits, n_texts * slot->n_labels, &err);
    if (st != FINCH_OK) {
        model_release(slot);
        reply_failure(r, st, &err);
        return false;
    }
    for (size_t i = 0; i < n_texts; i++) s->job.texts[i] = (batch_text){.logits = logits + i * slot->n_labels};
    *out = s;
    return true;
}

static size_t count_outcome(const batch_job *job, text_outcome outcome)
{
    size_t n = 0;
    for (size_t i = 0; i < job->n_texts; i++) n += job->texts[i].outcome == outcome ? 1 : 0;
    return n;
}

/* The answer, good or bad; lets go of the model. */
static void conclude(scoring *s)
{
    request *r = s->r;
    if (count_outcome(&s->job, TEXT_FAILED) > 0) {
        reply_failure(r, s->job.err.status == FINCH_E_MEMORY ? FINCH_E_MEMORY : FINCH_E_FAILED, &s->job.err);
    } else if (count_outcome(&s->job, TEXT_STOPPED) > 0) {
        reply_retry_after(r, 1);
        reply_error(r, 503, "shutting_down", NULL, "the server is going down; try again");
    } else if (count_outcome(&s->job, TEXT_LATE) > 0) {
        reply_retry_after(r, 1);
        reply_limit(r, 503, "deadline_exceeded", "request_ms", r->server->options.limits.request_ms, "request-ms",
                    "the texts waited longer than they may, and were not computed");
    } else {
        for (size_t i = 0; i < s->job.n_texts; i++) r->n_tokens += s->job.texts[i].info.n_tokens;
        s->answer(s);
    }
    model_release(s->job.slot);
}

static void on_done(batch_job *job)
{
    scoring *s = job->context;
    request *r = s->r;
    conclude(s);
    request_done(r);
}

static void suspend(void *context)
{
    scoring *s = context;
    request_suspend(s->r);
}

handler_answer scoring_run(scoring *s)
{
    request *r = s->r;
    finch_error err = {0};
    bool finished;
    s->job.done = on_done;
    s->job.context = s;
    r->n_texts = s->job.n_texts;
    if (batcher_submit(r->server->batcher, &s->job, suspend, &finished, &err) == FINCH_OK) {
        if (!finished) return HANDLER_WAITS;
        conclude(s);
        return HANDLER_ANSWERED;
    }
    model_release(s->job.slot);
    reply_retry_after(r, 1);
    reply_limit(r, 503, "queue_full", "max_queue", r->server->options.limits.max_queue, "max-queue",
                "too many texts are waiting already");
    return HANDLER_ANSWERED;
}

size_t scoring_probabilities(const scoring *s, size_t i, float *probabilities)
{
    model_probabilities(s->job.slot->engine, s->job.texts[i].logits, 1, probabilities);
    return model_best_label(probabilities, s->job.slot->n_labels);
}

double scoring_value(const scoring *s, size_t i)
{
    float probabilities[MODEL_LABELS_MAX];
    size_t best = scoring_probabilities(s, i, probabilities);
    return s->job.slot->has_sentiment ? model_sentiment(s->job.slot->engine, probabilities) : (double)probabilities[best];
}

void scoring_observe(const scoring *s, size_t i)
{
    const serve *server = s->r->server;
    const batch_text *t = &s->job.texts[i];
    float probabilities[MODEL_LABELS_MAX];
    if (server->observer == NULL) return;
    (void)scoring_probabilities(s, i, probabilities);
    if (s->r->store_predictions) recorder_keep(server->recorder, s->job.slot, t->text, probabilities, s->r->began_ms, 0);
    observer_add(server->observer, s->job.slot, t->text, t->info, probabilities, s->r->store_predictions, s->r->began_ms);
}
