/* What tells whether a file is the one that was there before. */
#ifndef FINCH_DATA_DIGEST_H
#define FINCH_DATA_DIGEST_H

#include "base/status.h"

typedef struct data_digest {
    char hex[65]; /* of SHA-256, NUL-terminated */
} data_digest;

/* Of the whole content. Errors: those of file_map_open. */
finch_status data_digest_file(const char *path, data_digest *out, finch_error *err);

/* Of the size and of the content up to 4 MiB, of a larger file of 64 KiB in 64 places, first and last among them: a job
 * of many machines must not read the whole file on each to know it. A change that keeps the size and misses those places is not
 * seen. */
finch_status data_digest_sample(const char *path, data_digest *out, finch_error *err);

#endif
