#include "data/sql.h"

#include "base/clock.h"
#include "data/output.h"
#include "data/sql_functions.h"
#include "data/sql_table.h"
#include "data/sql_text.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

struct data_sql {
    data_sql_options options;
    data_database db;
    sql_engine *engine; /* NULL: no model */
    str last;           /* the last statement */
    size_t last_begin;  /* its place in the text */
    duckdb_statement_type type;
    data_names columns;
    bool has_place;
    size_t line, column;
};

/* ---- errors ---- */

/* DuckDB's words for what went wrong, as a status. */
static finch_status status_of(const char *type)
{
    static const struct {
        const char *type;
        finch_status status;
    } table[] = {
        {"Parser", FINCH_E_USAGE},
        {"Binder", FINCH_E_USAGE},
        {"Catalog", FINCH_E_USAGE},
        {"Syntax", FINCH_E_USAGE},
        {"Not implemented", FINCH_E_USAGE},
        {"Missing Extension", FINCH_E_USAGE},
        {"Permission", FINCH_E_IO},
        {"IO", FINCH_E_IO},
        {"HTTP", FINCH_E_IO},
        {"Out of Memory", FINCH_E_MEMORY},
        {"INTERRUPT", FINCH_E_CANCELLED},
        {"Conversion", FINCH_E_DATA},
        {"Invalid Input", FINCH_E_DATA},
        {"Out of Range", FINCH_E_DATA},
        {"Mismatch Type", FINCH_E_DATA},
        {"Invalid type", FINCH_E_DATA},
        {"Invalid", FINCH_E_DATA},
        {"Constraint", FINCH_E_DATA},
        {"Serialization", FINCH_E_DATA},
    };
    for (size_t i = 0; type != NULL && i < sizeof table / sizeof table[0]; i++)
        if (strcasecmp(table[i].type, type) == 0) return table[i].status;
    return FINCH_E_FAILED;
}

enum { REASON_BYTES = 200 };

/* DuckDB's own reader ends at a broken row. Its message is a page: the row's number, the row, the reason, then settings with the
 * file among them. */
static finch_status fail_csv(const char *message, const char *place, finch_error *err)
{
    static const char row_mark[] = "\nOriginal Line:", file_mark[] = "\n  file = ";
    const char *row = strstr(message, row_mark), *file = strstr(message, file_mark);
    const char *reason = row != NULL ? strchr(row + sizeof row_mark - 1, '\n') : strchr(message, '\n');
    reason = reason != NULL ? reason + 1 : "";
    file = file != NULL ? file + sizeof file_mark - 1 : "";
    return finch_fail(err, FINCH_E_DATA,
                      "%s%.*s%s%.*s: %.*s; finch data convert FILE --output FILE.parquet sets broken rows aside", place,
                      (int)strcspn(file, "\n"), file, file[0] != '\0' ? ": " : "", (int)strcspn(message, "\n"), message,
                      (int)size_least(strcspn(reason, "\n"), REASON_BYTES), reason);
}

/* The first line of DuckDB's message and, where it says something else of use, the second ("Did you mean ..."). */
static finch_status fail_message(finch_status st, const char *message, const char *place, finch_error *err)
{
    size_t first = strcspn(message, "\n");
    const char *second = message[first] != '\0' ? message + first + 1 : "";
    size_t n = strcspn(second, "\n");
    if (st == FINCH_E_IO && strncmp(message, "No files found", 14) == 0) st = FINCH_E_NOT_FOUND;
    if (strncmp(message, "Cannot change configuration", 27) == 0) st = FINCH_E_USAGE;
    if (strncmp(message, "CSV Error on Line", 17) == 0 || strncmp(message, "Error when sniffing file", 24) == 0)
        return fail_csv(message, place, err);
    if (strncmp(message, "Cannot prepare multiple", 23) == 0)
        return finch_fail(err, FINCH_E_USAGE, "%sPIVOT needs its values: PIVOT ... ON column IN ('a', 'b')", place);
    return finch_fail(err, st, "%s%.*s%s%.*s", place, (int)first, message, n > 0 ? " " : "", (int)n, second);
}

