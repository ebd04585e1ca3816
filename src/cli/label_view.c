#include "cli/label_view.h"

#include "base/clock.h"
#include "base/process.h"
#include "cli/pen.h"
#include "label/values.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

enum { TIME_BYTES = 24 };

static double dollars(int64_t nano) { return (double)nano * 1e-9; }

static double cpu_seconds(void)
{
    struct rusage used;
    if (getrusage(RUSAGE_SELF, &used) != 0) return 0;
    return (double)(used.ru_utime.tv_sec + used.ru_stime.tv_sec) +
           (double)(used.ru_utime.tv_usec + used.ru_stime.tv_usec) * 1e-6;
}

/* ---- progress ---- */

/* "1,204 x 429, 3 set aside, $0.0421, SN 2 N 10 NEUTRAL 66 P 19 SP 3 %" */
static void write_note(str *note, const engine_progress *p)
{
    static const char *const short_names[] = {"SN", "N", "NEUTRAL", "P", "SP"};
    str_clear(note);
    (void)str_add_format(note, NULL, "%zu in flight", p->in_flight);
    if (p->rate_limited > 0) (void)str_add_format(note, NULL, ", %" PRIu64 " x 429", p->rate_limited);
    if (p->aside > 0) (void)str_add_format(note, NULL, ", %" PRId64 " set aside", p->aside);
    if (p->cost_known) (void)str_add_format(note, NULL, ", $%.4f", dollars(p->job_cost_nano));
    for (int c = 0; c < LABELS_CLASSES && p->labelled > 0; c++)
        (void)str_add_format(note, NULL, "%s%s %.0f", c == 0 ? ", " : " ", short_names[c],
                             100.0 * (double)p->classes[c] / (double)p->labelled);
    if (p->labelled > 0) (void)str_add_text(note, " %", NULL);
}

static bool on_asking(void *context, const engine_progress *p)
{
    label_view *view = context;
    write_note(&view->note, p);
    return progress_report(&view->watch_asking, (uint64_t)(p->labelled + p->aside), (uint64_t)p->items, view->note.at);
}

void label_view_open(label_view *view, const cli_args *args, label_options *options)
{
    *view = (label_view){.args = args, .options = options};
    cli_bar_begin(&view->tables, args, "reading", "rows");
    view->watch_tables = cli_bar_progress(&view->tables);
    options->watch = &view->watch_tables;
    options->engine.watch = on_asking;
    options->engine.watch_context = view;
}

void label_view_close(label_view *view)
{
    cli_bar_end(&view->tables);
    cli_bar_end(&view->asking);
    str_free(&view->note);
}

static void say_estimate(const label_view *view, const label_report *report)
{
    const label_estimate *e = &report->estimate;
    char texts[PEN_NUMBER_BYTES], requests[PEN_NUMBER_BYTES];
    cli_say(view->args, "job %s in %s: ", report->job.name.at, report->place.at);
    if (e->requests == 0) {
        cli_say(view->args, "nothing is left to ask\n");
        return;
    }
    cli_say(view->args, "%s texts to ask, about %s requests, %.0f tokens in and %.0f out", pen_grouped(e->texts, texts),
            pen_grouped(e->requests, requests), e->input_tokens, e->output_tokens);
    if (e->dollars >= 0) cli_say(view->args, ", about $%.4f\n", e->dollars);
    else cli_say(view->args, "; its cost is not known before the provider says it (--price-in, --price-out)\n");
}

void label_view_begin(void *context, const label_report *report)
{
    label_view *view = context;
    view->queued_rss_bytes = process_resident_bytes();
    cli_bar_end(&view->tables);
    cli_bar_begin(&view->tables, view->args, "tables", "rows"); /* the rest of the input, the output */
    say_estimate(view, report);
    cli_bar_begin(&view->asking, view->args, "labelling", "texts");
    view->watch_asking = cli_bar_progress(&view->asking);
}

/* ---- the report ---- */

