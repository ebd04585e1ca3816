/* The stages of text_clean that look at characters: ill-formed UTF-8, and what no text needs. */
#ifndef FINCH_TEXT_CLEAN_CHARS_H
#define FINCH_TEXT_CLEAN_CHARS_H

#include "text/clean.h"

/* The text with each maximal ill-formed part as U+FFFD, in out (cleared first); *n counts them. */
finch_status clean_utf8(finch_text in, str *out, uint32_t *n, finch_error *err);

/* The text (valid UTF-8) without control, zero-width and direction characters, C1 controls as Windows-1252, no more than
 * CLEAN_MARKS_MAX combining marks on a letter, in NFC; in out (cleared first). *changed: whether it differs. */
enum { CLEAN_MARKS_MAX = 30 };
finch_status clean_chars(finch_text in, str *out, bool *changed, text_clean_scratch *scratch, finch_error *err);

/* Whether NFC never changes this code point nor what stands before or behind it. May say no where yes is true. */
bool clean_code_is_nfc(uint32_t code);

#endif