/* With errors_as_json a message is an object; "position" is a byte of the statement, which begins at `begin` of the text. */
static finch_status fail_sql(data_sql *s, const char *text, size_t begin, finch_error *err)
{
    char place[64] = "";
    const char *object = text != NULL ? strchr(text, '{') : NULL;
    json_t *json = object != NULL ? json_loads(object, 0, NULL) : NULL;
    const char *message = json_string_value(json_object_get(json, "exception_message"));
    const char *position = json_string_value(json_object_get(json, "position"));
    finch_status st = status_of(json_string_value(json_object_get(json, "exception_type")));
    if (s->engine != NULL && sql_engine_stopped(s->engine)) st = FINCH_E_CANCELLED;
    if (position != NULL && begin != SIZE_MAX) {
        s->has_place = true;
        sql_text_place(s->options.text.at, s->options.text.size_bytes, begin + strtoul(position, NULL, 10), &s->line,
                       &s->column);
        snprintf(place, sizeof place, "line %zu, column %zu: ", s->line, s->column);
    }
    if (st == FINCH_E_CANCELLED) st = finch_fail(err, st, "interrupted");
    else st = fail_message(st, message != NULL ? message : text != NULL ? text : "DuckDB gave no reason", place, err);
    json_decref(json);
    return st;
}

bool data_sql_error_place(const data_sql *s, size_t *line, size_t *column)
{
    *line = s->line;
    *column = s->column;
    return s->has_place;
}

/* ---- opening ---- */

bool data_sql_needs_model(finch_text text)
{
    static const char *const names[] = {"finch_score", "finch_label", "finch_probs"};
    for (size_t at = 0; at < text.size_bytes; at++)
        for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
            if (text.size_bytes - at >= strlen(names[i]) && strncasecmp(text.at + at, names[i], strlen(names[i])) == 0)
                return true;
    return false;
}

static finch_status limit_memory(data_sql *s, finch_error *err)
{
    str sql = {0};
    const char *limit = s->options.memory_limit;
    if (limit == NULL) return FINCH_OK;
    finch_status st = str_add_text(&sql, "SET memory_limit = ", err);
    if (st == FINCH_OK) st = data_sql_text(&sql, limit, strlen(limit), err);
    if (st == FINCH_OK && data_query(&s->db, sql.at, NULL, NULL) != FINCH_OK)
        st = finch_fail(err, FINCH_E_USAGE, "--memory-limit %.60s is no size; write it as 1GiB or 500MB", limit);
    str_free(&sql);
    return st;
}

/* Nothing is fetched, nothing is loaded, and no statement can change that: the settings are locked at the end. */
static finch_status configure(data_sql *s, finch_error *err)
{
    const char *temporary = getenv("TMPDIR");
    str sql = {0}, folder = {0};
    finch_status st = str_add_format(&folder, err, "%s/finch-sql-%ld",
                                     temporary != NULL && temporary[0] != '\0' ? temporary : "/tmp", (long)getpid());
    if (st == FINCH_OK)
        st = str_add_format(&sql, err,
                            "SET extension_directory = '/dev/null/none'; SET threads = %zu; SET errors_as_json = true; "
                            "SET temp_directory = ",
                            s->options.n_threads);
    if (st == FINCH_OK) st = data_sql_text(&sql, folder.at, folder.size, err);
    if (st == FINCH_OK) st = data_query(&s->db, sql.at, NULL, err);
    if (st == FINCH_OK) st = limit_memory(s, err);
    if (st == FINCH_OK) st = data_query(&s->db, "SET lock_configuration = true", NULL, err);
    str_free(&sql);
    str_free(&folder);
    return st;
}

finch_status data_sql_open(const data_sql_options *options, data_sql **out, finch_error *err)
{
    data_sql *s;
    finch_status st;
    *out = NULL;
    FINCH_TRY(MEM_NEW(&s, 1, err));
    s->options = *options;
    if (s->options.n_threads == 0) s->options.n_threads = 1;
    FINCH_GO(done, st, data_database_open(&s->db, err));
    if (options->engine != NULL)
        FINCH_GO(done, st,
                 sql_engine_open(options->engine, options->n_threads, options->max_tokens, options->watch, &s->engine, err));
    FINCH_GO(done, st, sql_functions_register(&s->db, s->engine, err));
    st = configure(s, err);
done:
    if (st == FINCH_OK) *out = s;
    else data_sql_close(s);
    return st;
}

data_database *data_sql_database(data_sql *s) { return &s->db; }

void data_sql_close(data_sql *s)
{
    if (s == NULL) return;
    data_database_close(&s->db); /* before what its functions work on */
    sql_engine_close(s->engine);
    data_names_free(&s->columns);
    str_free(&s->last);
    mem_free(s);
}

/* ---- running ---- */

