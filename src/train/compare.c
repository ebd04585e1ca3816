#include "train/compare.h"

#include <math.h>

/* sum over i = 0..k of C(n, i) / 2^n, in logarithms: n may be large. */
static double binomial_lower_tail(size_t n, size_t k)
{
    double sum = 0;
    for (size_t i = 0; i <= k; i++) {
        double log_term = lgamma((double)n + 1) - lgamma((double)i + 1) - lgamma((double)(n - i) + 1) - (double)n * log(2.0);
        sum += exp(log_term);
    }
    return sum;
}

mcnemar mcnemar_test(const int32_t *truth, const int32_t *first, const int32_t *second, size_t n)
{
    mcnemar test = {.p_value = 1};
    for (size_t i = 0; i < n; i++) {
        if (first[i] == second[i]) continue;
        test.only_first += first[i] == truth[i];
        test.only_second += second[i] == truth[i];
    }
    size_t discordant = test.only_first + test.only_second;
    size_t fewer = test.only_first < test.only_second ? test.only_first : test.only_second;
    if (discordant > 0) {
        double p = 2 * binomial_lower_tail(discordant, fewer);
        test.p_value = p < 1 ? p : 1;
    }
    return test;
}
