#include "label/values.h"

#include "base/clock.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* ---- dates ---- */

static const char months[] = "JanFebMarAprMayJunJulAugSepOctNovDec";

static bool take_number(const char **at, const char *end, size_t digits_min, size_t digits_max, int *out)
{
    size_t n = 0;
    int value = 0;
    while (*at + n < end && n < digits_max && isdigit((unsigned char)(*at)[n])) value = value * 10 + ((*at)[n++] - '0');
    if (n < digits_min) return false;
    *at += n;
    *out = value;
    return true;
}

static bool take_char(const char **at, const char *end, char wanted)
{
    if (*at == end || **at != wanted) return false;
    (*at)++;
    return true;
}

static bool take_month(const char **at, const char *end, int *out)
{
    if (end - *at < 3) return false;
    for (int i = 0; i < 12; i++)
        if (memcmp(months + 3 * i, *at, 3) == 0) {
            *at += 3;
            *out = i;
            return true;
        }
    return false;
}

static bool take_time(const char **at, const char *end, struct tm *t)
{
    return take_number(at, end, 2, 2, &t->tm_hour) && take_char(at, end, ':') && take_number(at, end, 2, 2, &t->tm_min) &&
           take_char(at, end, ':') && take_number(at, end, 2, 2, &t->tm_sec);
}

/* Days since 1970 of a date of the Gregorian calendar. */
static int64_t days_of(int64_t year, int64_t month, int64_t day)
{
    int64_t y = month < 2 ? year - 1 : year, era = y / 400, year_of_era = y - era * 400;
    int64_t day_of_year = (153 * ((month + 10) % 12) + 2) / 5 + day - 1;
    return era * 146097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719468;
}

