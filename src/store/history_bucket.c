/* Spans of time: fixed widths from a beginning in UTC, or calendar months. */
#include "store/history_sums.h"

#include <string.h>

/* 1970-01-01 was a Thursday: weeks begin four days later. */
#define WEEK_PHASE_MS (4 * (int64_t)HISTORY_DAY_MS)

static const struct {
    const char *word, *other;
    history_bucket bucket;
} known[] = {
    {"1m", "minute", {HISTORY_MINUTE_MS, 0}},
    {"5m", NULL, {5 * (int64_t)HISTORY_MINUTE_MS, 0}},
    {"15m", NULL, {15 * (int64_t)HISTORY_MINUTE_MS, 0}},
    {"1h", "hour", {HISTORY_HOUR_MS, 0}},
    {"4h", NULL, {4 * (int64_t)HISTORY_HOUR_MS, 0}},
    {"1d", "day", {HISTORY_DAY_MS, 0}},
    {"1w", "week", {7 * (int64_t)HISTORY_DAY_MS, WEEK_PHASE_MS}},
    {"1mo", "month", {0, 0}},
};

finch_status history_bucket_parse(const char *text, history_bucket *out, finch_error *err)
{
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++)
        if (strcmp(known[i].word, text) == 0 || (known[i].other != NULL && strcmp(known[i].other, text) == 0)) {
            *out = known[i].bucket;
            return FINCH_OK;
        }
    return finch_fail(err, FINCH_E_USAGE, "\"%.20s\" is no bucket; there are 1m, 5m, 15m, 1h, 4h, 1d, 1w and 1mo", text);
}

static int64_t floor_to(int64_t value, int64_t width)
{
    int64_t rest = value % width;
    return value - (rest < 0 ? rest + width : rest);
}

/* Days since 1970-01-01 of the first of a month counted from year 0: Howard Hinnant, "chrono-compatible low-level date
 * algorithms", days_from_civil. */
static int64_t days_of_month(int64_t month_index)
{
    int64_t year = floor_to(month_index, 12) / 12, month = month_index - year * 12 + 1;
    if (month <= 2) year--;
    int64_t era = floor_to(year, 400) / 400, year_of_era = year - era * 400;
    int64_t day_of_year = (153 * (month > 2 ? month - 3 : month + 9) + 2) / 5;
    return era * 146097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719468;
}

/* The month that a day lies in: an estimate that is at most one too far. */
static int64_t month_of_day(int64_t day)
{
    int64_t month = 1970 * 12 + floor_to(day * 12 * 400, 146097) / 146097 + 1;
    while (days_of_month(month) > day) month--;
    return month;
}

int64_t history_bucket_start(const history_bucket *bucket, int64_t time_ms)
{
    if (bucket->width_ms > 0) return floor_to(time_ms - bucket->phase_ms, bucket->width_ms) + bucket->phase_ms;
    return days_of_month(month_of_day(floor_to(time_ms, HISTORY_DAY_MS) / HISTORY_DAY_MS)) * HISTORY_DAY_MS;
}

int64_t history_bucket_next(const history_bucket *bucket, int64_t start_ms)
{
    if (bucket->width_ms > 0) return start_ms + bucket->width_ms;
    return days_of_month(month_of_day(floor_to(start_ms, HISTORY_DAY_MS) / HISTORY_DAY_MS) + 1) * HISTORY_DAY_MS;
}
