/* The types that CSV values can have: what a column is narrowed to where every value has the type. The definition is in SQL
 * (data/relation.c, which asks DuckDB); narrow_of tells the same of one value without it, or that it can not tell. */
#ifndef FINCH_DATA_NARROW_H
#define FINCH_DATA_NARROW_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef enum narrow {
    NARROW_TEXT,
    NARROW_INTEGER,
    NARROW_REAL,
    NARROW_BOOLEAN,
    NARROW_DATE,
    NARROW_TIME,
    NARROW_COUNT
} narrow;

/* Sets of types, as bits. */
typedef unsigned narrow_set;
enum { NARROW_ALL = (1u << NARROW_COUNT) - 2 }; /* text needs no rule */
#define NARROW_UNSURE (1u << 30) /* DuckDB has to be asked */
#define NARROW_SEEN (1u << 29)   /* there was a value that is not null */

/* Which types of `asked` the value has; NARROW_UNSURE alone where that can not be told here. */
narrow_set narrow_of(const char *value, size_t size, narrow_set asked);

/* What DuckDB's cast makes of a value that has the type: a BIGINT, a DOUBLE, a BOOLEAN, the days of a DATE and the
 * microseconds of a TIMESTAMP since 1970. False where narrow_of does not say that it has the type. */
bool narrow_integer(const char *value, size_t size, int64_t *out);
bool narrow_real(const char *value, size_t size, double *out);
bool narrow_boolean(const char *value, size_t size, bool *out);
bool narrow_days(const char *value, size_t size, int32_t *out);
bool narrow_microseconds(const char *value, size_t size, int64_t *out);

#endif
