#include "cli/review_screen.h"

#include "label/values.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#define INDENT "  "
#define BOLD "1"
#define DIM "2"

/* Rows that are not the tweet's: the head, blanks, the keys, the message, the label and reason. */
enum { ROWS_AROUND = 12, OPINIONS_MOST = 4, NAME_COLUMNS = 24, LABEL_COLUMNS = 30, COLUMNS_NARROW = 60 };

static const char *const class_colours[REVIEW_CLASSES] = {"31;1", "31", "33", "32", "32;1"};

static const char *const class_keys[] = {"1 STRONGLY_NEGATIVE", "2 NEGATIVE",          "3 NEUTRAL",
                                         "4 POSITIVE",          "5 STRONGLY_POSITIVE", NULL};
static const char *const other_keys[] = {"s skip", "u undo", "b blind on or off", "k agreement", "q quit", NULL};

static finch_status add_coloured(pen *p, const char *colour, const char *text, finch_error *err)
{
    FINCH_TRY(pen_colour(p, colour, err));
    FINCH_TRY(str_add_text(&p->out, text, err));
    return pen_colour(p, "", err);
}

static finch_status add_class(pen *p, int label, finch_error *err)
{
    if (label == REVIEW_NONE) return str_add_text(&p->out, "no label", err);
    return add_coloured(p, class_colours[label], values_class_name(label), err);
}

static finch_status add_rule(terminal *t, finch_error *err)
{
    for (size_t i = 0; i < t->columns; i++) FINCH_TRY(str_add_text(&t->pen.out, t->pen.unicode ? "─" : "-", err));
    return terminal_line(t, err);
}

/* "anna on job tweets          3 of 500, 2 saved" */
static finch_status add_head(terminal *t, const review_view *v, finch_error *err)
{
    pen *p = &t->pen;
    char place[96];
    size_t shown = v->at < v->review->n_items ? v->at + 1 : v->review->n_items, used = 0;
    int size = snprintf(place, sizeof place, "%zu of %zu, %" PRIu64 " saved", shown, v->review->n_items, v->n_saved);
    size_t right = size > 0 ? (size_t)size : 0, room = t->columns > right + 12 ? t->columns - right - 12 : 8;
    FINCH_TRY(add_coloured(p, BOLD, " finch ", err));
    FINCH_TRY(pen_add_sane(p, v->review->reviewer.at, room / 2, &used, err));
    size_t name = 0;
    FINCH_TRY(str_add_text(&p->out, " on ", err));
    FINCH_TRY(pen_add_sane(p, v->review->job_name.at, room - used > 4 ? room - used - 4 : 4, &name, err));
    for (size_t at = 11 + used + name; at + right + 1 < t->columns; at++) FINCH_TRY(str_add_text(&p->out, " ", err));
    FINCH_TRY(str_add_text(&p->out, place, err));
    FINCH_TRY(terminal_line(t, err));
    return add_rule(t, err);
}

/* Words side by side, as many on a line as go there. *n_lines is counted up. */
static finch_status add_words(terminal *t, const char *const *words, size_t columns, size_t *n_lines, finch_error *err)
{
    size_t taken = 0;
    for (; *words != NULL; words++) {
        size_t size = strlen(*words);
        bool more = taken > 0 && taken + 2 + size <= columns;
        if (taken > 0 && !more) FINCH_TRY(terminal_line(t, err));
        *n_lines += !more;
        FINCH_TRY(str_add_format(&t->pen.out, err, "%s%s", more ? "  " : INDENT, *words));
        taken = more ? taken + 2 + size : size;
    }
    return terminal_line(t, err);
}

