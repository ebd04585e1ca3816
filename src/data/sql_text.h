/* SQL as text: where its statements begin and end, and where a byte of it stands for people. */
#ifndef FINCH_DATA_SQL_TEXT_H
#define FINCH_DATA_SQL_TEXT_H

#include "base/status.h"

#include <stdbool.h>
#include <stddef.h>

/* The next statement behind *at: [*begin, *end) without the semicolon and the white space and comments before it; false
 * where only those are left. Moves *at behind it. Quotes ('', "", $tag$) and comments (-- and nested slash-star) are
 * known; what is not closed goes to the end of the text. */
bool sql_text_next(const char *text, size_t size, size_t *at, size_t *begin, size_t *end);

/* 1-based line and column (in characters) of a byte. */
void sql_text_place(const char *text, size_t size, size_t byte, size_t *line, size_t *column);

#endif
