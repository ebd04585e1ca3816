/* Header values from a server, read with bounds: everything here is outside input. Values are sized, need no NUL behind
 * them, and results point into them. */
#ifndef FINCH_DATA_HUB_HEADER_H
#define FINCH_DATA_HUB_HEADER_H

#include "base/bytes.h"

/* The identifier in an ETag: "x", W/"x" or x gives x. False where nothing is left. */
bool hub_header_etag(bytes value, bytes *out);

/* The address in a Link header's part with rel="next" (RFC 8288). False where there is none. */
bool hub_header_next_link(bytes value, bytes *out);

/* "bytes 0-99/1234": first and last byte and the whole size, which is UINT64_MAX where a star stands in its place. False
 * for anything else, also where last lies before first or behind the whole. */
bool hub_header_content_range(bytes value, uint64_t *first, uint64_t *last, uint64_t *whole);

/* Seconds to wait: of Retry-After ("120"; a date is not read), of RateLimit ("api";r=0;t=55 with nothing left). */
bool hub_header_retry_after(bytes value, uint64_t *seconds);
bool hub_header_rate_limit(bytes value, uint64_t *seconds);

/* Whether value is n lower-case hexadecimal digits. */
bool hub_header_is_hex(bytes value, size_t n);

#endif