static json_t *class_counts(const int64_t *classes)
{
    json_t *object = json_object();
    for (int c = 0; c < LABELS_CLASSES; c++)
        if (json_object_set_new(object, values_class_name(c), json_integer(classes[c])) != 0) {
            json_decref(object);
            return NULL;
        }
    return object;
}

static json_t *gold_json(const agreement *a)
{
    json_t *matrix = json_array();
    for (int i = 0; i < AGREEMENT_CLASSES; i++) {
        json_t *line = json_array();
        for (int k = 0; k < AGREEMENT_CLASSES; k++) json_array_append_new(line, json_integer((json_int_t)a->of[i][k]));
        json_array_append_new(matrix, line);
    }
    return json_pack("{s:I, s:f, s:f, s:o}", "n", (json_int_t)a->n, "kappa", agreement_kappa(a), "accuracy",
                     agreement_share(a), "confusion", matrix);
}

static json_t *estimate_json(const label_estimate *e)
{
    return json_pack("{s:I, s:I, s:f, s:f, s:o}", "texts", (json_int_t)e->texts, "requests", (json_int_t)e->requests,
                     "input_tokens", e->input_tokens, "output_tokens", e->output_tokens, "cost_usd",
                     e->dollars >= 0 ? json_real(e->dollars) : json_null());
}

static json_t *run_json(const label_report *r)
{
    const engine_progress *p = &r->engine.progress;
    double seconds = r->engine.seconds;
    int64_t labelled = p->labelled;
    return json_pack("{s:f, s:f, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:o, s:i}", "seconds", seconds, "texts_per_second",
                     seconds > 0 ? (double)labelled / seconds : 0.0, "requests", (json_int_t)p->requests, "rate_limited",
                     (json_int_t)p->rate_limited, "failed", (json_int_t)p->failed, "asked_again",
                     (json_int_t)p->retried_rows, "reused", (json_int_t)(p->reused + r->in.n_reused), "input_tokens",
                     (json_int_t)p->input_tokens, "output_tokens", (json_int_t)p->output_tokens, "cost_usd",
                     p->cost_known ? json_real(dollars(p->cost_nano)) : json_null(), "http_version", r->engine.http_version);
}

/* An export changes nothing: the job is as it was. */
static const char *state_of(const label_view *view, const label_report *r, const finch_error *failure)
{
    if (failure != NULL) return r->engine.end == ENGINE_PAUSED ? "paused" : "stopped";
    if (view->options->dry_run) return "ready";
    return r->asked ? "done" : r->job.state.at;
}

static finch_status print_json(const label_view *view, const label_report *r, const finch_error *failure, finch_error *err)
{
    const labels_counts *c = &r->counts;
    const char *state = state_of(view, r, failure);
    json_t *root = json_pack(
        "{s:s, s:s, s:s, s:s, s:s, s:I, s:I, s:I, s:I, s:I, s:o, s:o, s:o, s:o, s:I, s:I, s:I, s:f, s:f, s:I, s:I, s:s, "
        "s:I, s:s}",
        "job", r->job.name.at != NULL ? r->job.name.at : "", "state", state, "store", r->place.at != NULL ? r->place.at : "",
        "model", r->job.model.at != NULL ? r->job.model.at : "", "prompt", r->job.prompt.at != NULL ? r->job.prompt.at : "",
        "rows", (json_int_t)(r->job.n_rows > 0 ? r->job.n_rows : 0), "texts", (json_int_t)r->job.n_items, "labelled",
        (json_int_t)c->labelled, "unlabelled", (json_int_t)c->aside, "left", (json_int_t)(c->waiting + c->leased), "classes",
        class_counts(c->classes), "estimate", r->asked || view->options->dry_run ? estimate_json(&r->estimate) : json_null(),
        "run", r->asked ? run_json(r) : json_null(), "gold", r->gold.n > 0 ? gold_json(&r->gold) : json_null(), "requests",
        (json_int_t)c->requests, "input_tokens", (json_int_t)c->input_tokens, "output_tokens", (json_int_t)c->output_tokens,
        "cost_usd", dollars(c->cost_nano), "cpu_seconds", cpu_seconds(), "peak_rss_bytes", (json_int_t)cli_peak_rss_bytes(),
        "queued_rss_bytes", (json_int_t)view->queued_rss_bytes, "output", r->written ? view->options->output : "",
        "rows_by_people", (json_int_t)r->out.n_by_people, "reason", failure != NULL ? failure->message : "");
    if (root == NULL) return finch_fail(err, FINCH_E_MEMORY, "out of memory for the report");
    return cli_print_json(root, err);
}

