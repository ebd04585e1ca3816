/* SQLite: one file, write-ahead log, every commit flushed to the disk (synchronous = FULL), so that what was paid for
 * survives a power cut. Several processes on one machine may share the file; writers wait for each other. */
#include "store/sql.h"

#include "base/file.h"

#include <errno.h>
#include <limits.h>
#include <sqlite3.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { STATEMENTS_MAX = 256, WAIT_MS = 30000, CACHE_KIB = 2048 };

/* Statements are kept by the address of their text: all texts are constants. */
typedef struct kept_statement {
    const char *sql;
    sqlite3_stmt *statement;
    unsigned char places[SQL_VALUES_MAX]; /* of $1, $2, ...; 0: the other database's text needs it */
} kept_statement;

typedef struct connection {
    sqlite3 *database;
    str path;
    kept_statement kept[STATEMENTS_MAX];
    size_t n_kept;
} connection;

static finch_status fail(connection *c, int code, finch_error *err)
{
    int primary = code & 0xFF;
    const char *path = c->path.at, *reason = c->database != NULL ? sqlite3_errmsg(c->database) : sqlite3_errstr(code);
    if (primary == SQLITE_BUSY || primary == SQLITE_LOCKED)
        return finch_fail(err, FINCH_E_BUSY, "the store %s is held by another process: %s", path, reason);
    if (primary == SQLITE_NOMEM) return finch_fail(err, FINCH_E_MEMORY, "out of memory in the store %s", path);
    if (primary == SQLITE_NOTADB || primary == SQLITE_CORRUPT)
        return finch_fail(err, FINCH_E_DATA, "%s is no finch store, or it is damaged: %s; name another with --state", path,
                          reason);
    if (primary == SQLITE_FULL || primary == SQLITE_IOERR || primary == SQLITE_CANTOPEN || primary == SQLITE_READONLY ||
        primary == SQLITE_PERM)
        return finch_fail(err, FINCH_E_IO, "the store %s can not be written: %s", path, reason);
    return finch_fail(err, FINCH_E_FAILED, "the store %s: %s", path, reason);
}

static void close_connection(void *context)
{
    connection *c = context;
    if (c == NULL) return;
    for (size_t i = 0; i < c->n_kept; i++) sqlite3_finalize(c->kept[i].statement);
    sqlite3_close(c->database);
    str_free(&c->path);
    mem_free(c);
}

/* The file is made for its owner alone: it holds texts and answers. It is made without being opened: closing a descriptor of ours would
 * take away the locks of every other connection of this process, and another process would then tear the log away under them
 * (sqlite.org/howtocorrupt.html, 2.2). */
static finch_status make_file(const char *path, finch_error *err)
{
    str folder = {0};
    const char *slash = strrchr(path, '/');
    finch_status st = FINCH_OK;
    if (slash != NULL && slash != path) {
        st = str_add(&folder, path, (size_t)(slash - path), err);
        if (st == FINCH_OK) st = file_make_directories(folder.at, err);
        str_free(&folder);
    }
    if (st != FINCH_OK) return st;
    if ((mknod(path, S_IFREG | 0600, 0) != 0 && errno != EEXIST) || access(path, R_OK | W_OK) != 0)
        return finch_fail(err, FINCH_E_IO,
                          "the store %s can not be opened; check that it is yours to write, or name another with --state",
                          path);
    return FINCH_OK;
}

static finch_status configure(connection *c, finch_error *err)
{
    char settings[256];
    sqlite3_busy_timeout(c->database, WAIT_MS);
    sqlite3_extended_result_codes(c->database, 1);
    snprintf(settings, sizeof settings,
             "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON; PRAGMA trusted_schema = OFF; "
             "PRAGMA cache_size = -%d; PRAGMA temp_store = FILE; PRAGMA journal_size_limit = 67108864",
             CACHE_KIB);
    int code = sqlite3_exec(c->database, settings, NULL, NULL, NULL);
    return code == SQLITE_OK ? FINCH_OK : fail(c, code, err);
}

static finch_status open_connection(const char *path, void **out, finch_error *err)
{
    connection *c = NULL;
    *out = NULL;
    FINCH_TRY(MEM_NEW(&c, 1, err));
    finch_status st = str_add_text(&c->path, path, err);
    if (st == FINCH_OK) st = make_file(path, err);
    if (st == FINCH_OK) {
        int code = sqlite3_open_v2(path, &c->database, SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX, NULL);
        st = code == SQLITE_OK ? configure(c, err) : fail(c, code, err);
    }
    if (st == FINCH_OK) *out = c;
    else close_connection(c);
    return st;
}

/* A file is never lost as a connection is; what is asked again after "busy" needs nothing. */
static finch_status reopen_connection(void *context, finch_error *err)
{
    (void)context;
    (void)err;
    return FINCH_OK;
}

