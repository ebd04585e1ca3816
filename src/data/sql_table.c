#include "data/sql_table.h"

#include "data/utf8.h"

#include <string.h>

struct data_sql_table {
    duckdb_appender appender;
    str name; /* schema.name, for messages */
    bool failed;
    str text; /* a text that had to be mended */
};

static const char *const type_names[] = {"VARCHAR", "BIGINT", "DOUBLE", "TIMESTAMP"};

static finch_status add_definition(const char *schema, const char *name, const char *const *columns,
                                   const data_sql_type *types, size_t n_columns, str *sql, finch_error *err)
{
    FINCH_TRY(str_add_text(sql, "CREATE SCHEMA IF NOT EXISTS ", err));
    FINCH_TRY(data_sql_name(sql, schema, err));
    FINCH_TRY(str_add_text(sql, "; CREATE TABLE ", err));
    FINCH_TRY(data_sql_name(sql, schema, err));
    FINCH_TRY(str_add_text(sql, ".", err));
    FINCH_TRY(data_sql_name(sql, name, err));
    for (size_t i = 0; i < n_columns; i++) {
        FINCH_TRY(str_add_text(sql, i > 0 ? ", " : " (", err));
        FINCH_TRY(data_sql_name(sql, columns[i], err));
        FINCH_TRY(str_add_format(sql, err, " %s", type_names[types[i]]));
    }
    return str_add_text(sql, ")", err);
}

finch_status data_sql_table_open(data_sql *s, const char *schema, const char *name, const char *const *columns,
                                 const data_sql_type *types, size_t n_columns, data_sql_table **out, finch_error *err)
{
    data_sql_table *t;
    data_database *db = data_sql_database(s);
    str sql = {0};
    *out = NULL;
    FINCH_TRY(MEM_NEW(&t, 1, err));
    finch_status st = str_add_format(&t->name, err, "%s.%s", schema, name);
    if (st == FINCH_OK) st = add_definition(schema, name, columns, types, n_columns, &sql, err);
    if (st == FINCH_OK) st = data_query(db, sql.at, NULL, err);
    if (st == FINCH_OK && duckdb_appender_create(db->connection, schema, name, &t->appender) != DuckDBSuccess)
        st = finch_fail(err, FINCH_E_FAILED, "DuckDB lets nothing be added to %s", t->name.at);
    str_free(&sql);
    if (st == FINCH_OK) *out = t;
    else data_sql_table_close(t, NULL);
    return st;
}

void data_sql_table_null(data_sql_table *t) { t->failed |= duckdb_append_null(t->appender) != DuckDBSuccess; }

void data_sql_table_integer(data_sql_table *t, int64_t value)
{
    t->failed |= duckdb_append_int64(t->appender, value) != DuckDBSuccess;
}

void data_sql_table_real(data_sql_table *t, double value)
{
    t->failed |= duckdb_append_double(t->appender, value) != DuckDBSuccess;
}

void data_sql_table_time(data_sql_table *t, int64_t unix_ms)
{
    int64_t micros;
    if (__builtin_mul_overflow(unix_ms, 1000, &micros)) data_sql_table_null(t);
    else t->failed |= duckdb_append_timestamp(t->appender, (duckdb_timestamp){micros}) != DuckDBSuccess;
}

void data_sql_table_text(data_sql_table *t, finch_text value)
{
    if (!data_utf8_valid(value.at, value.size_bytes)) {
        str_clear(&t->text);
        if (str_add(&t->text, value.at, value.size_bytes, NULL) != FINCH_OK) {
            t->failed = true;
            return;
        }
        for (size_t at = 0, step; at < t->text.size; at += step) {
            step = data_utf8_length(t->text.at + at, t->text.size - at);
            if (step > 0) continue;
            t->text.at[at] = '?';
            step = 1;
        }
        value.at = t->text.at;
    }
    t->failed |= duckdb_append_varchar_length(t->appender, value.at, value.size_bytes) != DuckDBSuccess;
}

static finch_status fail(const data_sql_table *t, finch_error *err)
{
    const char *text = duckdb_appender_error(t->appender);
    bool memory = text != NULL && strstr(text, "Out of Memory") != NULL;
    return finch_fail(err, memory ? FINCH_E_MEMORY : FINCH_E_FAILED, "%s could not be copied: %.160s", t->name.at,
                      memory         ? "the memory limit is reached; raise it with --memory-limit"
                      : text != NULL ? text
                                     : "DuckDB gave no reason");
}

finch_status data_sql_table_end_row(data_sql_table *t, finch_error *err)
{
    if (!t->failed) t->failed = duckdb_appender_end_row(t->appender) != DuckDBSuccess;
    return t->failed ? fail(t, err) : FINCH_OK;
}

finch_status data_sql_table_close(data_sql_table *t, finch_error *err)
{
    finch_status st = FINCH_OK;
    if (t == NULL) return FINCH_OK;
    if (t->appender != NULL && (t->failed || duckdb_appender_close(t->appender) != DuckDBSuccess)) st = fail(t, err);
    if (t->appender != NULL) duckdb_appender_destroy(&t->appender);
    str_free(&t->name);
    str_free(&t->text);
    mem_free(t);
    return st;
}
