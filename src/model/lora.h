/* Low-rank adapters (arXiv:2106.09685): y += (alpha / r) dropout(x) A^T B^T beside a frozen y = x W^T. A [r, in], B [out, r]. */
#ifndef FINCH_MODEL_LORA_H
#define FINCH_MODEL_LORA_H

#include "base/arena.h"

enum { LORA_RANK_MAX = 256, LORA_TARGETS_BYTES = 256 };

/* targets: names of linear layers between commas ("q_proj,v_proj"); borrowed. */
typedef struct lora_options {
    size_t rank;
    double alpha;
    double dropout;
    const char *targets;
    bool checkpoint_activations; /* keep only the layers' inputs, compute the rest again: less memory, a third more time */
} lora_options;

#define LORA_OPTIONS_DEFAULT ((lora_options){.rank = 8, .alpha = 16.0, .dropout = 0.1, .targets = "q_proj,v_proj"})

/* Whether the list names it. */
bool lora_targets_has(const char *targets, const char *name);
/* Errors: FINCH_E_USAGE naming the option. known [n_known]: the names that a model has. */
finch_status lora_options_check(const lora_options *o, const char *const *known, size_t n_known, finch_error *err);

#endif
