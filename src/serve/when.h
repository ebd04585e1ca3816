/* Times as people and programs write them in a query. */
#ifndef FINCH_SERVE_WHEN_H
#define FINCH_SERVE_WHEN_H

#include <stdbool.h>
#include <stdint.h>

/* ISO 8601 (2026-11-27, 2026-11-27T05:07, ...:14.5Z, ...+01:00; without a zone it is UTC), or Unix milliseconds (13 digits) or
 * seconds (up to 11). False where it is none of them, or outside the years 1 to 9999. */
bool when_parse(const char *text, int64_t *ms);

#endif
