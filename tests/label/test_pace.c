/* Pace: concurrency that gives way, back-off, and the even spacing that keeps a rate in every second. */
#include "harness.h"

#include "label/agreement.h"
#include "label/pace.h"

TEST(a_429_halves_the_window_once_a_round_trip)
{
    pace_window w;
    pace_window_open(&w, 32);
    CHECK_EQUAL(32, pace_window_size(&w));
    pace_window_answered(&w, 0, 0.5);
    pace_window_limited(&w, 1.0);
    CHECK_EQUAL(16, pace_window_size(&w));
    pace_window_limited(&w, 1.2); /* sent before the cut */
    CHECK_EQUAL(16, pace_window_size(&w));
    pace_window_limited(&w, 1.6);
    CHECK_EQUAL(8, pace_window_size(&w));
    for (int i = 0; i < 20; i++) pace_window_limited(&w, 10.0 + i);
    CHECK_EQUAL(1, pace_window_size(&w));
}

TEST(answers_open_it_by_one_a_round)
{
    pace_window w;
    pace_window_open(&w, 32);
    pace_window_answered(&w, 0, 0.5);
    pace_window_limited(&w, 1);
    for (int i = 0; i < 17; i++) pace_window_answered(&w, 2, 0.5);
    CHECK_EQUAL(17, pace_window_size(&w));
    for (int i = 0; i < 5000; i++) pace_window_answered(&w, 3, 0.5);
    CHECK_EQUAL(32, pace_window_size(&w));
}

TEST(growing_latency_lowers_it)
{
    pace_window w;
    pace_window_open(&w, 32);
    for (int i = 0; i < 10; i++) pace_window_answered(&w, i, 0.5);
    for (int i = 0; i < 60; i++) pace_window_answered(&w, 20.0 + 10 * i, 9);
    CHECK(pace_window_size(&w) < 8);
}

TEST(backoff_doubles_within_its_bounds_and_spreads)
{
    rng r = {.seed = 7};
    for (size_t tries = 0; tries < 70; tries++) {
        double bound = tries < 6 ? ldexp(1.0, (int)tries) : 60, least = 1e9, most = -1, sum = 0;
        for (int i = 0; i < 400; i++) {
            double wait = pace_backoff(&r, 1, 60, tries);
            least = wait < least ? wait : least;
            most = wait > most ? wait : most;
            sum += wait;
        }
        CHECK(least >= 0 && most < bound);
        CHECK_NEAR(bound / 2, sum / 400, bound / 10); /* full jitter: uniform from 0 */
    }
}

TEST(a_keys_requests_are_spaced_by_its_share)
{
    CHECK_EQUAL(0, pace_interval_us(0, 0, 1000));
    CHECK(pace_interval_us(600, 0, 1000) >= 100000); /* 10 a second: a second holds at most ten */
    CHECK_NEAR(100000 * PACE_MARGIN, pace_interval_us(600, 0, 1000), 1);
    CHECK_NEAR(2000000 * PACE_MARGIN, pace_interval_us(600, 30000, 1000), 1); /* 1,000 of 30,000 tokens a minute: 2 s */
    CHECK_NEAR(100000 * PACE_MARGIN, pace_interval_us(600, 1e9, 1000), 1);
}

/* Example of Cohen (1960) as in most textbooks: 20 + 15 of 50 agree, kappa 0.4. */
TEST(kappa_is_cohens)
{
    agreement a = {0};
    static const int counts[2][2] = {{20, 5}, {10, 15}};
    for (int i = 0; i < 2; i++)
        for (int k = 0; k < 2; k++)
            for (int n = 0; n < counts[i][k]; n++) CHECK_OK(agreement_add(&a, i, k, NULL), NULL);
    CHECK_OK(agreement_add(&a, 5, 0, NULL), NULL);
    CHECK_OK(agreement_add(&a, 0, -1, NULL), NULL);
    CHECK_EQUAL(50, a.n);
    CHECK_NEAR(0.7, agreement_share(&a), 1e-12);
    CHECK_NEAR(0.4, agreement_kappa(&a), 1e-12);
    agreement same = {0}, none = {0};
    for (int n = 0; n < 10; n++) agreement_add(&same, 2, 2, NULL);
    CHECK_NEAR(1, agreement_kappa(&same), 0);
    CHECK_NEAR(0, agreement_kappa(&none), 0);
}
