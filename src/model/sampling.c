#include "model/sampling.h"

#include <math.h>

#define TEMPERATURE_MAX 100.0

finch_status sampling_check(const sampling *how, finch_error *err)
{
    if (!(how->temperature >= 0.0 && how->temperature <= TEMPERATURE_MAX))
        return finch_fail(err, FINCH_E_USAGE, "temperature is %g; it must be from 0 to %g", how->temperature,
                          TEMPERATURE_MAX);
    if (!(how->top_p > 0.0 && how->top_p <= 1.0))
        return finch_fail(err, FINCH_E_USAGE, "top_p is %g; it must be above 0 and at most 1", how->top_p);
    return FINCH_OK;
}

static bool likelier(const candidate *a, const candidate *b)
{
    return a->logit > b->logit || (a->logit == b->logit && a->id < b->id);
}

static void swap(candidate *a, candidate *b)
{
    candidate kept = *a;
    *a = *b;
    *b = kept;
}

/* ---- a heap, the likeliest on top ------------------------------------------------------------------------------------ */

static void sink(candidate *c, size_t n, size_t at)
{
    for (size_t child; (child = 2 * at + 1) < n; at = child) {
        if (child + 1 < n && likelier(&c[child + 1], &c[child])) child++;
        if (!likelier(&c[child], &c[at])) return;
        swap(&c[child], &c[at]);
    }
}

static void make_heap(candidate *c, size_t n)
{
    for (size_t i = n / 2; i-- > 0;) sink(c, n, i);
}

/* Takes the top to the heap's end, which is then not part of it. */
static void pop(candidate *c, size_t *n)
{
    swap(&c[0], &c[--*n]);
    sink(c, *n, 0);
}

static void reverse(candidate *c, size_t n)
{
    for (size_t i = 0; i < n / 2; i++) swap(&c[i], &c[n - 1 - i]);
}

void sampling_sort_top(candidate *c, size_t n, size_t n_top)
{
    size_t left = n;
    make_heap(c, n);
    while (left > 0 && n - left < n_top) pop(c, &left);
    reverse(c, n);
}

/* ---- filters --------------------------------------------------------------------------------------------------------- */

/* The equals of the last one stay, as they do in the reference. */
static size_t keep_top_k(candidate *c, size_t n, size_t k)
{
    if (k == 0 || k >= n) return n;
    sampling_sort_top(c, n, k);
    size_t kept = k;
    for (size_t i = k; i < n; i++)
        if (c[i].logit == c[k - 1].logit) swap(&c[i], &c[kept++]);
    return kept;
}

static float largest(const candidate *c, size_t n)
{
    float most = c[0].logit;
    for (size_t i = 1; i < n; i++) most = c[i].logit > most ? c[i].logit : most;
    return most;
}

/* exp((logit - most) / temperature). */
static double weight(const candidate *c, float most, double temperature)
{
    return exp(((double)c->logit - (double)most) / temperature);
}

static double sum_weights(const candidate *c, size_t n, float most, double temperature)
{
    double sum = 0.0;
    for (size_t i = 0; i < n; i++) sum += weight(&c[i], most, temperature);
    return sum;
}

/* One stays as long as those likelier than it have less than p together. */
static size_t keep_top_p(candidate *c, size_t n, double p, double temperature)
{
    if (p >= 1.0) return n;
    float most = largest(c, n);
    double enough = p * sum_weights(c, n, most, temperature), sum = 0.0;
    size_t left = n;
    make_heap(c, n);
    while (left > 0 && (left == n || sum < enough)) {
        sum += weight(&c[0], most, temperature);
        pop(c, &left);
    }
    reverse(c, n);
    return n - left;
}

size_t sampling_filter(const sampling *how, candidate *c, size_t n)
{
    double temperature = how->temperature > 0.0 ? how->temperature : 1.0;
    return keep_top_p(c, keep_top_k(c, n, how->top_k), how->top_p, temperature);
}

/* ---- choosing -------------------------------------------------------------------------------------------------------- */

size_t sampling_choose(const sampling *how, candidate *c, size_t n, rng *r)
{
    size_t best = 0;
    if (how->temperature == 0.0) {
        for (size_t i = 1; i < n; i++)
            if (likelier(&c[i], &c[best])) best = i;
        return best;
    }
    n = sampling_filter(how, c, n);
    float most = largest(c, n);
    double left = rng_unit(r) * sum_weights(c, n, most, how->temperature);
    for (size_t i = 0; i < n; i++) {
        double own = weight(&c[i], most, how->temperature);
        if (own > 0.0) best = i;
        left -= own;
        if (left < 0.0) return i;
    }
    return best; /* rounding: the last that has any probability */
}

double sampling_log_sum(const candidate *c, size_t n)
{
    float most = largest(c, n);
    return (double)most + log(sum_weights(c, n, most, 1.0));
}
