#include "cli/score_view.h"

#include "base/clock.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/ioctl.h>
#include <unistd.h>
#include <utf8proc.h>

enum { RANKED = 5, BAR_CELLS = 30, RANGE_CELLS = 21, WIDTH_LEAST = 60, WIDTH_MOST = 110, WIDTH_UNKNOWN = 100, NUMBER_BYTES = 32 };

/* How the lines are drawn here. */
typedef struct pen {
    bool colour, unicode;
    size_t width;
    str out;
} pen;

/* ---- the terminal ---- */

/* UTF-8 unless the environment names another encoding. */
static bool speaks_unicode(void)
{
    static const char *const names[] = {"LC_ALL", "LC_CTYPE", "LANG"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        const char *value = getenv(names[i]);
        if (value == NULL || value[0] == '\0') continue;
        const char *dot = strchr(value, '.');
        return dot == NULL ? strcmp(value, "C") != 0 && strcmp(value, "POSIX") != 0 : strncasecmp(dot, ".utf", 4) == 0;
    }
    return true;
}

static pen open_pen(void)
{
    struct winsize window;
    const char *no_colour = getenv("NO_COLOR"), *terminal = getenv("TERM");
    bool dumb = terminal == NULL || strcmp(terminal, "dumb") == 0, on_terminal = isatty(STDERR_FILENO) == 1;
    pen p = {.colour = on_terminal && !dumb && (no_colour == NULL || no_colour[0] == '\0'), .unicode = speaks_unicode(), .width = WIDTH_UNKNOWN};
    if (on_terminal && ioctl(STDERR_FILENO, TIOCGWINSZ, &window) == 0 && window.ws_col > 0) p.width = window.ws_col;
    if (p.width < WIDTH_LEAST) p.width = WIDTH_LEAST;
    if (p.width > WIDTH_MOST) p.width = WIDTH_MOST;
    return p;
}

/* One of SGR's colours, "" to end it. */
static finch_status colour(pen *p, const char *code, finch_error *err)
{
    if (!p->colour) return FINCH_OK;
    return code[0] == '\0' ? str_add_text(&p->out, "\033[0m", err) : str_add_format(&p->out, err, "\033[%sm", code);
}

static finch_status heading(pen *p, const char *text, finch_error *err)
{
    FINCH_TRY(str_add_text(&p->out, "\n  ", err));
    FINCH_TRY(colour(p, "1", err));
    FINCH_TRY(str_add_text(&p->out, text, err));
    return colour(p, "", err);
}

static const char *colour_of_class(int class_id)
{
    static const char *const codes[] = {"31;1", "31", "90", "32", "32;1"};
    return class_id >= 0 && class_id < 5 ? codes[class_id] : "36";
}

static const char *colour_of_score(double score) { return score > 0 ? "32" : score < 0 ? "31" : "90"; }

/* 1234567 as 1,234,567. */
static const char *grouped(uint64_t n, char out[NUMBER_BYTES])
{
    char plain[NUMBER_BYTES];
    size_t size = (size_t)snprintf(plain, sizeof plain, "%llu", (unsigned long long)n), to = 0;
    for (size_t i = 0; i < size; i++) {
        if (i > 0 && (size - i) % 3 == 0) out[to++] = ',';
        out[to++] = plain[i];
    }
    out[to] = '\0';
    return out;
}

