#include "data/split_plan.h"

#include "base/mem.h"
#include "base/rng.h"

#include <stdlib.h>

enum { STREAM_UNITS = 1, STREAM_SINGLES = 2, IMPROVE_PASSES = 8 };

/* What one assignment works on. Units are named by their first row. */
typedef struct dealer {
    const split_rows *rows;
    const uint32_t *targets; /* [n_parts, n_classes] */
    size_t n_parts;
    uint16_t *part_of;
    uint32_t *got;        /* [n_parts, n_classes] */
    uint32_t *start;      /* [n_rows + 1] unit u's rows are member[start[u] .. start[u + 1]) */
    uint32_t *member;     /* [n_rows] */
    uint32_t *unit_rows;  /* [n_classes] of the unit at hand; 0 between units */
    uint16_t *touched;    /* [n_classes] the classes it has */
    size_t n_touched;
    double *part_gap;     /* [n_parts] rows above the part's target, while units move */
} dealer;

static uint32_t unit_size(const dealer *d, uint32_t unit) { return d->start[unit + 1] - d->start[unit]; }

/* Rows by unit: a counting sort. */
static void gather_units(dealer *d)
{
    const split_rows *rows = d->rows;
    for (uint32_t row = 0; row < rows->n_rows; row++) d->start[rows->unit_of[row] + 1]++;
    for (uint32_t row = 0; row < rows->n_rows; row++) d->start[row + 1] += d->start[row];
    for (uint32_t row = rows->n_rows; row-- > 0;) d->member[--d->start[rows->unit_of[row] + 1]] = row;
    /* Each start[u + 1] went down to the beginning of u, so they stand one place too far on. */
    for (uint32_t row = 0; row < rows->n_rows; row++) d->start[row] = d->start[row + 1];
    d->start[rows->n_rows] = rows->n_rows;
}

/* The unit's rows of each class into unit_rows and touched; forget_unit takes them out again. */
static void look_at_unit(dealer *d, uint32_t unit)
{
    d->n_touched = 0;
    for (uint32_t i = d->start[unit]; i < d->start[unit + 1]; i++) {
        uint16_t class = d->rows->class_of[d->member[i]];
        if (d->unit_rows[class]++ == 0) d->touched[d->n_touched++] = class;
    }
}

static void forget_unit(dealer *d)
{
    for (size_t i = 0; i < d->n_touched; i++) d->unit_rows[d->touched[i]] = 0;
    d->n_touched = 0;
}

static void put_unit(dealer *d, uint32_t unit, size_t part)
{
    for (size_t i = 0; i < d->n_touched; i++)
        d->got[part * d->rows->n_classes + d->touched[i]] += d->unit_rows[d->touched[i]];
    for (uint32_t i = d->start[unit]; i < d->start[unit + 1]; i++) d->part_of[d->member[i]] = (uint16_t)part;
}

/* ---- units of several rows ---- */

typedef struct ranked_unit {
    uint32_t size, draw, unit;
} ranked_unit;

static int compare_units(const void *a, const void *b)
{
    const ranked_unit *x = a, *y = b;
    if (x->size != y->size) return x->size > y->size ? -1 : 1;
    if (x->draw != y->draw) return x->draw < y->draw ? -1 : 1;
    return x->unit < y->unit ? -1 : x->unit > y->unit;
}

/* How full the part's targets are with the unit at hand, weighed by the unit's classes. A class that the part is not to
 * have counts as half a row. */
static double fill_with_unit(const dealer *d, size_t part)
{
    double fill = 0;
    for (size_t i = 0; i < d->n_touched; i++) {
        size_t at = part * d->rows->n_classes + d->touched[i];
        double rows = d->unit_rows[d->touched[i]], target = d->targets[at] > 0 ? d->targets[at] : 0.5;
        fill += rows * (d->got[at] + rows) / target;
    }
    return fill;
}

