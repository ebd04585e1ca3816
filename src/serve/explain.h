/* Which words moved a text's score: the text without some of its words is scored many times in packed batches, with the same
 * engine and the same bits as the score itself.
 *
 *   occlusion  weight of a word = score of the text - score without the word. n + 2 texts. The weights need not add up: what is
 *              missing is said as residual.
 *   shapley    Shapley values of the game "score of the words that are there", estimated over EXPLAIN_ORDERS orders of the words,
 *              each also backwards (arXiv:1602.04938; Castro et al., "Polynomial calculation of the Shapley value based on
 *              sampling", 2009). In every order the gains add up to score - base, so the weights do too, to rounding. The orders are
 *              a function of the number of words: the same text gets the same weights.
 *
 * A word is what stands between white space; a text of more than EXPLAIN_WORDS_MAX words is taken apart into that many
 * groups of neighbours. */
#ifndef FINCH_SERVE_EXPLAIN_H
#define FINCH_SERVE_EXPLAIN_H

#include "base/arena.h"

typedef enum explain_method { EXPLAIN_NONE, EXPLAIN_OCCLUSION, EXPLAIN_SHAPLEY } explain_method;

enum { EXPLAIN_WORDS_MAX = 64, EXPLAIN_ORDERS = 2 };

typedef struct explain_word {
    size_t begin, end; /* bytes of the text */
    double weight;
} explain_word;

/* Variant 0 is the text, variant 1 the empty text. */
typedef struct explain_plan {
    explain_method method;
    finch_text text;
    explain_word words[EXPLAIN_WORDS_MAX];
    size_t n_words;
    finch_text *variants; /* [n_variants] */
    size_t n_variants;
    double base, sum, residual;
} explain_plan;

finch_status explain_prepare(explain_plan *plan, explain_method method, finch_text text, arena *memory, finch_error *err);
/* scores [n_variants]: fills the words' weights, base, sum and residual. */
void explain_finish(explain_plan *plan, const double *scores);

#endif
