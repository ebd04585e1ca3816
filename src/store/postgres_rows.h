/* Rows in PostgreSQL's binary forms, which it reads without taking texts apart: that of COPY ... FROM STDIN (FORMAT binary)
 * (postgresql.org/docs/12/sql-copy.html, "Binary Format"), and that of arrays (array_recv). A value is its length and its
 * bytes in either: integers are BIGINT, texts TEXT; a null has the length -1. Numbers are big-endian.
 * values are [n_rows, n_columns] of integers, texts and nulls. Errors: FINCH_E_MEMORY, FINCH_E_DATA where a value has over 1 GiB. */
#ifndef FINCH_STORE_POSTGRES_ROWS_H
#define FINCH_STORE_POSTGRES_ROWS_H

#include "store/sql.h"

enum { POSTGRES_OID_INT8 = 20, POSTGRES_OID_TEXT = 25, POSTGRES_OID_INT8S = 1016, POSTGRES_OID_TEXTS = 1009 };

/* A copy is its head, its rows, and its end; each is appended to out. */
finch_status postgres_copy_head(str *out, finch_error *err);
finch_status postgres_copy_row(str *out, const sql_value *row, size_t n_columns, finch_error *err);
finch_status postgres_copy_end(str *out, finch_error *err);

/* One column of the rows as an array, and its type; that of the column is the first row's. n_rows is not 0. */
finch_status postgres_array(str *out, const sql_value *values, size_t n_rows, size_t n_columns, size_t column,
                            finch_error *err);
unsigned postgres_array_type(const sql_value *values, size_t column);

/* A whole number of size bytes as a result in binary has it: big-endian, with its sign; 8 bytes are also a double's bits. 0 where size is not 1 to 8. */
int64_t postgres_integer(const char *at, size_t size);

#endif
