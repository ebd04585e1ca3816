/* How well two labellers agree: Cohen's kappa and the matrix it comes from.
 * Source: Cohen, "A coefficient of agreement for nominal scales", 1960. */
#ifndef FINCH_LABEL_AGREEMENT_H
#define FINCH_LABEL_AGREEMENT_H

#include "finch.h"

enum { AGREEMENT_CLASSES = 5 };

typedef struct agreement {
    size_t n;
    size_t of[AGREEMENT_CLASSES][AGREEMENT_CLASSES]; /* [first][second] */
} agreement;

/* Fits labels_gold: context is an agreement. Classes outside 0..4 are passed over. */
finch_status agreement_add(void *context, int first, int second, finch_error *err);
/* 1 for full agreement, 0 for chance; 1 where both always say the same one class; 0 where n is 0. */
double agreement_kappa(const agreement *a);
double agreement_share(const agreement *a);

#endif
