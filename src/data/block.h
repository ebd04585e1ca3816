/* Rows as columns in memory, made by one thread and handed to DuckDB without a copy (Arrow's C data interface): what a
 * feed takes beside DuckDB's own chunks. */
#ifndef FINCH_DATA_BLOCK_H
#define FINCH_DATA_BLOCK_H

#include "base/str.h"
#include "data/arrow.h"

/* The types that DuckDB gives them: VARCHAR, BIGINT, DOUBLE, BOOLEAN, DATE (int32 days since 1970), TIMESTAMP (int64
 * microseconds since then), UTINYINT, UBIGINT. */
typedef enum data_column_kind {
    DATA_COLUMN_TEXT,
    DATA_COLUMN_INTEGER,
    DATA_COLUMN_REAL,
    DATA_COLUMN_BOOLEAN,
    DATA_COLUMN_DATE,
    DATA_COLUMN_TIME,
    DATA_COLUMN_BYTE,
    DATA_COLUMN_KEY
} data_column_kind;

typedef struct data_column {
    data_column_kind kind;
    size_t n, n_nulls; /* rows so far */
    uint8_t *valid;    /* a bit a row */
    void *values;      /* [rows] as the kind says, of BOOLEAN a bit each; of TEXT int64_t where each begins, and the end */
    str text;          /* of TEXT */
} data_column;

typedef struct data_block {
    data_column *columns; /* [n_columns] */
    size_t n_columns;
    struct ArrowArray *children; /* what the columns are to a reader */
    struct ArrowArray **pointers;
    const void **buffers;
} data_block;

/* For at most n_rows rows. */
finch_status data_block_open(const data_column_kind *kinds, size_t n_columns, size_t n_rows, data_block **out,
                             finch_error *err);
/* Takes NULL. */
void data_block_close(data_block *b);

/* The next row's value; of any kind a null. text.at NULL is a null, too. The caller counts the rows. */
finch_status data_column_add_text(data_column *c, finch_text text, finch_error *err);
void data_column_add_null(data_column *c);
/* The text of a row of a TEXT column, at NULL where it is null; borrowed until the column's next one. */
finch_text data_column_text(const data_column *c, size_t row);

/* All columns have as many rows as the first. The block is *out's from now on, and goes with its release. */
void data_block_hand_over(data_block *b, struct ArrowArray *out);

#endif
