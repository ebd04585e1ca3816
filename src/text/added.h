/* Added tokens: found in a text as they stand, before words are cut. Follows the reference's AddedVocabulary: of all
 * matches the leftmost, of those the longest; one that is refused (part of a longer word) is skipped whole. */
#ifndef FINCH_TEXT_ADDED_H
#define FINCH_TEXT_ADDED_H

#include "text/tokenizer.h"

/* Where a search stands; zero to begin with. */
typedef struct text_added_search {
    size_t next;                /* the next match begins here or later */
    size_t begin;               /* of what is not given out yet */
    size_t white_from, white_to; /* the white space last walked, so that none is walked again and again */
} text_added_search;

typedef struct text_added_match {
    const text_added *token;
    size_t begin, end; /* with the white space it takes */
} text_added_match;

/* The next match in [at, size); false where there is none. Text between the search's begin (before the call) and
 * match->begin is ordinary; the search then begins behind the match. */
bool text_added_find(const text_tokenizer *t, const text_added_set *set, const unsigned char *at, size_t size,
                     text_added_search *search, text_added_match *match);

#endif
