/* A whole screen in the terminal, by termios and the sequences every terminal of the last thirty years knows: no ncurses.
 *
 * What is drawn is one frame written at once. Input is keys; what is pasted, and what was typed before the frame was
 * there, counts for nothing, so a key is always an answer to what is on the screen.
 * Ctrl-C stays the signal it is everywhere. Threads: one. */
#ifndef FINCH_CLI_TERMINAL_H
#define FINCH_CLI_TERMINAL_H

#include "cli/pen.h"

#include <termios.h>

enum { TERMINAL_ROWS_LEAST = 16, TERMINAL_COLUMNS_LEAST = 40 };

/* Besides these a key is its ASCII code. */
typedef enum terminal_key {
    TERMINAL_KEY_OTHER = 256, /* arrows, function keys, letters beyond ASCII, what was pasted */
    TERMINAL_KEY_RESIZED,     /* draw again */
    TERMINAL_KEY_GONE,        /* the terminal went away */
} terminal_key;

typedef struct terminal {
    struct termios before;
    bool open;
    size_t rows, columns; /* at the last terminal_begin */
    pen pen;              /* the frame is written into pen.out */
} terminal;

/* Errors: FINCH_E_USAGE where stdin and stdout are no terminal. */
finch_status terminal_open(terminal *t, finch_error *err);
/* The terminal as it was before; also after a failure, also when never opened. */
void terminal_close(terminal *t);

/* A new frame: measures the terminal and clears pen.out. */
void terminal_begin(terminal *t);
/* Ends the line that was written to pen.out. */
finch_status terminal_line(terminal *t, finch_error *err);
/* Cuts the frame so far to its first n_lines. */
void terminal_keep(terminal *t, size_t n_lines);
/* Shows the frame, cut to the rows there are. fresh: keys typed until now are dropped. Errors: FINCH_E_IO. */
finch_status terminal_show(terminal *t, bool fresh, finch_error *err);
/* Waits for a key. Errors: FINCH_E_CANCELLED after SIGINT or SIGTERM, FINCH_E_IO. */
finch_status terminal_read_key(terminal *t, int *key, finch_error *err);

/* Adds text from outside, made harmless (pen_add_sane) and broken at blanks into lines of at most `columns` columns, each
 * begun with indent; what does not fit into n_lines is cut with a mark. *used: the lines it took. */
finch_status terminal_add_wrapped(terminal *t, const char *text, const char *indent, size_t columns, size_t n_lines,
                                  size_t *used, finch_error *err);

#endif
