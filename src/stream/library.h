/* A broker's client library, opened when it is first needed: finch runs without it, and packages need not depend on it. */
#ifndef FINCH_STREAM_LIBRARY_H
#define FINCH_STREAM_LIBRARY_H

#include "base/status.h"

#include <stddef.h>

/* One function of the library and where its address goes. */
typedef struct stream_symbol {
    const char *name;
    void *address; /* of a function pointer */
} stream_symbol;

/* file: as the linker names it ("libhiredis.so.0.14"). The library stays open until the process ends; may be called again.
 * Errors: FINCH_E_NOT_FOUND saying what to install. */
finch_status stream_library_open(const char *file, const stream_symbol *symbols, size_t n, finch_error *err);

#endif