/* The keys and the message stand whatever else there is: the lines above them are cut to the rows that they leave. */
static finch_status add_keys(terminal *t, const char *message, finch_error *err)
{
    pen above = t->pen;
    size_t columns = t->columns - 2 * strlen(INDENT), n_lines = 0;
    t->pen.out = (str){0};
    finch_status st = terminal_line(t, err);
    if (st == FINCH_OK) st = add_words(t, class_keys, columns, &n_lines, err);
    if (st == FINCH_OK) st = add_words(t, other_keys, columns, &n_lines, err);
    if (st == FINCH_OK) st = str_add_text(&t->pen.out, "\n" INDENT, err);
    if (st == FINCH_OK) st = pen_add_sane(&t->pen, message, columns, NULL, err);
    str below = t->pen.out;
    t->pen = above;
    terminal_keep(t, t->rows - (n_lines + 3));
    if (st == FINCH_OK) st = str_add(&t->pen.out, below.at, below.size, err);
    str_free(&below);
    return st;
}

/* ---- what the models said ---- */

typedef struct opinion_lines {
    terminal *t;
    size_t n;
} opinion_lines;

static finch_status add_opinion(void *context, const review_opinion *opinion, finch_error *err)
{
    opinion_lines *lines = context;
    pen *p = &lines->t->pen;
    size_t room = lines->t->columns - LABEL_COLUMNS, used = 0;
    if (lines->n++ >= OPINIONS_MOST) return FINCH_OK;
    if (room > NAME_COLUMNS) room = NAME_COLUMNS;
    FINCH_TRY(str_add_text(&p->out, INDENT, err));
    FINCH_TRY(pen_add_sane(p, opinion->source, room, &used, err));
    for (; used < room; used++) FINCH_TRY(str_add_text(&p->out, " ", err));
    FINCH_TRY(str_add_text(&p->out, "  ", err));
    FINCH_TRY(add_class(p, opinion->label, err));
    if (!isnan(opinion->confidence)) FINCH_TRY(str_add_format(&p->out, err, "  %.2f", opinion->confidence));
    return terminal_line(lines->t, err);
}

static finch_status add_models(terminal *t, const review_view *v, const review_item *item, finch_error *err)
{
    pen *p = &t->pen;
    FINCH_TRY(str_add_text(&p->out, INDENT "label   ", err));
    FINCH_TRY(add_class(p, item->label, err));
    if (!isnan(item->confidence)) FINCH_TRY(str_add_format(&p->out, err, "  confidence %.2f", item->confidence));
    FINCH_TRY(str_add_format(&p->out, err, "%s  doubt %.2f", t->columns < COLUMNS_NARROW ? "\n" : "", item->doubt));
    FINCH_TRY(terminal_line(t, err));
    if (item->reason != NULL && item->reason[0] != '\0') {
        FINCH_TRY(str_add_text(&p->out, INDENT "reason  ", err));
        FINCH_TRY(pen_add_sane(p, item->reason, t->columns - 12, NULL, err));
        FINCH_TRY(terminal_line(t, err));
    }
    opinion_lines lines = {t, 0};
    FINCH_TRY(review_opinions(v->review, v->at, add_opinion, &lines, err));
    if (lines.n <= OPINIONS_MOST) return FINCH_OK;
    FINCH_TRY(str_add_format(&p->out, err, INDENT "and %zu more", lines.n - OPINIONS_MOST));
    return terminal_line(t, err);
}

/* ---- the frames ---- */

static finch_status add_tweet(terminal *t, const review_view *v, finch_error *err)
{
    const review_item *item = &v->review->items[v->at];
    size_t used = 0, around = ROWS_AROUND + (v->blind ? 0 : OPINIONS_MOST);
    size_t rows = t->rows > around + 3 ? t->rows - around : 3;
    FINCH_TRY(terminal_line(t, err));
    FINCH_TRY(terminal_add_wrapped(t, item->text, INDENT, t->columns - 2 * strlen(INDENT), rows, &used, err));
    FINCH_TRY(terminal_line(t, err));
    if (item->mine != REVIEW_NONE) {
        FINCH_TRY(str_add_text(&t->pen.out, INDENT "yours   ", err));
        FINCH_TRY(add_class(&t->pen, item->mine, err));
        FINCH_TRY(terminal_line(t, err));
    }
    return v->blind ? FINCH_OK : add_models(t, v, item, err);
}

