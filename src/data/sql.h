/* finch sql's work: DuckDB's SQL over files, with the model in it. How it works: docs/sql.md. */
#ifndef FINCH_DATA_SQL_H
#define FINCH_DATA_SQL_H

#include "base/progress.h"
#include "base/str.h"
#include "data/files.h"
#include "data/look.h"
#include "model/model.h"

typedef struct data_sql data_sql;

/* text          one or more statements, borrowed until close; the last one's rows are the result.
 * engine        for finch_score, finch_label, finch_probs; NULL: the functions are not there. Borrowed.
 * n_threads     of DuckDB and of the model; 0: all.
 * memory_limit  of DuckDB, as it writes them ("1GiB"); NULL: DATA_MEMORY_LIMIT_MB. What does not fit goes to $TMPDIR.
 * watch         may be NULL. */
typedef struct data_sql_options {
    finch_text text;
    const model *engine;
    size_t n_threads, max_tokens;
    const char *memory_limit;
    const progress *watch;
} data_sql_options;

/* Whether the text names one of the functions that need a model. */
bool data_sql_needs_model(finch_text text);

/* *out is NULL on failure. Errors: FINCH_E_USAGE: no statement, a memory limit that is none. */
finch_status data_sql_open(const data_sql_options *options, data_sql **out, finch_error *err);
void data_sql_close(data_sql *s);

/* Runs all statements but the last and makes the last ready. Errors: FINCH_E_USAGE where the SQL is wrong, with line and
 * column; FINCH_E_DATA where the data does not go with it; FINCH_E_IO, FINCH_E_MEMORY, FINCH_E_CANCELLED. */
finch_status data_sql_begin(data_sql *s, finch_error *err);

/* The last statement's columns; none where it gives no rows. */
const data_names *data_sql_columns(const data_sql *s);

/* Whether its rows can be written and printed; those of an EXPLAIN can be shown only. */
bool data_sql_is_select(const data_sql *s);

/* One of these ends the work. */
/* At most n_rows rows as text; *more: there are others. */
finch_status data_sql_head(data_sql *s, size_t n_rows, data_grid *out, bool *more, finch_error *err);
/* All rows to a file whose ending says the format, whole or not at all. */
finch_status data_sql_write(data_sql *s, const char *output, uint64_t *n_rows, finch_error *err);
/* All rows to stdout. */
finch_status data_sql_print(data_sql *s, data_format format, uint64_t *n_rows, finch_error *err);
/* For a statement without rows: runs it; *n_changed rows were changed. */
finch_status data_sql_run(data_sql *s, uint64_t *n_changed, finch_error *err);

/* Texts that the model scored. */
uint64_t data_sql_scored(const data_sql *s);
/* 1-based place of the last error in the text; false where it has none. */
bool data_sql_error_place(const data_sql *s, size_t *line, size_t *column);

#endif
