#include "cli/score_view.h"

#include "base/clock.h"
#include "cli/pen.h"

#include <math.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { RANKED = 5, BAR_CELLS = 30, RANGE_CELLS = 21 };

static finch_status heading(pen *p, const char *text, finch_error *err)
{
    FINCH_TRY(str_add_text(&p->out, "\n  ", err));
    FINCH_TRY(pen_colour(p, "1", err));
    FINCH_TRY(str_add_text(&p->out, text, err));
    return pen_colour(p, "", err);
}

static const char *colour_of_class(int class_id)
{
    static const char *const codes[] = {"31;1", "31", "90", "32", "32;1"};
    return class_id >= 0 && class_id < 5 ? codes[class_id] : "36";
}

static const char *colour_of_score(double score) { return score > 0 ? "32" : score < 0 ? "31" : "90"; }

/* ---- the parts ---- */

static finch_status add_counts(pen *p, const data_scoring *s, const score_view *v, finch_error *err)
{
    char a[PEN_NUMBER_BYTES], b[PEN_NUMBER_BYTES];
    const char *dot = p->unicode ? "·" : "-";
    double rate = v->seconds > 0 ? (double)s->counts.scored / v->seconds : 0;
    FINCH_TRY(str_add_text(&p->out, "\n  ", err));
    FINCH_TRY(pen_colour(p, "1", err));
    FINCH_TRY(str_add_format(&p->out, err, "%s tweets scored", pen_grouped(s->counts.scored, a)));
    FINCH_TRY(pen_colour(p, "", err));
    FINCH_TRY(str_add_format(&p->out, err, " in %.1f s %s %s tweets/s %s %s, %s\n", v->seconds, dot,
                             pen_grouped((uint64_t)(rate + 0.5), b), dot, v->model, v->compute));
    if (s->counts.skipped > 0)
        FINCH_TRY(str_add_format(&p->out, err, "  %s without a text were skipped\n", pen_grouped(s->counts.skipped, a)));
    if (s->counts.truncated > 0)
        FINCH_TRY(str_add_format(&p->out, err, "  %s were cut at %zu tokens (--max-tokens)\n",
                                 pen_grouped(s->counts.truncated, a), v->max_tokens));
    if (v->n_rejected > 0 && v->rejects != NULL) {
        FINCH_TRY(pen_colour(p, "33", err));
        FINCH_TRY(str_add_format(&p->out, err, "  %s broken rows were set aside, see %s", pen_grouped(v->n_rejected, a),
                                 v->rejects));
        FINCH_TRY(pen_colour(p, "", err));
        FINCH_TRY(str_add_text(&p->out, "\n", err));
    }
    return FINCH_OK;
}

static finch_status add_time_span(pen *p, const data_summary *m, finch_error *err)
{
    char first[32], last[32];
    if (!m->has_time) return FINCH_OK;
    clock_format_utc(m->first_time, first, sizeof first);
    clock_format_utc(m->last_time, last, sizeof last);
    first[10] = last[10] = '\0'; /* the date */
    return strcmp(first, last) == 0 ? str_add_format(&p->out, err, "  all of %s\n", first)
                                    : str_add_format(&p->out, err, "  from %s to %s\n", first, last);
}

/* share of BAR_CELLS in eighths of a cell, blanks behind it up to its width. */
static finch_status add_bar(pen *p, double share, finch_error *err)
{
    static const char *const eighths[] = {"", "▏", "▎", "▍", "▌", "▋", "▊", "▉"};
    size_t steps = (size_t)(share * BAR_CELLS * 8 + 0.5), full = steps / 8, used = full;
    if (!p->unicode) full = used = (steps + 4) / 8;
    for (size_t i = 0; i < full; i++) FINCH_TRY(str_add_text(&p->out, p->unicode ? "█" : "#", err));
    if (p->unicode && steps % 8 > 0) {
        FINCH_TRY(str_add_text(&p->out, eighths[steps % 8], err));
        used++;
    }
    for (; used < BAR_CELLS; used++) FINCH_TRY(str_add_text(&p->out, " ", err));
    return FINCH_OK;
}

