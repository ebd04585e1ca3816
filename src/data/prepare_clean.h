/* Rows on their way through the cleaning, on several threads, in and out in their order: chunks of DuckDB's, or records of
 * CSV, of which the cleaners make blocks.
 *
 *     owner: give --> | a ring of chunks or records | --> take: the oldest, once it is clean
 *                        cleaners, each the next that nobody has
 *
 * Threads: all calls from one, the owner's. */
#ifndef FINCH_DATA_PREPARE_CLEAN_H
#define FINCH_DATA_PREPARE_CLEAN_H

#include "data/csv_rows.h"
#include "data/prepare_row.h"

typedef struct prepare_cleaners prepare_cleaners;

/* Columns as prepare_row_fill has them. */
typedef struct prepare_clean_columns {
    size_t text, author, first;
} prepare_clean_columns;

/* Clean rows, one of both; neither: none. */
typedef struct prepare_batch {
    duckdb_data_chunk chunk;
    data_block *block;
} prepare_batch;

void prepare_batch_close(prepare_batch *batch);

/* row and rows are borrowed; rows is NULL where chunks are given. */
finch_status prepare_cleaners_open(prepare_row *row, const prepare_clean_columns *columns, const data_csv_rows *rows,
                                   size_t n_threads, prepare_cleaners **out, finch_error *err);
/* Destroys what is in the ring; takes NULL. */
void prepare_cleaners_close(prepare_cleaners *c);

bool prepare_cleaners_full(const prepare_cleaners *c);
bool prepare_cleaners_empty(const prepare_cleaners *c);
/* The chunk becomes the ring's, which is not full. */
void prepare_cleaners_give(prepare_cleaners *c, duckdb_data_chunk chunk);
/* Where to put the next records, of a ring that is not full; and that they are there. */
str *prepare_cleaners_records(prepare_cleaners *c);
void prepare_cleaners_give_records(prepare_cleaners *c);
/* Waits for the oldest, of a ring that is not empty. None where a row failed: the reason stands in prepare_row.error. */
prepare_batch prepare_cleaners_take(prepare_cleaners *c);

#endif
