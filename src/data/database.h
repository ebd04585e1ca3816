/* DuckDB behind one door: a private database in memory, queries with errors in finch's form, text quoted for SQL.
 * No extension is ever fetched or loaded from outside and no setting is read from the user's machine. */
#ifndef FINCH_DATA_DATABASE_H
#define FINCH_DATA_DATABASE_H

#include "base/progress.h"
#include "base/str.h"
#include "data/names.h"

#include <duckdb.h>

/* "v1.4.4", static. */
const char *data_library_version(void);

enum { DATA_MEMORY_LIMIT_MB = 1024 };

/* Threads: one connection, one thread at a time; data_database_interrupt may come from any thread. */
typedef struct data_database {
    duckdb_database database;
    duckdb_connection connection;
} data_database;

/* One pipeline thread: rows keep their order and every run is the same; the work that takes time is inside our own
 * functions, which have their own threads. close takes a zeroed or half-open struct. */
finch_status data_database_open(data_database *out, finch_error *err);
void data_database_close(data_database *db);

/* Runs sql. *out (may be NULL) is to be destroyed by duckdb_destroy_result on FINCH_OK only. */
finch_status data_query(data_database *db, const char *sql, duckdb_result *out, finch_error *err);

/* The same with rows as they are made instead of all at once, which bounds the memory; one such result a connection at a
 * time. After its last row data_stream_check says whether it ended or failed. */
finch_status data_query_stream(data_database *db, const char *sql, duckdb_result *out, finch_error *err);
finch_status data_stream_check(duckdb_result *result, finch_error *err);

/* Whom a long query tells how far it is, and who may stop it. done: atomic, counted by a function inside; may be NULL. */
typedef struct data_query_watch {
    const progress *watch;
    const uint64_t *done;
    uint64_t total;
} data_query_watch;

/* The same for a long query on several threads; w may be NULL. Errors: also FINCH_E_CANCELLED. */
finch_status data_query_watched(data_database *db, const char *sql, const data_query_watch *w, duckdb_result *out,
                                finch_error *err);

/* The same, for a query with one row and one column of an unsigned number (null is 0). */
finch_status data_query_count(data_database *db, const char *sql, uint64_t *out, finch_error *err);
finch_status data_query_count_watched(data_database *db, const char *sql, const data_query_watch *w, uint64_t *out,
                                      finch_error *err);

/* Row by row over a result, chunk by chunk: cursor = {0} with result set, then step until it returns false. */
typedef struct data_cursor {
    duckdb_result *result;
    duckdb_data_chunk chunk;
    idx_t row, n_rows; /* of the chunk */
} data_cursor;

bool data_cursor_step(data_cursor *cursor);
void data_cursor_close(data_cursor *cursor);
/* The row's VARCHAR or BIGINT value; false where it is null. Borrowed until the next step. */
bool data_cursor_text(const data_cursor *cursor, idx_t column, finch_text *out);
bool data_cursor_integer(const data_cursor *cursor, idx_t column, int64_t *out);

/* A VARCHAR vector's value: borrowed from the vector. */
finch_text data_vector_text(const duckdb_string_t *strings, idx_t row);

/* A function of ours inside queries: n_arguments of the type argument, a result that is freed by registering, and context,
 * which run gets as its extra info. run sees nulls, too.
 * counts   each row is to be given to it once, whatever the query's other parts: its calls have effects */
typedef struct data_function {
    const char *name;
    size_t n_arguments;
    duckdb_type argument;
    duckdb_logical_type result;
    duckdb_scalar_function_t run;
    void *context;
    bool counts;
} data_function;

finch_status data_function_register(data_database *db, const data_function *f, finch_error *err);

/* A struct's type of n members; the caller destroys it. */
duckdb_logical_type data_struct_type(const char *const *names, const duckdb_type *types, size_t n);

/* 'text' with quotes doubled, and "name" the same way. NUL bytes can not stand in SQL: E_DATA. */
finch_status data_sql_text(str *sql, const char *text, size_t size, finch_error *err);
finch_status data_sql_name(str *sql, const char *name, finch_error *err);

/* Appends the names and types of a query's columns. */
finch_status data_describe(data_database *db, const char *query, data_names *columns, data_names *types, finch_error *err);

#endif
