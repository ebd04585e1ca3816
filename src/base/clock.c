#include "base/clock.h"

#include <time.h>

double clock_seconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

int64_t clock_unix(void) { return (int64_t)time(NULL); }

void clock_format_utc(int64_t unix_seconds, char *out, size_t size)
{
    time_t seconds = (time_t)unix_seconds;
    struct tm parts;
    if (gmtime_r(&seconds, &parts) == NULL || strftime(out, size, "%Y-%m-%dT%H:%M:%SZ", &parts) == 0) {
        if (size > 0) out[0] = '\0';
    }
}
