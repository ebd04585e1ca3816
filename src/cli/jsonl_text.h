/* One text out of a line of JSON, with every byte it may hold: finch tokenize must take what other readers refuse or
 * change (U+0000, invalid UTF-8), because its ids are compared byte for byte.
 *
 * The line is checked as JSON (RFC 8259) but for two things: a string may hold any raw byte but its quote, backslash and
 * the line's end, and of equal keys the last one counts. A lone surrogate (\ud800) becomes U+FFFD. */
#ifndef FINCH_CLI_JSONL_TEXT_H
#define FINCH_CLI_JSONL_TEXT_H

#include "base/bytes.h"
#include "base/str.h"

typedef enum jsonl_found { JSONL_ABSENT, JSONL_NULL, JSONL_TEXT } jsonl_found;

/* Appends the text at the top-level key of the object in line to out; key_scratch is cleared and used.
 * Errors: FINCH_E_DATA with the column (byte, 1-based) in the message, FINCH_E_MEMORY; out keeps its size then. */
finch_status jsonl_text(bytes line, const char *key, str *out, str *key_scratch, jsonl_found *found, finch_error *err);

#endif
