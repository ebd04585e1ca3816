/* How large the parts of a split are to be: "0.1", "12.5%" or "500" as people write them, and the rows each gets. */
#ifndef FINCH_DATA_SPLIT_SIZES_H
#define FINCH_DATA_SPLIT_SIZES_H

#include "base/status.h"

#include <stddef.h>
#include <stdint.h>

/* Rows are counted in 32 bits, so that a share of them is computed without rounding. */
#define SPLIT_ROWS_MAX UINT32_MAX

/* A share is share_numerator / SPLIT_SHARE_ONE, so that "0.1" is a tenth and not the double beside it. */
#define SPLIT_SHARE_ONE 1000000000u

/* One of the two is above 0; a zeroed struct is a part that is not asked for. */
typedef struct split_size {
    uint32_t count;           /* rows */
    uint32_t share_numerator; /* of SPLIT_SHARE_ONE, below it */
} split_size;

/* A whole number of rows from 1, or a share above 0 and below 1 with a point ("0.1", ".1") or a percent sign ("10%"), of
 * at most nine digits behind the point (seven with the percent sign). option is for the message. Errors: FINCH_E_USAGE. */
finch_status split_size_parse(const char *text, const char *option, split_size *out, finch_error *err);

/* Rows of a part of this size out of n_rows; a share is rounded to the nearest row and is at least one. */
uint32_t split_size_rows(split_size size, uint32_t n_rows);

#endif
