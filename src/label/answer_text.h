/* Internal to answer.c and answer_text.c. */
#ifndef FINCH_LABEL_ANSWER_TEXT_H
#define FINCH_LABEL_ANSWER_TEXT_H

#include "label/answer.h"

#include <jansson.h>

/* Fills the confidence of rows from choices[0].logprobs.content (may be NULL or anything else): the probability of the
 * tokens that the label's letters lie in. Where tokens and text do not fit together nothing is filled. */
void answer_add_confidence(const json_t *tokens, const char *text, size_t size, answer_row *rows, size_t n_rows);

#endif
