#include "data/database.h"

#include "base/clock.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

const char *data_library_version(void) { return duckdb_library_version(); }

static finch_status configure(duckdb_config config, finch_error *err)
{
    char limit[32];
    snprintf(limit, sizeof limit, "%dMB", DATA_MEMORY_LIMIT_MB);
    /* temp_directory: nothing is spilled, so nothing is left beside the user's files; queries here stream. */
    const char *const settings[][2] = {
        {"threads", "1"},
        {"autoinstall_known_extensions", "false"},
        {"autoload_known_extensions", "false"},
        {"memory_limit", limit},
        {"temp_directory", ""},
        {"preserve_insertion_order", "true"},
    };
    for (size_t i = 0; i < sizeof settings / sizeof settings[0]; i++)
        if (duckdb_set_config(config, settings[i][0], settings[i][1]) != DuckDBSuccess)
            return finch_fail(err, FINCH_E_FAILED, "DuckDB %s refuses the setting %s; use version 1.4",
                              duckdb_library_version(), settings[i][0]);
    return FINCH_OK;
}

finch_status data_database_open(data_database *out, finch_error *err)
{
    duckdb_config config = NULL;
    char *reason = NULL;
    finch_status st = FINCH_OK;
    *out = (data_database){0};
    if (duckdb_create_config(&config) != DuckDBSuccess)
        st = finch_fail(err, FINCH_E_MEMORY, "DuckDB could not be configured");
    if (st == FINCH_OK) st = configure(config, err);
    if (st == FINCH_OK && duckdb_open_ext(NULL, &out->database, config, &reason) != DuckDBSuccess)
        st = finch_fail(err, FINCH_E_FAILED, "DuckDB could not be opened: %s", reason != NULL ? reason : "no reason given");
    if (st == FINCH_OK && duckdb_connect(out->database, &out->connection) != DuckDBSuccess)
        st = finch_fail(err, FINCH_E_FAILED, "DuckDB gave no connection");
    duckdb_free(reason);
    duckdb_destroy_config(&config);
    if (st == FINCH_OK) st = data_query(out, "SET enable_progress_bar = false", NULL, err);
    if (st != FINCH_OK) data_database_close(out);
    return st;
}

void data_database_close(data_database *db)
{
    if (db->connection != NULL) duckdb_disconnect(&db->connection);
    if (db->database != NULL) duckdb_close(&db->database);
    *db = (data_database){0};
}

static finch_status status_of(duckdb_error_type type)
{
    switch (type) {
    case DUCKDB_ERROR_IO:
    case DUCKDB_ERROR_PERMISSION: return FINCH_E_IO;
    case DUCKDB_ERROR_OUT_OF_MEMORY: return FINCH_E_MEMORY;
    case DUCKDB_ERROR_INTERRUPT: return FINCH_E_CANCELLED;
    case DUCKDB_ERROR_CONVERSION:
    case DUCKDB_ERROR_OUT_OF_RANGE:
    case DUCKDB_ERROR_MISMATCH_TYPE:
    case DUCKDB_ERROR_INVALID_TYPE:
    case DUCKDB_ERROR_INVALID_INPUT:
    case DUCKDB_ERROR_SERIALIZATION: return FINCH_E_DATA;
    default: return FINCH_E_FAILED;
    }
}

/* DuckDB's message is a page; its first line says what and where. */
static finch_status fail_text(const char *text, finch_status st, finch_error *err)
{
    if (text == NULL) text = "DuckDB gave no reason";
    const char *colon = strstr(text, "Error: ");
    if (colon != NULL && colon - text < 40) text = colon + 7;
    return finch_fail(err, st, "%.*s", (int)strcspn(text, "\n"), text);
}

static finch_status fail_result(duckdb_result *result, finch_error *err)
{
    return fail_text(duckdb_result_error(result), status_of(duckdb_result_error_type(result)), err);
}