/* Labels from the most bullish class to the most bearish; those without a class in their order at the end. */
static size_t ordered_labels(const data_scoring *s, size_t *order)
{
    size_t n = 0;
    for (int class_id = 4; class_id >= -1; class_id--)
        for (size_t i = 0; i < s->n_labels; i++)
            if (model_class_id(s->engine, i) == class_id) order[n++] = i;
    return n;
}

static finch_status add_shares(pen *p, const data_scoring *s, finch_error *err)
{
    const model_config *config = model_get_config(s->engine);
    size_t order[MODEL_LABELS_MAX], n = ordered_labels(s, order), widest = 0;
    double most = 0;
    char number[PEN_NUMBER_BYTES];
    for (size_t i = 0; i < n; i++) {
        double share = (double)s->summary.n_by_label[i] / (double)s->summary.n_rows;
        if (strlen(config->labels[i]) > widest) widest = strlen(config->labels[i]);
        if (share > most) most = share;
    }
    FINCH_TRY(str_add_text(&p->out, "\n", err));
    for (size_t k = 0; k < n; k++) {
        size_t i = order[k];
        double share = (double)s->summary.n_by_label[i] / (double)s->summary.n_rows;
        FINCH_TRY(str_add_format(&p->out, err, "  %-*s  ", (int)widest, config->labels[i]));
        FINCH_TRY(pen_colour(p, colour_of_class(model_class_id(s->engine, i)), err));
        FINCH_TRY(add_bar(p, most > 0 ? share / most : 0, err));
        FINCH_TRY(pen_colour(p, "", err));
        FINCH_TRY(
            str_add_format(&p->out, err, " %5.1f %%  %10s\n", 100 * share, pen_grouped(s->summary.n_by_label[i], number)));
    }
    return FINCH_OK;
}

/* The interval from -1 to 1 with the mean in it. */
static finch_status add_range(pen *p, double mean, double half, finch_error *err)
{
    size_t zero = RANGE_CELLS / 2;
    size_t at = (size_t)lround((mean + 1) / 2 * (RANGE_CELLS - 1));
    size_t from = (size_t)lround(fmax(0, (mean - half + 1) / 2) * (RANGE_CELLS - 1)),
           to = (size_t)lround(fmin(1, (mean + half + 1) / 2) * (RANGE_CELLS - 1));
    for (size_t i = 0; i < RANGE_CELLS; i++) {
        const char *cell = p->unicode ? (i == at                ? "●"
                                         : i >= from && i <= to ? "━"
                                         : i == zero            ? "│"
                                                                : "·")
                                      : (i == at                ? "o"
                                         : i >= from && i <= to ? "="
                                         : i == zero            ? "|"
                                                                : ".");
        FINCH_TRY(str_add_text(&p->out, cell, err));
    }
    return FINCH_OK;
}

static finch_status add_tickers(pen *p, const data_summary *m, bool bullish, uint64_t n_least, finch_error *err)
{
    const data_summary_ticker *ranked[RANKED];
    char number[PEN_NUMBER_BYTES];
    size_t n = data_summary_rank(m, bullish, n_least, RANKED, ranked);
    if (n == 0) return FINCH_OK;
    FINCH_TRY(heading(p, bullish ? "Most bullish tickers" : "Most bearish tickers", err));
    FINCH_TRY(str_add_text(&p->out, "  tweets   score    95 % interval\n", err));
    for (size_t i = 0; i < n; i++) {
        const data_summary_ticker *t = ranked[i];
        double half = data_summary_half_width(t);
        FINCH_TRY(str_add_format(&p->out, err, "  $%-*s %8s   ", SUMMARY_TICKER_BYTES, t->name, pen_grouped(t->n, number)));
        FINCH_TRY(pen_colour(p, colour_of_score(t->mean), err));
        FINCH_TRY(str_add_format(&p->out, err, "%+.2f", t->mean));
        FINCH_TRY(pen_colour(p, "", err));
        FINCH_TRY(str_add_format(&p->out, err, "   %+.2f to %+.2f   ", fmax(-1, t->mean - half), fmin(1, t->mean + half)));
        FINCH_TRY(pen_colour(p, colour_of_score(t->mean), err));
        FINCH_TRY(add_range(p, t->mean, half, err));
        FINCH_TRY(pen_colour(p, "", err));
        FINCH_TRY(str_add_text(&p->out, "\n", err));
    }
    return FINCH_OK;
}

