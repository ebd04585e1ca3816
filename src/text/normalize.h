/* BertNormalizer: valid UTF-8 in, the text that words are cut from out. See normalize.c. */
#ifndef FINCH_TEXT_NORMALIZE_H
#define FINCH_TEXT_NORMALIZE_H

#include "text/tokenizer.h"

enum { TEXT_GROWTH_MAX = 3 }; /* no code point becomes more than this many times its bytes (tests/text/test_unicode.c) */

/* A combining mark that waits for its place in canonical order. */
typedef struct text_mark {
    uint32_t code;
    unsigned char order; /* combining class, from 1 */
    bool joined;         /* came with the mark before it out of one code point */
} text_mark;

/* places[i] says where byte i of at comes from; NULL unless spans are wanted. */
typedef struct text_buffer {
    unsigned char *at;
    text_span *places;
    size_t size;
    size_t capacity, places_capacity;
    text_mark *marks;
    text_span *mark_places; /* of the marks' code points, in their order in the text */
    size_t n_marks, marks_capacity;
    size_t n_mark_places, mark_places_capacity;
} text_buffer;

void text_buffer_free(text_buffer *b);

/* Room for size bytes (and as many places); old contents are lost. Errors: FINCH_E_MEMORY. */
finch_status text_buffer_reserve(text_buffer *b, size_t size, bool want_places, finch_error *err);

/* Replaces the buffer's content by the normalised text. where is the text's place in the whole, added to the places.
 * Errors: FINCH_E_MEMORY. */
finch_status text_normalize(const text_tokenizer *t, finch_text text, size_t where, bool want_places, text_buffer *b,
                            finch_error *err);

#endif
