/* The plan of a split, over many random tables: every row in one part, no unit in two, targets met, seeds. */
#include "harness.h"

#include "base/rng.h"
#include "data/split_plan.h"
#include "data/split_sizes.h"

#include <stdlib.h>

enum { ROWS_MAX = 400, CLASSES_MAX = 6, PARTS_MAX = 6, TABLES = 400 };

static finch_error err;

/* One random table and its plan. */
typedef struct table {
    uint32_t n_rows, n_classes, sizes[PARTS_MAX], class_rows[CLASSES_MAX], targets[PARTS_MAX * CLASSES_MAX];
    uint16_t class_of[ROWS_MAX], part_of[ROWS_MAX];
    uint32_t unit_of[ROWS_MAX];
    int64_t time[ROWS_MAX];
    size_t n_parts;
    bool has_units;
} table;

static split_rows rows_of(const table *t) { return (split_rows){t->n_rows, t->class_of, t->n_classes, t->unit_of, t->time}; }

/* share: how many rows of a hundred join an earlier row's unit. */
static void make_table(rng *r, unsigned share, table *t)
{
    *t = (table){.n_rows = (uint32_t)(20 + rng_below(r, ROWS_MAX - 20)),
                 .n_classes = (uint32_t)(1 + rng_below(r, CLASSES_MAX))};
    t->n_parts = 2 + rng_below(r, PARTS_MAX - 2);
    t->has_units = share > 0;
    for (uint32_t row = 0; row < t->n_rows; row++) {
        uint64_t a = rng_below(r, t->n_classes), b = rng_below(r, t->n_classes);
        t->class_of[row] = (uint16_t)(a < b ? a : b); /* the first classes are the large ones */
        bool joins = row > 0 && rng_below(r, 100) < share;
        t->unit_of[row] = joins ? t->unit_of[rng_below(r, row)] : row;
        t->time[row] = (int64_t)rng_below(r, 1000) - 500;
    }
    uint32_t left = t->n_rows;
    for (size_t p = 1; p < t->n_parts; p++) {
        t->sizes[p] = (uint32_t)(1 + rng_below(r, t->n_rows / (2 * t->n_parts)));
        left -= t->sizes[p];
    }
    t->sizes[0] = left;
    split_rows rows = rows_of(t);
    split_count_classes(&rows, t->class_rows);
    CHECK_OK(split_targets(t->class_rows, t->n_classes, t->sizes, t->n_parts, t->targets, &err), &err);
}

static void plan(table *t, uint64_t seed)
{
    split_rows rows = rows_of(t);
    memset(t->part_of, 0xEE, sizeof t->part_of);
    CHECK_OK(split_assign(&rows, t->targets, t->n_parts, seed, t->part_of, &err), &err);
}

static uint32_t count(const table *t, size_t part, uint32_t class)
{
    uint32_t n = 0;
    for (uint32_t row = 0; row < t->n_rows; row++) n += t->part_of[row] == part && t->class_of[row] == class;
    return n;
}

TEST(targets_are_next_to_the_exact_shares_and_sum_up)
{
    rng r = {.seed = 11};
    for (int i = 0; i < TABLES; i++) {
        table t;
        size_t n_off = 0;
        make_table(&r, 0, &t);
        for (size_t p = 0; p < t.n_parts; p++) {
            uint32_t size = 0;
            for (uint32_t c = 0; c < t.n_classes; c++) {
                double share = (double)t.class_rows[c] * t.sizes[p] / t.n_rows;
                CHECK(fabs(t.targets[p * t.n_classes + c] - share) <= 1);
                size += t.targets[p * t.n_classes + c];
            }
            n_off += size != t.sizes[p];
            CHECK(abs((int)size - (int)t.sizes[p]) <= (int)t.n_classes);
        }
        for (uint32_t c = 0; c < t.n_classes; c++) {
            uint32_t n = 0;
            for (size_t p = 0; p < t.n_parts; p++) n += t.targets[p * t.n_classes + c];
            CHECK_EQUAL(t.class_rows[c], n);
        }
        bool rare = false; /* only rare classes may cost a part its size */
        for (uint32_t c = 0; c < t.n_classes; c++) rare |= t.class_rows[c] < 2 * t.n_parts;
        CHECK(rare || n_off == 0);
    }
}

TEST(rows_without_units_meet_every_target)
{
    rng r = {.seed = 12};
    for (int i = 0; i < TABLES; i++) {
        table t;
        make_table(&r, 0, &t);
        plan(&t, (uint64_t)i);
        for (size_t p = 0; p < t.n_parts; p++)
            for (uint32_t c = 0; c < t.n_classes; c++) CHECK_EQUAL(t.targets[p * t.n_classes + c], count(&t, p, c));
    }
}

TEST(no_unit_is_torn_and_every_row_has_a_part)
{
    rng r = {.seed = 13};
    for (int i = 0; i < TABLES; i++) {
        table t;
        make_table(&r, 5 + (unsigned)i % 90, &t);
        plan(&t, 7);
        for (uint32_t row = 0; row < t.n_rows; row++) {
            CHECK(t.part_of[row] < t.n_parts);
            CHECK_EQUAL(t.part_of[t.unit_of[row]], t.part_of[row]);
        }
    }
}

