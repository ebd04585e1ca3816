/* Time: monotonic for durations, wall for dates. */
#ifndef FINCH_BASE_CLOCK_H
#define FINCH_BASE_CLOCK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <time.h>

/* Seconds since an arbitrary start; never goes back. */
double clock_seconds(void);
/* Unix seconds, and milliseconds. */
int64_t clock_unix(void);
int64_t clock_unix_ms(void);
/* The moment that many seconds from now on a clock, as pthread_cond_timedwait takes it: the clock of the condition, which is
 * CLOCK_REALTIME where nothing else was set. Below 0 is now. */
struct timespec clock_after(clockid_t clock, double seconds);
/* Sleeps all of it, also where signals come meanwhile. */
void clock_sleep(double seconds);
/* Sleeps, but no longer than until a signal's handler has run. */
void clock_sleep_or_signal(double seconds);
/* "2026-11-23T19:30:05Z" into out, at least 21 bytes. */
void clock_format_utc(int64_t unix_seconds, char *out, size_t size);

/* "2026-11-27", "2026-11-27T05:07Z", "2026-11-27T05:07:14.123+02:00" as Unix milliseconds; a space may stand for the T, and
 * where no zone is written UTC is meant. False, and *out_ms untouched, where the text is nothing of the kind or the year is not
 * 1970 to 9999. */
bool clock_parse_utc(const char *text, size_t size, int64_t *out_ms);

#endif
