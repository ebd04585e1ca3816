/* Training and validation examples: texts tokenised once into one block, each with the set of classes it may have.
 *
 * A label names a class ("POSITIVE") or a set of classes ("POSITIVE|STRONGLY_POSITIVE"), in any case. In a coarse table
 * it is people's three classes: bearish or NEGATIVE means STRONGLY_NEGATIVE|NEGATIVE, neutral means NEUTRAL, bullish or
 * POSITIVE means POSITIVE|STRONGLY_POSITIVE. A row without a label is left out and counted. */
#ifndef FINCH_TRAIN_EXAMPLES_H
#define FINCH_TRAIN_EXAMPLES_H

#include "base/arena.h"
#include "base/str.h"
#include "model/model.h"
#include "train/fingerprint.h"

enum { EXAMPLES_CLASSES_MAX = 32 };

/* The classes there are, in the order of their ids. */
typedef struct examples_classes {
    const char *names[EXAMPLES_CLASSES_MAX];
    size_t n;
} examples_classes;

/* Rows of one table, borrowed while the examples live (the texts too: fingerprints are made of them).
 * name    of the file, for messages; row  [n] 1-based numbers for messages.
 * labels  [n], empty where there is none; NULL for masked language modelling.
 * weight  factor of each row's loss. */
typedef struct examples_table {
    const char *name;
    const finch_text *texts;
    const finch_text *labels;
    const uint64_t *row;
    size_t n;
    bool coarse;
    double weight;
} examples_table;

typedef struct examples_counts {
    size_t rows;       /* of the tables */
    size_t kept;
    size_t unlabelled; /* label cells that are empty */
    size_t excluded;   /* rows whose text is an excluded one */
    size_t nearly_excluded; /* rows whose text is a near copy of an excluded one */
    size_t repeated;   /* coarse rows whose text a table before already holds */
    size_t truncated;  /* kept, cut at max_tokens */
    size_t tokens;     /* kept */
} examples_counts;

/* ids      all tokens, example i's at [offset[i], offset[i + 1]).
 * mask     [n] bit c: class c is allowed. NULL without labels.
 * weight   [n] factor of the loss: the table's times the class weights'.
 * soft     [n, n_classes] a teacher's probabilities, or NULL.
 * texts    [n] borrowed from the tables. */
typedef struct examples {
    size_t n, n_classes;
    int32_t *ids;
    size_t *offset;
    uint32_t *mask;
    float *weight;
    float *soft;
    finch_text *texts;
    examples_counts counts;
    size_t capacity, ids_capacity;
} examples;

/* How class c's examples count: weight[c]. */
typedef enum examples_balance {
    EXAMPLES_EQUAL,      /* 1 */
    EXAMPLES_BALANCED,   /* n / (n_classes * n_c), scikit-learn's "balanced" */
    EXAMPLES_BALANCED_ROOT, /* its square root, scaled to the same total */
    EXAMPLES_LISTED
} examples_balance;

typedef struct examples_weights {
    examples_balance kind;
    double listed[EXAMPLES_CLASSES_MAX];
} examples_weights;

/* "none", "balanced", "sqrt", or a list of n_classes numbers above 0 ("2,1,0.5,1,2"). Errors: FINCH_E_USAGE. */
finch_status examples_weights_parse(const char *text, size_t n_classes, examples_weights *out, finch_error *err);

/* The bits of a label; label may have spaces around it.
 * Errors: FINCH_E_DATA naming the label and the allowed ones; FINCH_E_USAGE for coarse labels where the classes are not
 * finch's five. */
finch_status examples_label(const examples_classes *classes, finch_text label, bool coarse, uint32_t *mask,
                            finch_error *err);

/* tables    read in this order; a text of a coarse table that a table before holds is left out.
 * classes   NULL where the tables have no labels.
 * exclude   texts that are in it, or nearly so, are left out (NULL: none). finch eval finds a model's rows seen by the same
 *           comparison, which is symmetric: with the validation texts excluded here it finds none of them seen.
 * weights   NULL: 1 each.
 * Errors: FINCH_E_DATA with file and row (a label outside the classes; no row left), FINCH_E_MEMORY. */
finch_status examples_create(const examples_table *tables, size_t n_tables, const examples_classes *classes,
                             const text_tokenizer *tokenizer, size_t max_tokens, const fingerprints *exclude,
                             const examples_weights *weights, examples *out, finch_error *err);
void examples_free(examples *e);

/* Of the texts of the tables of a [n_a] and b [n_b]: what to exclude. */
finch_status examples_fingerprints(const examples_table *a, size_t n_a, const examples_table *b, size_t n_b,
                                   fingerprints **out, finch_error *err);

/* The class where the label names one; -1 where it names several. */
int32_t examples_class(const examples *e, size_t i);

/* The rows items [n] as a packed batch in the arena. */
finch_status examples_batch(const examples *e, const size_t *items, size_t n, arena *scratch, model_batch *out,
                            finch_error *err);

/* A number that differs where the examples do: what a checkpoint compares. */
uint64_t examples_hash(const examples *e);

#endif
