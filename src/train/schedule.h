/* The learning rate of each optimiser step: a linear warm-up, then constant, linear or cosine decay. */
#ifndef FINCH_TRAIN_SCHEDULE_H
#define FINCH_TRAIN_SCHEDULE_H

#include <stdbool.h>
#include <stdint.h>

typedef enum schedule_kind { SCHEDULE_LINEAR, SCHEDULE_COSINE, SCHEDULE_CONSTANT } schedule_kind;

typedef struct schedule {
    schedule_kind kind;
    double peak;           /* the rate after warm-up */
    uint64_t warmup_steps;
    uint64_t total_steps;  /* warm-up included; above 0 */
} schedule;

/* The warm-up steps of a ratio of total steps, rounded up as transformers does. */
uint64_t schedule_warmup_steps(double ratio, uint64_t total_steps);

/* The rate of step (from 0). The first step learns at peak / (warmup_steps + 1) rather than at 0, as transformers' does:
 * a first step at 0 would only cost time. From the end of the warm-up the fractions are those of transformers; past
 * total_steps decaying rates are 0. */
double schedule_rate(const schedule *s, uint64_t step);

#endif