/* A few clusters among many single rows, as real tables have them, cost nothing. */
TEST(a_few_units_still_meet_every_target)
{
    rng r = {.seed = 14};
    for (int i = 0; i < TABLES; i++) {
        table t;
        make_table(&r, 0, &t);
        for (uint32_t row = 1; row < t.n_rows; row += 12)
            if (t.class_of[row] == t.class_of[row - 1]) t.unit_of[row] = row - 1;
        bool tiny = false; /* a pair can not go to a part that is to have one row of its class */
        for (size_t p = 0; p < t.n_parts; p++)
            for (uint32_t c = 0; c < t.n_classes; c++) tiny |= t.targets[p * t.n_classes + c] < 4;
        if (tiny) continue;
        plan(&t, 3);
        for (size_t p = 0; p < t.n_parts; p++)
            for (uint32_t c = 0; c < t.n_classes; c++) CHECK_EQUAL(t.targets[p * t.n_classes + c], count(&t, p, c));
    }
}

TEST(the_seed_decides)
{
    rng r = {.seed = 15};
    table t, again;
    make_table(&r, 20, &t);
    again = t;
    plan(&t, 1);
    plan(&again, 1);
    CHECK(memcmp(t.part_of, again.part_of, sizeof t.part_of) == 0);
    plan(&again, 2);
    CHECK(memcmp(t.part_of, again.part_of, sizeof t.part_of) != 0);
}

TEST(large_units_spread_over_the_parts_by_their_sizes)
{
    enum { UNITS = 100, EACH = 4 };
    static table t;
    t = (table){.n_rows = UNITS * EACH, .n_classes = 1, .n_parts = 2, .sizes = {300, 100}, .targets = {300, 100}};
    for (uint32_t row = 0; row < t.n_rows; row++) t.unit_of[row] = row / EACH * EACH;
    plan(&t, 5);
    CHECK_EQUAL(100, count(&t, 1, 0));
}

TEST(by_time_the_parts_follow_each_other)
{
    rng r = {.seed = 16};
    for (int i = 0; i < TABLES; i++) {
        table t;
        int64_t bounds[PARTS_MAX];
        uint32_t n_late, late = 0;
        bool drop = i % 2 == 0;
        make_table(&r, i % 3 == 0 ? 0 : 20, &t);
        split_rows rows = rows_of(&t);
        CHECK_OK(split_assign_time(&rows, t.sizes, t.n_parts, drop, t.part_of, bounds, &n_late, &err), &err);
        for (uint32_t row = 0; row < t.n_rows; row++) {
            size_t own = 0;
            while (own + 1 < t.n_parts && t.time[row] >= bounds[own]) own++;
            late += drop ? t.part_of[row] == SPLIT_LATE : t.part_of[row] != own;
            if (t.part_of[row] == SPLIT_LATE) continue;
            CHECK(drop ? t.part_of[row] == own : t.part_of[row] <= own);
            if (!drop) CHECK_EQUAL(t.part_of[t.unit_of[row]], t.part_of[row]);
        }
        CHECK_EQUAL(n_late, late);
        for (size_t p = 1; p + 1 < t.n_parts; p++) CHECK(bounds[p - 1] < bounds[p]);
        for (size_t p = 0; !t.has_units && p < t.n_parts; p++) { /* single rows of about one time each */
            uint32_t n = 0;
            for (uint32_t row = 0; row < t.n_rows; row++) n += t.part_of[row] == p;
            CHECK_NEAR(t.sizes[p], n, 5 * (double)t.n_parts);
        }
    }
}

TEST(one_time_can_not_be_split)
{
    table t;
    int64_t bounds[PARTS_MAX];
    uint32_t n_late;
    rng r = {.seed = 17};
    make_table(&r, 0, &t);
    for (uint32_t row = 0; row < t.n_rows; row++) t.time[row] = 5;
    split_rows rows = rows_of(&t);
    CHECK_STATUS(FINCH_E_DATA, split_assign_time(&rows, t.sizes, t.n_parts, false, t.part_of, bounds, &n_late, &err), &err);
}

TEST(sizes_are_numbers_shares_and_percentages)
{
    static const struct {
        const char *text;
        uint32_t rows; /* of 1,000; 0: refused */
    } cases[] = {
        {"1", 1},
        {"500", 500},
        {"0.1", 100},
        {".25", 250},
        {"10%", 100},
        {"12.5%", 125},
        {"0.0001", 1},
        {"99.9%", 999},
        {"0.9999", 1000},
        {"007", 7},
        {"", 0},
        {"0", 0},
        {"0.0", 0},
        {"1.0", 0},
        {"1.5", 0},
        {"100%", 0},
        {"0%", 0},
        {"-1", 0},
        {"+1", 0},
        {"1e3", 0},
        {" 1", 0},
        {"1 ", 0},
        {"0,1", 0},
        {"%", 0},
        {".", 0},
        {"1..2", 0},
        {"0x10", 0},
        {"nan", 0},
        {"4294967295", UINT32_MAX},
        {"4294967296", 0},
        {"99999999999999999999", 0},
        {"0.1234567891", 0},
        {"0.123456789", 123},
        {"18446744073709551617", 0},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        split_size size;
        finch_status st = split_size_parse(cases[i].text, "test-size", &size, &err);
        CHECK_STATUS(cases[i].rows == 0 ? FINCH_E_USAGE : FINCH_OK, st, &err);
        if (st == FINCH_OK) CHECK_EQUAL(cases[i].rows, split_size_rows(size, 1000));
    }
}
