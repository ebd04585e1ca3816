/* Two models on the same rows: McNemar's exact test. Source: McNemar, "Note on the sampling error of the difference
 * between correlated proportions or percentages", 1947; the exact form is a two-sided binomial test on the discordant
 * pairs. */
#ifndef FINCH_TRAIN_COMPARE_H
#define FINCH_TRAIN_COMPARE_H

#include <stddef.h>
#include <stdint.h>

typedef struct mcnemar {
    size_t only_first;  /* rows that only the first model gets right */
    size_t only_second;
    double p_value;     /* two-sided, exact; 1 where no row is discordant */
} mcnemar;

/* truth, first, second [n] class indices. */
mcnemar mcnemar_test(const int32_t *truth, const int32_t *first, const int32_t *second, size_t n);

#endif
