#include "serve/when.h"

#include <stddef.h>
#include <string.h>

/* Days since 1970-01-01 of a date of the Gregorian calendar (Howard Hinnant, "chrono-compatible low-level date algorithms"). */
static int64_t days_of(int64_t year, int64_t month, int64_t day)
{
    int64_t y = month <= 2 ? year - 1 : year, era = (y >= 0 ? y : y - 399) / 400, in_era = y - era * 400;
    int64_t in_year = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1;
    return era * 146097 + in_era * 365 + in_era / 4 - in_era / 100 + in_year - 719468;
}

/* n digits as a number; *at moves behind them. */
static bool take_digits(const char **at, size_t n, int64_t *out)
{
    *out = 0;
    for (size_t i = 0; i < n; i++) {
        if ((*at)[i] < '0' || (*at)[i] > '9') return false;
        *out = *out * 10 + ((*at)[i] - '0');
    }
    *at += n;
    return true;
}

static bool take_char(const char **at, char c)
{
    if (**at != c) return false;
    ++*at;
    return true;
}

static bool take_date(const char **at, int64_t *days)
{
    static const int64_t lengths[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    int64_t year, month, day;
    if (!take_digits(at, 4, &year) || !take_char(at, '-') || !take_digits(at, 2, &month) || !take_char(at, '-') ||
        !take_digits(at, 2, &day))
        return false;
    if (year < 1 || month < 1 || month > 12 || day < 1) return false;
    bool leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
    if (day > lengths[month - 1] + (month == 2 && leap ? 1 : 0)) return false;
    *days = days_of(year, month, day);
    return true;
}

static bool take_clock(const char **at, int64_t *ms)
{
    int64_t hour, minute, second = 0, digit, scale = 100;
    if (!take_digits(at, 2, &hour) || !take_char(at, ':') || !take_digits(at, 2, &minute) || hour > 23 || minute > 59)
        return false;
    if (take_char(at, ':') && (!take_digits(at, 2, &second) || second > 60)) return false;
    *ms = ((hour * 60 + minute) * 60 + second) * 1000;
    if (**at != '.' && **at != ',') return true;
    ++*at;
    if (**at < '0' || **at > '9') return false;
    for (; take_digits(at, 1, &digit); scale /= 10) *ms += digit * scale;
    return true;
}

/* Z, +01:00, -0530, or nothing. */
static bool take_zone(const char **at, int64_t *ms)
{
    int64_t hours, minutes;
    *ms = 0;
    if (**at == '\0' || take_char(at, 'Z') || take_char(at, 'z')) return true;
    char sign = **at;
    if (sign != '+' && sign != '-' && sign != ' ') return false; /* a + of a query that was not escaped is a space */
    ++*at;
    if (!take_digits(at, 2, &hours)) return false;
    (void)take_char(at, ':');
    if (!take_digits(at, 2, &minutes) || hours > 14 || minutes > 59) return false;
    *ms = (hours * 60 + minutes) * 60000 * (sign == '-' ? -1 : 1);
    return true;
}

static bool parse_unix(const char *text, size_t n, int64_t *ms)
{
    const char *at = text;
    if (n == 0 || n > 13 || !take_digits(&at, n, ms)) return false;
    if (n <= 11) *ms *= 1000;
    return true;
}

bool when_parse(const char *text, int64_t *ms)
{
    const char *at = text;
    int64_t days, clock = 0, zone = 0;
    size_t n = strspn(text, "0123456789");
    if (text[n] == '\0') return parse_unix(text, n, ms);
    if (!take_date(&at, &days)) return false;
    if (*at == 'T' || *at == 't' || (*at == ' ' && at[1] != '\0')) {
        ++at;
        if (!take_clock(&at, &clock) || !take_zone(&at, &zone)) return false;
    }
    if (*at != '\0') return false;
    *ms = days * 86400000 + clock - zone;
    return true;
}
