/* PostgreSQL through libpq: parameters apart from the statement, results in binary (a sum of 64 bits takes the server longer to write
 * down in decimals than to find). So a column is a BOOLEAN, a whole or a double number, or a text, and nothing else: no NUMERIC, which is
 * what sum() makes of a BIGINT unless it is cast. A lost connection is FINCH_E_BUSY, and reopen waits for the server to come back. The URL's password is in no message: libpq leaves it out of
 * its own, and ours never name the URL. */
#include "store/postgres_rows.h"

#include <assert.h>
#include <errno.h>
#include <libpq-fe.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { OID_BOOL = 16, OID_BYTEA = 17, OID_INT2 = 21, OID_INT4 = 23, OID_FLOAT8 = 701, OID_VOID = 2278 };
enum { NUMBER_BYTES = 40, COPY_BYTES = 1 << 18 };

typedef struct connection {
    PGconn *link;
} connection;

/* libpq's message without its line ends. */
static finch_status fail_text(const char *reason, finch_status st, finch_error *err)
{
    char line[600];
    size_t n = 0;
    for (; reason[n] != '\0' && n + 1 < sizeof line; n++) line[n] = reason[n] == '\n' ? ' ' : reason[n];
    while (n > 0 && line[n - 1] == ' ') n--;
    line[n] = '\0';
    return finch_fail(err, st, "PostgreSQL: %s", line);
}

static bool begins(const char *state, const char *class) { return strncmp(state, class, strlen(class)) == 0; }

/* By the code's class: 08 and 57P the connection or the server goes, 40 and 55P03 another transaction was in the way. */
static finch_status fail(const connection *c, const PGresult *result, finch_error *err)
{
    const char *state = result != NULL ? PQresultErrorField(result, PG_DIAG_SQLSTATE) : NULL;
    const char *reason = result != NULL ? PQresultErrorMessage(result) : PQerrorMessage(c->link);
    bool lost = PQstatus(c->link) != CONNECTION_OK;
    bool again = state != NULL && (begins(state, "08") || begins(state, "57P") || begins(state, "40") ||
                                   begins(state, "55P03") || begins(state, "53300"));
    if (lost || again) return fail_text(reason, FINCH_E_BUSY, err);
    if (state != NULL && begins(state, "53")) return fail_text(reason, FINCH_E_IO, err);
    return fail_text(reason, FINCH_E_FAILED, err);
}

static void close_connection(void *context)
{
    connection *c = context;
    if (c == NULL) return;
    PQfinish(c->link);
    mem_free(c);
}

static void drop_notice(void *context, const char *message)
{
    (void)context;
    (void)message;
}

static finch_status configure(connection *c, finch_error *err)
{
    PQsetNoticeProcessor(c->link, drop_notice, NULL);
    /* What is written is on the disk before it counts, also where the server's default is looser. */
    PGresult *result = PQexec(c->link, "SET synchronous_commit = on; SET client_encoding = 'UTF8'; "
                                       "SET idle_in_transaction_session_timeout = '60s'; SET lock_timeout = '30s'");
    finch_status st = PQresultStatus(result) == PGRES_COMMAND_OK ? FINCH_OK : fail(c, result, err);
    PQclear(result);
    return st;
}

static finch_status open_connection(const char *url, void **out, finch_error *err)
{
    /* A server that is gone without a word is noticed within half a minute. */
    static const char *const words[] = {"dbname",          "connect_timeout",     "application_name", "tcp_user_timeout",
                                        "keepalives_idle", "keepalives_interval", "keepalives_count", NULL};
    connection *c = NULL;
    *out = NULL;
    FINCH_TRY(MEM_NEW(&c, 1, err));
    /* The URL comes first and so may say otherwise. */
    c->link = PQconnectdbParams(words, (const char *const[]){url, "10", "finch", "20000", "10", "5", "3", NULL}, 1);
    finch_status st = FINCH_OK;
    if (c->link == NULL) st = finch_fail(err, FINCH_E_MEMORY, "out of memory for the connection to PostgreSQL");
    else if (PQstatus(c->link) != CONNECTION_OK) st = fail_text(PQerrorMessage(c->link), FINCH_E_IO, err);
    else st = configure(c, err);
    if (st == FINCH_OK) *out = c;
    else close_connection(c);
    return st;
}

static finch_status reopen_connection(void *context, finch_error *err)
{
    connection *c = context;
    if (PQstatus(c->link) == CONNECTION_OK) return FINCH_OK;
    PQreset(c->link);
    if (PQstatus(c->link) != CONNECTION_OK) return fail_text(PQerrorMessage(c->link), FINCH_E_BUSY, err);
    return configure(c, err);
}

/* What PQexecParams wants of the values. */
typedef struct wire {
    Oid types[SQL_VALUES_MAX];
    const char *at[SQL_VALUES_MAX];
    int sizes[SQL_VALUES_MAX];
    int formats[SQL_VALUES_MAX];
    char numbers[SQL_VALUES_MAX][NUMBER_BYTES];
} wire;

