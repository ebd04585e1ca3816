/* A request's target: path segments and query parameters, percent-decoded strictly. Nothing a client writes reaches a handler
 * with a NUL, a control character, invalid UTF-8, an empty segment in the middle, "." or "..". */
#ifndef FINCH_SERVE_URI_H
#define FINCH_SERVE_URI_H

#include "base/arena.h"

enum { URI_SEGMENTS_MAX = 16, URI_PARAMETERS_MAX = 32, URI_BYTES_MAX = 8192 };

typedef struct uri_parameter {
    const char *name;
    const char *value;
} uri_parameter;

/* Texts are NUL-terminated and live in the arena. "/" has no segment; a slash at the end adds an empty last segment. */
typedef struct uri {
    const char *segments[URI_SEGMENTS_MAX];
    size_t n_segments;
    uri_parameter parameters[URI_PARAMETERS_MAX];
    size_t n_parameters;
} uri;

/* target  "/path?query", sized. Errors: FINCH_E_USAGE saying what is wrong, FINCH_E_MEMORY. */
finch_status uri_parse(const char *target, size_t size, arena *memory, uri *out, finch_error *err);
/* The value of the last parameter of that name; NULL where there is none. */
const char *uri_get(const uri *u, const char *name);

#endif
