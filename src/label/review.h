/* The review desk: which tweets of a labelling job a person should look at first, what they say, and how well people and
 * models agree.
 *
 * Doubt of a tweet: 1 where it has no label; otherwise the larger of
 *   - the share of all answers, of any model and vote, that differ from the job's label, and
 *   - 1 - confidence (one half where there is a single answer and no confidence: nothing is known of it).
 * A person's label is one row of label_review, unique by tweet and person; it never touches what the models said. It is
 * committed before review_mark returns.
 * Threads: one, that of the store. */
#ifndef FINCH_LABEL_REVIEW_H
#define FINCH_LABEL_REVIEW_H

#include "base/arena.h"
#include "base/str.h"
#include "store/store.h"

enum { REVIEW_CLASSES = 5, REVIEW_NONE = -1, REVIEW_NAME_BYTES = 64 };

typedef enum review_order {
    REVIEW_BY_DOUBT,
    REVIEW_AT_RANDOM, /* by the text's hash: the same for every person, and with no favour for any tweet */
    REVIEW_AS_READ,   /* as the input had them */
} review_order;

typedef struct review_options {
    const char *job;      /* NULL: the newest */
    const char *reviewer; /* at most REVIEW_NAME_BYTES of UTF-8 without control characters */
    review_order order;
    bool again;           /* also what the reviewer has labelled already */
    size_t limit;         /* tweets at most */
} review_options;

typedef struct review_item {
    int64_t seq;        /* place in the job, from 0 or 1 as the job counts */
    const char *hash, *text;
    const char *reason; /* why it has no label; NULL where it has one */
    int label;          /* the job's; REVIEW_NONE where it has none */
    int mine;           /* the reviewer's; REVIEW_NONE where there is none yet */
    double confidence;  /* NAN where not known */
    double doubt;       /* 0 to 1 */
} review_item;

typedef struct review {
    store *store;
    int64_t job;
    str job_name, reviewer;
    arena arena;        /* the items' texts */
    review_item *items; /* as ordered; the first limit of them */
    size_t n_items, n_room;
    uint64_t n_waiting; /* tweets of the job that the reviewer had not labelled at opening */
    uint64_t n_done;    /* those the reviewer had */
} review;

/* Errors: FINCH_E_USAGE (the reviewer's name), FINCH_E_NOT_FOUND (no such job), the store's. */
finch_status review_open(store *s, const review_options *options, review *out, finch_error *err);
/* Also of a zeroed or half-opened one. */
void review_close(review *r);

/* The reviewer's label of items[at], committed; REVIEW_NONE takes it back. */
finch_status review_mark(review *r, size_t at, int label, finch_error *err);

/* One answer of a model. source is borrowed during the call. */
typedef struct review_opinion {
    const char *source; /* model and prompt version */
    int label;
    double confidence; /* NAN where not known */
} review_opinion;
typedef finch_status (*review_opinion_fn)(void *context, const review_opinion *opinion, finch_error *err);
finch_status review_opinions(review *r, size_t at, review_opinion_fn each, void *context, finch_error *err);

/* Two raters on the tweets that both labelled, among those of the job that a person (or the gold file) labelled.
 * Raters: "person NAME", "model NAME PROMPT" (its first vote), "the job" (its final label), "gold". */
typedef struct review_pair {
    const char *a, *b;
    uint64_t n, table[REVIEW_CLASSES][REVIEW_CLASSES]; /* [label of a][label of b] */
    double agree;     /* share of equal labels */
    double kappa;     /* Cohen's; NAN where chance alone would agree always */
    double kappa_low, kappa_high; /* its 95 % interval by the large-sample error; NAN as kappa */
} review_pair;

typedef struct review_agreement {
    arena arena;
    review_pair *pairs;
    size_t n_pairs, n_room;
} review_agreement;

finch_status review_agree(review *r, review_agreement *out, finch_error *err);
void review_agreement_close(review_agreement *a);

#endif
