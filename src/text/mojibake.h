/* UTF-8 that someone read as Windows-1252 or Latin-1 and wrote again as UTF-8, also twice over: "â€™" for "’",
 * "CafÃ©" for "Café". It is undone where it is certain, and only there: text that may be meant so stays as it is. */
#ifndef FINCH_TEXT_MOJIBAKE_H
#define FINCH_TEXT_MOJIBAKE_H

#include "base/str.h"

enum { MOJIBAKE_DEPTH = 4 }; /* how often it may have happened to one text */

/* text is valid UTF-8. Where *changed, out holds the text undone, as valid UTF-8; else out is not touched. Linear time.
 * Errors: FINCH_E_MEMORY. */
finch_status mojibake_undo(finch_text text, str *out, bool *changed, finch_error *err);

#endif