static finch_status find_statement(connection *c, const char *sql, const kept_statement **out, finch_error *err)
{
    char name[24];
    for (size_t i = 0; i < c->n_kept; i++)
        if (c->kept[i].sql == sql) {
            *out = &c->kept[i];
            return FINCH_OK;
        }
    kept_statement fresh = {.sql = sql};
    int code = sqlite3_prepare_v3(c->database, sql, -1, SQLITE_PREPARE_PERSISTENT, &fresh.statement, NULL);
    if (code != SQLITE_OK) return fail(c, code, err);
    for (size_t i = 0; i < SQL_VALUES_MAX; i++) {
        snprintf(name, sizeof name, "$%zu", i + 1);
        fresh.places[i] = (unsigned char)sqlite3_bind_parameter_index(fresh.statement, name);
    }
    if (c->n_kept == STATEMENTS_MAX) sqlite3_finalize(c->kept[--c->n_kept].statement);
    *out = &c->kept[c->n_kept];
    c->kept[c->n_kept++] = fresh;
    return FINCH_OK;
}

static int bind_value(sqlite3_stmt *statement, int at, const sql_value *value)
{
    switch (value->type) {
    case SQL_INTEGER: return sqlite3_bind_int64(statement, at, value->integer);
    case SQL_REAL: return sqlite3_bind_double(statement, at, value->real);
    case SQL_TEXT: return sqlite3_bind_text64(statement, at, value->at, value->size, SQLITE_STATIC, SQLITE_UTF8);
    case SQL_BLOB: return sqlite3_bind_blob64(statement, at, value->at, value->size, SQLITE_STATIC);
    default: return sqlite3_bind_null(statement, at);
    }
}

static int bind_values(const kept_statement *kept, const sql_value *values, size_t n_values)
{
    int code = SQLITE_OK;
    for (size_t i = 0; code == SQLITE_OK && i < n_values; i++)
        if (kept->places[i] != 0) code = bind_value(kept->statement, kept->places[i], &values[i]);
    return code;
}

static finch_status run(void *context, const char *sql, const sql_value *values, size_t n_values, sql_row_fn each,
                        void *each_context, uint64_t *n_changed, finch_error *err)
{
    connection *c = context;
    const kept_statement *kept = NULL;
    finch_status st = FINCH_OK;
    FINCH_TRY(find_statement(c, sql, &kept, err));
    sqlite3_stmt *statement = kept->statement;
    int code = bind_values(kept, values, n_values);
    while (code == SQLITE_OK && st == FINCH_OK && (code = sqlite3_step(statement)) == SQLITE_ROW) {
        sql_row row = {&sql_backend_sqlite, statement, 0};
        if (each != NULL) st = each(each_context, &row, err);
        code = SQLITE_OK;
    }
    if (st == FINCH_OK && code != SQLITE_DONE) st = fail(c, code, err);
    if (n_changed != NULL) *n_changed = (uint64_t)sqlite3_changes64(c->database);
    sqlite3_reset(statement);
    sqlite3_clear_bindings(statement);
    return st;
}

static finch_status run_rows(void *context, const char *sql, const sql_value *values, size_t n_rows, size_t n_columns,
                             finch_error *err)
{
    for (size_t row = 0; row < n_rows; row++)
        FINCH_TRY(run(context, sql, values + row * n_columns, n_columns, NULL, NULL, NULL, err));
    return FINCH_OK;
}

/* The result is the statement itself. */
static sqlite3_stmt *statement_of(const sql_row *row)
{
    union {
        const void *in;
        sqlite3_stmt *out;
    } pun = {row->result};
    return pun.out;
}

static bool row_null(const sql_row *row, size_t column)
{
    return sqlite3_column_type(statement_of(row), (int)column) == SQLITE_NULL;
}

static int64_t row_integer(const sql_row *row, size_t column)
{
    return sqlite3_column_int64(statement_of(row), (int)column);
}

static double row_real(const sql_row *row, size_t column) { return sqlite3_column_double(statement_of(row), (int)column); }

static finch_text row_text(const sql_row *row, size_t column)
{
    const void *at = sqlite3_column_blob(statement_of(row), (int)column);
    int size = sqlite3_column_bytes(statement_of(row), (int)column);
    return at == NULL || size <= 0 ? (finch_text){"", 0} : (finch_text){at, (size_t)size};
}

const sql_backend sql_backend_sqlite = {
    .open = open_connection,
    .close = close_connection,
    .reopen = reopen_connection,
    .run = run,
    .run_rows = run_rows,
    .null = row_null,
    .integer = row_integer,
    .real = row_real,
    .text = row_text,
};