static void wire_add(wire *w, size_t i, const sql_value *value)
{
    w->at[i] = w->numbers[i];
    w->sizes[i] = 0;
    w->formats[i] = 0;
    switch (value->type) {
    case SQL_INTEGER:
        w->types[i] = POSTGRES_OID_INT8;
        snprintf(w->numbers[i], NUMBER_BYTES, "%lld", (long long)value->integer);
        return;
    case SQL_REAL:
        w->types[i] = OID_FLOAT8;
        snprintf(w->numbers[i], NUMBER_BYTES, "%.17g", value->real);
        return;
    case SQL_TEXT:
    case SQL_BLOB:
        w->types[i] = value->type == SQL_TEXT ? POSTGRES_OID_TEXT : OID_BYTEA;
        w->at[i] = value->at;
        w->sizes[i] = (int)value->size;
        w->formats[i] = 1;
        return;
    default: w->types[i] = 0; w->at[i] = NULL;
    }
}

/* A NUMERIC would be read as some other number. */
static finch_status check_types(const PGresult *result, finch_error *err)
{
    static const Oid known[] = {OID_BOOL, OID_VOID, OID_INT2, OID_INT4, POSTGRES_OID_INT8, OID_FLOAT8, POSTGRES_OID_TEXT};
    for (int column = 0; column < PQnfields(result); column++) {
        bool found = false;
        for (size_t i = 0; i < sizeof known / sizeof known[0]; i++) found = found || PQftype(result, column) == known[i];
        if (!found)
            return finch_fail(err, FINCH_E_FAILED, "PostgreSQL: column %d (%s) is of a type that is not read here; cast it",
                              column + 1, PQfname(result, column));
    }
    return FINCH_OK;
}

static finch_status run(void *context, const char *sql, const sql_value *values, size_t n_values, sql_row_fn each,
                        void *each_context, uint64_t *n_changed, finch_error *err)
{
    connection *c = context;
    wire w;
    for (size_t i = 0; i < n_values; i++) {
        if (values[i].size > INT32_MAX / 2)
            return finch_fail(err, FINCH_E_DATA, "a value of over 1 GiB does not go into the store");
        wire_add(&w, i, &values[i]);
    }
    PGresult *result = PQexecParams(c->link, sql, (int)n_values, w.types, w.at, w.sizes, w.formats, 1);
    ExecStatusType status = PQresultStatus(result);
    finch_status st = status == PGRES_COMMAND_OK || status == PGRES_TUPLES_OK ? FINCH_OK : fail(c, result, err);
    if (st == FINCH_OK) st = check_types(result, err);
    size_t n_rows = st == FINCH_OK ? (size_t)PQntuples(result) : 0;
    for (size_t i = 0; st == FINCH_OK && each != NULL && i < n_rows; i++) {
        sql_row row = {&sql_backend_postgres, result, i};
        st = each(each_context, &row, err);
    }
    if (st == FINCH_OK && n_changed != NULL) *n_changed = strtoull(PQcmdTuples(result), NULL, 10);
    PQclear(result);
    return st;
}

/* ---- many rows ---- */

static finch_status send(connection *c, str *rows, finch_error *err)
{
    if (rows->size > INT32_MAX) return finch_fail(err, FINCH_E_DATA, "a row of over 2 GiB does not go into the store");
    bool sent = PQputCopyData(c->link, rows->at, (int)rows->size) == 1;
    str_clear(rows);
    return sent ? FINCH_OK : fail_text(PQerrorMessage(c->link), FINCH_E_BUSY, err);
}

static finch_status send_rows(connection *c, const sql_value *values, size_t n_rows, size_t n_columns, finch_error *err)
{
    str rows = {0};
    finch_status st = postgres_copy_head(&rows, err);
    for (size_t i = 0; st == FINCH_OK && i < n_rows; i++) {
        st = postgres_copy_row(&rows, values + i * n_columns, n_columns, err);
        if (st == FINCH_OK && rows.size >= COPY_BYTES) st = send(c, &rows, err);
    }
    if (st == FINCH_OK) st = postgres_copy_end(&rows, err);
    if (st == FINCH_OK) st = send(c, &rows, err);
    str_free(&rows);
    return st;
}

/* What the server says to a copy that was sent to its end; the first failure counts. */
static finch_status finish_copy(connection *c, finch_error *err)
{
    finch_status st = FINCH_OK;
    for (PGresult *result; (result = PQgetResult(c->link)) != NULL; PQclear(result))
        if (st == FINCH_OK && PQresultStatus(result) != PGRES_COMMAND_OK) st = fail(c, result, err);
    return st;
}

/* A copy that is cut off has added nothing: the server takes it as failed, as the transaction around it. */
static finch_status copy_rows(connection *c, const char *sql, const sql_value *values, size_t n_rows, size_t n_columns,
                              finch_error *err)
{
    PGresult *result = PQexec(c->link, sql);
    finch_status st = PQresultStatus(result) == PGRES_COPY_IN ? FINCH_OK : fail(c, result, err);
    PQclear(result);
    if (st != FINCH_OK) return st;
    st = send_rows(c, values, n_rows, n_columns, err);
    bool ended = PQputCopyEnd(c->link, st == FINCH_OK ? NULL : "the rows could not be made") == 1;
    if (!ended && st == FINCH_OK) st = fail_text(PQerrorMessage(c->link), FINCH_E_BUSY, err);
    finch_status answered = finish_copy(c, st == FINCH_OK ? err : NULL);
    return st == FINCH_OK ? answered : st;
}

