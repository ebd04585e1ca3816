/* Which pieces of a vocabulary may come next in a JSON answer: the form's automaton (json_form.h) walked with every piece's bytes.
 *
 * Pieces stand in bytewise order, each with how many bytes it shares with the one before, so that what they share is walked once and
 * what can not begin is passed over. Inside a text nearly every piece is allowed: there only pieces with a quote, a backslash, a control
 * character or a part of a character are walked, and the others are known by their number of code points. Answers are kept by the
 * state's key. */
#ifndef FINCH_TEXT_PIECES_H
#define FINCH_TEXT_PIECES_H

#include "base/arena.h"
#include "text/json_form.h"
#include "text/text.h"

enum { PIECES_LISTED_MAX = 1024, PIECES_SETS_MAX = 128 };

/* Immutable: threads share one. The tokenizer may be closed afterwards. */
typedef struct piece_table piece_table;

/* Gemma's style only. *out is NULL on failure. Errors: FINCH_E_UNSUPPORTED, FINCH_E_MEMORY. */
finch_status piece_table_create(const text_tokenizer *t, piece_table **out, finch_error *err);
void piece_table_destroy(piece_table *p); /* NULL is legal */
/* Ids are below this. */
size_t piece_table_size(const piece_table *p);

/* A set of pieces. Control tokens are in none. */
typedef struct piece_set {
    const uint64_t *bits; /* bit id % 64 of word id / 64 */
    const int32_t *ids; /* [n] rising; NULL where there are more than PIECES_LISTED_MAX */
    size_t n;
} piece_set;

/* One answer's sets: form and table are borrowed. One thread. */
typedef struct piece_sets piece_sets;

finch_status piece_sets_create(const piece_table *p, const json_form *form, piece_sets **out, finch_error *err);
void piece_sets_destroy(piece_sets *s); /* NULL is legal */

/* The pieces that may come in that state; valid until the next call. Empty only where the text may end, and can not go on. Errors: FINCH_E_MEMORY. */
finch_status piece_sets_find(piece_sets *s, const form_state *state, const piece_set **out, finch_error *err);
/* Writes a piece that may come. */
void piece_sets_take(piece_sets *s, form_state *state, int32_t id);

#endif