static bool to_unix(const struct tm *t, int64_t *out)
{
    static const int month_days[] = {31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    if (t->tm_year < 1900 || t->tm_mday < 1 || t->tm_mday > month_days[t->tm_mon] || t->tm_hour > 23 || t->tm_min > 59 ||
        t->tm_sec > 60)
        return false;
    *out = days_of(t->tm_year, t->tm_mon, t->tm_mday) * 86400 + t->tm_hour * 3600 + t->tm_min * 60 + t->tm_sec;
    return true;
}

/* "06 Nov 1994 08:49:37 GMT", also with '-' between the date's parts and a year of two digits. */
static bool read_day_first(const char *at, const char *end, struct tm *t)
{
    char between;
    if (!take_number(&at, end, 2, 2, &t->tm_mday) || at == end) return false;
    between = *at;
    if ((between != ' ' && between != '-') || !take_char(&at, end, between) || !take_month(&at, end, &t->tm_mon) ||
        !take_char(&at, end, between) || !take_number(&at, end, 2, 4, &t->tm_year))
        return false;
    if (t->tm_year < 100) t->tm_year += t->tm_year < 70 ? 2000 : 1900;
    return take_char(&at, end, ' ') && take_time(&at, end, t) && end - at == 4 && memcmp(at, " GMT", 4) == 0;
}

/* "Nov  6 08:49:37 1994" */
static bool read_month_first(const char *at, const char *end, struct tm *t)
{
    if (!take_month(&at, end, &t->tm_mon) || !take_char(&at, end, ' ')) return false;
    (void)take_char(&at, end, ' ');
    return take_number(&at, end, 1, 2, &t->tm_mday) && take_char(&at, end, ' ') && take_time(&at, end, t) &&
           take_char(&at, end, ' ') && take_number(&at, end, 4, 4, &t->tm_year) && at == end;
}

bool values_http_date(const char *at, size_t size, int64_t *out)
{
    struct tm t = {0};
    const char *end = at + size, *comma = memchr(at, ',', size);
    while (end > at && (end[-1] == ' ' || end[-1] == '\t')) end--;
    bool read;
    if (comma != NULL) read = end - comma > 2 && comma[1] == ' ' && read_day_first(comma + 2, end, &t);
    else read = end - at > 4 && at[3] == ' ' && read_month_first(at + 4, end, &t);
    return read && to_unix(&t, out);
}

/* ---- Retry-After ---- */

static bool read_seconds(const char *at, size_t size, double *out)
{
    char text[32], *end = NULL;
    if (size == 0 || size >= sizeof text || !isdigit((unsigned char)at[0])) return false;
    for (size_t i = 0; i < size; i++)
        if (!isdigit((unsigned char)at[i]) && at[i] != '.') return false;
    memcpy(text, at, size);
    text[size] = '\0';
    *out = strtod(text, &end);
    return *end == '\0';
}

bool values_retry_after(const char *at, size_t size, int64_t server_now, double *seconds)
{
    double wait;
    int64_t date;
    while (size > 0 && (at[0] == ' ' || at[0] == '\t')) at++, size--;
    while (size > 0 && (at[size - 1] == ' ' || at[size - 1] == '\t')) size--;
    if (!read_seconds(at, size, &wait)) {
        if (!values_http_date(at, size, &date)) return false;
        wait = (double)(date - (server_now >= 0 ? server_now : clock_unix()));
    }
    *seconds = wait < 0 ? 0 : wait > VALUES_WAIT_MAX_SECONDS ? VALUES_WAIT_MAX_SECONDS : wait;
    return true;
}

/* ---- classes ---- */

static const char *const class_names[] = {"STRONGLY_NEGATIVE", "NEGATIVE", "NEUTRAL", "POSITIVE", "STRONGLY_POSITIVE"};

const char *values_class_name(int id) { return id >= 0 && id < 5 ? class_names[id] : ""; }

static bool same_name(const char *at, size_t size, const char *name)
{
    if (strlen(name) != size) return false;
    for (size_t i = 0; i < size; i++) {
        int c = toupper((unsigned char)at[i]);
        if ((c == ' ' || c == '-') && name[i] == '_') c = '_';
        if (c != name[i]) return false;
    }
    return true;
}

int values_class(const char *at, size_t size)
{
    while (size > 0 && isspace((unsigned char)at[0])) at++, size--;
    while (size > 0 && isspace((unsigned char)at[size - 1])) size--;
    for (int i = 0; i < 5; i++)
        if (same_name(at, size, class_names[i])) return i;
    return -1;
}

/* ---- lines ---- */

size_t values_character(const unsigned char *at, size_t size)
{
    size_t n = at[0] < 0x80                    ? 1
               : at[0] >= 0xC2 && at[0] < 0xE0 ? 2
               : at[0] >= 0xE0 && at[0] < 0xF0 ? 3
               : at[0] >= 0xF0 && at[0] < 0xF5 ? 4
                                               : 0;
    if (n == 0 || n > size) return 0;
    for (size_t i = 1; i < n; i++)
        if ((at[i] & 0xC0u) != 0x80u) return 0;
    if (n == 3 && ((at[0] == 0xE0 && at[1] < 0xA0) || (at[0] == 0xED && at[1] >= 0xA0))) return 0;
    if (n == 4 && ((at[0] == 0xF0 && at[1] < 0x90) || (at[0] == 0xF4 && at[1] >= 0x90))) return 0;
    return n;
}

void values_line(const char *at, size_t size, char *out, size_t out_size)
{
    size_t n_out = 0;
    bool blank = true; /* none at the beginning */
    for (size_t i = 0, n; i < size; i += n) {
        const unsigned char *c = (const unsigned char *)at + i;
        n = values_character(c, size - i);
        bool space = n == 1 && (c[0] <= ' ' || c[0] == 0x7F);
        bool control = n == 2 && c[0] == 0xC2 && c[1] < 0xA0;
        if (n == 0 || control || (space && blank)) {
            n = n == 0 ? 1 : n;
            continue;
        }
        if (n_out + n + 1 > out_size) break;
        if (space) out[n_out] = ' ';
        else memcpy(out + n_out, c, n);
        n_out += n;
        blank = space;
    }
    while (n_out > 0 && out[n_out - 1] == ' ') n_out--;
    if (out_size > 0) out[n_out] = '\0';
}
