#include "harness.h"

#include "base/rng.h"

typedef struct known_answer {
    uint64_t seed, stream, counter;
    uint32_t word[4];
} known_answer;

/* The vectors of the authors' own library: Random123, kat_vectors, "philox4x32 10". */
static const known_answer known[] = {
    {0, 0, 0, {0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}},
    {UINT64_MAX, UINT64_MAX, UINT64_MAX, {0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}},
    {0x299f31d0a4093822, 0x0370734413198a2e, 0x85a308d3243f6a88, {0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}},
};

TEST(blocks_are_philox4x32_10)
{
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++) {
        rng_block block = rng_at(known[i].seed, known[i].stream, known[i].counter);
        for (int w = 0; w < 4; w++) CHECK_EQUAL(known[i].word[w], block.word[w]);
    }
}

TEST(a_sequence_is_its_blocks_in_order_and_a_copy_continues_it)
{
    rng r = {.seed = 5, .stream = 6};
    for (uint64_t i = 0; i < 64; i++) CHECK_EQUAL(rng_at(5, 6, i / 4).word[i % 4], rng_u32(&r));
    rng copy = r;
    for (int i = 0; i < 100; i++) CHECK(rng_u64(&r) == rng_u64(&copy));
    rng other = {.seed = 5, .stream = 7};
    int equal = 0;
    r = (rng){.seed = 5, .stream = 6};
    for (int i = 0; i < 1000; i++) equal += rng_u32(&r) == rng_u32(&other);
    CHECK_EQUAL(0, equal);
}

TEST(unit_numbers_fill_the_interval_evenly)
{
    rng r = {.seed = 1};
    enum { DRAWS = 100000, BINS = 20 };
    size_t bins[BINS] = {0};
    for (int i = 0; i < DRAWS; i++) {
        double u = rng_unit(&r);
        CHECK(u >= 0 && u < 1);
        bins[(size_t)(u * BINS)]++;
    }
    double chi = 0;
    for (int i = 0; i < BINS; i++) chi += pow((double)bins[i] - DRAWS / BINS, 2) / (DRAWS / BINS);
    CHECK(chi < 43.8); /* 19 degrees of freedom, 0.999 */
}

TEST(draws_below_a_bound_are_even_where_rejection_matters)
{
    rng r = {.seed = 2};
    /* A third of all 64-bit numbers is past the last whole run of this bound: without rejection the low half of the range
     * would come twice as often as the high half. */
    uint64_t bound = UINT64_MAX / 3 * 2;
    int low = 0;
    for (int i = 0; i < 20000; i++) {
        uint64_t draw = rng_below(&r, bound);
        CHECK(draw < bound);
        low += draw < bound / 2;
    }
    CHECK(low > 9700 && low < 10300); /* four standard deviations */
    for (int i = 0; i < 100; i++) CHECK(rng_below(&r, 1) == 0);
    size_t seen[5] = {0};
    for (int i = 0; i < 5000; i++) seen[rng_below(&r, 5)]++;
    for (int i = 0; i < 5; i++) CHECK(seen[i] > 880 && seen[i] < 1120);
}

TEST(normal_numbers_have_the_moments_of_the_normal)
{
    rng r = {.seed = 3};
    enum { DRAWS = 100000 };
    double sum = 0, squares = 0, fourth = 0;
    for (int i = 0; i < DRAWS; i++) {
        double x = rng_normal(&r);
        CHECK(isfinite(x));
        sum += x;
        squares += x * x;
        fourth += x * x * x * x;
    }
    CHECK_NEAR(0, sum / DRAWS, 0.013);
    CHECK_NEAR(1, squares / DRAWS, 0.018);
    CHECK_NEAR(3, fourth / DRAWS, 0.13);
}

TEST(a_shuffle_is_a_permutation_and_every_place_is_as_likely)
{
    enum { N = 6, ROUNDS = 12000 };
    size_t counts[N][N] = {{0}};
    rng r = {.seed = 4};
    for (int round = 0; round < ROUNDS; round++) {
        size_t items[N];
        unsigned seen = 0;
        for (size_t i = 0; i < N; i++) items[i] = i;
        rng_shuffle(&r, items, N);
        for (size_t i = 0; i < N; i++) {
            counts[items[i]][i]++;
            seen |= 1u << items[i];
        }
        CHECK_EQUAL((1u << N) - 1, seen);
    }
    for (size_t i = 0; i < N; i++)
        for (size_t j = 0; j < N; j++) CHECK(counts[i][j] > 1800 && counts[i][j] < 2200); /* 2000 and five deviations */
    rng_shuffle(&r, NULL, 0);
}
