/* HTML character references in text, by the rules of Python's html.unescape: names with and (the old ones) without ';',
 * the longest known beginning of an unknown name, decimal and hexadecimal numbers, Windows-1252 for &#128; to &#159;,
 * nothing for code points that are no characters, U+FFFD for surrogates and what is past U+10FFFF. */
#ifndef FINCH_TEXT_ENTITY_H
#define FINCH_TEXT_ENTITY_H

#include "base/str.h"

/* ENTITY_ONCE is html.unescape. ENTITY_ALL decodes what decoding brought forth, too: &amp;lt; is <. */
typedef enum entity_mode { ENTITY_ONCE, ENTITY_ALL } entity_mode;

/* Decodes text [0, size), which is overwritten, into out (cleared first). *changed: whether anything was decoded.
 * Time is linear. Errors: FINCH_E_MEMORY. */
finch_status entity_decode(char *text, size_t size, entity_mode mode, str *out, bool *changed, finch_error *err);

#endif