static void deal_unit(dealer *d, uint32_t unit)
{
    size_t best = 0;
    double least = 0;
    look_at_unit(d, unit);
    for (size_t p = 0; p < d->n_parts; p++) {
        double fill = fill_with_unit(d, p);
        if (p > 0 && fill >= least) continue;
        best = p;
        least = fill;
    }
    put_unit(d, unit, best);
    forget_unit(d);
}

static finch_status deal_units(dealer *d, uint64_t seed, finch_error *err)
{
    ranked_unit *order;
    rng draw = {.seed = seed, .stream = STREAM_UNITS};
    size_t n = 0;
    for (uint32_t u = 0; u < d->rows->n_rows; u++) n += unit_size(d, u) > 1;
    FINCH_TRY(MEM_NEW(&order, n, err));
    n = 0;
    for (uint32_t u = 0; u < d->rows->n_rows; u++)
        if (unit_size(d, u) > 1) order[n++] = (ranked_unit){unit_size(d, u), rng_u32(&draw), u};
    qsort(order, n, sizeof *order, compare_units);
    for (size_t i = 0; i < n; i++) deal_unit(d, order[i].unit);
    mem_free(order);
    return FINCH_OK;
}

/* ---- single rows ---- */

/* How many of n rows of the class each part gets: what it lacks, or in proportion where some part has too many already. */
static void share_out(const dealer *d, uint32_t class, size_t n, size_t *share)
{
    size_t lacking = 0, given = 0;
    for (size_t p = 0; p < d->n_parts; p++) {
        size_t at = p * d->rows->n_classes + class;
        share[p] = d->targets[at] > d->got[at] ? d->targets[at] - d->got[at] : 0;
        lacking += share[p];
    }
    if (lacking <= n) return; /* never below: targets sum up to the class's rows */
    for (size_t p = 0; p < d->n_parts; p++) {
        share[p] = share[p] * n / lacking;
        given += share[p];
    }
    for (size_t p = 0; given < n; p = (p + 1) % d->n_parts) {
        size_t at = p * d->rows->n_classes + class;
        if (d->targets[at] <= d->got[at] + share[p]) continue;
        share[p]++;
        given++;
    }
}

static void deal_class(dealer *d, uint32_t class, const size_t *singles, size_t n, size_t *share)
{
    size_t next = 0;
    share_out(d, class, n, share);
    for (size_t p = 0; p < d->n_parts; p++) {
        d->got[p * d->rows->n_classes + class] += (uint32_t)share[p];
        for (size_t i = 0; i < share[p]; i++) d->part_of[singles[next++]] = (uint16_t)p;
    }
}

static finch_status deal_singles(dealer *d, uint64_t seed, finch_error *err)
{
    size_t *singles = NULL, *share = NULL;
    rng draw = {.seed = seed, .stream = STREAM_SINGLES};
    finch_status st;
    FINCH_GO(done, st, MEM_NEW(&singles, d->rows->n_rows, err));
    FINCH_GO(done, st, MEM_NEW(&share, d->n_parts, err));
    for (uint32_t class = 0; class < d->rows->n_classes; class ++) {
        size_t n = 0;
        for (uint32_t u = 0; u < d->rows->n_rows; u++)
            if (d->rows->class_of[u] == class && unit_size(d, u) == 1) singles[n++] = u;
        rng_shuffle(&draw, singles, n);
        deal_class(d, class, singles, n, share);
    }
done:
    mem_free(singles);
    mem_free(share);
    return st;
}

/* ---- nearer to the targets ---- */

/* got - target of a class, or of all rows, squared, before and after `more` rows come. */
static double square_change(double gap, double more) { return (gap + more) * (gap + more) - gap * gap; }

static double class_gap(const dealer *d, size_t part, uint32_t class)
{
    size_t at = part * d->rows->n_classes + class;
    return (double)d->got[at] - (double)d->targets[at];
}

static void find_part_gaps(dealer *d)
{
    for (size_t p = 0; p < d->n_parts; p++) {
        d->part_gap[p] = 0;
        for (uint32_t c = 0; c < d->rows->n_classes; c++) d->part_gap[p] += class_gap(d, p, c);
    }
}

