#include "data/split_write.h"

#include "data/split_plan.h"
#include "text/near.h"

#include <inttypes.h>
#include <string.h>

#define PART_FUNCTION "finch_split_part"
#define ROW_COLUMN "\"finch split row\""

/* ---- writing ---- */

/* What the function works on; lives as long as the connection it is registered with. */
typedef struct part_table {
    const uint16_t *part_of;
    uint32_t n_rows;
} part_table;

/* finch_split_part(row from 1) -> the part's number. */
static void run_part(duckdb_function_info info, duckdb_data_chunk chunk, duckdb_vector output)
{
    const part_table *table = duckdb_scalar_function_get_extra_info(info);
    const int64_t *rows = duckdb_vector_get_data(duckdb_data_chunk_get_vector(chunk, 0));
    int32_t *parts = duckdb_vector_get_data(output);
    idx_t n = duckdb_data_chunk_get_size(chunk);
    for (idx_t i = 0; i < n; i++) {
        if (rows[i] < 1 || rows[i] > (int64_t)table->n_rows) {
            duckdb_scalar_function_set_error(info, "the table changed while it was split; try again");
            return;
        }
        parts[i] = table->part_of[rows[i] - 1];
    }
}

static finch_status register_part(data_database *db, part_table *table, finch_error *err)
{
    data_function function = {.name = PART_FUNCTION,
                              .n_arguments = 1,
                              .argument = DUCKDB_TYPE_BIGINT,
                              .result = duckdb_create_logical_type(DUCKDB_TYPE_INTEGER),
                              .run = run_part,
                              .context = table};
    return data_function_register(db, &function, err);
}

/* Rows keep their order and with it their numbers: the database runs on one thread (data/database.h). */
static finch_status build_query(const data_relation *relation, const split_file *f, str *sql, finch_error *err)
{
    const data_names *columns = data_relation_columns(relation);
    FINCH_TRY(str_add_text(sql, "SELECT ", err));
    for (size_t i = 0; i < columns->n; i++) {
        FINCH_TRY(str_add_text(sql, i > 0 ? ", " : "", err));
        FINCH_TRY(data_sql_name(sql, columns->at[i], err));
    }
    if (f->with_fold) FINCH_TRY(str_add_format(sql, err, ", " PART_FUNCTION "(" ROW_COLUMN ") - %zu AS fold", f->first));
    FINCH_TRY(str_add_format(sql, err,
                             " FROM (SELECT *, row_number() OVER () AS " ROW_COLUMN " FROM (%s)) WHERE " PART_FUNCTION
                             "(" ROW_COLUMN ") BETWEEN %zu AND %zu",
                             data_relation_sql(relation), f->first, f->last));
    if (f->without == SIZE_MAX) return FINCH_OK;
    return str_add_format(sql, err, " AND " PART_FUNCTION "(" ROW_COLUMN ") <> %zu", f->without);
}

static uint64_t count_rows(const split_file *f, const uint16_t *part_of, uint32_t n_rows)
{
    uint64_t n = 0;
    for (uint32_t row = 0; row < n_rows; row++)
        n += part_of[row] >= f->first && part_of[row] <= f->last && part_of[row] != f->without;
    return n;
}

static finch_status write_file(data_database *db, const data_relation *relation, const uint16_t *part_of, uint32_t n_rows,
                               split_file *f, finch_error *err)
{
    str sql = {0};
    finch_status st = build_query(relation, f, &sql, err);
    if (st == FINCH_OK) st = data_output_copy(db, &f->output, sql.at, &f->n_rows, err);
    str_free(&sql);
    if (st != FINCH_OK) return st;
    uint64_t n_wanted = count_rows(f, part_of, n_rows);
    if (f->n_rows == n_wanted) return FINCH_OK;
    return finch_fail(err, FINCH_E_FAILED,
                      "%s got %" PRIu64 " rows and not its %" PRIu64 "; nothing was written. Please report this input",
                      f->path.at, f->n_rows, n_wanted);
}

finch_status split_files_write(data_database *db, const data_relation *relation, const uint16_t *part_of, uint32_t n_rows,
                               split_files *files, const progress *watch, finch_error *err)
{
    part_table table = {part_of, n_rows};
    FINCH_TRY(register_part(db, &table, err));
    for (size_t i = 0; i < files->n; i++) {
        FINCH_TRY(write_file(db, relation, part_of, n_rows, &files->at[i], err));
        if (!progress_report(watch, i + 1, files->n, NULL)) return finch_fail(err, FINCH_E_CANCELLED, "interrupted");
    }
    return FINCH_OK;
}