static finch_status add_texts(pen *p, const data_summary_text *texts, size_t n, finch_error *err)
{
    for (size_t i = 0; i < n; i++) {
        FINCH_TRY(str_add_text(&p->out, "  ", err));
        FINCH_TRY(pen_colour(p, colour_of_score(texts[i].score), err));
        FINCH_TRY(str_add_format(&p->out, err, "%+.2f", texts[i].score));
        FINCH_TRY(pen_colour(p, "", err));
        FINCH_TRY(str_add_text(&p->out, "  ", err));
        FINCH_TRY(pen_add_sane(p, texts[i].text, p->width - 10, NULL, err));
        FINCH_TRY(str_add_text(&p->out, "\n", err));
    }
    return FINCH_OK;
}

/* Enough for the normal interval to mean something; more where there are many tweets, so that the list stays about
 * tickers that people talk about. */
static uint64_t least_tweets(uint64_t n_rows)
{
    enum { LEAST = 10, MOST = 50, SHARE = 1000 };
    uint64_t n = n_rows / SHARE;
    return n < LEAST ? LEAST : n > MOST ? MOST : n;
}

static finch_status add_sentiment(pen *p, const data_scoring *s, finch_error *err)
{
    const data_summary *m = &s->summary;
    uint64_t n_least = least_tweets(m->n_rows);
    FINCH_TRY(str_add_format(&p->out, err,
                             "\n  mean score %+.3f, from -1 (all strongly negative) to +1 (all strongly positive)\n",
                             m->score_sum / (double)m->n_rows));
    FINCH_TRY(add_tickers(p, m, true, n_least, err));
    FINCH_TRY(add_tickers(p, m, false, n_least, err));
    if (m->n_tickers > 0)
        FINCH_TRY(str_add_format(&p->out, err,
                                 "  (of tickers with at least %llu tweets, by the end of the interval nearer to zero)\n",
                                 (unsigned long long)n_least));
    if (m->n_best + m->n_worst == 0) return FINCH_OK;
    FINCH_TRY(heading(p, "Clearest tweets", err));
    FINCH_TRY(str_add_text(&p->out, "\n", err));
    FINCH_TRY(add_texts(p, m->best, m->n_best, err));
    return add_texts(p, m->worst, m->n_worst, err);
}

finch_status score_view_show(const cli_args *args, const data_scoring *s, const score_view *view, finch_error *err)
{
    pen p = pen_open(STDERR_FILENO);
    finch_status st = add_counts(&p, s, view, err);
    if (st == FINCH_OK) st = add_time_span(&p, &s->summary, err);
    if (st == FINCH_OK && s->summary.n_rows > 0) st = add_shares(&p, s, err);
    if (st == FINCH_OK && s->summary.n_rows > 0 && s->has_sentiment) st = add_sentiment(&p, s, err);
    if (st == FINCH_OK && strcmp(view->output, "-") != 0)
        st = str_add_format(&p.out, err, "\n  written to %s\n", view->output);
    if (st == FINCH_OK) cli_say(args, "%s\n", p.out.at);
    str_free(&p.out);
    return st;
}
