/* Chunks on their way through the cleaning, on several threads, in and out in their order.
 *
 *     owner: give --> | a ring of chunks | --> take: the oldest, once it is clean
 *                        cleaners, each the next that nobody has
 *
 * Threads: all calls from one, the owner's. */
#ifndef FINCH_DATA_PREPARE_CLEAN_H
#define FINCH_DATA_PREPARE_CLEAN_H

#include "data/prepare_row.h"

typedef struct prepare_cleaners prepare_cleaners;

/* Columns as prepare_row_fill has them; row is borrowed. */
typedef struct prepare_clean_columns {
    size_t text, author, first;
} prepare_clean_columns;

finch_status prepare_cleaners_open(prepare_row *row, const prepare_clean_columns *columns, size_t n_threads,
                                   prepare_cleaners **out, finch_error *err);
/* Destroys what is in the ring; takes NULL. */
void prepare_cleaners_close(prepare_cleaners *c);

bool prepare_cleaners_full(const prepare_cleaners *c);
bool prepare_cleaners_empty(const prepare_cleaners *c);
/* The chunk becomes the ring's, which is not full. */
void prepare_cleaners_give(prepare_cleaners *c, duckdb_data_chunk chunk);
/* Waits for the oldest, of a ring that is not empty. NULL where a row failed: the reason stands in prepare_row.error. */
duckdb_data_chunk prepare_cleaners_take(prepare_cleaners *c);

#endif
