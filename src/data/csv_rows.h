/* The rows of regular CSV files (data/csv_regular.h) without DuckDB: one thread cuts the files into pieces of whole records,
 * any thread makes a piece's columns. What DuckDB would read there comes out, value for value
 * (tests/data/test_csv_rows.c). */
#ifndef FINCH_DATA_CSV_ROWS_H
#define FINCH_DATA_CSV_ROWS_H

#include "data/block.h"
#include "data/narrow.h"

enum { DATA_CSV_PIECE_ROWS = 2048 };

struct data_reader;
typedef struct data_csv_rows data_csv_rows;

/* readers are regular UTF-8 files of the same columns; types are those of these columns' values. Both are borrowed. */
finch_status data_csv_rows_open(const struct data_reader *readers, size_t n_readers, const narrow *types,
                                data_csv_rows **out, finch_error *err);
void data_csv_rows_close(data_csv_rows *r);

/* A column's kind in a block. */
data_column_kind data_csv_rows_kind(const data_csv_rows *r, size_t column);

/* The next records of one file, at most DATA_CSV_PIECE_ROWS and of wide ones fewer, in place of what records holds;
 * *n_rows is 0 at the end. Errors: FINCH_E_IO, FINCH_E_DATA where the file is not any more what was scanned. */
finch_status data_csv_rows_next(data_csv_rows *r, str *records, size_t *n_rows, finch_error *err);

/* Appends the records to the block's first columns. Threads: any, r is only read. Errors: FINCH_E_DATA as above. */
finch_status data_csv_rows_parse(const data_csv_rows *r, const str *records, data_block *block, finch_error *err);

#endif