/* Of the sum over parts of squared gaps, each as a share of its class's rows, and of all rows for the parts' sizes. */
static double change_of_move(const dealer *d, const uint32_t *class_rows, uint32_t size, size_t from, size_t to)
{
    double n_rows = d->rows->n_rows, n_classes = d->rows->n_classes;
    double change = square_change(d->part_gap[from], -(double)size) + square_change(d->part_gap[to], size);
    change *= n_classes / (n_rows * n_rows);
    for (size_t i = 0; i < d->n_touched; i++) {
        uint16_t class = d->touched[i];
        double rows = d->unit_rows[class], all = class_rows[class];
        change += (square_change(class_gap(d, from, class), -rows) + square_change(class_gap(d, to, class), rows)) /
                  (all * all);
    }
    return change;
}

static bool improve_unit(dealer *d, const uint32_t *class_rows, uint32_t unit)
{
    const double least_gain = -1e-12;
    size_t from = d->part_of[unit], best = from;
    double best_change = least_gain;
    look_at_unit(d, unit);
    for (size_t to = 0; to < d->n_parts; to++) {
        if (to == from) continue;
        double change = change_of_move(d, class_rows, unit_size(d, unit), from, to);
        if (change >= best_change) continue;
        best = to;
        best_change = change;
    }
    if (best != from) {
        for (size_t i = 0; i < d->n_touched; i++)
            d->got[from * d->rows->n_classes + d->touched[i]] -= d->unit_rows[d->touched[i]];
        put_unit(d, unit, best);
        d->part_gap[from] -= unit_size(d, unit);
        d->part_gap[best] += unit_size(d, unit);
    }
    forget_unit(d);
    return best != from;
}

static bool targets_met(const dealer *d)
{
    for (size_t i = 0; i < d->n_parts * d->rows->n_classes; i++)
        if (d->got[i] != d->targets[i]) return false;
    return true;
}

static finch_status improve(dealer *d, finch_error *err)
{
    uint32_t *class_rows;
    bool moved = true;
    FINCH_TRY(MEM_NEW(&class_rows, d->rows->n_classes, err));
    split_count_classes(d->rows, class_rows);
    find_part_gaps(d);
    for (int pass = 0; moved && pass < IMPROVE_PASSES && !targets_met(d); pass++) {
        moved = false;
        for (uint32_t u = 0; u < d->rows->n_rows; u++)
            if (unit_size(d, u) > 0 && improve_unit(d, class_rows, u)) moved = true;
    }
    mem_free(class_rows);
    return FINCH_OK;
}

finch_status split_assign(const split_rows *rows, const uint32_t *targets, size_t n_parts, uint64_t seed, uint16_t *part_of,
                          finch_error *err)
{
    dealer d = {.rows = rows, .targets = targets, .n_parts = n_parts, .part_of = part_of};
    finch_status st;
    FINCH_GO(done, st, MEM_NEW(&d.got, n_parts * rows->n_classes, err));
    FINCH_GO(done, st, MEM_NEW(&d.start, (size_t)rows->n_rows + 1, err));
    FINCH_GO(done, st, MEM_NEW(&d.member, rows->n_rows, err));
    FINCH_GO(done, st, MEM_NEW(&d.unit_rows, rows->n_classes, err));
    FINCH_GO(done, st, MEM_NEW(&d.touched, rows->n_classes, err));
    FINCH_GO(done, st, MEM_NEW(&d.part_gap, n_parts, err));
    gather_units(&d);
    FINCH_GO(done, st, deal_units(&d, seed, err));
    FINCH_GO(done, st, deal_singles(&d, seed, err));
    st = improve(&d, err);
done:
    mem_free(d.got);
    mem_free(d.start);
    mem_free(d.member);
    mem_free(d.unit_rows);
    mem_free(d.touched);
    mem_free(d.part_gap);
    return st;
}
