/* Lines for people: what the terminal can show, colours, numbers, and texts from outside made harmless. */
#ifndef FINCH_CLI_PEN_H
#define FINCH_CLI_PEN_H

#include "base/str.h"

enum { PEN_NUMBER_BYTES = 32, PEN_WIDTH_LEAST = 60, PEN_WIDTH_MOST = 110, PEN_WIDTH_UNKNOWN = 100 };

typedef struct pen {
    bool colour;  /* the descriptor is a terminal and NO_COLOR is not set */
    bool unicode; /* the environment does not name another encoding than UTF-8 */
    size_t width; /* columns */
    str out;      /* what was written; free it */
} pen;

pen pen_open(int descriptor);

/* The terminal's columns as they are now; 0 where it is none or does not say. */
size_t pen_columns(int descriptor);

/* One of SGR's colours ("31;1"), "" to end it. */
finch_status pen_colour(pen *p, const char *code, finch_error *err);

/* 1234567 as 1,234,567, in out. */
const char *pen_grouped(uint64_t n, char out[PEN_NUMBER_BYTES]);

/* Text from outside on one line of at most `columns` columns, with a mark where it is cut: blanks run together, and
 * nothing goes through that steers a terminal or turns the writing direction. *used (may be NULL): the columns it took. */
finch_status pen_add_sane(pen *p, const char *text, size_t columns, size_t *used, finch_error *err);

/* Prints what was written to the standard output, unless st tells of a failure before, and frees it. Returns st or the failure. */
finch_status pen_print(pen *p, finch_status st, finch_error *err);

#endif
