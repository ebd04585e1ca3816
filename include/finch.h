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

/* A model: immutable, shared by threads. */
typedef struct finch_model finch_model;

/* The type of the layers' products. AUTO: int8 where the folder's weights are int8, else f32. BF16X3: each number as the sum
 * of two bf16, near to f32 and faster than it on CPUs with AMX. */
typedef enum finch_compute {
    FINCH_COMPUTE_AUTO,
    FINCH_COMPUTE_F32,
    FINCH_COMPUTE_BF16,
    FINCH_COMPUTE_INT8,
    FINCH_COMPUTE_BF16X3
} finch_compute;

/* folder  a model in Hugging Face layout with a classification head (BERT, MPNet), NUL-terminated.
 * *out is NULL on failure. Errors: FINCH_E_NOT_FOUND, FINCH_E_DATA, FINCH_E_UNSUPPORTED, FINCH_E_IO, FINCH_E_MEMORY. */
FINCH_API finch_status finch_model_open(const char *folder, finch_compute compute, finch_model **out, finch_error *err);
FINCH_API void finch_model_close(finch_model *model);
FINCH_API size_t finch_model_n_classes(const finch_model *model);
/* The name of a class, borrowed from the model; NULL for index >= finch_model_n_classes. */
FINCH_API const char *finch_model_label(const finch_model *model, size_t index);

/* A zeroed struct with size_bytes set takes every default; FINCH_SCORE_OPTIONS_DEFAULT is that. */
typedef struct finch_score_options {
    size_t size_bytes; /* sizeof (finch_score_options): new fields come at the end */
    size_t n_threads; /* 0: all of the machine's */
    size_t max_tokens; /* longer texts are cut; 0: as many as the model takes */
} finch_score_options;

#define FINCH_SCORE_OPTIONS_DEFAULT {sizeof(finch_score_options), 0, 0}

/* Class probabilities of texts, calibrated as the model's card says.
 * texts          [n_texts], borrowed during the call; empty texts, NUL bytes and invalid UTF-8 are legal.
 * options        NULL: all defaults.
 * probabilities  [n_texts, finch_model_n_classes(model)] row-major, each row sums to 1 within 1e-6.
 * sentiments     [n_texts] sum of probability x (id - 2) / 2 over the five-class ids, -1 to 1; or NULL.
 * Both outputs are undefined unless FINCH_OK. Threads: callers may share one model; each call has its own scratch.
 * Promise: a text's row does not depend on its neighbours, its place or the number of threads.
 * Errors: FINCH_E_USAGE, FINCH_E_DATA (err->row names the text), FINCH_E_MEMORY. */
FINCH_API finch_status finch_score(const finch_model *model, const finch_text *texts, size_t n_texts,
                                   const finch_score_options *options, float *probabilities, double *sentiments,
                                   finch_error *err);

#ifdef __cplusplus
}
#endif
#endif