/* A pending query tells its error's kind by the words it begins with only. */
static finch_status fail_pending(duckdb_pending_result pending, finch_error *err)
{
    static const struct {
        const char *words;
        finch_status status;
    } kinds[] = {{"IO Error", FINCH_E_IO},
                 {"Permission Error", FINCH_E_IO},
                 {"Out of Memory Error", FINCH_E_MEMORY},
                 {"INTERRUPT", FINCH_E_CANCELLED},
                 {"Interrupt", FINCH_E_CANCELLED},
                 {"Conversion Error", FINCH_E_DATA},
                 {"Out of Range", FINCH_E_DATA},
                 {"Mismatch Type", FINCH_E_DATA},
                 {"Invalid Input", FINCH_E_DATA},
                 {"Serialization Error", FINCH_E_DATA}};
    const char *text = duckdb_pending_error(pending);
    finch_status st = FINCH_E_FAILED;
    for (size_t i = 0; text != NULL && i < sizeof kinds / sizeof kinds[0]; i++)
        if (strncmp(text, kinds[i].words, strlen(kinds[i].words)) == 0) st = kinds[i].status;
    return fail_text(text, st, err);
}

finch_status data_query(data_database *db, const char *sql, duckdb_result *out, finch_error *err)
{
    duckdb_result result;
    finch_status st = FINCH_OK;
    if (duckdb_query(db->connection, sql, &result) != DuckDBSuccess) st = fail_result(&result, err);
    if (st == FINCH_OK && out != NULL) *out = result;
    else duckdb_destroy_result(&result);
    return st;
}

static finch_status prepare_statement(data_database *db, const char *sql, duckdb_prepared_statement *out, finch_error *err)
{
    if (duckdb_prepare(db->connection, sql, out) == DuckDBSuccess) return FINCH_OK;
    const char *text = duckdb_prepare_error(*out);
    if (text == NULL) text = "DuckDB gave no reason";
    finch_status st = finch_fail(err, FINCH_E_FAILED, "%.*s", (int)strcspn(text, "\n"), text);
    duckdb_destroy_prepare(out);
    return st;
}

/* Runs tasks of the query on this thread, too, between reports. False where the query failed. */
static bool run_tasks(data_database *db, duckdb_pending_result pending, const data_query_watch *w)
{
    bool stopped = false;
    for (;;) {
        duckdb_pending_state state = duckdb_pending_execute_task(pending);
        if (state == DUCKDB_PENDING_ERROR) return false;
        if (duckdb_pending_execution_is_finished(state)) return true;
        if (state == DUCKDB_PENDING_NO_TASKS_AVAILABLE) clock_sleep(0.001);
        uint64_t done = w != NULL && w->done != NULL ? __atomic_load_n(w->done, __ATOMIC_RELAXED) : 0;
        if (w != NULL && !stopped && !progress_report(w->watch, done, w->total, NULL)) {
            duckdb_interrupt(db->connection);
            stopped = true;
        }
    }
}

finch_status data_query_watched(data_database *db, const char *sql, const data_query_watch *w, duckdb_result *out,
                                finch_error *err)
{
    duckdb_prepared_statement statement;
    duckdb_pending_result pending = NULL;
    duckdb_result result = {0};
    FINCH_TRY(prepare_statement(db, sql, &statement, err));
    finch_status st = FINCH_OK;
    bool done = duckdb_pending_prepared(statement, &pending) == DuckDBSuccess && run_tasks(db, pending, w);
    if (!done) st = fail_pending(pending, err);
    else if (duckdb_execute_pending(pending, &result) != DuckDBSuccess) st = fail_result(&result, err);
    if (st == FINCH_OK && out != NULL) *out = result;
    else duckdb_destroy_result(&result);
    duckdb_destroy_pending(&pending);
    duckdb_destroy_prepare(&statement);
    return st;
}

