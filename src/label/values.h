/* Small values from outside: what HTTP headers say of time, classes by name, texts made harmless. */
#ifndef FINCH_LABEL_VALUES_H
#define FINCH_LABEL_VALUES_H

#include "finch.h"

/* The value of Retry-After: whole or decimal seconds, or an HTTP date, which is held against server_now (Unix seconds
 * from the response's Date header; below 0: none came, ours is taken), so that a clock that is wrong does no harm.
 * False where it is neither. *seconds is 0 for the past and at most VALUES_WAIT_MAX_SECONDS. */
#define VALUES_WAIT_MAX_SECONDS 86400.0
bool values_retry_after(const char *at, size_t size, int64_t server_now, double *seconds);

/* "Sun, 06 Nov 1994 08:49:37 GMT", "Sunday, 06-Nov-94 08:49:37 GMT", "Sun Nov  6 08:49:37 1994" as Unix seconds.
 * Source: RFC 9110 section 5.6.7. */
bool values_http_date(const char *at, size_t size, int64_t *out);

/* The id 0..4 of a class's name; case, blanks around it, and ' ' or '-' in the place of '_' do not matter. -1: no class. */
int values_class(const char *at, size_t size);
/* "STRONGLY_NEGATIVE" and so on, static. */
const char *values_class_name(int id);

/* The bytes of the well-formed UTF-8 character at at[0]; 0 where there is none. */
size_t values_character(const unsigned char *at, size_t size);

/* One line of valid UTF-8 without control characters in out, cut at its size, for messages about texts from outside. */
void values_line(const char *at, size_t size, char *out, size_t out_size);

#endif
