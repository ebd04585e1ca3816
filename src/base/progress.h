/* Progress and cancellation of long calls. The library reports, the program renders.
 * done/total  in units of the call's own (rows, steps, bytes); total is 0 where it is not known yet.
 * note        NUL-terminated extra for people ("loss 0.412"), borrowed during the call; may be NULL.
 * The callback runs on the thread that made the long call, at most a few times a second; returning false asks the call
 * to stop: it then ends with FINCH_E_CANCELLED and leaves no half output. */
#ifndef FINCH_BASE_PROGRESS_H
#define FINCH_BASE_PROGRESS_H

#include <stdbool.h>
#include <stdint.h>

typedef bool (*progress_fn)(void *context, uint64_t done, uint64_t total, const char *note);

typedef struct progress {
    progress_fn report; /* NULL: nobody listens, nothing stops */
    void *context;
} progress;

static inline bool progress_report(const progress *p, uint64_t done, uint64_t total, const char *note)
{
    return p == (const progress *)0 || p->report == (progress_fn)0 || p->report(p->context, done, total, note);
}

#endif
