#include "data/split_plan.h"

#include "base/mem.h"

#include <stdlib.h>

/* A unit, its earliest time and its rows. */
typedef struct timed_unit {
    int64_t first;
    uint32_t size;
} timed_unit;

static int compare_times(const void *a, const void *b)
{
    const timed_unit *x = a, *y = b;
    return x->first < y->first ? -1 : x->first > y->first;
}

/* For each row that begins a unit its earliest time, for others what it was. */
static void find_first_times(const split_rows *rows, int64_t *first)
{
    for (uint32_t row = 0; row < rows->n_rows; row++) {
        uint32_t unit = rows->unit_of[row];
        if (unit == row || rows->time[row] < first[unit]) first[unit] = rows->time[row];
    }
}

/* The first time of each later part: where the rows before it are nearest to the earlier parts' sizes, among the places
 * where the time changes. order [n] by first. */
static finch_status find_bounds(const timed_unit *order, size_t n, const uint32_t *sizes, size_t n_parts, int64_t *bounds,
                                finch_error *err)
{
    uint64_t wanted = 0, before = 0;
    size_t at = 0; /* units that are before the bound */
    for (size_t p = 0; p + 1 < n_parts; p++) {
        wanted += sizes[p];
        size_t begin = at;
        while (at < n) {
            uint64_t after = before;
            size_t next = at;
            do after += order[next++].size;
            while (next < n && order[next].first == order[at].first);
            /* Every part gets one time at least; past that, the nearer place. */
            bool nearer = after <= wanted || after - wanted < wanted - before;
            if (at > begin && (before >= wanted || !nearer)) break;
            before = after;
            at = next;
        }
        if (at == n)
            return finch_fail(err, FINCH_E_DATA,
                              "the rows have too few different times for %zu parts, since rows of one time stay together; "
                              "name a finer --time-column or fewer parts",
                              n_parts);
        bounds[p] = order[at].first;
    }
    return FINCH_OK;
}

static size_t part_of_time(const int64_t *bounds, size_t n_parts, int64_t time)
{
    size_t part = 0;
    while (part + 1 < n_parts && time >= bounds[part]) part++;
    return part;
}

finch_status split_assign_time(const split_rows *rows, const uint32_t *sizes, size_t n_parts, bool drop_late,
                               uint16_t *part_of, int64_t *bounds, uint32_t *n_late, finch_error *err)
{
    int64_t *first = NULL;
    timed_unit *order = NULL;
    uint32_t *unit_rows = NULL;
    size_t n = 0;
    finch_status st;
    *n_late = 0;
    FINCH_GO(done, st, MEM_NEW(&first, rows->n_rows, err));
    FINCH_GO(done, st, MEM_NEW(&unit_rows, rows->n_rows, err));
    FINCH_GO(done, st, MEM_NEW(&order, rows->n_rows, err));
    find_first_times(rows, first);
    for (uint32_t row = 0; row < rows->n_rows; row++) unit_rows[rows->unit_of[row]]++;
    for (uint32_t row = 0; row < rows->n_rows; row++)
        if (unit_rows[row] > 0) order[n++] = (timed_unit){first[row], unit_rows[row]};
    qsort(order, n, sizeof *order, compare_times);
    FINCH_GO(done, st, find_bounds(order, n, sizes, n_parts, bounds, err));
    for (uint32_t row = 0; row < rows->n_rows; row++) {
        size_t part = part_of_time(bounds, n_parts, first[rows->unit_of[row]]);
        bool late = part_of_time(bounds, n_parts, rows->time[row]) != part;
        *n_late += late;
        part_of[row] = late && drop_late ? SPLIT_LATE : (uint16_t)part;
    }
done:
    mem_free(first);
    mem_free(unit_rows);
    mem_free(order);
    return st;
}
