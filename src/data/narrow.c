#include "data/narrow.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

enum { REAL_MAX_BYTES = 17, SURE_EXPONENT_DIGITS = 2, DATE_BYTES = 10, TIME_BYTES = 19, FRACTION_DIGITS = 6 };

static size_t digits(const char *at, size_t size)
{
    size_t n = 0;
    while (n < size && at[n] >= '0' && at[n] <= '9') n++;
    return n;
}

/* The length of -?(0|[1-9][0-9]*) at the start; 0 where it does not stand there. */
static size_t whole_part(const char *value, size_t size)
{
    size_t sign = size > 0 && value[0] == '-', n = digits(value + sign, size - sign);
    if (n == 0) return 0;
    return sign + (value[sign] == '0' ? 1 : n);
}

/* In one pass: most values of a table are whole numbers. */
bool narrow_integer(const char *value, size_t size, int64_t *out)
{
    enum { SURE_DIGITS = 18, MOST_DIGITS = 19 };
    bool negative = size > 0 && value[0] == '-';
    size_t n_digits = size - negative;
    uint64_t n = 0;
    if (n_digits == 0 || n_digits > MOST_DIGITS || (value[negative] == '0' && size > 1)) return false;
    for (size_t i = negative; i < size; i++) {
        unsigned digit = (unsigned char)value[i] - (unsigned)'0';
        if (digit > 9) return false;
        n = n * 10 + digit;
    }
    *out = (int64_t)(negative ? 0 - n : n);
    if (n_digits <= SURE_DIGITS) return true;
    return memcmp(value + negative, negative ? "9223372036854775808" : "9223372036854775807", MOST_DIGITS) <= 0;
}

static bool is_integer(const char *value, size_t size)
{
    int64_t ignored;
    return narrow_integer(value, size, &ignored);
}

static narrow_set real_of(const char *value, size_t size)
{
    size_t at = whole_part(value, size);
    if (at == 0 || size > REAL_MAX_BYTES) return 0;
    if (at < size && value[at] == '.') {
        size_t n = digits(value + at + 1, size - at - 1);
        if (n == 0) return 0;
        at += 1 + n;
    }
    if (at == size) return 1u << NARROW_REAL;
    if (value[at] != 'e' && value[at] != 'E') return 0;
    at++;
    if (at < size && (value[at] == '-' || value[at] == '+')) at++;
    size_t n = digits(value + at, size - at);
    if (n == 0 || at + n != size) return 0;
    return n <= SURE_EXPONENT_DIGITS ? 1u << NARROW_REAL : NARROW_UNSURE;
}

static unsigned number(const char *at, size_t n)
{
    unsigned value = 0;
    for (size_t i = 0; i < n; i++) value = value * 10 + (unsigned)(at[i] - '0');
    return value;
}

/* YYYY-MM-DD: 1 a day of the calendar, 0 none, -1 of a year that only DuckDB knows. */
static int date_at(const char *at)
{
    static const unsigned char days[] = {31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    if (digits(at, 4) != 4 || at[4] != '-' || digits(at + 5, 2) != 2 || at[7] != '-' || digits(at + 8, 2) != 2) return 0;
    unsigned year = number(at, 4), month = number(at + 5, 2), day = number(at + 8, 2);
    if (year == 0) return -1;
    if (month < 1 || month > 12 || day < 1 || day > days[month - 1]) return 0;
    bool leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
    return month == 2 && day == 29 && !leap ? 0 : 1;
}

static narrow_set date_of(const char *value, size_t size)
{
    if (size != DATE_BYTES) return 0;
    int date = date_at(value);
    return date > 0 ? 1u << NARROW_DATE : date < 0 ? NARROW_UNSURE : 0;
}

static narrow_set time_of(const char *value, size_t size)
{
    if (size < TIME_BYTES || (value[10] != ' ' && value[10] != 'T')) return 0;
    const char *at = value + 11;
    if (digits(at, 2) != 2 || at[2] != ':' || digits(at + 3, 2) != 2 || at[5] != ':' || digits(at + 6, 2) != 2) return 0;
    size_t fraction = size - TIME_BYTES;
    if (fraction > 0 && (value[TIME_BYTES] != '.' || fraction < 2 || fraction > 1 + FRACTION_DIGITS ||
                         digits(value + TIME_BYTES + 1, fraction - 1) != fraction - 1))
        return 0;
    int date = date_at(value);
    if (date <= 0) return date < 0 ? NARROW_UNSURE : 0;
    bool usual = number(at, 2) <= 23 && number(at + 3, 2) <= 59 && number(at + 6, 2) <= 59;
    return usual ? 1u << NARROW_TIME : NARROW_UNSURE;
}

static bool is_boolean(const char *value, size_t size)
{
    return (size == 4 && strncasecmp(value, "true", 4) == 0) || (size == 5 && strncasecmp(value, "false", 5) == 0);
}

narrow_set narrow_of(const char *value, size_t size, narrow_set asked)
{
    narrow_set found = 0;
    if (size == 0) return 0;
    if (asked & 1u << NARROW_INTEGER) found |= is_integer(value, size) ? 1u << NARROW_INTEGER : 0;
    if (asked & 1u << NARROW_REAL) found |= real_of(value, size);
    if (asked & 1u << NARROW_BOOLEAN) found |= is_boolean(value, size) ? 1u << NARROW_BOOLEAN : 0;
    if (asked & 1u << NARROW_DATE) found |= date_of(value, size);
    if (asked & 1u << NARROW_TIME) found |= time_of(value, size);
    return found & NARROW_UNSURE ? NARROW_UNSURE : found;
}

/* ---- values ---- */

static bool is_of(const char *value, size_t size, narrow type) { return narrow_of(value, size, 1u << type) == 1u << type; }

bool narrow_real(const char *value, size_t size, double *out)
{
    char text[REAL_MAX_BYTES + 1] = {0};
    if (!is_of(value, size, NARROW_REAL)) return false;
    memcpy(text, value, size);
    *out = strtod(text, NULL);
    return true;
}

bool narrow_boolean(const char *value, size_t size, bool *out)
{
    *out = size == 4;
    return is_boolean(value, size);
}

/* Since 1970-01-01, of YYYY-MM-DD: Howard Hinnant, chrono-compatible low-level date algorithms, days_from_civil. */
static int32_t days_at(const char *at)
{
    int32_t year = (int32_t)number(at, 4), month = (int32_t)number(at + 5, 2), day = (int32_t)number(at + 8, 2);
    if (month <= 2) year--; /* a year begins in March, so that the leap day ends it */
    int32_t era = year / 400, of_era = year % 400, of_year = (153 * (month > 2 ? month - 3 : month + 9) + 2) / 5 + day - 1;
    return era * 146097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719468;
}

bool narrow_days(const char *value, size_t size, int32_t *out)
{
    if (!is_of(value, size, NARROW_DATE)) return false;
    *out = days_at(value);
    return true;
}

bool narrow_microseconds(const char *value, size_t size, int64_t *out)
{
    if (!is_of(value, size, NARROW_TIME)) return false;
    int64_t seconds = (int64_t)days_at(value) * 86400 + number(value + 11, 2) * 3600 + number(value + 14, 2) * 60 +
                      number(value + 17, 2);
    int64_t fraction = 0;
    for (size_t i = 0; i < FRACTION_DIGITS; i++) {
        size_t at = TIME_BYTES + 1 + i;
        fraction = fraction * 10 + (at < size ? value[at] - '0' : 0);
    }
    *out = seconds * 1000000 + fraction;
    return true;
}
