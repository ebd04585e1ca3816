/* A broker's client library, opened when it is first needed: finch runs without it, and packages need not depend on it.
 *
 * The functions that a back end calls are one list, LIST(X) with an X(name) for each; of it come the pointers that it calls through
 * and the names that are looked up:
 *
 *   static struct { LIST(STREAM_POINTER) } lib;
 *   static const stream_symbol symbols[] = {LIST(STREAM_SYMBOL)};
 *   static stream_library library = STREAM_LIBRARY("libname.so.1", symbols); */
#ifndef FINCH_STREAM_LIBRARY_H
#define FINCH_STREAM_LIBRARY_H

#include "base/status.h"

#include <stddef.h>

/* One function of the library and where its address goes. */
typedef struct stream_symbol {
    const char *name;
    void *address; /* of a function pointer */
} stream_symbol;

typedef struct stream_library {
    const char *file; /* as the linker names it ("libhiredis.so.0.14") */
    const stream_symbol *symbols;
    size_t n_symbols;
    bool is_open;
} stream_library;

#define STREAM_POINTER(name) __typeof__(&name) name;
#define STREAM_SYMBOL(name) {#name, &lib.name},
#define STREAM_LIBRARY(file, symbols) {file, symbols, sizeof(symbols) / sizeof *(symbols), false}

/* Opens it where no call has done so yet; it stays open until the process ends. Any thread may call.
 * Errors: FINCH_E_NOT_FOUND saying what to install. */
finch_status stream_library_need(stream_library *library, finch_error *err);

#endif
