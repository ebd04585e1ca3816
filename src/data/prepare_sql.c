/* Verdicts as functions in DuckDB, so that both tables are plain queries over the temporary file. */
#include "data/prepare_job.h"

/* The chunk's row numbers; NULL, with an error set, where one is none of a row: the file and the verdicts do not belong
 * together. */
static const int64_t *row_numbers(duckdb_function_info info, duckdb_data_chunk chunk, const prepare_verdicts *v)
{
    const int64_t *numbers = duckdb_vector_get_data(duckdb_data_chunk_get_vector(chunk, 0));
    for (idx_t i = 0; i < duckdb_data_chunk_get_size(chunk); i++) {
        if (numbers[i] >= 0 && (uint64_t)numbers[i] < v->n) continue;
        duckdb_scalar_function_set_error(info, "a row number lies outside of the table");
        return NULL;
    }
    return numbers;
}

static void run_reason(duckdb_function_info info, duckdb_data_chunk chunk, duckdb_vector output)
{
    const prepare_verdicts *v = duckdb_scalar_function_get_extra_info(info);
    const int64_t *numbers = row_numbers(info, chunk, v);
    uint8_t *out = duckdb_vector_get_data(output);
    for (idx_t i = 0; numbers != NULL && i < duckdb_data_chunk_get_size(chunk); i++) out[i] = v->reason[numbers[i]];
}

static void run_rows(duckdb_function_info info, duckdb_data_chunk chunk, duckdb_vector output, const uint32_t *rows)
{
    const int64_t *numbers = row_numbers(info, chunk, duckdb_scalar_function_get_extra_info(info));
    int64_t *out = duckdb_vector_get_data(output);
    for (idx_t i = 0; numbers != NULL && i < duckdb_data_chunk_get_size(chunk); i++) out[i] = rows[numbers[i]];
}

static void run_kept(duckdb_function_info info, duckdb_data_chunk chunk, duckdb_vector output)
{
    const prepare_verdicts *v = duckdb_scalar_function_get_extra_info(info);
    run_rows(info, chunk, output, v->kept);
}

static void run_cluster(duckdb_function_info info, duckdb_data_chunk chunk, duckdb_vector output)
{
    const prepare_verdicts *v = duckdb_scalar_function_get_extra_info(info);
    run_rows(info, chunk, output, v->cluster);
}

finch_status prepare_verdicts_register(data_database *db, const prepare_verdicts *v, finch_error *err)
{
    static const struct {
        const char *name;
        duckdb_type result;
        duckdb_scalar_function_t run;
    } functions[] = {{"finch_reason", DUCKDB_TYPE_UTINYINT, run_reason},
                     {"finch_kept", DUCKDB_TYPE_BIGINT, run_kept},
                     {"finch_cluster", DUCKDB_TYPE_BIGINT, run_cluster}};
    for (size_t i = 0; i < sizeof functions / sizeof *functions; i++) {
        data_function function = {.name = functions[i].name,
                                  .n_arguments = 1,
                                  .argument = DUCKDB_TYPE_BIGINT,
                                  .result = duckdb_create_logical_type(functions[i].result),
                                  .run = functions[i].run,
                                  .context = (void *)(uintptr_t)v};
        FINCH_TRY(data_function_register(db, &function, err));
    }
    return FINCH_OK;
}