finch_status data_query_stream(data_database *db, const char *sql, duckdb_result *out, finch_error *err)
{
    duckdb_prepared_statement statement;
    duckdb_pending_result pending = NULL;
    FINCH_TRY(prepare_statement(db, sql, &statement, err));
    finch_status st = FINCH_OK;
    *out = (duckdb_result){0};
    if (duckdb_pending_prepared_streaming(statement, &pending) != DuckDBSuccess) {
        st = fail_pending(pending, err);
    } else if (duckdb_execute_pending(pending, out) != DuckDBSuccess) {
        st = fail_result(out, err);
        duckdb_destroy_result(out);
    }
    duckdb_destroy_pending(&pending);
    duckdb_destroy_prepare(&statement);
    return st;
}

finch_status data_stream_check(duckdb_result *result, finch_error *err)
{
    return duckdb_result_error(result) == NULL ? FINCH_OK : fail_result(result, err);
}

static uint64_t first_count(duckdb_result *result)
{
    data_cursor cursor = {.result = result};
    int64_t value = 0;
    bool any = data_cursor_step(&cursor) && data_cursor_integer(&cursor, 0, &value) && value > 0;
    data_cursor_close(&cursor);
    return any ? (uint64_t)value : 0;
}

finch_status data_query_count(data_database *db, const char *sql, uint64_t *out, finch_error *err)
{
    duckdb_result result;
    *out = 0;
    FINCH_TRY(data_query(db, sql, &result, err));
    *out = first_count(&result);
    duckdb_destroy_result(&result);
    return FINCH_OK;
}

finch_status data_query_count_watched(data_database *db, const char *sql, const data_query_watch *w, uint64_t *out,
                                      finch_error *err)
{
    duckdb_result result;
    *out = 0;
    FINCH_TRY(data_query_watched(db, sql, w, &result, err));
    *out = first_count(&result);
    duckdb_destroy_result(&result);
    return FINCH_OK;
}

bool data_cursor_step(data_cursor *cursor)
{
    if (cursor->chunk != NULL && ++cursor->row < cursor->n_rows) return true;
    do {
        if (cursor->chunk != NULL) duckdb_destroy_data_chunk(&cursor->chunk);
        cursor->chunk = duckdb_fetch_chunk(*cursor->result);
        cursor->row = 0;
        cursor->n_rows = cursor->chunk != NULL ? duckdb_data_chunk_get_size(cursor->chunk) : 0;
    } while (cursor->chunk != NULL && cursor->n_rows == 0);
    return cursor->chunk != NULL;
}

void data_cursor_close(data_cursor *cursor)
{
    if (cursor->chunk != NULL) duckdb_destroy_data_chunk(&cursor->chunk);
    *cursor = (data_cursor){0};
}

static void *cursor_values(const data_cursor *cursor, idx_t column)
{
    duckdb_vector vector = duckdb_data_chunk_get_vector(cursor->chunk, column);
    uint64_t *valid = duckdb_vector_get_validity(vector);
    if (valid != NULL && !duckdb_validity_row_is_valid(valid, cursor->row)) return NULL;
    return duckdb_vector_get_data(vector);
}

finch_text data_vector_text(const duckdb_string_t *strings, idx_t row)
{
    duckdb_string_t *value = (duckdb_string_t *)(uintptr_t)&strings[row]; /* the C API takes it without const */
    return (finch_text){duckdb_string_t_data(value), duckdb_string_t_length(*value)};
}

bool data_cursor_text(const data_cursor *cursor, idx_t column, finch_text *out)
{
    const duckdb_string_t *values = cursor_values(cursor, column);
    *out = (finch_text){"", 0};
    if (values == NULL) return false;
    *out = data_vector_text(values, cursor->row);
    return true;
}

bool data_cursor_integer(const data_cursor *cursor, idx_t column, int64_t *out)
{
    const int64_t *values = cursor_values(cursor, column);
    *out = 0;
    if (values == NULL) return false;
    *out = values[cursor->row];
    return true;
}

