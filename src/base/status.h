/* Failing with a reason, and passing failures up. Source of the codes: FINCH_STATUS_LIST in finch.h. */
#ifndef FINCH_BASE_STATUS_H
#define FINCH_BASE_STATUS_H

#include "finch.h"

#include <stdarg.h>

/* Fills err (may be NULL) and returns status. The message says what, where and the remedy; it is cut at the
 * size of finch_error.message on a UTF-8 boundary. */
finch_status finch_fail(finch_error *err, finch_status status, const char *format, ...) FINCH_PRINTF(3, 4);

/* The same with the 1-based row of the input. */
finch_status finch_fail_row(finch_error *err, finch_status status, uint64_t row, const char *format, ...) FINCH_PRINTF(4, 5);

/* Adds "prefix: " before the message of a failure on its way up, as when a file's name is known only to the caller.
 * Returns err->status (FINCH_E_FAILED where err is NULL). */
finch_status finch_fail_prefix(finch_error *err, const char *format, ...) FINCH_PRINTF(2, 3);

#ifdef __clang_analyzer__
/* The analyser does not look into another file; it has to know that a failure is never FINCH_OK. */
#define finch_fail(err, status, ...) ((void)finch_fail(err, status, __VA_ARGS__), (status))
#define finch_fail_row(err, status, row, ...) ((void)finch_fail_row(err, status, row, __VA_ARGS__), (status))
#define finch_fail_prefix(err, ...) ((void)finch_fail_prefix(err, __VA_ARGS__), FINCH_E_FAILED)
#endif

/* Leaves the function with the callee's status where it failed. */
#define FINCH_TRY(call)                                            \
    do {                                                           \
        finch_status finch_try_status = (call);                    \
        if (finch_try_status != FINCH_OK) return finch_try_status; \
    } while (0)

/* The same for functions with something to release: st keeps the status, label releases. */
#define FINCH_GO(label, st, call)         \
    do {                                  \
        (st) = (call);                    \
        if ((st) != FINCH_OK) goto label; \
    } while (0)

#endif