/* Text from outside on one line of at most `columns` columns: blanks run together, nothing that steers a terminal. */
static finch_status add_sane(pen *p, const char *text, size_t columns, finch_error *err)
{
    size_t used = 0, size = strlen(text);
    bool blank = true; /* leading blanks are left out */
    for (size_t at = 0; at < size;) {
        utf8proc_int32_t c;
        utf8proc_ssize_t step = utf8proc_iterate((const utf8proc_uint8_t *)text + at, (utf8proc_ssize_t)(size - at), &c);
        utf8proc_category_t category = step > 0 ? utf8proc_category(c) : UTF8PROC_CATEGORY_CN;
        size_t n = step > 0 ? (size_t)step : 1;
        bool space = category == UTF8PROC_CATEGORY_ZS || category == UTF8PROC_CATEGORY_ZL || category == UTF8PROC_CATEGORY_ZP || c == '\n' || c == '\t' || c == '\r';
        bool control = step <= 0 || category == UTF8PROC_CATEGORY_CC || category == UTF8PROC_CATEGORY_CF || category == UTF8PROC_CATEGORY_CN || category == UTF8PROC_CATEGORY_CS;
        size_t width = space ? 1 : control ? 0 : (size_t)utf8proc_charwidth(c);
        if (used + width + 1 > columns && !(at + n == size && used + width <= columns))
            return str_add_text(&p->out, p->unicode ? "…" : ".", err);
        if (space && !blank) FINCH_TRY(str_add_text(&p->out, " ", err));
        if (!space && !control) FINCH_TRY(p->unicode || c < 0x80 ? str_add(&p->out, text + at, n, err) : str_add_text(&p->out, "?", err));
        if (!(space && blank) && !control) used += width;
        if (!control) blank = space;
        at += n;
    }
    return FINCH_OK;
}

/* ---- the parts ---- */

static finch_status add_counts(pen *p, const data_scoring *s, const score_view *v, finch_error *err)
{
    char a[NUMBER_BYTES], b[NUMBER_BYTES];
    const char *dot = p->unicode ? "·" : "-";
    double rate = v->seconds > 0 ? (double)s->counts.scored / v->seconds : 0;
    FINCH_TRY(str_add_text(&p->out, "\n  ", err));
    FINCH_TRY(colour(p, "1", err));
    FINCH_TRY(str_add_format(&p->out, err, "%s tweets scored", grouped(s->counts.scored, a)));
    FINCH_TRY(colour(p, "", err));
    FINCH_TRY(str_add_format(&p->out, err, " in %.1f s %s %s tweets/s %s %s, %s\n", v->seconds, dot, grouped((uint64_t)(rate + 0.5), b), dot, v->model, v->compute));
    if (s->counts.skipped > 0) FINCH_TRY(str_add_format(&p->out, err, "  %s without a text were skipped\n", grouped(s->counts.skipped, a)));
    if (s->counts.truncated > 0)
        FINCH_TRY(str_add_format(&p->out, err, "  %s were cut at %zu tokens (--max-tokens)\n", grouped(s->counts.truncated, a), v->max_tokens));
    if (v->n_rejected > 0 && v->rejects != NULL) {
        FINCH_TRY(colour(p, "33", err));
        FINCH_TRY(str_add_format(&p->out, err, "  %s broken rows were set aside, see %s", grouped(v->n_rejected, a), v->rejects));
        FINCH_TRY(colour(p, "", err));
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
    char number[NUMBER_BYTES];
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
        FINCH_TRY(colour(p, colour_of_class(model_class_id(s->engine, i)), err));
        FINCH_TRY(add_bar(p, most > 0 ? share / most : 0, err));
        FINCH_TRY(colour(p, "", err));
        FINCH_TRY(str_add_format(&p->out, err, " %5.1f %%  %10s\n", 100 * share, grouped(s->summary.n_by_label[i], number)));
    }
    return FINCH_OK;
}

/* The interval from -1 to 1 with the mean in it. */
static finch_status add_range(pen *p, double mean, double half, finch_error *err)
{
    size_t zero = RANGE_CELLS / 2;
    size_t at = (size_t)lround((mean + 1) / 2 * (RANGE_CELLS - 1));
    size_t from = (size_t)lround(fmax(0, (mean - half + 1) / 2) * (RANGE_CELLS - 1)), to = (size_t)lround(fmin(1, (mean + half + 1) / 2) * (RANGE_CELLS - 1));
    for (size_t i = 0; i < RANGE_CELLS; i++) {
        const char *cell = p->unicode ? (i == at ? "●" : i >= from && i <= to ? "━" : i == zero ? "│" : "·") : (i == at ? "o" : i >= from && i <= to ? "=" : i == zero ? "|" : ".");
        FINCH_TRY(str_add_text(&p->out, cell, err));
    }
    return FINCH_OK;
}

