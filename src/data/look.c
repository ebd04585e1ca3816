#include "data/look.h"

#include "data/output.h"
#include "data/relation.h"

#include <string.h>

struct data_look {
    data_database db;
    data_relation *relation;
    str ordered; /* the query in order; empty: the files' order */
};

finch_status data_look_open(const data_source *source, bool typed, const progress *watch, data_look **out, finch_error *err)
{
    data_look *look;
    *out = NULL;
    FINCH_TRY(MEM_NEW(&look, 1, err));
    finch_status st = data_database_open(&look->db, err);
    if (st == FINCH_OK)
        st = data_relation_open(&look->db, source, &(data_relation_options){.typed = typed, .watch = watch}, &look->relation,
                                err);
    if (st == FINCH_OK) *out = look;
    else data_look_close(look);
    return st;
}

void data_look_close(data_look *look)
{
    if (look == NULL) return;
    data_relation_close(look->relation);
    data_database_close(&look->db);
    str_free(&look->ordered);
    mem_free(look);
}

const data_names *data_look_columns(const data_look *look) { return data_relation_columns(look->relation); }
const data_names *data_look_types(const data_look *look) { return data_relation_types(look->relation); }
uint64_t data_look_rows(const data_look *look) { return data_relation_rows(look->relation); }
uint64_t data_look_rejected(const data_look *look) { return data_relation_rejects(look->relation)->n; }

finch_status data_look_list_rejects(const data_look *look, const char *path, finch_error *err)
{
    return data_rejects_write(data_relation_rejects(look->relation), path, err);
}

void data_grid_free(data_grid *grid)
{
    for (size_t i = 0; grid->values != NULL && i < grid->n_rows * grid->n_columns; i++) mem_free(grid->values[i]);
    mem_free(grid->values);
    *grid = (data_grid){0};
}

/* A query of VARCHAR columns, at most n_rows of its rows; n_columns to a row of the grid, which may be fewer than the
 * query's: then a row of the query gives several. */
static finch_status read_grid(data_look *look, const char *sql, size_t n_rows, size_t n_columns, size_t query_columns,
                              data_grid *out, finch_error *err)
{
    duckdb_result result;
    size_t n_values, at = 0;
    *out = (data_grid){.n_columns = n_columns};
    if (!size_mul(n_rows, n_columns, &n_values)) return finch_fail(err, FINCH_E_MEMORY, "%zu rows are too many", n_rows);
    FINCH_TRY(data_query(&look->db, sql, &result, err));
    finch_status st = MEM_NEW(&out->values, n_values, err);
    data_cursor cursor = {.result = &result};
    while (st == FINCH_OK && at + query_columns <= n_values && data_cursor_step(&cursor)) {
        for (size_t i = 0; st == FINCH_OK && i < query_columns; i++, at++) {
            finch_text text;
            if (data_cursor_text(&cursor, i, &text)) st = mem_text(text.at, text.size_bytes, &out->values[at], err);
            out->n_rows = at / n_columns + 1;
        }
    }
    data_cursor_close(&cursor);
    duckdb_destroy_result(&result);
    if (st != FINCH_OK) data_grid_free(out);
    return st;
}

static finch_status add_each_column(const data_look *look, str *sql, const char *before, const char *after, finch_error *err)
{
    const data_names *columns = data_look_columns(look);
    for (size_t i = 0; i < columns->n; i++) {
        FINCH_TRY(str_add_text(sql, i > 0 ? ", " : "", err));
        FINCH_TRY(str_add_text(sql, before, err));
        FINCH_TRY(data_sql_name(sql, columns->at[i], err));
        FINCH_TRY(str_add_text(sql, after, err));
    }
    return FINCH_OK;
}

finch_status data_look_head(data_look *look, size_t n_rows, data_grid *out, finch_error *err)
{
    str sql = {0};
    size_t n_columns = data_look_columns(look)->n;
    *out = (data_grid){0};
    if (n_rows > data_look_rows(look)) n_rows = (size_t)data_look_rows(look);
    finch_status st = str_add_text(&sql, "SELECT ", err);
    if (st == FINCH_OK) st = add_each_column(look, &sql, "CAST(", " AS VARCHAR)", err);
    if (st == FINCH_OK) st = str_add_format(&sql, err, " FROM (%s) LIMIT %zu", data_relation_sql(look->relation), n_rows);
    if (st == FINCH_OK) st = read_grid(look, sql.at, n_rows, n_columns, n_columns, out, err);
    str_free(&sql);
    return st;
}