static void say_classes(const label_view *view, const label_report *r)
{
    char n[PEN_NUMBER_BYTES];
    const labels_counts *c = &r->counts;
    for (int i = LABELS_CLASSES - 1; i >= 0; i--)
        cli_say(view->args, "  %-18s %5.1f %%  %10s\n", values_class_name(i),
                c->labelled > 0 ? 100.0 * (double)c->classes[i] / (double)c->labelled : 0.0,
                pen_grouped((uint64_t)c->classes[i], n));
}

static void say_gold(const label_view *view, const agreement *a)
{
    cli_say(view->args, "\ngold: %zu texts, Cohen's kappa %.3f, equal in %.1f %%; people's class down, the model's across\n",
            a->n, agreement_kappa(a), 100 * agreement_share(a));
    for (int i = 0; i < AGREEMENT_CLASSES; i++) {
        cli_say(view->args, "  %-18s", values_class_name(i));
        for (int k = 0; k < AGREEMENT_CLASSES; k++) cli_say(view->args, " %6zu", a->of[i][k]);
        cli_say(view->args, "\n");
    }
}

static void say_report(const label_view *view, const label_report *r)
{
    char labelled[PEN_NUMBER_BYTES], texts[PEN_NUMBER_BYTES], requests[PEN_NUMBER_BYTES];
    const labels_counts *c = &r->counts;
    const engine_progress *p = &r->engine.progress;
    cli_say(view->args,
            "%s of %s texts labelled, %" PRId64 " set aside, %" PRId64 " left; %s requests, %" PRId64 " tokens in, %" PRId64
            " out",
            pen_grouped((uint64_t)c->labelled, labelled), pen_grouped((uint64_t)r->job.n_items, texts), c->aside,
            c->waiting + c->leased, pen_grouped((uint64_t)c->requests, requests), c->input_tokens, c->output_tokens);
    cli_say(view->args, c->cost_nano > 0 ? ", $%.6f\n" : "\n", dollars(c->cost_nano));
    if (r->asked)
        cli_say(view->args,
                "this run: %.1f s, %" PRIu64 " requests, %" PRIu64 " x 429, %" PRIu64 " failed, %" PRIu64
                " texts asked again\n",
                r->engine.seconds, p->requests, p->rate_limited, p->failed, p->retried_rows);
    if (c->labelled > 0) say_classes(view, r);
    if (r->gold.n > 0) say_gold(view, &r->gold);
    if (r->written)
        cli_say(view->args, "written to %s: %" PRIu64 " rows, %" PRIu64 " without a label, %" PRIu64 " labelled by people\n",
                view->options->output, r->out.n_rows, r->out.n_unlabelled, r->out.n_by_people);
}

finch_status label_view_report(label_view *view, const label_report *r, const finch_error *failure, finch_error *err)
{
    if (r->job.id == 0) return FINCH_OK; /* nothing was begun */
    if (r->in.n_rejected > 0)
        cli_warn(view->args, "%" PRIu64 " broken rows of the input were set aside, see %s", r->in.n_rejected,
                 view->options->rejects);
    say_report(view, r);
    return cli_wants_json(view->args) ? print_json(view, r, failure, err) : FINCH_OK;
}

/* ---- status ---- */

typedef struct listing {
    const cli_args *args;
    store *s;
    const char *wanted;
    json_t *list;
    size_t n;
} listing;

static finch_status add_reason(void *context, finch_text reason, int64_t n, finch_error *err)
{
    json_t *entry = json_pack("{s:s%, s:I}", "reason", reason.at, reason.size_bytes, "texts", (json_int_t)n);
    if (json_array_append_new(context, entry) == 0) return FINCH_OK;
    return finch_fail(err, FINCH_E_MEMORY, "out of memory for the status");
}

