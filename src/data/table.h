/* Columns of tables in memory, as text: what training and evaluation read.
 *
 * The files are read by DuckDB as in every command (data/source.h): CSV with its separator, quoting and encoding
 * detected, TSV, JSONL, JSON, Parquet, each also as .gz or .zst, several files and globs. Values keep the text they
 * have in the file; numbers from Parquet are written as DuckDB writes them. */
#ifndef FINCH_DATA_TABLE_H
#define FINCH_DATA_TABLE_H

#include "base/status.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Where rows come from.
 * inputs  paths or globs, read in this order (a glob's files in name order).
 * strict  a broken row ends the reading with an error; else it is set aside and counted.
 * max_line_bytes  a CSV record, JSONL line or JSON array's item that is longer is broken; 0: DATA_LINE_MAX_BYTES.
 * differ  is told how the files differ, a line each, once they are opened (data_relation_differences); not called where they
 *         agree; may be NULL. */
typedef struct data_source {
    const char *const *inputs;
    size_t n_inputs;
    bool strict;
    size_t max_line_bytes;
    void (*differ)(void *context, const char *lines);
    void *differ_context;
} data_source;

/* Immutable once read: threads share one. */
typedef struct data_columns data_columns;

/* Reads columns[0..n_columns) of every row of src. columns[0] is that of the texts: where a file has it, it must hold texts.
 * required  which of them every file must have; NULL: all. A column that is not required and not there is absent:
 *           data_columns_has is false and each row's value is null.
 * *out is NULL on failure. Errors: FINCH_E_NOT_FOUND (no such file), FINCH_E_DATA (a column missing - the message
 * names the file, the column, the columns there are and the likeliest; an empty or broken file), FINCH_E_IO, FINCH_E_MEMORY. */
finch_status data_columns_read(const data_source *src, const char *const *columns, const bool *required, size_t n_columns,
                               data_columns **out, finch_error *err);
void data_columns_free(data_columns *c);

size_t data_columns_rows(const data_columns *c);
bool data_columns_has(const data_columns *c, size_t column);

/* The value, borrowed from c: UTF-8 followed by a NUL that size_bytes does not count. A null value is empty. */
finch_text data_columns_text(const data_columns *c, size_t column, size_t row);
bool data_columns_null(const data_columns *c, size_t column, size_t row);

/* Where the row comes from, for messages: its file, borrowed from c, and its 1-based place among that file's good rows. */
const char *data_columns_file(const data_columns *c, size_t row);
uint64_t data_columns_row_number(const data_columns *c, size_t row);

/* Rows set aside because they were broken; data/rejects.h lists them. */
uint64_t data_columns_rejected(const data_columns *c);
const struct data_rejects *data_columns_rejects(const data_columns *c);
/* Where the first few of them stand and why, for people: "a.csv line 4 (text follows a closing quote), ..."; "" for none. */
const char *data_columns_reject_note(const data_columns *c);

#endif