/* DuckDB's tasks one after another, so that an interruption is seen between them. */
static finch_status execute(data_sql *s, duckdb_prepared_statement statement, bool streaming, size_t begin,
                            duckdb_result *out, finch_error *err)
{
    duckdb_pending_result pending = NULL;
    finch_status st = FINCH_OK;
    bool ok = (streaming ? duckdb_pending_prepared_streaming(statement, &pending)
                         : duckdb_pending_prepared(statement, &pending)) == DuckDBSuccess;
    while (ok) {
        duckdb_pending_state state = duckdb_pending_execute_task(pending);
        if (duckdb_pending_execution_is_finished(state) || state == DUCKDB_PENDING_ERROR) break;
        if (state == DUCKDB_PENDING_NO_TASKS_AVAILABLE) clock_sleep(0.001);
        if (!progress_report(s->options.watch, s->engine != NULL ? sql_engine_count(s->engine) : 0, 0, NULL)) {
            if (s->engine != NULL) sql_engine_stop(s->engine);
            duckdb_interrupt(s->db.connection);
            st = finch_fail(err, FINCH_E_CANCELLED, "interrupted");
            break;
        }
    }
    if (!ok) st = fail_sql(s, duckdb_pending_error(pending), begin, err);
    else if (st == FINCH_OK && duckdb_execute_pending(pending, out) != DuckDBSuccess) {
        st = fail_sql(s, duckdb_result_error(out), begin, err);
        duckdb_destroy_result(out);
    }
    duckdb_destroy_pending(&pending);
    return st;
}

/* begin: the statement's place in the text, SIZE_MAX for statements of our own making. */
static finch_status prepare(data_sql *s, const char *sql, size_t begin, duckdb_prepared_statement *out, finch_error *err)
{
    if (duckdb_prepare(s->db.connection, sql, out) == DuckDBSuccess) return FINCH_OK;
    finch_status st = fail_sql(s, duckdb_prepare_error(*out), begin, err);
    duckdb_destroy_prepare(out);
    return st;
}

static finch_status run_statement(data_sql *s, const char *sql, size_t begin, bool streaming, duckdb_result *out,
                                  finch_error *err)
{
    duckdb_prepared_statement statement;
    FINCH_TRY(prepare(s, sql, begin, &statement, err));
    finch_status st = FINCH_OK;
    if (duckdb_prepared_statement_type(statement) == DUCKDB_STATEMENT_TYPE_LOAD)
        st = finch_fail(err, FINCH_E_USAGE,
                        "INSTALL and LOAD are off: finch sql works with what it has and fetches nothing");
    if (st == FINCH_OK) st = execute(s, statement, streaming, begin, out, err);
    duckdb_destroy_prepare(&statement);
    return st;
}

/* The last statement's kind and columns, and its errors with their place before it is put into another one. */
static finch_status look_at_last(data_sql *s, finch_error *err)
{
    duckdb_prepared_statement statement;
    FINCH_TRY(prepare(s, s->last.at, s->last_begin, &statement, err));
    finch_status st = FINCH_OK;
    s->type = duckdb_prepared_statement_type(statement);
    idx_t n = s->type == DUCKDB_STATEMENT_TYPE_SELECT || s->type == DUCKDB_STATEMENT_TYPE_EXPLAIN
                  ? duckdb_prepared_statement_column_count(statement)
                  : 0;
    for (idx_t i = 0; st == FINCH_OK && i < n; i++) {
        const char *name = duckdb_prepared_statement_column_name(statement, i);
        st = data_names_add(&s->columns, name, strlen(name), err);
        duckdb_free((void *)(uintptr_t)name);
    }
    if (st == FINCH_OK && duckdb_nparams(statement) > 0)
        st = finch_fail(err, FINCH_E_USAGE,
                        "the statement has parameters ($1 or ?) and nothing gives them values; write the values");
    duckdb_destroy_prepare(&statement);
    return st;
}

finch_status data_sql_begin(data_sql *s, finch_error *err)
{
    finch_text text = s->options.text;
    size_t at = 0, begin, end;
    if (text.size_bytes > 0 && memchr(text.at, '\0', text.size_bytes) != NULL)
        return finch_fail(err, FINCH_E_USAGE, "the SQL holds a NUL byte; is it a text file?");
    while (sql_text_next(text.at, text.size_bytes, &at, &begin, &end)) {
        duckdb_result result;
        if (s->last.size > 0) {
            FINCH_TRY(run_statement(s, s->last.at, s->last_begin, false, &result, err));
            duckdb_destroy_result(&result);
        }
        str_clear(&s->last);
        FINCH_TRY(str_add(&s->last, text.at + begin, end - begin, err));
        s->last_begin = begin;
    }
    if (s->last.size == 0)
        return finch_fail(err, FINCH_E_USAGE, "there is no statement; for example SELECT * FROM 'tweets.csv'");
    return look_at_last(s, err);
}

bool data_sql_is_select(const data_sql *s) { return s->type == DUCKDB_STATEMENT_TYPE_SELECT; }
const data_names *data_sql_columns(const data_sql *s) { return &s->columns; }
uint64_t data_sql_scored(const data_sql *s) { return s->engine != NULL ? sql_engine_count(s->engine) : 0; }

