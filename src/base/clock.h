/* Time: monotonic for durations, wall for dates. */
#ifndef FINCH_BASE_CLOCK_H
#define FINCH_BASE_CLOCK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Seconds since an arbitrary start; never goes back. */
double clock_seconds(void);
/* Unix seconds. */
int64_t clock_unix(void);
/* "2026-11-23T19:30:05Z" into out, at least 21 bytes. */
void clock_format_utc(int64_t unix_seconds, char *out, size_t size);

/* "2026-11-27", "2026-11-27T05:07Z", "2026-11-27T05:07:14.123+02:00" as Unix milliseconds; a space may stand for the T, and
 * where no zone is written UTC is meant. False, and *out_ms untouched, where the text is nothing of the kind or the year is not
 * 1970 to 9999. */
bool clock_parse_utc(const char *text, size_t size, int64_t *out_ms);

#endif
