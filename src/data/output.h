/* Where a query's rows go: a file that appears whole or not at all, or stdout. */
#ifndef FINCH_DATA_OUTPUT_H
#define FINCH_DATA_OUTPUT_H

#include "data/database.h"
#include "data/files.h"
#include "data/spool.h"

enum { DATA_ROW_GROUP_ROWS = 30720 };

typedef struct data_output {
    const char *path;   /* borrowed; "-": JSONL on stdout */
    data_kind kind;
    str beside;         /* the file that is written until it is whole; empty for stdout */
    data_spool spool;   /* stdout that is a file: what goes behind its end when it is committed */
    size_t
        row_group_rows; /* of Parquet, where they are to be smaller than DATA_ROW_GROUP_ROWS: a group is in memory until it is whole */
} data_output;

/* Looks at the ending and makes the file beside, so that a folder that can not be written fails before any work.
 * close takes a zeroed struct and removes what was not committed. Errors: FINCH_E_USAGE, FINCH_E_IO. */
finch_status data_output_open(const char *path, data_output *out, finch_error *err);
void data_output_close(data_output *o);

/* Whether the fields of the CSV are separated by tabs: the path's ending is .tsv. */
bool data_output_is_tsv(const data_output *o);

/* Writes what the query gives into it; *n_rows is their number. */
finch_status data_output_copy(data_database *db, const data_output *o, const char *query, uint64_t *n_rows,
                              finch_error *err);

/* The COPY statement that does so, appended to sql. */
finch_status data_output_sql(const data_output *o, const char *query, str *sql, finch_error *err);

/* The same for a query on several threads; w may be NULL. */
finch_status data_output_copy_watched(data_database *db, const data_output *o, const char *query, const data_query_watch *w,
                                      uint64_t *n_rows, finch_error *err);

/* fsync and rename. */
finch_status data_output_commit(data_output *o, finch_error *err);

#endif
