#include "base/clock.h"

#include <errno.h>

double clock_seconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

int64_t clock_unix(void) { return (int64_t)time(NULL); }

int64_t clock_unix_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

struct timespec clock_after(clockid_t clock, double seconds)
{
    struct timespec at;
    clock_gettime(clock, &at);
    if (!(seconds > 0)) return at;
    time_t whole = (time_t)seconds;
    at.tv_sec += whole;
    at.tv_nsec += (long)((seconds - (double)whole) * 1e9);
    at.tv_sec += at.tv_nsec / 1000000000L;
    at.tv_nsec %= 1000000000L;
    return at;
}

/* To a moment and not for a span, so that signals, however many, make it no longer. */
void clock_sleep(double seconds)
{
    struct timespec until = clock_after(CLOCK_MONOTONIC, seconds);
    while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, NULL) == EINTR) {}
}

void clock_sleep_or_signal(double seconds)
{
    struct timespec until = clock_after(CLOCK_MONOTONIC, seconds);
    clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, NULL);
}

void clock_format_utc(int64_t unix_seconds, char *out, size_t size)
{
    time_t seconds = (time_t)unix_seconds;
    struct tm parts;
    if (gmtime_r(&seconds, &parts) == NULL || strftime(out, size, "%Y-%m-%dT%H:%M:%SZ", &parts) == 0) {
        if (size > 0) out[0] = '\0';
    }
}

/* ---- reading a date ---- */

typedef struct date_text {
    const char *at, *end;
} date_text;

static bool take_char(date_text *t, const char *any)
{
    for (; *any != '\0'; any++)
        if (t->at < t->end && *t->at == *any) {
            t->at++;
            return true;
        }
    return false;
}

/* Exactly n_digits; value within [least, most]. */
static bool take_number(date_text *t, int n_digits, int least, int most, int *out)
{
    int value = 0;
    for (int i = 0; i < n_digits; i++, t->at++) {
        if (t->at == t->end || *t->at < '0' || *t->at > '9') return false;
        value = value * 10 + (*t->at - '0');
    }
    *out = value;
    return value >= least && value <= most;
}

/* Digits after the point; those past the third are read over. */
static bool take_fraction(date_text *t, int *out_ms)
{
    int n = 0, weight = 100;
    *out_ms = 0;
    if (!take_char(t, ".")) return true;
    for (; t->at < t->end && *t->at >= '0' && *t->at <= '9'; t->at++, n++, weight /= 10) *out_ms += (*t->at - '0') * weight;
    return n > 0 && n <= 9;
}

static bool take_zone(date_text *t, int *out_minutes)
{
    int hours, minutes;
    *out_minutes = 0;
    if (t->at == t->end || take_char(t, "Zz")) return true;
    int sign = *t->at == '-' ? -1 : 1;
    if (!take_char(t, "+-") || !take_number(t, 2, 0, 14, &hours)) return false;
    take_char(t, ":");
    if (!take_number(t, 2, 0, 59, &minutes)) return false;
    *out_minutes = sign * (hours * 60 + minutes);
    return true;
}

static bool take_time(date_text *t, struct tm *parts, int *ms, int *zone_minutes)
{
    if (!take_char(t, "Tt ")) return false;
    if (!take_number(t, 2, 0, 23, &parts->tm_hour) || !take_char(t, ":") || !take_number(t, 2, 0, 59, &parts->tm_min))
        return false;
    if (take_char(t, ":") && (!take_number(t, 2, 0, 59, &parts->tm_sec) || !take_fraction(t, ms))) return false;
    return take_zone(t, zone_minutes);
}

bool clock_parse_utc(const char *text, size_t size, int64_t *out_ms)
{
    date_text t = {text, text + size};
    struct tm parts = {.tm_sec = 0};
    int year, month, day, ms = 0, zone_minutes = 0;
    if (!take_number(&t, 4, 1970, 9999, &year) || !take_char(&t, "-") || !take_number(&t, 2, 1, 12, &month) ||
        !take_char(&t, "-") || !take_number(&t, 2, 1, 31, &day))
        return false;
    if (t.at < t.end && !take_time(&t, &parts, &ms, &zone_minutes)) return false;
    parts.tm_year = year - 1900;
    parts.tm_mon = month - 1;
    parts.tm_mday = day;
    time_t seconds = timegm(&parts);
    if (t.at != t.end || parts.tm_mday != day) return false; /* the 31st of a shorter month */
    int64_t result = ((int64_t)seconds - zone_minutes * 60) * 1000 + ms;
    if (result < 0) return false;
    *out_ms = result;
    return true;
}