finch_status review_draw(terminal *t, const review_view *view, finch_error *err)
{
    terminal_begin(t);
    FINCH_TRY(add_head(t, view, err));
    if (view->at < view->review->n_items) FINCH_TRY(add_tweet(t, view, err));
    else FINCH_TRY(str_add_text(&t->pen.out, "\n" INDENT "That was the last one. u goes back, q ends.\n", err));
    return add_keys(t, view->message, err);
}

/* "person anna      model m     120   81.7 %  +0.71 (+0.62 to +0.80)"; on a narrow screen the kappa alone. */
static finch_status add_pair(pen *p, const review_pair *pair, size_t columns, finch_error *err)
{
    enum { RIGHT = 44, RIGHT_NARROW = 17, WIDE = 76 };
    bool wide = columns >= WIDE;
    size_t room = (columns - (wide ? RIGHT : RIGHT_NARROW)) / 2, used = 0;
    FINCH_TRY(pen_add_sane(p, pair->a, room, &used, err));
    for (; used < room + 2; used++) FINCH_TRY(str_add_text(&p->out, " ", err));
    FINCH_TRY(pen_add_sane(p, pair->b, room, &used, err));
    for (; used < room + 2; used++) FINCH_TRY(str_add_text(&p->out, " ", err));
    FINCH_TRY(str_add_format(&p->out, err, "%6" PRIu64, pair->n));
    if (wide) FINCH_TRY(str_add_format(&p->out, err, "  %5.1f %%", 100 * pair->agree));
    if (isnan(pair->kappa)) return str_add_text(&p->out, "  -\n", err);
    FINCH_TRY(str_add_format(&p->out, err, "  %+.2f", pair->kappa));
    /* One of no width only says that the formula has nothing to go by. */
    bool interval = wide && pair->kappa_low < pair->kappa_high;
    if (interval) FINCH_TRY(str_add_format(&p->out, err, " (%+.2f to %+.2f)", pair->kappa_low, pair->kappa_high));
    return str_add_text(&p->out, "\n", err);
}

finch_status review_add_pairs(pen *p, const review_agreement *agreement, size_t columns, size_t n_lines, finch_error *err)
{
    for (size_t i = 0; i < agreement->n_pairs && (n_lines == 0 || i < n_lines); i++) {
        FINCH_TRY(str_add_text(&p->out, INDENT, err));
        FINCH_TRY(add_pair(p, &agreement->pairs[i], columns - strlen(INDENT), err));
    }
    return FINCH_OK;
}

finch_status review_draw_agreement(terminal *t, const review_view *view, finch_error *err)
{
    review_agreement agreement;
    finch_status st = review_agree(view->review, &agreement, err);
    terminal_begin(t);
    if (st == FINCH_OK) st = add_head(t, view, err);
    if (st == FINCH_OK) st = str_add_text(&t->pen.out, "\n" INDENT, err);
    if (st == FINCH_OK)
        st = pen_add_sane(&t->pen, "Raters, tweets both labelled, equal, kappa (95 % interval)", t->columns - strlen(INDENT),
                          NULL, err);
    if (st == FINCH_OK) st = str_add_text(&t->pen.out, "\n\n", err);
    if (st == FINCH_OK && agreement.n_pairs == 0)
        st = str_add_text(&t->pen.out, INDENT "Nobody has labelled anything yet.\n", err);
    if (st == FINCH_OK) st = review_add_pairs(&t->pen, &agreement, t->columns, t->rows - 9, err);
    if (st == FINCH_OK) st = str_add_text(&t->pen.out, "\n" INDENT "any key goes back", err);
    review_agreement_close(&agreement);
    return st;
}
