/* Which part of a split each row goes to: numbers in, numbers out, no table in sight. Internal to data/split*.c.
 *
 * A unit is a set of rows that must not be torn apart: a cluster of near-duplicates, a writer, or one row alone.
 * Invariants, whatever the input:
 *   1. every row gets one part, or SPLIT_LATE where the time rule says so;
 *   2. all rows of a unit get the same part (or SPLIT_LATE);
 *   3. the answer depends on the rows, the sizes and the seed only. */
#ifndef FINCH_DATA_SPLIT_PLAN_H
#define FINCH_DATA_SPLIT_PLAN_H

#include "base/status.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { SPLIT_PARTS_MAX = 1000, SPLIT_CLASSES_MAX = 1000, SPLIT_LATE = UINT16_MAX };

/* Borrowed arrays of n_rows. */
typedef struct split_rows {
    uint32_t n_rows;
    const uint16_t *class_of; /* below n_classes */
    uint32_t n_classes;
    const uint32_t *unit_of;  /* the unit's first row */
    const int64_t *time;      /* by time only */
} split_rows;

/* class_rows [n_classes]: rows of each class. */
void split_count_classes(const split_rows *rows, uint32_t *class_rows);

/* How many rows of each class each part is to have: targets [n_parts, n_classes], whole numbers whose sums are the
 * classes' rows exactly, and the parts' sizes wherever that is possible with every number next to its exact share
 * (controlled rounding). sizes [n_parts] add up to n_rows. A class with fewer rows than parts goes where its share is
 * largest. */
finch_status split_targets(const uint32_t *class_rows, uint32_t n_classes, const uint32_t *sizes, size_t n_parts,
                           uint32_t *targets, finch_error *err);

/* Parts by class. part_of [n_rows]. Units of several rows are dealt out first, the largest first, each to the part that
 * it fills least; single rows then fill every class of every part to its target; where that could not be met, units move
 * while this brings the parts nearer to their targets. */
finch_status split_assign(const split_rows *rows, const uint32_t *targets, size_t n_parts, uint64_t seed, uint16_t *part_of,
                          finch_error *err);

/* Parts by time, the first part the earliest. A unit belongs to the part of its earliest row, and rows of one time stay
 * together, so the sizes are met as nearly as that allows. Rows of a unit from a time of a later part are late copies: they
 * go with their unit, or, where drop_late, get SPLIT_LATE. bounds [n_parts - 1]: the first time of each later part.
 * Errors: FINCH_E_DATA where there are too few different times for the parts. */
finch_status split_assign_time(const split_rows *rows, const uint32_t *sizes, size_t n_parts, bool drop_late,
                               uint16_t *part_of, int64_t *bounds, uint32_t *n_late, finch_error *err);

#endif