/* $1 is the first column's values, $2 the second's. */
static finch_status run_arrays(connection *c, const char *sql, const sql_value *values, size_t n_rows, size_t n_columns,
                               finch_error *err)
{
    wire w;
    str arrays[SQL_VALUES_MAX] = {0};
    finch_status st = FINCH_OK;
    for (size_t i = 0; st == FINCH_OK && i < n_columns; i++) {
        st = postgres_array(&arrays[i], values, n_rows, n_columns, i, err);
        if (st == FINCH_OK && arrays[i].size > INT32_MAX / 2)
            st = finch_fail(err, FINCH_E_DATA, "values of over 1 GiB do not go into the store at once");
        w.types[i] = postgres_array_type(values, i);
        w.at[i] = arrays[i].at;
        w.sizes[i] = (int)arrays[i].size;
        w.formats[i] = 1;
    }
    if (st == FINCH_OK) {
        PGresult *result = PQexecParams(c->link, sql, (int)n_columns, w.types, w.at, w.sizes, w.formats, 0);
        if (PQresultStatus(result) != PGRES_COMMAND_OK) st = fail(c, result, err);
        PQclear(result);
    }
    for (size_t i = 0; i < n_columns; i++) str_free(&arrays[i]);
    return st;
}

static finch_status run_rows(void *context, const char *sql, const sql_value *values, size_t n_rows, size_t n_columns,
                             finch_error *err)
{
    return (begins(sql, "COPY ") ? copy_rows : run_arrays)(context, sql, values, n_rows, n_columns, err);
}

/* ---- notices ---- */

static finch_status listen_to_notices(void *context, finch_error *err)
{
    connection *c = context;
    PGresult *result = PQexec(c->link, "LISTEN finch");
    finch_status st = PQresultStatus(result) == PGRES_COMMAND_OK ? FINCH_OK : fail(c, result, err);
    PQclear(result);
    return st;
}

/* What came with the answers of statements is there without waiting. */
static size_t give_notices(connection *c, sql_notice_fn each, void *context)
{
    PGnotify *notice;
    size_t n = 0;
    for (; (notice = PQnotifies(c->link)) != NULL; n++) {
        each(context, notice->extra);
        PQfreemem(notice);
    }
    return n;
}

static finch_status wait_for_notices(void *context, int timeout_ms, sql_notice_fn each, void *each_context, finch_error *err)
{
    connection *c = context;
    struct pollfd input = {.fd = PQsocket(c->link), .events = POLLIN};
    if (give_notices(c, each, each_context) > 0) return FINCH_OK;
    if (poll(&input, 1, timeout_ms) < 0 && errno != EINTR)
        return finch_fail(err, FINCH_E_BUSY, "PostgreSQL: its connection can not be waited for");
    if (PQconsumeInput(c->link) == 0) return fail_text(PQerrorMessage(c->link), FINCH_E_BUSY, err);
    give_notices(c, each, each_context);
    return FINCH_OK;
}

/* ---- rows ---- */

static bool row_null(const sql_row *row, size_t column) { return PQgetisnull(row->result, (int)row->row, (int)column) == 1; }

/* A column's value by its type; one of the two is the other's conversion. */
typedef struct number {
    int64_t whole;
    double real;
} number;

static number number_of(const sql_row *row, size_t column)
{
    number n = {0};
    if (row_null(row, column)) return n;
    size_t size = (size_t)PQgetlength(row->result, (int)row->row, (int)column);
    n.whole = postgres_integer(PQgetvalue(row->result, (int)row->row, (int)column), size);
    n.real = (double)n.whole;
    assert(size <= sizeof n.whole); /* no text */
    if (PQftype(row->result, (int)column) == OID_FLOAT8) {
        memcpy(&n.real, &n.whole, sizeof n.real);
        n.whole = (int64_t)n.real;
    }
    return n;
}

static int64_t row_integer(const sql_row *row, size_t column) { return number_of(row, column).whole; }

static double row_real(const sql_row *row, size_t column) { return number_of(row, column).real; }

static finch_text row_text(const sql_row *row, size_t column)
{
    return (finch_text){PQgetvalue(row->result, (int)row->row, (int)column),
                        (size_t)PQgetlength(row->result, (int)row->row, (int)column)};
}

const sql_backend sql_backend_postgres = {
    .open = open_connection,
    .close = close_connection,
    .reopen = reopen_connection,
    .run = run,
    .run_rows = run_rows,
    .listen = listen_to_notices,
    .wait = wait_for_notices,
    .null = row_null,
    .integer = row_integer,
    .real = row_real,
    .text = row_text,
};