static finch_status add_tickers(pen *p, const data_summary *m, bool bullish, uint64_t n_least, finch_error *err)
{
    const data_summary_ticker *ranked[RANKED];
    char number[NUMBER_BYTES];
    size_t n = data_summary_rank(m, bullish, n_least, RANKED, ranked);
    if (n == 0) return FINCH_OK;
    FINCH_TRY(heading(p, bullish ? "Most bullish tickers" : "Most bearish tickers", err));
    FINCH_TRY(str_add_text(&p->out, "  tweets   score    95 % interval\n", err));
    for (size_t i = 0; i < n; i++) {
        const data_summary_ticker *t = ranked[i];
        double half = data_summary_half_width(t);
        FINCH_TRY(str_add_format(&p->out, err, "  $%-*s %8s   ", SUMMARY_TICKER_BYTES, t->name, grouped(t->n, number)));
        FINCH_TRY(colour(p, colour_of_score(t->mean), err));
        FINCH_TRY(str_add_format(&p->out, err, "%+.2f", t->mean));
        FINCH_TRY(colour(p, "", err));
        FINCH_TRY(str_add_format(&p->out, err, "   %+.2f to %+.2f   ", fmax(-1, t->mean - half), fmin(1, t->mean + half)));
        FINCH_TRY(colour(p, colour_of_score(t->mean), err));
        FINCH_TRY(add_range(p, t->mean, half, err));
        FINCH_TRY(colour(p, "", err));
        FINCH_TRY(str_add_text(&p->out, "\n", err));
    }
    return FINCH_OK;
}

static finch_status add_texts(pen *p, const data_summary_text *texts, size_t n, finch_error *err)
{
    for (size_t i = 0; i < n; i++) {
        FINCH_TRY(str_add_text(&p->out, "  ", err));
        FINCH_TRY(colour(p, colour_of_score(texts[i].score), err));
        FINCH_TRY(str_add_format(&p->out, err, "%+.2f", texts[i].score));
        FINCH_TRY(colour(p, "", err));
        FINCH_TRY(str_add_text(&p->out, "  ", err));
        FINCH_TRY(add_sane(p, texts[i].text, p->width - 10, err));
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
    FINCH_TRY(str_add_format(&p->out, err, "\n  mean score %+.3f, from -1 (all strongly negative) to +1 (all strongly positive)\n", m->score_sum / (double)m->n_rows));
    FINCH_TRY(add_tickers(p, m, true, n_least, err));
    FINCH_TRY(add_tickers(p, m, false, n_least, err));
    if (m->n_tickers > 0)
        FINCH_TRY(str_add_format(&p->out, err, "  (of tickers with at least %llu tweets, by the end of the interval nearer to zero)\n", (unsigned long long)n_least));
    if (m->n_best + m->n_worst == 0) return FINCH_OK;
    FINCH_TRY(heading(p, "Clearest tweets", err));
    FINCH_TRY(str_add_text(&p->out, "\n", err));
    FINCH_TRY(add_texts(p, m->best, m->n_best, err));
    return add_texts(p, m->worst, m->n_worst, err);
}

finch_status score_view_show(const cli_args *args, const data_scoring *s, const score_view *view, finch_error *err)
{
    pen p = open_pen();
    finch_status st = add_counts(&p, s, view, err);
    if (st == FINCH_OK) st = add_time_span(&p, &s->summary, err);
    if (st == FINCH_OK && s->summary.n_rows > 0) st = add_shares(&p, s, err);
    if (st == FINCH_OK && s->summary.n_rows > 0 && s->has_sentiment) st = add_sentiment(&p, s, err);
    if (st == FINCH_OK && strcmp(view->output, "-") != 0) st = str_add_format(&p.out, err, "\n  written to %s\n", view->output);
    if (st == FINCH_OK) cli_say(args, "%s\n", p.out.at);
    str_free(&p.out);
    return st;
}
