/* Controlled rounding of a table with given sums: every number is the floor of its exact share or one more.
 * The ones are dealt class by class, each to the part that lacks most rows yet, which finds a solution wherever there is
 * one (Gale-Ryser); only rare classes go by their shares instead, since one row more is much to them. */
#include "data/split_plan.h"

#include "base/mem.h"

#include <stdlib.h>

void split_count_classes(const split_rows *rows, uint32_t *class_rows)
{
    for (uint32_t c = 0; c < rows->n_classes; c++) class_rows[c] = 0;
    for (uint32_t row = 0; row < rows->n_rows; row++) class_rows[rows->class_of[row]]++;
}

typedef struct ranked_class {
    uint32_t n_rows, index;
} ranked_class;

static int compare_classes(const void *a, const void *b)
{
    const ranked_class *x = a, *y = b;
    if (x->n_rows != y->n_rows) return x->n_rows < y->n_rows ? -1 : 1;
    return x->index < y->index ? -1 : x->index > y->index;
}

typedef struct rounding {
    const uint32_t *sizes;
    size_t n_parts;
    uint32_t n_classes;
    uint64_t n_rows;
    uint32_t *targets; /* [n_parts, n_classes] */
    uint32_t *lacks;   /* [n_parts] rows that a part has yet to get */
    bool *raised;      /* [n_parts] by the class at hand */
} rounding;

static uint64_t remainder_of(const rounding *r, ranked_class class, size_t part)
{
    return (uint64_t) class.n_rows * r->sizes[part] % r->n_rows;
}

/* The part that gets one row more of the class; n_parts where all have got it. */
static size_t choose_part(const rounding *r, ranked_class class)
{
    bool rare = class.n_rows < 2 * r->n_parts;
    size_t best = r->n_parts;
    for (int pass = 0; best == r->n_parts && pass < 2; pass++) { /* the second pass takes parts that are full */
        for (size_t p = 0; p < r->n_parts; p++) {
            if (r->raised[p] || (pass == 0 && r->lacks[p] == 0)) continue;
            if (best == r->n_parts) {
                best = p;
                continue;
            }
            uint64_t share = remainder_of(r, class, p), best_share = remainder_of(r, class, best);
            bool more = rare || r->lacks[p] == r->lacks[best] ? share > best_share : r->lacks[p] > r->lacks[best];
            if (more) best = p;
        }
    }
    return best;
}

static void round_class(const rounding *r, ranked_class class)
{
    uint32_t left = class.n_rows;
    for (size_t p = 0; p < r->n_parts; p++) {
        left -= r->targets[p * r->n_classes + class.index];
        r->raised[p] = false;
    }
    for (; left > 0; left--) { /* the floors lack less than one row a part */
        size_t p = choose_part(r, class);
        r->raised[p] = true;
        r->targets[p * r->n_classes + class.index]++;
        if (r->lacks[p] > 0) r->lacks[p]--;
    }
}

static void take_floors(const rounding *r, const uint32_t *class_rows)
{
    for (size_t p = 0; p < r->n_parts; p++) {
        r->lacks[p] = r->sizes[p];
        for (uint32_t c = 0; c < r->n_classes; c++) {
            uint32_t share = (uint32_t)((uint64_t)class_rows[c] * r->sizes[p] / r->n_rows);
            r->targets[p * r->n_classes + c] = share;
            r->lacks[p] -= share;
        }
    }
}

finch_status split_targets(const uint32_t *class_rows, uint32_t n_classes, const uint32_t *sizes, size_t n_parts,
                           uint32_t *targets, finch_error *err)
{
    rounding r = {.sizes = sizes, .n_parts = n_parts, .n_classes = n_classes, .targets = targets};
    ranked_class *order = NULL;
    finch_status st;
    for (size_t p = 0; p < n_parts; p++) r.n_rows += sizes[p];
    FINCH_GO(done, st, MEM_NEW(&order, n_classes, err));
    FINCH_GO(done, st, MEM_NEW(&r.lacks, n_parts, err));
    FINCH_GO(done, st, MEM_NEW(&r.raised, n_parts, err));
    for (uint32_t c = 0; c < n_classes; c++) order[c] = (ranked_class){class_rows[c], c};
    qsort(order, n_classes, sizeof *order, compare_classes);
    take_floors(&r, class_rows);
    for (uint32_t c = 0; c < n_classes; c++) round_class(&r, order[c]);
done:
    mem_free(order);
    mem_free(r.lacks);
    mem_free(r.raised);
    return st;
}
