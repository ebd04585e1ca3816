/* Whether a tweet is English. What says nothing of a language is passed over (links, user names, cashtags, hashtags,
 * numbers, emoji); of what is left, letters of another script decide at once, Latin letters through a small model whose
 * making, test set and accuracy are in docs/clean.md. A text with too little left is not guessed at.
 * No allocation, no state, linear time; at most TEXT_LANGUAGE_BYTES of what is left are looked at. */
#ifndef FINCH_TEXT_LANGUAGE_H
#define FINCH_TEXT_LANGUAGE_H

#include "base/status.h"

enum { TEXT_LANGUAGE_BYTES = 1000 };

typedef enum text_language_answer {
    TEXT_LANGUAGE_TOO_SHORT,
    TEXT_LANGUAGE_ENGLISH,
    TEXT_LANGUAGE_OTHER
} text_language_answer;

/* Drop a tweet where the answer is OTHER: the threshold is set for few wrong drops, so ENGLISH means "not surely other". */
typedef struct text_language {
    text_language_answer answer;
    float english;    /* probability; 0.5 where too short */
    const char *code; /* ISO 639-1 of the likeliest language, "und" where it is not known; constant */
} text_language;

/* Ill-formed UTF-8 is legal. */
text_language text_language_of(finch_text text);

#endif
