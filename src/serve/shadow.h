/* How a candidate's answers differ from those that were given. Threads: one adds, any may read (each call locks). */
#ifndef FINCH_SERVE_SHADOW_H
#define FINCH_SERVE_SHADOW_H

#include "base/json.h"
#include "base/str.h"
#include "serve/models.h"

typedef struct shadow_book shadow_book;

finch_status shadow_book_create(shadow_book **out, finch_error *err);
void shadow_book_destroy(shadow_book *b);

/* Scores a text with candidate and notes it against what served said. probabilities [served->n_labels]; candidate_out
 * [candidate->n_labels] is filled. */
finch_status shadow_score(const model_slot *candidate, finch_text text, arena *memory, text_scratch *scratch,
                          float *candidate_out, finch_error *err);
void shadow_note(shadow_book *b, const model_slot *served, const float *probabilities, const model_slot *candidate,
                 const float *candidate_probabilities);

finch_status shadow_metrics(shadow_book *b, str *out, finch_error *err);
/* NULL: nothing was compared for this name. */
json_t *shadow_json(shadow_book *b, const char *name);

#endif