finch_status data_function_register(data_database *db, const data_function *f, finch_error *err)
{
    duckdb_scalar_function function = duckdb_create_scalar_function();
    duckdb_logical_type argument = duckdb_create_logical_type(f->argument), result = f->result;
    duckdb_scalar_function_set_name(function, f->name);
    for (size_t i = 0; i < f->n_arguments; i++) duckdb_scalar_function_add_parameter(function, argument);
    duckdb_scalar_function_set_return_type(function, result);
    duckdb_scalar_function_set_special_handling(function); /* a null among the arguments does not make the result null */
    if (f->counts) duckdb_scalar_function_set_volatile(function);
    duckdb_scalar_function_set_extra_info(function, f->context, NULL);
    duckdb_scalar_function_set_function(function, f->run);
    duckdb_state state = duckdb_register_scalar_function(db->connection, function);
    duckdb_destroy_logical_type(&argument);
    duckdb_destroy_logical_type(&result);
    duckdb_destroy_scalar_function(&function);
    if (state == DuckDBSuccess) return FINCH_OK;
    return finch_fail(err, FINCH_E_FAILED, "DuckDB %s refuses the function %s", data_library_version(), f->name);
}

duckdb_logical_type data_struct_type(const char *const *names, const duckdb_type *types, size_t n)
{
    enum { MEMBERS_MAX = 256 };
    duckdb_logical_type members[MEMBERS_MAX];
    const char *copy[MEMBERS_MAX]; /* the C API takes them without const */
    assert(n <= MEMBERS_MAX);
    for (size_t i = 0; i < n; i++) {
        copy[i] = names[i];
        members[i] = duckdb_create_logical_type(types[i]);
    }
    duckdb_logical_type type = duckdb_create_struct_type(members, copy, n);
    for (size_t i = 0; i < n; i++) duckdb_destroy_logical_type(&members[i]);
    return type;
}

static finch_status quote(str *sql, char mark, const char *text, size_t size, finch_error *err)
{
    if (size > 0 && memchr(text, '\0', size) != NULL)
        return finch_fail(err, FINCH_E_DATA, "a name holds a NUL byte, which no query can; rename it");
    FINCH_TRY(str_reserve(sql, size + 2, err));
    FINCH_TRY(str_add(sql, &mark, 1, err));
    for (size_t i = 0; i < size; i++) {
        if (text[i] == mark) FINCH_TRY(str_add(sql, &mark, 1, err));
        FINCH_TRY(str_add(sql, &text[i], 1, err));
    }
    return str_add(sql, &mark, 1, err);
}

finch_status data_sql_text(str *sql, const char *text, size_t size, finch_error *err)
{
    return quote(sql, '\'', text, size, err);
}

finch_status data_sql_name(str *sql, const char *name, finch_error *err) { return quote(sql, '"', name, strlen(name), err); }

finch_status data_describe(data_database *db, const char *query, data_names *columns, data_names *types, finch_error *err)
{
    str sql = {0};
    duckdb_result result;
    finch_status st = str_add_format(&sql, err, "SELECT column_name, column_type FROM (DESCRIBE %s)", query);
    if (st == FINCH_OK) st = data_query(db, sql.at, &result, err);
    str_free(&sql);
    if (st != FINCH_OK) return st;
    data_cursor cursor = {.result = &result};
    finch_text name, type;
    while (st == FINCH_OK && data_cursor_step(&cursor)) {
        data_cursor_text(&cursor, 0, &name);
        data_cursor_text(&cursor, 1, &type);
        st = data_names_add(columns, name.at, name.size_bytes, err);
        if (st == FINCH_OK) st = data_names_add(types, type.at, type.size_bytes, err);
    }
    data_cursor_close(&cursor);
    duckdb_destroy_result(&result);
    return st;
}
