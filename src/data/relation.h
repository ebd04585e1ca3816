/* Input files as one table in SQL.
 *
 * Opening looks at every file first: which columns it has, how many rows it must give, which rows are broken
 * (data/scan.h); then it makes the query that reads them all, in their order, with the columns united by name. What the
 * query gives is held against what was counted (data_relation_check_rows). */
#ifndef FINCH_DATA_RELATION_H
#define FINCH_DATA_RELATION_H

#include "base/progress.h"
#include "data/csv_rows.h"
#include "data/database.h"
#include "data/rejects.h"
#include "data/table.h"
#include "data/names.h"

typedef struct data_relation data_relation;

/* typed        CSV columns get the narrowest type that every value has: whole number, real number, true or false, date,
 *              time; else they stay text, byte for byte. A number with leading zeros or more digits than fit stays text.
 * text_column  stays text in any case, and JSON rows where it is neither text nor null are broken; may be NULL.
 * watch        may be NULL. */
typedef struct data_relation_options {
    bool typed;
    const char *text_column;
    const progress *watch;
} data_relation_options;

/* *out is NULL on failure. db is borrowed. Errors: FINCH_E_NOT_FOUND, FINCH_E_IO, FINCH_E_MEMORY, FINCH_E_CANCELLED;
 * FINCH_E_DATA for a file that is empty, cut or no such format, a quote never closed, no good row among broken ones and,
 * where source->strict, the first broken row. */
finch_status data_relation_open(data_database *db, const data_source *source, const data_relation_options *options,
                                data_relation **out, finch_error *err);
void data_relation_close(data_relation *r);

/* "SELECT ... FROM ..." of all columns, borrowed. */
const char *data_relation_sql(const data_relation *r);
/* The same for the rows [begin, end) only, appended to sql. Files without any of them are not read, of a Parquet file only
 * the row groups that have some; the rows before them in other files are read and left out. */
finch_status data_relation_rows_sql(const data_relation *r, uint64_t begin, uint64_t end, str *sql, finch_error *err);
/* The columns' names, and their types as DuckDB writes them, in the same order. */
const data_names *data_relation_columns(const data_relation *r);
const data_names *data_relation_types(const data_relation *r);
/* Whether all files are CSV. */
bool data_relation_is_csv(const data_relation *r);
/* The rows of all files without DuckDB, with the columns above; *out is NULL where the files are anything else than regular CSV
 * in UTF-8 with the same columns. r outlives *out. */
finch_status data_relation_csv_rows(const data_relation *r, data_csv_rows **out, finch_error *err);
/* Good rows of all files. */
uint64_t data_relation_rows(const data_relation *r);
const data_rejects *data_relation_rejects(const data_relation *r);
/* Hands them over: the relation has none any more. Their paths stay the relation's. */
data_rejects data_relation_take_rejects(data_relation *r);
size_t data_relation_files(const data_relation *r);
/* Of file i, in the order of the rows: its path, borrowed, and its good rows. */
const char *data_relation_file(const data_relation *r, size_t i, uint64_t *n_rows);

/* Errors: FINCH_E_USAGE where output (a path, "-" for a pipe) is one of the files read, by any name: the rows that were
 * set aside would be gone with it. */
finch_status data_relation_check_output(const data_relation *r, const char *output, finch_error *err);

/* How the files differ, a line each, appended to out: columns that a file lacks (null for its rows), and types that
 * differ with the type that they get. Nothing where they agree. */
finch_status data_relation_differences(const data_relation *r, str *out, finch_error *err);

/* Whether every file has the column; the error names the file, its columns and the likeliest. option ("--text-column")
 * is the remedy's option, may be NULL. */
finch_status data_relation_need(const data_relation *r, const char *column, const char *option, finch_error *err);

/* The same, and in no file it holds anything but texts (CSV columns are texts). */
finch_status data_relation_need_text(const data_relation *r, const char *column, const char *option, finch_error *err);

/* Where a row of the whole table comes from, for messages: its file, borrowed, and its 1-based number in it. */
const char *data_relation_place(const data_relation *r, uint64_t row, uint64_t *number);

/* FINCH_E_FAILED where the query gave another number of rows than the files have. */
finch_status data_relation_check_rows(const data_relation *r, uint64_t n_read, finch_error *err);

#endif