static finch_status add_job(store *s, const labels_job *job, const labels_counts *c, json_t *list, finch_error *err)
{
    char created[TIME_BYTES];
    json_t *reasons = json_array();
    finch_status st = labels_reasons(s, job, add_reason, reasons, err);
    if (st != FINCH_OK) {
        json_decref(reasons);
        return st;
    }
    clock_format_utc(job->created_ms / 1000, created, sizeof created);
    json_t *entry = json_pack(
        "{s:s, s:s, s:s, s:s, s:s, s:s, s:I, s:I, s:I, s:I, s:I, s:I, s:o, s:I, s:I, s:I, s:I, s:I, s:f, s:o, s:s}", "job",
        job->name.at, "state", job->state.at, "reason", job->reason.at, "model", job->model.at, "prompt", job->prompt.at,
        "provider", job->provider.at, "rows", (json_int_t)job->n_rows, "texts", (json_int_t)job->n_items, "labelled",
        (json_int_t)c->labelled, "unlabelled", (json_int_t)c->aside, "leased", (json_int_t)c->leased, "waiting",
        (json_int_t)c->waiting, "classes", class_counts(c->classes), "requests", (json_int_t)c->requests, "failed_requests",
        (json_int_t)c->failed_requests, "rate_limited", (json_int_t)c->rate_limited, "input_tokens",
        (json_int_t)c->input_tokens, "output_tokens", (json_int_t)c->output_tokens, "cost_usd", dollars(c->cost_nano),
        "unlabelled_reasons", reasons, "created", created);
    if (json_array_append_new(list, entry) == 0) return FINCH_OK;
    return finch_fail(err, FINCH_E_MEMORY, "out of memory for the status");
}

static finch_status show_job(void *context, const labels_job *job, finch_error *err)
{
    listing *l = context;
    labels_counts c;
    if (l->wanted != NULL && strcmp(l->wanted, job->name.at) != 0) return FINCH_OK;
    l->n++;
    FINCH_TRY(labels_count(l->s, job, &c, err));
    cli_say(l->args,
            "%-14s %-8s %" PRId64 " of %" PRId64 " labelled, %" PRId64 " set aside, %" PRId64 " being asked; %" PRId64
            " requests, $%.4f; %s%s%s\n",
            job->name.at, job->state.at, c.labelled, job->n_items, c.aside, c.leased, c.requests, dollars(c.cost_nano),
            job->model.at, job->reason.size > 0 ? ": " : "", job->reason.at);
    return cli_wants_json(l->args) ? add_job(l->s, job, &c, l->list, err) : FINCH_OK;
}

static finch_status list_job(void *context, const labels_job *job, finch_error *err)
{
    listing *l = context;
    labels_counts c;
    FINCH_TRY(labels_count(l->s, job, &c, err));
    return add_job(l->s, job, &c, l->list, err);
}

finch_status label_view_jobs(store *s, json_t **out, finch_error *err)
{
    listing l = {.s = s, .list = json_array()};
    finch_status st = labels_job_each(s, list_job, &l, err);
    *out = st == FINCH_OK ? l.list : NULL;
    if (st != FINCH_OK) json_decref(l.list);
    return st;
}

finch_status label_view_status(const cli_args *args, store *s, const char *job, finch_error *err)
{
    listing l = {args, s, job, json_array(), 0};
    if (!cli_wants_json(args)) cli_say(args, "store %s\n", store_place(s));
    finch_status st = labels_job_each(s, show_job, &l, err);
    if (st == FINCH_OK && job != NULL && l.n == 0)
        st = finch_fail(err, FINCH_E_NOT_FOUND, "there is no job %.80s in %s", job, store_place(s));
    if (st == FINCH_OK && l.n == 0) cli_say(args, "no labelling jobs yet\n");
    if (st == FINCH_OK && cli_wants_json(args))
        return cli_print_json(json_pack("{s:s, s:o}", "store", store_place(s), "jobs", l.list), err);
    json_decref(l.list);
    return st;
}
