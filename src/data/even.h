/* The rows of a query in chunks that are all full but the last.
 *
 * DuckDB's readers give chunks of any size (at the ends of buffers, row groups and files), and its Parquet writer ends a row
 * group at the first chunk that fills it. Of even chunks the row groups have the same rows wherever the rows came from: a table
 * that was put together from parts is the same file, byte for byte, as one written at once. */
#ifndef FINCH_DATA_EVEN_H
#define FINCH_DATA_EVEN_H

#include "data/database.h"

typedef struct data_even data_even;

/* What stands for the rows in another query of db, which may read it once. */
#define DATA_EVEN_QUERY "SELECT * FROM finch_even_rows()"

/* Begins the query; one at a time of a database. *out is NULL on failure. Close it before db. */
finch_status data_even_open(data_database *db, const char *query, data_even **out, finch_error *err);
void data_even_close(data_even *e); /* takes NULL */

#endif
