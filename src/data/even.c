#include "data/even.h"

struct data_even {
    data_database inner; /* the same database through a connection of its own */
    duckdb_result result;
    bool began, ended;
    idx_t n_columns;
    duckdb_selection_vector all; /* 0, 1, 2, ... */
    duckdb_data_chunk chunk;     /* of the query, rows [row, n_rows) of it are to come */
    idx_t row, n_rows;
};

static void bind(duckdb_bind_info info)
{
    data_even *e = duckdb_bind_get_extra_info(info);
    for (idx_t i = 0; i < e->n_columns; i++) {
        duckdb_logical_type type = duckdb_column_logical_type(&e->result, i);
        duckdb_bind_add_result_column(info, duckdb_column_name(&e->result, i), type);
        duckdb_destroy_logical_type(&type);
    }
}

static void begin(duckdb_init_info info) { duckdb_init_set_max_threads(info, 1); }

/* False at the end of the query. */
static bool next_chunk(data_even *e)
{
    while (!e->ended && e->row == e->n_rows) {
        duckdb_destroy_data_chunk(&e->chunk);
        e->chunk = duckdb_fetch_chunk(e->result);
        e->row = 0;
        e->n_rows = e->chunk != NULL ? duckdb_data_chunk_get_size(e->chunk) : 0;
        e->ended = e->chunk == NULL;
    }
    return !e->ended;
}

static void give(duckdb_function_info info, duckdb_data_chunk out)
{
    data_even *e = duckdb_function_get_extra_info(info);
    idx_t n = 0, most = duckdb_vector_size();
    finch_error err;
    while (n < most && next_chunk(e)) {
        idx_t take = e->n_rows - e->row < most - n ? e->n_rows - e->row : most - n;
        for (idx_t i = 0; i < e->n_columns; i++)
            duckdb_vector_copy_sel(duckdb_data_chunk_get_vector(e->chunk, i), duckdb_data_chunk_get_vector(out, i), e->all,
                                   e->row + take, e->row, n);
        e->row += take;
        n += take;
    }
    if (e->ended && data_stream_check(&e->result, &err) != FINCH_OK) duckdb_function_set_error(info, err.message);
    duckdb_data_chunk_set_size(out, n);
}

static finch_status make_selection(data_even *e, finch_error *err)
{
    idx_t n = duckdb_vector_size();
    e->all = duckdb_create_selection_vector(n);
    if (e->all == NULL) return finch_fail(err, FINCH_E_MEMORY, "out of memory for a query");
    sel_t *at = duckdb_selection_vector_get_data_ptr(e->all);
    for (idx_t i = 0; i < n; i++) at[i] = (sel_t)i;
    return FINCH_OK;
}

/* Not through the inner connection, whose transaction lasts as long as the query. */
static finch_status register_function(data_database *db, data_even *e, finch_error *err)
{
    duckdb_table_function function = duckdb_create_table_function();
    duckdb_table_function_set_name(function, "finch_even_rows");
    duckdb_table_function_set_extra_info(function, e, NULL);
    duckdb_table_function_set_bind(function, bind);
    duckdb_table_function_set_init(function, begin);
    duckdb_table_function_set_function(function, give);
    duckdb_state state = duckdb_register_table_function(db->connection, function);
    duckdb_destroy_table_function(&function);
    if (state == DuckDBSuccess) return FINCH_OK;
    return finch_fail(err, FINCH_E_FAILED, "DuckDB %s refuses a table function", data_library_version());
}

finch_status data_even_open(data_database *db, const char *query, data_even **out, finch_error *err)
{
    data_even *e;
    finch_status st = FINCH_OK;
    *out = NULL;
    FINCH_TRY(MEM_NEW(&e, 1, err));
    e->inner.database = db->database;
    if (duckdb_connect(db->database, &e->inner.connection) != DuckDBSuccess)
        FINCH_GO(done, st, finch_fail(err, FINCH_E_FAILED, "DuckDB gives no second connection"));
    FINCH_GO(done, st, make_selection(e, err));
    FINCH_GO(done, st, data_query_stream(&e->inner, query, &e->result, err));
    e->began = true;
    e->n_columns = duckdb_column_count(&e->result);
    st = register_function(db, e, err);
done:
    if (st == FINCH_OK) *out = e;
    else data_even_close(e);
    return st;
}

void data_even_close(data_even *e)
{
    if (e == NULL) return;
    duckdb_destroy_data_chunk(&e->chunk);
    if (e->began) duckdb_destroy_result(&e->result);
    if (e->all != NULL) duckdb_destroy_selection_vector(e->all);
    duckdb_disconnect(&e->inner.connection);
    mem_free(e);
}
