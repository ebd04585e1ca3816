/* Rows that were set aside because they are broken: where each stands, why, and how it begins. */
#ifndef FINCH_DATA_REJECTS_H
#define FINCH_DATA_REJECTS_H

#include "base/str.h"
#include "data/spool.h"

#include <inttypes.h>

enum {
    REJECTS_HELD = 1000,      /* in memory; those behind go into a temporary file */
    REJECT_TEXT_BYTES = 400,  /* of the row's text that is kept */
    REJECT_REASON_BYTES = 120
};

/* The reason for a row or line that is too long: what it is, its bytes (uint64_t), the limit (size_t). */
#define DATA_TOO_LONG "the %s has %" PRIu64 " bytes, more than %zu; a longer one is read with --max-line-bytes"

typedef struct data_reject {
    const char *path; /* borrowed */
    uint64_t line;    /* 1-based physical line where the row begins */
    char reason[REJECT_REASON_BYTES];
    char *text;       /* NUL-terminated, valid UTF-8 */
} data_reject;

typedef struct data_rejects {
    data_reject *at; /* [n_held] the first */
    size_t n_held, capacity;
    uint64_t n;
    data_spool more; /* the others, as lines of the CSV */
} data_rejects;

void data_rejects_free(data_rejects *rejects);

/* reason is a format; text is cut to REJECT_TEXT_BYTES and made UTF-8. Errors: FINCH_E_MEMORY, FINCH_E_IO. */
finch_status data_rejects_add(data_rejects *rejects, const char *path, uint64_t line, const char *text, size_t size,
                              finch_error *err, const char *reason, ...) FINCH_PRINTF(7, 8);

/* A CSV of file, line, reason, text; whole or not at all. */
finch_status data_rejects_write(const data_rejects *rejects, const char *path, finch_error *err);
/* The same of several lists, one behind the other. */
finch_status data_rejects_write_all(const data_rejects *const *lists, size_t n_lists, const char *path, finch_error *err);

#endif