finch_status data_look_head_json(data_look *look, size_t n_rows, str *out, finch_error *err)
{
    str sql = {0};
    duckdb_result result;
    finch_status st = str_add_format(&sql, err,
                                     "SELECT CAST(to_json(r) AS VARCHAR) FROM (SELECT * FROM (%s) LIMIT %zu) AS r",
                                     data_relation_sql(look->relation), n_rows);
    if (st == FINCH_OK) st = data_query(&look->db, sql.at, &result, err);
    str_free(&sql);
    if (st != FINCH_OK) return st;
    data_cursor cursor = {.result = &result};
    finch_text text;
    st = str_add_text(out, "[", err);
    for (bool first = true; st == FINCH_OK && data_cursor_step(&cursor); first = false) {
        data_cursor_text(&cursor, 0, &text);
        st = str_add_text(out, first ? "\n  " : ",\n  ", err);
        if (st == FINCH_OK) st = str_add(out, text.at, text.size_bytes, err);
    }
    data_cursor_close(&cursor);
    duckdb_destroy_result(&result);
    return st == FINCH_OK ? str_add_text(out, "]", err) : st;
}

static bool is_number(const char *type)
{
    static const char *const names[] = {"TINYINT",   "SMALLINT", "INTEGER", "BIGINT", "HUGEINT", "UTINYINT",
                                        "USMALLINT", "UINTEGER", "UBIGINT", "FLOAT",  "DOUBLE"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        if (strcmp(names[i], type) == 0) return true;
    return strncmp(type, "DECIMAL", 7) == 0;
}

/* The five statistics of a column, as text; the order is data_stat's. */
static finch_status add_stats(str *sql, const char *quoted, const char *type, bool exact, finch_error *err)
{
    bool number = is_number(type), text = strcmp(type, "VARCHAR") == 0;
    FINCH_TRY(str_add_format(sql, err, "CAST(count(*) - count(%s) AS VARCHAR), ", quoted));
    if (exact) FINCH_TRY(str_add_format(sql, err, "CAST(count(DISTINCT %s) AS VARCHAR), ", quoted));
    else
        FINCH_TRY(
            str_add_format(sql, err, "CAST(least(approx_count_distinct(%s), count(%s)) AS VARCHAR), ", quoted, quoted));
    FINCH_TRY(str_add_format(sql, err, "CAST(min(%s) AS VARCHAR), CAST(max(%s) AS VARCHAR), ", quoted, quoted));
    if (number) return str_add_format(sql, err, "CAST(round(avg(%s), 4) AS VARCHAR)", quoted);
    return text ? str_add_format(sql, err, "CAST(round(avg(length(%s)), 1) AS VARCHAR)", quoted)
                : str_add_text(sql, "CAST(NULL AS VARCHAR)", err);
}

bool data_look_stats_exact(const data_look *look) { return data_look_rows(look) <= DATA_STATS_EXACT_ROWS; }

finch_status data_look_stats(data_look *look, data_grid *out, finch_error *err)
{
    const data_names *columns = data_look_columns(look), *types = data_look_types(look);
    str sql = {0}, quoted = {0};
    *out = (data_grid){0};
    finch_status st = str_add_text(&sql, "SELECT ", err);
    for (size_t i = 0; st == FINCH_OK && i < columns->n; i++) {
        str_clear(&quoted);
        if (i > 0) st = str_add_text(&sql, ", ", err);
        if (st == FINCH_OK) st = data_sql_name(&quoted, columns->at[i], err);
        if (st == FINCH_OK) st = add_stats(&sql, quoted.at, types->at[i], data_look_stats_exact(look), err);
    }
    if (st == FINCH_OK) st = str_add_format(&sql, err, " FROM (%s)", data_relation_sql(look->relation));
    if (st == FINCH_OK) st = read_grid(look, sql.at, columns->n, DATA_STAT_COUNT, columns->n * DATA_STAT_COUNT, out, err);
    str_free(&sql);
    str_free(&quoted);
    return st;
}

/* ---- several files as one ---- */

static finch_status count_where(data_look *look, const char *what, const char *where, uint64_t *out, finch_error *err)
{
    str sql = {0};
    finch_status st = str_add_format(&sql, err, "SELECT %s FROM (%s)%s", what, data_relation_sql(look->relation), where);
    if (st == FINCH_OK) st = data_query_count(&look->db, sql.at, out, err);
    str_free(&sql);
    return st;
}

/* key is the column quoted, then what rows are ordered by. */
static finch_status choose_order(data_look *look, const char *column, str *key, uint64_t *n_equal, finch_error *err)
{
    str text = {0};
    uint64_t n_null = 0, n_other = 1, n_distinct = 0;
    finch_status st = str_add_format(&text, err, " WHERE %s IS NULL", key->at);
    if (st == FINCH_OK) st = count_where(look, "count(*)", text.at, &n_null, err);
    if (st == FINCH_OK && n_null > 0)
        st = finch_fail(err, FINCH_E_DATA, "%llu rows have no value in the column \"%s\", so their order is not known",
                        (unsigned long long)n_null, column);
    str_clear(&text);
    const char *type = data_look_types(look)->at[data_names_find(data_look_columns(look), column)];
    bool is_text = strcmp(type, "VARCHAR") == 0;
    if (st == FINCH_OK) st = str_add_format(&text, err, " WHERE TRY_CAST(%s AS HUGEINT) IS NULL", key->at);
    if (st == FINCH_OK && is_text) st = count_where(look, "count(*)", text.at, &n_other, err);
    str_clear(&text);
    if (st == FINCH_OK && is_text && n_other == 0) {
        st = str_add_format(&text, err, "CAST(%s AS HUGEINT)", key->at);
        if (st == FINCH_OK) {
            str_clear(key);
            st = str_add(key, text.at, text.size, err);
        }
    }
    str_clear(&text);
    if (st == FINCH_OK) st = str_add_format(&text, err, "count(DISTINCT %s)", key->at);
    if (st == FINCH_OK) st = count_where(look, text.at, "", &n_distinct, err);
    if (st == FINCH_OK) *n_equal = data_look_rows(look) - n_distinct;
    str_free(&text);
    return st;
}

finch_status data_look_order(data_look *look, const char *column, uint64_t *n_equal, finch_error *err)
{
    str key = {0};
    *n_equal = 0;
    FINCH_TRY(data_relation_need(look->relation, column, "--order-by", err));
    finch_status st = data_sql_name(&key, column, err);
    if (st == FINCH_OK) st = choose_order(look, column, &key, n_equal, err);
    str_clear(&look->ordered);
    if (st == FINCH_OK)
        st = str_add_format(
            &look->ordered, err,
            "SELECT * EXCLUDE (\"finch file row\") FROM (SELECT *, row_number() OVER () AS \"finch file row\" "
            "FROM (%s)) ORDER BY %s, \"finch file row\"",
            data_relation_sql(look->relation), key.at);
    str_free(&key);
    return st;
}

finch_status data_look_convert(data_look *look, const char *output, const char *rejects, uint64_t *n_written,
                               finch_error *err)
{
    data_output to;
    *n_written = 0;
    FINCH_TRY(data_relation_check_output(look->relation, output, err));
    FINCH_TRY(data_output_open(output, &to, err));
    const char *query = look->ordered.size > 0 ? look->ordered.at : data_relation_sql(look->relation);
    finch_status st = data_output_copy(&look->db, &to, query, n_written, err);
    if (st == FINCH_OK) st = data_relation_check_rows(look->relation, *n_written, err);
    if (st == FINCH_OK) st = data_output_commit(&to, err);
    data_output_close(&to);
    if (st == FINCH_OK && data_look_rejected(look) > 0) st = data_look_list_rejects(look, rejects, err);
    return st;
}