finch_status data_sql_run(data_sql *s, uint64_t *n_changed, finch_error *err)
{
    duckdb_result result;
    *n_changed = 0;
    FINCH_TRY(run_statement(s, s->last.at, s->last_begin, false, &result, err));
    *n_changed = (uint64_t)duckdb_rows_changed(&result);
    duckdb_destroy_result(&result);
    return FINCH_OK;
}

/* Every column as text; an EXPLAIN is text already and stands in no other statement. The statement may end in a comment. */
static finch_status add_head_query(const data_sql *s, size_t n_rows, str *sql, finch_error *err)
{
    if (s->type == DUCKDB_STATEMENT_TYPE_EXPLAIN) return str_add(sql, s->last.at, s->last.size, err);
    FINCH_TRY(str_add_text(sql, "SELECT ", err));
    for (size_t i = 0; i < s->columns.n; i++)
        FINCH_TRY(str_add_format(sql, err, "%sCAST(#%zu AS VARCHAR)", i > 0 ? ", " : "", i + 1));
    return str_add_format(sql, err, " FROM (\n%s\n) LIMIT %zu", s->last.at, n_rows);
}

static finch_status read_rows(const data_sql *s, duckdb_result *result, size_t n_rows, data_grid *out, bool *more,
                              finch_error *err)
{
    data_cursor cursor = {.result = result};
    finch_status st = FINCH_OK;
    while (st == FINCH_OK && data_cursor_step(&cursor)) {
        *more = out->n_rows == n_rows;
        if (*more) break;
        for (size_t i = 0; st == FINCH_OK && i < s->columns.n; i++) {
            finch_text text;
            if (data_cursor_text(&cursor, i, &text))
                st = mem_text(text.at, text.size_bytes, &out->values[out->n_rows * s->columns.n + i], err);
        }
        out->n_rows++;
    }
    data_cursor_close(&cursor);
    return st;
}

finch_status data_sql_head(data_sql *s, size_t n_rows, data_grid *out, bool *more, finch_error *err)
{
    str sql = {0};
    duckdb_result result;
    size_t n_values;
    *out = (data_grid){.n_columns = s->columns.n};
    *more = false;
    if (n_rows == SIZE_MAX || !size_mul(n_rows + 1, s->columns.n, &n_values))
        return finch_fail(err, FINCH_E_USAGE, "%zu rows are too many to show", n_rows);
    finch_status st = add_head_query(s, n_rows + 1, &sql, err);
    if (st == FINCH_OK) st = run_statement(s, sql.at, SIZE_MAX, false, &result, err);
    str_free(&sql);
    if (st != FINCH_OK) return st;
    st = MEM_NEW(&out->values, n_values, err);
    if (st == FINCH_OK) st = read_rows(s, &result, n_rows, out, more, err);
    duckdb_destroy_result(&result);
    if (st != FINCH_OK) data_grid_free(out);
    return st;
}

static finch_status copy(data_sql *s, const data_output *to, uint64_t *n_rows, finch_error *err)
{
    str query = {0}, sql = {0};
    duckdb_result result;
    *n_rows = 0;
    if (s->type != DUCKDB_STATEMENT_TYPE_SELECT)
        return finch_fail(err, FINCH_E_USAGE, "only the rows of a SELECT can be written; the last statement is none");
    finch_status st = str_add_format(&query, err, "\n%s\n", s->last.at);
    if (st == FINCH_OK) st = data_output_sql(to, query.at, &sql, err);
    if (st == FINCH_OK) st = run_statement(s, sql.at, SIZE_MAX, false, &result, err);
    str_free(&query);
    str_free(&sql);
    if (st != FINCH_OK) return st;
    *n_rows = (uint64_t)duckdb_rows_changed(&result);
    duckdb_destroy_result(&result);
    return FINCH_OK;
}

static finch_status write_all(data_sql *s, data_output *to, uint64_t *n_rows, finch_error *err)
{
    finch_status st = copy(s, to, n_rows, err);
    if (st == FINCH_OK) st = data_output_commit(to, err);
    data_output_close(to);
    return st;
}

finch_status data_sql_write(data_sql *s, const char *output, uint64_t *n_rows, finch_error *err)
{
    data_output to;
    FINCH_TRY(data_output_open(output, &to, err));
    return write_all(s, &to, n_rows, err);
}

finch_status data_sql_print(data_sql *s, data_format format, uint64_t *n_rows, finch_error *err)
{
    data_output to;
    FINCH_TRY(data_output_open("-", &to, err));
    to.kind.format = format;
    return write_all(s, &to, n_rows, err);
}
