/* The weights of the best evaluations, each a file weights-<step>.safetensors in the run's folder. The list is part of
 * the checkpoint; a file is written before the checkpoint that names it and removed after the first that does not, so
 * a checkpoint never names a file that is not there. */
#ifndef FINCH_TRAIN_KEPT_H
#define FINCH_TRAIN_KEPT_H

#include "base/json.h"
#include "model/trainable.h"

enum { KEPT_MAX = 16 };

typedef struct kept_entry {
    uint64_t step;
    double value; /* of the metric that decides; a NaN is behind every number */
} kept_entry;

/* entry  [n] best first; among equals the earlier step.
 * A zeroed list with capacity set is empty. */
typedef struct kept {
    kept_entry entry[KEPT_MAX];
    size_t n, capacity;
    bool higher_is_better;
} kept;

/* Whether a would stand before b. */
bool kept_is_better(const kept *k, double a, double b);

/* Puts the evaluation where it belongs; false where it is behind a full list. *dropped: the entry that fell out, with
 * step 0 where none did. */
bool kept_insert(kept *k, uint64_t step, double value, kept_entry *dropped);

finch_status kept_write(const char *folder, uint64_t step, trainable *t, finch_error *err);
finch_status kept_remove(const char *folder, uint64_t step, finch_error *err);

/* Puts the mean of the first n entries' weights (1: the best) into t. Sums in f64 in order of step.
 * Errors: as checkpoint_restore. */
finch_status kept_load(const kept *k, size_t n, const char *folder, trainable *t, finch_error *err);

finch_status kept_to_json(const kept *k, json_t **out, finch_error *err);
finch_status kept_from_json(const json_t *array, const char *name, kept *out, finch_error *err);

#endif
