/* SQL on either database: values in, rows out, errors in finch's form. Internal to the room; others use store/store.h.
 *
 * A statement has a text for each database where they differ; parameters are $1, $2, ... in both and are always bound,
 * never written into the text. What is sent in bulk goes as one JSON array that the database takes apart.
 * Threads: one connection, one thread. */
#ifndef FINCH_STORE_SQL_H
#define FINCH_STORE_SQL_H

#include "base/str.h"

typedef enum sql_type { SQL_NULL, SQL_INTEGER, SQL_REAL, SQL_TEXT, SQL_BLOB } sql_type;

/* at is borrowed during the call. Texts are valid UTF-8 without NUL bytes (PostgreSQL holds no others). */
typedef struct sql_value {
    sql_type type;
    int64_t integer;
    double real;
    const void *at;
    size_t size;
} sql_value;

sql_value sql_integer(int64_t value);
sql_value sql_real(double value);
sql_value sql_text(const char *text); /* NULL: a null */
sql_value sql_blob(const void *at, size_t size); /* NULL: a null */
sql_value sql_null(void); /* of a number */

typedef struct sql_statement {
    const char *sqlite;
    const char *postgres; /* NULL: the same text */
} sql_statement;

typedef struct sql_backend sql_backend;

/* One connection. */
typedef struct sql_db {
    const sql_backend *backend;
    void *connection;  /* the backend's own */
} sql_db;

/* A row of a result, valid during the call it is given to. */
typedef struct sql_row {
    const sql_backend *backend;
    const void *result;
    size_t row;
} sql_row;

bool sql_row_null(const sql_row *row, size_t column);
/* 0 where the value is null. */
int64_t sql_row_integer(const sql_row *row, size_t column);
double sql_row_real(const sql_row *row, size_t column);
/* at is never NULL; empty where the value is null. */
finch_text sql_row_text(const sql_row *row, size_t column);

typedef finch_status (*sql_row_fn)(void *context, const sql_row *row, finch_error *err);
typedef void (*sql_notice_fn)(void *context, const char *text);

enum { SQL_VALUES_MAX = 24 };

struct sql_backend {
    /* place: a file's path, or a URL. */
    finch_status (*open)(const char *place, void **out, finch_error *err);
    void (*close)(void *connection);
    /* Opens again what was lost. */
    finch_status (*reopen)(void *connection, finch_error *err);
    /* each may be NULL; n_changed (may be NULL) is the number of rows written. Errors: FINCH_E_BUSY where the same
     * transaction may do if run again (the connection is lost, another one was in the way); FINCH_E_IO, FINCH_E_FAILED. */
    finch_status (*run)(void *connection, const char *sql, const sql_value *values, size_t n_values, sql_row_fn each,
                        void *context, uint64_t *n_changed, finch_error *err);
    /* values are [n_rows, n_columns]; n_rows is not 0. */
    finch_status (*run_rows)(void *connection, const char *sql, const sql_value *values, size_t n_rows, size_t n_columns,
                             finch_error *err);
    /* Both NULL where the database has no notices. wait gives each notice's text, and returns when there was one or after timeout_ms;
     * FINCH_E_BUSY where the connection is lost. */
    finch_status (*listen)(void *connection, finch_error *err);
    finch_status (*wait)(void *connection, int timeout_ms, sql_notice_fn each, void *context, finch_error *err);
    bool (*null)(const sql_row *row, size_t column);
    int64_t (*integer)(const sql_row *row, size_t column);
    double (*real)(const sql_row *row, size_t column);
    finch_text (*text)(const sql_row *row, size_t column);
};

extern const sql_backend sql_backend_sqlite;
extern const sql_backend sql_backend_postgres;

finch_status sql_run(sql_db *db, const sql_statement *statement, const sql_value *values, size_t n_values, sql_row_fn each,
                     void *context, uint64_t *n_changed, finch_error *err);

/* The same statement for many rows: values [n_rows, n_columns], integers, texts and nulls; a column's type is that of its first
 * value. SQLite runs its text once a row, with $1 to $n_columns. PostgreSQL runs its own once for all of them, so that a server
 * far away costs a round trip a batch: a COPY ... FROM STDIN (FORMAT binary) is given the rows, anything else one array a
 * column, for unnest($1::bigint[], $2::text[]). Both texts must be there. */
finch_status sql_run_rows(sql_db *db, const sql_statement *statement, const sql_value *values, size_t n_rows,
                          size_t n_columns, finch_error *err);
/* Element i of a JSON row, as a number; value->>i is the text. Rows of many elements are taken apart as jsonb: json is read anew
 * for each of them. */
#define SQL_ELEMENT(i) "(value->>" #i ")::bigint"

/* For rows of one value: context is an int64_t, or a str that is cleared first. */
finch_status sql_take_integer(void *context, const sql_row *row, finch_error *err);
finch_status sql_take_text(void *context, const sql_row *row, finch_error *err);
/* The text of a column into out, cleared first. */
finch_status sql_row_copy(const sql_row *row, size_t column, str *out, finch_error *err);

#endif
