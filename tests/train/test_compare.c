#include "harness.h"

#include "train/compare.h"

/* Expected values: scipy.stats.binomtest(min(b, c), b + c, 0.5).pvalue. */
TEST(the_exact_p_value_is_that_of_a_two_sided_binomial_test)
{
    static const struct {
        size_t b, c;
        double p;
    } cases[] = {
        {0, 0, 1.0},
        {1, 0, 1.0},
        {5, 0, 0.0625},
        {10, 2, 0.03857421875},
        {30, 18, 0.11140289106101878},
        {600, 500, 0.0028195449914364284},
    };
    static int32_t truth[1100], first[1100], second[1100];
    for (size_t k = 0; k < sizeof cases / sizeof cases[0]; k++) {
        size_t n = cases[k].b + cases[k].c;
        for (size_t i = 0; i < n; i++) {
            truth[i] = 2;
            first[i] = i < cases[k].b ? 2 : 1;
            second[i] = i < cases[k].b ? 3 : 2;
        }
        mcnemar test = mcnemar_test(truth, first, second, n);
        CHECK_EQUAL(cases[k].b, test.only_first);
        CHECK_EQUAL(cases[k].c, test.only_second);
        CHECK_NEAR(cases[k].p, test.p_value, 1e-9);
    }
}

TEST(rows_that_both_get_wrong_do_not_count)
{
    const int32_t truth[] = {0, 0, 0}, first[] = {1, 0, 1}, second[] = {2, 0, 0};
    mcnemar test = mcnemar_test(truth, first, second, 3);
    CHECK_EQUAL(0, test.only_first);
    CHECK_EQUAL(1, test.only_second);
}
