#include "store/sql.h"

#include <assert.h>
#include <string.h>

sql_value sql_integer(int64_t value) { return (sql_value){.type = SQL_INTEGER, .integer = value}; }

sql_value sql_real(double value) { return (sql_value){.type = SQL_REAL, .real = value}; }

sql_value sql_text(const char *text)
{
    return (sql_value){.type = SQL_TEXT, .at = text, .size = text != NULL ? strlen(text) : 0};
}

sql_value sql_blob(const void *at, size_t size) { return (sql_value){.type = SQL_BLOB, .at = at, .size = size}; }

sql_value sql_null(void) { return (sql_value){.type = SQL_NULL}; }

bool sql_row_null(const sql_row *row, size_t column) { return row->backend->null(row, column); }

int64_t sql_row_integer(const sql_row *row, size_t column) { return row->backend->integer(row, column); }

double sql_row_real(const sql_row *row, size_t column) { return row->backend->real(row, column); }

finch_text sql_row_text(const sql_row *row, size_t column) { return row->backend->text(row, column); }

finch_status sql_run(sql_db *db, const sql_statement *statement, const sql_value *values, size_t n_values, sql_row_fn each,
                     void *context, uint64_t *n_changed, finch_error *err)
{
    bool postgres = db->backend == &sql_backend_postgres && statement->postgres != NULL;
    assert(n_values <= SQL_VALUES_MAX);
    return db->backend->run(db->connection, postgres ? statement->postgres : statement->sqlite, values, n_values, each,
                            context, n_changed, err);
}

finch_status sql_run_rows(sql_db *db, const sql_statement *statement, const sql_value *values, size_t n_rows,
                          size_t n_columns, finch_error *err)
{
    bool postgres = db->backend == &sql_backend_postgres;
    assert(n_columns <= SQL_VALUES_MAX);
    if (n_rows == 0) return FINCH_OK;
    return db->backend->run_rows(db->connection, postgres ? statement->postgres : statement->sqlite, values, n_rows,
                                 n_columns, err);
}

finch_status sql_take_integer(void *context, const sql_row *row, finch_error *err)
{
    (void)err;
    *(int64_t *)context = sql_row_integer(row, 0);
    return FINCH_OK;
}

finch_status sql_row_copy(const sql_row *row, size_t column, str *out, finch_error *err)
{
    finch_text text = sql_row_text(row, column);
    str_clear(out);
    return str_add(out, text.at, text.size_bytes, err);
}

finch_status sql_take_text(void *context, const sql_row *row, finch_error *err)
{
    return sql_row_copy(row, 0, context, err);
}
