/* What finch review shows: one tweet a screen, or how well the raters agree. Every text from outside goes through
 * pen_add_sane, so nothing in a tweet steers the terminal. */
#ifndef FINCH_CLI_REVIEW_SCREEN_H
#define FINCH_CLI_REVIEW_SCREEN_H

#include "cli/terminal.h"
#include "label/review.h"

enum { REVIEW_MESSAGE_BYTES = 120 };

typedef struct review_view {
    review *review;
    size_t at;        /* of review->items; n_items: all were shown */
    uint64_t n_saved; /* labels given in this sitting and in the store */
    uint64_t n_skipped;
    bool blind;       /* nothing is shown of what models said */
    char message[REVIEW_MESSAGE_BYTES]; /* what the last key did; our own words */
} review_view;

/* Writes the frame of the tweet at view->at. terminal_show shows it. */
finch_status review_draw(terminal *t, const review_view *view, finch_error *err);
/* Writes the frame of the agreement. */
finch_status review_draw_agreement(terminal *t, const review_view *view, finch_error *err);
/* The same pairs as lines for people, added to p; at most n_lines (0: all). */
finch_status review_add_pairs(pen *p, const review_agreement *agreement, size_t columns, size_t n_lines, finch_error *err);

#endif
