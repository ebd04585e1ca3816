/* How a CSV file is written, found in its first records.
 *
 * Fields are quoted by " where they are quoted (RFC 4180), with "" inside, or with \" where the file reads better so.
 * The separator is the one of , ; tab | that gives the most records the number of fields that the first record has.
 * The first record names the columns. DuckDB's own detection is not used: for a file that ends inside a quote it
 * settles on "no quotes" and reads the broken text as rows. */
#ifndef FINCH_DATA_CSV_DIALECT_H
#define FINCH_DATA_CSV_DIALECT_H

#include "data/names.h"

typedef struct data_dialect {
    char separator;
    char escape;     /* '"' or '\\' */
    data_names columns; /* unique without regard to case, none empty */
} data_dialect;

/* head: the file's first lines, ended by \n; its last record may be cut and is then not counted.
 * separator: 0 to find it. Errors: FINCH_E_DATA where there is no record. */
finch_status data_dialect_detect(const char *head, size_t size, char separator, data_dialect *out, finch_error *err);
/* Appends a record without its line end as RFC 4180 has it: commas, "" for quotes, \n. */
finch_status data_dialect_rewrite(const data_dialect *dialect, const char *record, size_t size, str *out, finch_error *err);
void data_dialect_free(data_dialect *dialect);

#endif
