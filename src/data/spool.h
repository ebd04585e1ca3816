/* A temporary file without a name: gone when it is closed, also after kill -9. Read again through its path below
 * /proc/self/fd. It lies in $TMPDIR, else in /tmp. */
#ifndef FINCH_DATA_SPOOL_H
#define FINCH_DATA_SPOOL_H

#include "base/mem.h"

typedef struct data_spool {
    int descriptor;
    char path[32];  /* "/proc/self/fd/7" */
    char *buffer;   /* NULL: not open */
    size_t n_buffered;
    uint64_t n_written; /* bytes before the buffer's */
} data_spool;

/* close takes a zeroed struct. Errors: FINCH_E_IO naming the folder, FINCH_E_MEMORY. */
finch_status data_spool_open(data_spool *s, finch_error *err);
finch_status data_spool_add(data_spool *s, const char *text, size_t size, finch_error *err);
/* Whether the disk has room for so many bytes more, of the file that is named in the message; yes where it does not say. */
finch_status data_spool_need(const data_spool *s, uint64_t size_bytes, const char *file, finch_error *err);
finch_status data_spool_flush(data_spool *s, finch_error *err);
/* Up to size bytes from byte `at`; *n is 0 at the end. */
finch_status data_spool_read(const data_spool *s, uint64_t at, char *out, size_t size, size_t *n, finch_error *err);
void data_spool_close(data_spool *s);

#endif
