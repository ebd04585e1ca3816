/* Tables for finch sql whose rows come from elsewhere: copied into the query's own database, which keeps what does not fit
 * into its memory limit in its temporary folder. */
#ifndef FINCH_DATA_SQL_TABLE_H
#define FINCH_DATA_SQL_TABLE_H

#include "data/database.h"
#include "data/sql.h"

/* The database of the statements, borrowed. */
data_database *data_sql_database(data_sql *s);

typedef enum data_sql_type {
    DATA_SQL_TEXT,    /* VARCHAR */
    DATA_SQL_INTEGER, /* BIGINT */
    DATA_SQL_REAL,    /* DOUBLE */
    DATA_SQL_TIME     /* TIMESTAMP, in UTC */
} data_sql_type;

typedef struct data_sql_table data_sql_table;

/* schema.name, made here; columns are added before the first row. *out is NULL on failure. Threads: one. */
finch_status data_sql_table_open(data_sql *s, const char *schema, const char *name, const char *const *columns,
                                 const data_sql_type *types, size_t n_columns, data_sql_table **out, finch_error *err);

/* The next value of the row at hand, of its column's type; what fails is told by end_row. */
void data_sql_table_null(data_sql_table *t);
void data_sql_table_text(data_sql_table *t, finch_text value); /* what is no UTF-8 becomes '?' */
void data_sql_table_integer(data_sql_table *t, int64_t value);
void data_sql_table_real(data_sql_table *t, double value);
void data_sql_table_time(data_sql_table *t, int64_t unix_ms);
finch_status data_sql_table_end_row(data_sql_table *t, finch_error *err);

/* Ends it; the rows are in the table on FINCH_OK only. t may be NULL. */
finch_status data_sql_table_close(data_sql_table *t, finch_error *err);

#endif
