/* finch: market sentiment of financial tweets. The public C API; nothing else is installed.
 *
 * Conventions
 *  - Every call that can fail returns finch_status and fills the caller's finch_error (may be NULL).
 *  - Out-parameters are defined on every path: on failure they are NULL or untouched, as each call says.
 *  - The library never prints, exits or aborts. It holds no global state but constant tables.
 *  - Texts are UTF-8 with a length; NUL bytes and invalid UTF-8 are legal input.
 *  - close/destroy take NULL and half-built objects.
 */
#ifndef FINCH_H
#define FINCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#if defined(__GNUC__)
#define FINCH_API __attribute__((visibility("default")))
#define FINCH_PRINTF(format_at, args_at) __attribute__((format(printf, format_at, args_at)))
#else
#define FINCH_API
#define FINCH_PRINTF(format_at, args_at)
#endif

#define FINCH_VERSION "0.1.0"

/* clang-format off */
/*         name           exit http retry  text */
#define FINCH_STATUS_LIST(X)                                                            \
    X(OK,            0,   200, false, "done")                                           \
    X(E_FAILED,      1,   500, false, "the operation failed")                           \
    X(E_USAGE,       2,   400, false, "the call is not possible as written")            \
    X(E_DATA,        3,   422, false, "the input is malformed")                         \
    X(E_UNSUPPORTED, 3,   415, false, "the input is well formed but not supported")     \
    X(E_NOT_FOUND,   1,   404, false, "no such file, model or entry")                   \
    X(E_IO,          1,   500, false, "reading or writing failed")                      \
    X(E_MEMORY,      1,   503, true,  "out of memory")                                  \
    X(E_BUSY,        1,   503, true,  "no capacity at the moment")                      \
    X(E_REMOTE,      4,   502, true,  "the remote service failed")                      \
    X(E_CANCELLED,   130, 499, false, "interrupted")
/* clang-format on */

typedef enum finch_status {
#define FINCH_STATUS_ENUM(name, exit_code, http, retry, text) FINCH_##name,
    FINCH_STATUS_LIST(FINCH_STATUS_ENUM)
#undef FINCH_STATUS_ENUM
        FINCH_STATUS_COUNT
} finch_status;

/* What failed, where, and what to do. Fixed size, owned by the caller, no allocation on the error path.
 * row      1-based row (or line) of the input that caused it; 0 where none applies.
 * message  UTF-8, NUL-terminated, one line. */
typedef struct finch_error {
    finch_status status;
    uint64_t row;
    char message[1000];
} finch_error;

FINCH_API const char *finch_version(void);
FINCH_API const char *finch_status_name(finch_status status);
FINCH_API const char *finch_status_text(finch_status status);
FINCH_API int finch_status_exit_code(finch_status status);
FINCH_API int finch_status_http(finch_status status);
FINCH_API bool finch_status_retry(finch_status status);

/* A text: UTF-8 bytes and their number, borrowed during the call. */
typedef struct finch_text {
    const char *at;
    size_t size_bytes;
} finch_text;

#ifdef __cplusplus
}
#endif
#endif
