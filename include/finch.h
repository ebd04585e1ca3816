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

typedef struct finch_model_info {
    size_t size_bytes; /* sizeof (finch_model_info), set by the caller: no field past it is written */
    const char *architecture; /* "bert", "mpnet", "gemma3"; static */
    finch_compute compute; /* never AUTO */
    float temperature; /* of the calibration in the model's card; 1 where it has none */
    size_t n_classes;
    size_t max_tokens; /* that a text may have, special tokens counted */
    size_t vocab_size; /* token ids are below it */
} finch_model_info;

/* Errors: FINCH_E_USAGE (no size_bytes); *info is then untouched. */
FINCH_API finch_status finch_model_get_info(const finch_model *model, finch_model_info *info, finch_error *err);

/* What a row of finch_score holds: probabilities calibrated as the model's card says, or the classifier's bare outputs. */
typedef enum finch_output { FINCH_OUTPUT_PROBABILITIES, FINCH_OUTPUT_LOGITS } finch_output;

/* A zeroed struct with size_bytes set takes every default; FINCH_SCORE_OPTIONS_DEFAULT is that. */
typedef struct finch_score_options {
    size_t size_bytes; /* sizeof (finch_score_options): new fields come at the end */
    size_t n_threads; /* 0: all of the machine's */
    size_t max_tokens; /* longer texts are cut; 0: as many as the model takes */
    finch_output output;
} finch_score_options;

#define FINCH_SCORE_OPTIONS_DEFAULT {sizeof(finch_score_options), 0, 0, FINCH_OUTPUT_PROBABILITIES}

/* Class probabilities of texts, calibrated as the model's card says.
 * texts          [n_texts], borrowed during the call; empty texts, NUL bytes and invalid UTF-8 are legal.
 * options        NULL: all defaults.
 * probabilities  [n_texts, finch_model_n_classes(model)] row-major, each row sums to 1 within 1e-6; logits where the options
 *                say so.
 * sentiments     [n_texts] sum of probability x (id - 2) / 2 over the five-class ids, -1 to 1; or NULL, as it must be beside
 *                logits.
 * Both outputs are undefined unless FINCH_OK. Threads: callers may share one model; each call has its own scratch.
 * Promise: a text's row does not depend on its neighbours, its place or the number of threads.
 * Errors: FINCH_E_USAGE, FINCH_E_DATA (err->row names the text), FINCH_E_MEMORY. */
FINCH_API finch_status finch_score(const finch_model *model, const finch_text *texts, size_t n_texts,
                                   const finch_score_options *options, float *probabilities, double *sentiments,
                                   finch_error *err);

/* Token ids take two calls: the first says where each text's tokens begin, the second writes them there.
 * options    as for finch_score; output is not looked at.
 * offsets    [n_texts + 1], from 0 to the number of all tokens, special ones counted.
 * truncated  [n_texts] whether a text was cut at max_tokens; or NULL.
 * Undefined unless FINCH_OK. Errors: FINCH_E_USAGE, FINCH_E_DATA (err->row names the text), FINCH_E_MEMORY. */
FINCH_API finch_status finch_token_offsets(const finch_model *model, const finch_text *texts, size_t n_texts,
                                           const finch_score_options *options, uint64_t *offsets, bool *truncated,
                                           finch_error *err);
/* offsets as finch_token_offsets gave them for the same texts and options, and ids with room for offsets[n_texts]. Nothing is
 * written outside a text's place, whatever the offsets are. Errors: those of finch_token_offsets; FINCH_E_USAGE too where a
 * text has another number of tokens. */
FINCH_API finch_status finch_tokenize(const finch_model *model, const finch_text *texts, size_t n_texts,
                                      const finch_score_options *options, const uint64_t *offsets, int32_t *ids,
                                      finch_error *err);

/* The Arrow C data interface (arrow.apache.org/docs/format/CDataInterface.html), as every producer and consumer declares it. */
#ifndef ARROW_C_DATA_INTERFACE
#define ARROW_C_DATA_INTERFACE
struct ArrowSchema {
    const char *format;
    const char *name;
    const char *metadata;
    int64_t flags;
    int64_t n_children;
    struct ArrowSchema **children;
    struct ArrowSchema *dictionary;
    void (*release)(struct ArrowSchema *);
    void *private_data;
};
struct ArrowArray {
    int64_t length;
    int64_t null_count;
    int64_t offset;
    int64_t n_buffers;
    int64_t n_children;
    const void **buffers;
    struct ArrowArray **children;
    struct ArrowArray *dictionary;
    void (*release)(struct ArrowArray *);
    void *private_data;
};
#endif

/* The texts of an Arrow column, without a copy: utf8, large_utf8, string_view, or a dictionary of those.
 * schema, array  borrowed during the call, neither released; their offsets and views are checked against each other, and a
 *                view against its buffer's size (of the other types Arrow gives no size).
 * texts          [array->length], pointing into the array's buffers: good until the array is released. A null is {NULL, 0},
 *                an empty text has a place. Undefined unless FINCH_OK.
 * Errors: FINCH_E_USAGE, FINCH_E_UNSUPPORTED (another type), FINCH_E_DATA (err->row names the row). */
FINCH_API finch_status finch_texts_from_arrow(const struct ArrowSchema *schema, const struct ArrowArray *array,
                                              finch_text *texts, finch_error *err);

#ifdef __cplusplus
}
#endif
#endif
