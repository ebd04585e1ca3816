/* A list of texts that grows: column names, paths. */
#ifndef FINCH_DATA_NAMES_H
#define FINCH_DATA_NAMES_H

#include "base/str.h"

typedef struct data_names {
    char **at; /* NUL-terminated, owned */
    size_t n, capacity;
} data_names;

void data_names_free(data_names *names);
finch_status data_names_add(data_names *names, const char *text, size_t size, finch_error *err);
/* The index of name, compared exactly or without regard to ASCII case (as SQL does); names->n where it is not there. */
size_t data_names_find(const data_names *names, const char *name);
size_t data_names_find_any_case(const data_names *names, const char *name);
bool data_names_equal(const data_names *a, const data_names *b);

/* What a person who wrote wanted probably means: the same letters in another case, a usual other name of a tweet's
 * text, ticker or label, a misspelling. NULL where nothing is near. */
const char *data_names_likeliest(const data_names *names, const char *wanted);

/* "id, body, n" appended to out, cut after about 300 bytes. */
finch_status data_names_list(const data_names *names, str *out, finch_error *err);

#endif
