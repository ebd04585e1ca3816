/* A point as JSON text, without a tree between: an answer of thousands of points is mostly numbers, and printf's exact decimals of
 * doubles took longer than everything else in it. Numbers are written with 12 decimals (what is summed has 6). */
#include "store/history.h"

#include "base/clock.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

enum { DECIMALS = 12, NUMBER_BYTES = 40, POINT_BYTES = 1024 };

#define SCALE INT64_C(1000000000000)
#define FIXED_BELOW 1e6 /* times SCALE it is a whole number of 64 bits */

/* Returns how many bytes were written. */
static size_t put_whole(char *out, uint64_t value)
{
    char digits[24];
    size_t n = 0;
    do digits[n++] = (char)('0' + value % 10);
    while ((value /= 10) > 0);
    for (size_t i = 0; i < n; i++) out[i] = digits[n - 1 - i];
    return n;
}

static size_t put_real(char *out, double value)
{
    if (!isfinite(value)) return (size_t)snprintf(out, NUMBER_BYTES, "null");
    if (fabs(value) >= FIXED_BELOW) return (size_t)snprintf(out, NUMBER_BYTES, "%.17g", value);
    int64_t scaled = llround(fabs(value) * (double)SCALE);
    size_t n = 0;
    if (value < 0 && scaled > 0) out[n++] = '-';
    n += put_whole(out + n, (uint64_t)(scaled / SCALE));
    out[n++] = '.';
    int64_t rest = scaled % SCALE;
    for (size_t i = DECIMALS; i-- > 0; rest /= 10) out[n + i] = (char)('0' + rest % 10);
    size_t kept = DECIMALS;
    while (kept > 1 && out[n + kept - 1] == '0') kept--;
    return n + kept;
}

typedef struct pen_point {
    char text[POINT_BYTES]; /* all fields at their longest are shorter */
    size_t n;
} pen_point;

static void put_text(pen_point *p, const char *text)
{
    size_t n = strlen(text);
    memcpy(p->text + p->n, text, n);
    p->n += n;
}

static void put_named_real(pen_point *p, const char *name, double value)
{
    put_text(p, name);
    p->n += put_real(p->text + p->n, value);
}

static void put_named_count(pen_point *p, const char *name, int64_t value)
{
    put_text(p, name);
    p->n += put_whole(p->text + p->n, value > 0 ? (uint64_t)value : 0);
}

/* As values_time has it. */
static void put_named_time(pen_point *p, const char *name, int64_t ms)
{
    char seconds[32];
    int64_t whole = ms / 1000 - (ms % 1000 < 0), rest = ms - whole * 1000;
    clock_format_utc(whole, seconds, sizeof seconds);
    size_t n = strlen(seconds);
    put_text(p, name);
    if (ms == 0 || n == 0) {
        put_text(p, "null");
        return;
    }
    seconds[n - 1] = '\0'; /* the Z */
    char end[] = {'.', (char)('0' + rest / 100), (char)('0' + rest / 10 % 10), (char)('0' + rest % 10), 'Z', '"', '\0'};
    put_text(p, "\"");
    put_text(p, seconds);
    put_text(p, end);
}

finch_status history_point_write(const history_point *point, str *out, finch_error *err)
{
    pen_point p = {.n = 0};
    double seen = (double)point->n_seen;
    put_named_time(&p, "{\"start\":", point->start_ms);
    put_named_time(&p, ",\"end\":", point->end_ms);
    put_named_count(&p, ",\"count\":", point->n);
    put_named_count(&p, ",\"spam\":", point->n_spam);
    put_named_count(&p, ",\"near_duplicates\":", point->n_near_duplicates);
    put_named_real(&p, ",\"left_out_share\":", seen > 0 ? (seen - (double)point->n) / seen : NAN);
    put_named_real(&p, ",\"weight\":", point->weight);
    put_named_real(&p, ",\"mean\":", point->mean);
    put_named_real(&p, ",\"low\":", point->low);
    put_named_real(&p, ",\"high\":", point->high);
    put_named_real(&p, ",\"deviation\":", point->deviation);
    put_text(&p, ",\"shares\":{");
    for (size_t i = 0; i < HISTORY_CLASSES; i++) {
        put_text(&p, i > 0 ? ",\"" : "\"");
        put_text(&p, history_class_name(i));
        put_named_real(&p, "\":", point->share[i]);
    }
    put_text(&p, "}}");
    return str_add(out, p.text, p.n, err);
}
