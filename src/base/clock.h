/* Time: monotonic for durations, wall for dates. */
#ifndef FINCH_BASE_CLOCK_H
#define FINCH_BASE_CLOCK_H

#include <stddef.h>
#include <stdint.h>

/* Seconds since an arbitrary start; never goes back. */
double clock_seconds(void);
/* Unix seconds. */
int64_t clock_unix(void);
/* "2026-11-23T19:30:05Z" into out, at least 21 bytes. */
void clock_format_utc(int64_t unix_seconds, char *out, size_t size);

#endif
