/* A set of texts under the same normal form: what decides that two rows are the same text. ASCII letters in lower case,
 * links left out, white space as single spaces, none at the ends. */
#ifndef FINCH_TRAIN_TEXT_SET_H
#define FINCH_TRAIN_TEXT_SET_H

#include "base/str.h"

/* Zeroed is empty. Add, then seal, then ask. */
typedef struct text_set {
    str bytes;       /* normal forms, end to end */
    finch_text *at;  /* after sealing: into bytes, sorted */
    size_t *ends;
    size_t n;
    size_t capacity;
} text_set;

void text_set_free(text_set *s);
finch_status text_set_add(text_set *s, finch_text text, finch_error *err);
finch_status text_set_seal(text_set *s, finch_error *err);
/* scratch is reused from call to call. Of a sealed set. */
finch_status text_set_has(const text_set *s, finch_text text, str *scratch, bool *out, finch_error *err);

#endif
