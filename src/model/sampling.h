/* Choosing the next token from logits: the likeliest, or drawn by temperature, top-k and top-p as transformers' generate filters them
 * (its TemperatureLogitsWarper, TopKLogitsWarper, TopPLogitsWarper, in this order): tests/parity/test_generate.py. */
#ifndef FINCH_MODEL_SAMPLING_H
#define FINCH_MODEL_SAMPLING_H

#include "base/rng.h"
#include "base/status.h"

typedef struct sampling {
    double temperature; /* 0: the likeliest; else logits are divided by it */
    size_t top_k; /* only so many of the likeliest, and their equals; 0: all */
    double top_p; /* only the fewest likeliest that have this probability together; 1: all */
} sampling;

typedef struct candidate {
    float logit;
    int32_t id;
} candidate;

/* Errors: FINCH_E_USAGE naming what is out of bounds. */
finch_status sampling_check(const sampling *how, finch_error *err);

/* Those that top-k and top-p leave, at the front of c, which is put in another order; returns how many: at least 1 of n >= 1. */
size_t sampling_filter(const sampling *how, candidate *c, size_t n);

/* The place in c of the one that is chosen; of equal likeliest ones the smallest id. c [n], n >= 1, is filtered where something is drawn. */
size_t sampling_choose(const sampling *how, candidate *c, size_t n, rng *r);

/* log of the sum of exp(logit): a candidate's log-probability is its logit less this. */
double sampling_log_sum(const candidate *c, size_t n);
/* The likeliest n_top first, in their order; at most n. */
void sampling_sort_top(candidate *c, size_t n, size_t n_top);

#endif
