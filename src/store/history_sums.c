/* Sums of whole numbers, and the figures that are made of them. */
#include "store/history_sums.h"

#include "store/values.h"

#include <math.h>

history_sums history_sums_of(int64_t score, int64_t w, int label, int sign)
{
    history_sums sums = {
        .n = sign,
        .s = sign * score,
        .sq = sign * ((score * score + 5000) / 10000),
        .w = sign * w,
        .w2 = sign * w * w,
        .ws = sign * w * score,
        .wsq = sign * ((w * (score * score) + 500000) / 1000000),
    };
    sums.c[label] = sign;
    sums.v[label] = sign * w;
    return sums;
}

void history_sums_add(history_sums *to, const history_sums *from)
{
    to->n += from->n;
    to->s += from->s;
    to->sq += from->sq;
    to->w += from->w;
    to->w2 += from->w2;
    to->ws += from->ws;
    to->wsq += from->wsq;
    for (size_t i = 0; i < HISTORY_CLASSES; i++) {
        to->c[i] += from->c[i];
        to->v[i] += from->v[i];
    }
}

void history_sums_read(history_sums *out, const sql_row *row, size_t column, bool by_reach)
{
    *out = (history_sums){.n = sql_row_integer(row, column)};
    int64_t *const plain[] = {&out->s, &out->sq}, *const weighted[] = {&out->w, &out->w2, &out->ws, &out->wsq};
    size_t n = by_reach ? 4 : 2;
    for (size_t i = 0; i < n; i++) *(by_reach ? weighted : plain)[i] = sql_row_integer(row, column + 1 + i);
    for (size_t i = 0; i < HISTORY_CLASSES; i++) (by_reach ? out->v : out->c)[i] = sql_row_integer(row, column + 1 + n + i);
}

const char *history_class_name(size_t index)
{
    static const char *const names[HISTORY_CLASSES] = {"STRONGLY_NEGATIVE", "NEGATIVE", "NEUTRAL", "POSITIVE",
                                                       "STRONGLY_POSITIVE"};
    return index < HISTORY_CLASSES ? names[index] : NULL;
}

/* ---- Student's t ---- */

/* The incomplete beta function's continued fraction (Abramowitz and Stegun 26.5.8) by Lentz's method. */
static double beta_fraction(double a, double b, double x)
{
    double c = 1, d = 1 / fmax(1 - (a + b) * x / (a + 1), 1e-300), value = d;
    for (int m = 1; m < 300; m++) {
        double even = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m));
        double odd = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1));
        d = 1 / (1 + even * d);
        c = 1 + even / c;
        value *= d * c;
        d = 1 / (1 + odd * d);
        c = 1 + odd / c;
        value *= d * c;
        if (fabs(d * c - 1) < 1e-15) break;
    }
    return value;
}

/* P(T > t) for t > 0: half the regularised incomplete beta function of df / (df + t^2). */
static double upper_tail(double t, double df)
{
    double a = df / 2, b = 0.5, x = df / (df + t * t);
    double front = exp(lgamma(a + b) - lgamma(a) - lgamma(b) + a * log(x) + b * log1p(-x));
    if (x < (a + 1) / (a + b + 2)) return 0.5 * front * beta_fraction(a, b, x) / a;
    return 0.5 * (1 - front * beta_fraction(b, a, 1 - x) / b);
}

static double density(double t, double df)
{
    return exp(lgamma((df + 1) / 2) - lgamma(df / 2) - 0.5 * log(df * M_PI) - (df + 1) / 2 * log1p(t * t / df));
}

/* The Cornish-Fisher expansion (Abramowitz and Stegun 26.7.5): good to 1e-9 from 60 degrees on, and where Newton's steps begin
 * below that. */
double history_t975(double df)
{
    static const double z = 1.959963984540054;
    static const double g[] = {2.372271230298562, 2.8224986157396112, 2.555849679507722, 1.5895340533938225};
    double t = z + g[0] / df + g[1] / (df * df) + g[2] / (df * df * df) + g[3] / (df * df * df * df);
    if (df >= 60) return t;
    for (int i = 0; i < 100; i++) {
        double step = (upper_tail(t, df) - 0.025) / density(t, df);
        t += step;
        /* The error after a step is about its square: a smaller bound than this is below the noise of upper_tail. */
        if (fabs(step) < 1e-8 * t) break;
    }
    return t;
}

/* ---- points ---- */

static void set_spread(history_point *point, double mean_square, double n_effective)
{
    if (!(n_effective >= 2)) return;
    double variance = fmax(mean_square - point->mean * point->mean, 0) * n_effective / (n_effective - 1);
    double error = sqrt(variance / n_effective), reach = history_t975(n_effective - 1) * error;
    point->deviation = sqrt(variance);
    point->low = point->mean - reach;
    point->high = point->mean + reach;
}

void history_point_set(history_point *point, const history_sums *sums, bool by_reach)
{
    double n = (double)sums->n, w = (double)sums->w;
    point->n = sums->n;
    point->weight = by_reach ? w : n;
    point->mean = point->low = point->high = point->deviation = NAN;
    for (size_t i = 0; i < HISTORY_CLASSES; i++) point->share[i] = NAN;
    if (sums->n <= 0) return;
    for (size_t i = 0; i < HISTORY_CLASSES; i++)
        point->share[i] = by_reach ? (double)sums->v[i] / w : (double)sums->c[i] / n;
    point->mean = by_reach ? (double)sums->ws / w / HISTORY_MICRO : (double)sums->s / n / HISTORY_MICRO;
    if (by_reach) set_spread(point, (double)sums->wsq / w * 1e-6, w * w / (double)sums->w2);
    else set_spread(point, (double)sums->sq / n * 1e-8, n);
}

json_t *history_point_json(const history_point *point)
{
    json_t *shares = json_object();
    int64_t seen = point->n_seen;
    for (size_t i = 0; i < HISTORY_CLASSES; i++)
        json_object_set_new(shares, history_class_name(i), values_real(point->share[i]));
    return json_pack("{s:o, s:o, s:I, s:I, s:I, s:o, s:f, s:o, s:o, s:o, s:o, s:o}", "start", values_time(point->start_ms),
                     "end", values_time(point->end_ms), "count", (json_int_t)point->n, "spam", (json_int_t)point->n_spam,
                     "near_duplicates", (json_int_t)point->n_near_duplicates, "left_out_share",
                     values_real(seen > 0 ? (double)(seen - point->n) / (double)seen : NAN), "weight", point->weight, "mean",
                     values_real(point->mean), "low", values_real(point->low), "high", values_real(point->high), "deviation",
                     values_real(point->deviation), "shares", shares);
}
