/* Under which name a table has its texts, where nobody said it: raw tables of tweets call the column "body", what finch writes
 * and labelled tables "text". */
#ifndef FINCH_DATA_TEXT_COLUMN_H
#define FINCH_DATA_TEXT_COLUMN_H

#include <stddef.h>

/* usual, or "body" or "text" where the first input has that one and no column `usual`. usual also where the input is no file that
 * can be looked at twice (a pipe) or can not be read: reading it says what is wrong. Returns usual or a static text. */
const char *data_text_column(const char *const *inputs, size_t n_inputs, const char *usual);

#endif
