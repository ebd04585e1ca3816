#include "label/ingest.h"

#include "data/relation.h"
#include "label/texts.h"
#include "label/values.h"

#include <string.h>

#define TAKE_FUNCTION "finch_label_take"

typedef struct taking {
    ingest_take_fn take;
    void *context;
    const progress *watch;
    uint64_t n_total;
    ingest_result *result;
    labels_text texts[TEXTS_CHUNK_ROWS];
    str scratch; /* a text that held NUL bytes, cleaned */
    finch_error error;
} taking;

/* The texts are borrowed from DuckDB's vector. */
static finch_status take_chunk(taking *t, const duckdb_string_t *strings, uint64_t *valid, bool *asked, idx_t n,
                               finch_error *err)
{
    size_t n_texts = 0;
    if (!progress_report(t->watch, t->result->n_rows + n, t->n_total, NULL))
        return finch_fail(err, FINCH_E_CANCELLED, "interrupted");
    for (idx_t row = 0; row < n; row++) {
        labels_text *text = &t->texts[n_texts];
        bool there = valid == NULL || duckdb_validity_row_is_valid(valid, row);
        finch_text in = there ? data_vector_text(strings, row) : (finch_text){"", 0};
        text_kind kind;
        *text = (labels_text){.seq = (int64_t)t->result->n_rows, .gold = LABELS_NO_CLASS};
        FINCH_TRY(texts_prepare(in, &t->scratch, &text->text, text->hash, &kind, err));
        t->result->n_rows++;
        t->result->n_empty += kind == TEXT_EMPTY;
        t->result->n_too_long += kind == TEXT_TOO_LONG;
        asked[row] = kind == TEXT_ASKED;
        if (kind != TEXT_ASKED) continue;
        n_texts++;
        if (text->text.at != t->scratch.at) continue;
        FINCH_TRY(t->take(t->context, t->texts, n_texts, err)); /* the scratch is used again by the next such text */
        n_texts = 0;
    }
    return n_texts > 0 ? t->take(t->context, t->texts, n_texts, err) : FINCH_OK;
}

static void run(duckdb_function_info info, duckdb_data_chunk chunk, duckdb_vector output)
{
    taking *t = duckdb_scalar_function_get_extra_info(info);
    idx_t n = duckdb_data_chunk_get_size(chunk);
    duckdb_vector vector = duckdb_data_chunk_get_vector(chunk, 0);
    finch_status st = n > TEXTS_CHUNK_ROWS
                          ? finch_fail(&t->error, FINCH_E_FAILED, "DuckDB gave %llu rows at once", (unsigned long long)n)
                          : FINCH_OK;
    if (st == FINCH_OK)
        st = take_chunk(t, duckdb_vector_get_data(vector), duckdb_vector_get_validity(vector),
                        duckdb_vector_get_data(output), n, &t->error);
    if (st != FINCH_OK) duckdb_scalar_function_set_error(info, t->error.message);
}

static finch_status run_query(data_database *db, const data_relation *input, taking *t, const char *column, finch_error *err)
{
    data_function function = {.name = TAKE_FUNCTION,
                              .n_arguments = 1,
                              .argument = DUCKDB_TYPE_VARCHAR,
                              .result = duckdb_create_logical_type(DUCKDB_TYPE_BOOLEAN),
                              .run = run,
                              .context = t,
                              .counts = true};
    str sql = {0};
    uint64_t n = 0;
    finch_status st = data_function_register(db, &function, err);
    if (st == FINCH_OK) st = str_add_text(&sql, "SELECT count(*) FROM (SELECT " TAKE_FUNCTION "(CAST(", err);
    if (st == FINCH_OK) st = data_sql_name(&sql, column, err);
    if (st == FINCH_OK)
        st = str_add_format(&sql, err, " AS VARCHAR)) AS taken FROM (%s)) WHERE taken", data_relation_sql(input));
    if (st == FINCH_OK) st = data_query_count(db, sql.at, &n, err);
    str_free(&sql);
    if (t->error.status != FINCH_OK) { /* our own words rather than DuckDB's about them */
        if (err != NULL) *err = t->error;
        return t->error.status;
    }
    return st;
}

finch_status ingest_table(const data_source *source, const char *text_column, const export_options *output,
                          const char *rejects, const progress *watch, ingest_take_fn take, void *context, ingest_result *out,
                          finch_error *err)
{
    data_database db = {0};
    data_relation *input = NULL;
    taking *t = NULL;
    *out = (ingest_result){0};
    finch_status st = MEM_NEW(&t, 1, err);
    if (st == FINCH_OK) st = data_database_open(&db, err);
    if (st == FINCH_OK)
        st = data_relation_open(&db, source, &(data_relation_options){false, text_column, watch}, &input, err);
    if (st == FINCH_OK) st = data_relation_need_text(input, text_column, "--text-column", err);
    if (st == FINCH_OK && output != NULL) st = export_check_names(output, data_relation_columns(input), err);
    if (st == FINCH_OK) {
        t->take = take;
        t->context = context;
        t->watch = watch;
        t->n_total = data_relation_rows(input);
        t->result = out;
        st = run_query(&db, input, t, text_column, err);
    }
    if (st == FINCH_OK) st = data_relation_check_rows(input, out->n_rows, err);
    if (st == FINCH_OK) out->n_rejected = data_relation_rejects(input)->n;
    if (st == FINCH_OK && out->n_rejected > 0 && rejects != NULL)
        st = data_rejects_write(data_relation_rejects(input), rejects, err);
    data_relation_close(input);
    data_database_close(&db); /* before what its function works on */
    if (t != NULL) {
        str_free(&t->scratch);
    }
    mem_free(t);
    return st;
}

/* ---- gold ---- */

static finch_status add_gold(store *s, const labels_job *job, const data_columns *table, const char *path, size_t *n,
                             finch_error *err)
{
    size_t n_rows = data_columns_rows(table);
    str scratch = {0};
    finch_status st = FINCH_OK;
    for (size_t row = 0; st == FINCH_OK && row < n_rows; row++) {
        finch_text label = data_columns_text(table, 1, row);
        labels_text text = {.seq = (int64_t)row - (int64_t)n_rows, .gold = values_class(label.at, label.size_bytes)};
        text_kind kind;
        st = texts_prepare(data_columns_text(table, 0, row), &scratch, &text.text, text.hash, &kind, err);
        if (st == FINCH_OK && text.gold < 0)
            st = finch_fail_row(err, FINCH_E_DATA, row + 1,
                                "%s: the gold label \"%.40s\" in row %zu is none of the five classes", path, label.at,
                                row + 1);
        if (st != FINCH_OK || kind != TEXT_ASKED) continue;
        st = labels_add(s, job, &text, 1, err);
        ++*n;
    }
    str_free(&scratch);
    return st;
}

finch_status ingest_gold(store *s, const labels_job *job, const char *path, const char *text_column,
                         const char *label_column, size_t *n, finch_error *err)
{
    const char *columns[] = {text_column, label_column};
    data_columns *table = NULL;
    data_source source = {.inputs = &path, .n_inputs = 1, .strict = true};
    *n = 0;
    finch_status st = data_columns_read(&source, columns, NULL, 2, &table, err);
    if (st == FINCH_OK) st = add_gold(s, job, table, path, n, err);
    data_columns_free(table);
    return st;
}
