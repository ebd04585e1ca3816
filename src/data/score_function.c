#include "data/score_function.h"

#include "data/score.h"

#include <string.h>

enum { ARGUMENTS = 3 };

typedef struct argument {
    const duckdb_string_t *values;
    uint64_t *valid;
} argument;

static bool argument_text(const argument *a, idx_t row, finch_text *out)
{
    *out = (finch_text){NULL, 0};
    if (a->valid != NULL && !duckdb_validity_row_is_valid(a->valid, row)) return false;
    *out = data_vector_text(a->values, row);
    return true;
}

static void read_arguments(score_function *f, duckdb_data_chunk chunk, idx_t n)
{
    argument arguments[ARGUMENTS];
    for (idx_t i = 0; i < ARGUMENTS; i++) {
        duckdb_vector vector = duckdb_data_chunk_get_vector(chunk, i);
        arguments[i] = (argument){duckdb_vector_get_data(vector), duckdb_vector_get_validity(vector)};
    }
    for (idx_t row = 0; row < n; row++) {
        data_scoring_input *in = &f->inputs[row];
        *in = (data_scoring_input){0};
        argument_text(&arguments[0], row, &in->text);
        if (argument_text(&arguments[1], row, &f->tickers[row])) in->tickers = &f->tickers[row];
        if (argument_text(&arguments[2], row, &f->times[row])) in->time = &f->times[row];
    }
}

static void write_floats(duckdb_vector vector, const data_scoring_output *rows, idx_t n, size_t label, bool logits)
{
    float *values = duckdb_vector_get_data(vector);
    for (idx_t row = 0; row < n; row++)
        if (rows[row].scored) values[row] = (logits ? rows[row].logits : rows[row].probabilities)[label];
}

static void write_labels(duckdb_vector vector, const score_function *f, idx_t n)
{
    const model_config *config = model_get_config(f->scoring->engine);
    for (idx_t row = 0; row < n; row++)
        if (f->outputs[row].scored) duckdb_vector_assign_string_element(vector, row, config->labels[f->outputs[row].label]);
}

static void write_scores(duckdb_vector vector, const score_function *f, idx_t n)
{
    float *values = duckdb_vector_get_data(vector);
    for (idx_t row = 0; row < n; row++) values[row] = (float)f->outputs[row].score;
}

static void write_truncated(duckdb_vector vector, const score_function *f, idx_t n)
{
    bool *values = duckdb_vector_get_data(vector);
    for (idx_t row = 0; row < n; row++) values[row] = f->outputs[row].truncated;
}

static void write_nulls(duckdb_vector vector, const score_function *f, idx_t n, bool all)
{
    duckdb_vector_ensure_validity_writable(vector);
    uint64_t *valid = duckdb_vector_get_validity(vector);
    for (idx_t row = 0; row < n; row++)
        if (all || !f->outputs[row].scored) duckdb_validity_set_row_invalid(valid, row);
}

static void write_struct(duckdb_vector output, const score_function *f, idx_t n)
{
    size_t n_labels = f->scoring->n_labels, child = 0;
    for (; child < f->columns->n; child++) {
        duckdb_vector vector = duckdb_struct_vector_get_child(output, child);
        if (child == 0) write_labels(vector, f, n);
        else if (child == 1) write_scores(vector, f, n);
        else if (child + 1 == f->columns->n) write_truncated(vector, f, n);
        else if (child < 2 + n_labels) write_floats(vector, f->outputs, n, child - 2, false);
        else write_floats(vector, f->outputs, n, child - 2 - n_labels, true);
        write_nulls(vector, f, n, child == 1 && !f->scoring->has_sentiment);
    }
}

static void run(duckdb_function_info info, duckdb_data_chunk chunk, duckdb_vector output)
{
    score_function *f = duckdb_scalar_function_get_extra_info(info);
    idx_t n = duckdb_data_chunk_get_size(chunk);
    finch_status st = n > DATA_SCORE_CAPACITY
                          ? finch_fail(&f->error, FINCH_E_FAILED, "DuckDB gave %llu rows at once", (unsigned long long)n)
                          : FINCH_OK;
    if (st == FINCH_OK) {
        read_arguments(f, chunk, n);
        st = data_scoring_rows(f->scoring, f->inputs, n, f->outputs, &f->error);
    }
    if (st == FINCH_OK) write_struct(output, f, n);
    else duckdb_scalar_function_set_error(info, f->error.message);
}

static duckdb_logical_type struct_type(const score_function *f)
{
    enum { COLUMNS_MAX = 3 + 2 * MODEL_LABELS_MAX };
    duckdb_type types[COLUMNS_MAX];
    const char *names[COLUMNS_MAX];
    size_t n = f->columns->n;
    for (size_t i = 0; i < n; i++) {
        names[i] = f->columns->at[i];
        types[i] = i == 0 ? DUCKDB_TYPE_VARCHAR : i + 1 == n ? DUCKDB_TYPE_BOOLEAN : DUCKDB_TYPE_FLOAT;
    }
    return data_struct_type(names, types, n);
}

finch_status score_function_register(data_database *db, score_function *f, finch_error *err)
{
    data_function function = {.name = SCORE_FUNCTION,
                              .n_arguments = ARGUMENTS,
                              .argument = DUCKDB_TYPE_VARCHAR,
                              .result = struct_type(f),
                              .run = run,
                              .context = f,
                              .counts = true};
    return data_function_register(db, &function, err);
}
