/* The query: COPY (SELECT columns, s.label, s.score, ... FROM (SELECT *, finch_score_row(...) AS s FROM input)) TO output.
 * DuckDB streams: a chunk of 2,048 rows is read, scored and written before the next. */
#include "data/score.h"

#include "data/even.h"
#include "data/output.h"
#include "data/relation.h"
#include "data/score_function.h"

#include <string.h>

/* Everything that lasts for one file job. */
typedef struct job {
    const data_score_options *options;
    data_database db;
    data_relation *input;
    data_even *even; /* Parquet's */
    data_output output;
    data_names plain, added; /* the struct's fields; the columns' names */
    score_function function;
    uint64_t n_all, first, end; /* of the rows those that are scored */
    str query;
} job;

static void close_job(job *j)
{
    data_output_close(&j->output);
    data_even_close(j->even);
    data_relation_close(j->input);
    data_database_close(&j->db); /* before what its function works on */
    data_names_free(&j->plain);
    data_names_free(&j->added);
    mem_free(j->function.inputs);
    mem_free(j->function.outputs);
    mem_free(j->function.tickers);
    mem_free(j->function.times);
    str_free(&j->query);
}

static finch_status check_columns(const job *j, finch_error *err)
{
    FINCH_TRY(data_relation_need_text(j->input, j->options->text_column, "--text-column", err));
    if (j->options->ticker_needed)
        FINCH_TRY(data_relation_need(j->input, j->options->ticker_column, "--ticker-column", err));
    if (j->options->time_needed) FINCH_TRY(data_relation_need(j->input, j->options->time_column, "--time-column", err));
    return FINCH_OK;
}

static finch_status check_added_columns(const job *j, finch_error *err)
{
    const data_names *there = data_relation_columns(j->input);
    for (size_t i = 0; i < j->added.n; i++)
        if (data_names_find_any_case(there, j->added.at[i]) < there->n)
            return finch_fail(err, FINCH_E_USAGE,
                              "the input has a column \"%s\" already; choose another name for what is added, for example "
                              "with --prefix finch_",
                              there->at[data_names_find_any_case(there, j->added.at[i])]);
    return FINCH_OK;
}

static finch_status open_function(job *j, data_scoring *s, finch_error *err)
{
    score_function *f = &j->function;
    FINCH_TRY(data_scoring_columns(s, "", j->options->logits, &j->plain, err));
    FINCH_TRY(data_scoring_columns(s, j->options->prefix, j->options->logits, &j->added, err));
    f->scoring = s;
    f->logits = j->options->logits;
    f->columns = &j->plain;
    FINCH_TRY(MEM_NEW(&f->inputs, DATA_SCORE_CAPACITY, err));
    FINCH_TRY(MEM_NEW(&f->outputs, DATA_SCORE_CAPACITY, err));
    FINCH_TRY(MEM_NEW(&f->tickers, DATA_SCORE_CAPACITY, err));
    FINCH_TRY(MEM_NEW(&f->times, DATA_SCORE_CAPACITY, err));
    return score_function_register(&j->db, f, err);
}

/* A column of the summary as an argument: NULL where the inputs have none. */
static finch_status add_argument(const job *j, const char *column, str *sql, finch_error *err)
{
    const data_names *there = data_relation_columns(j->input);
    if (column == NULL || data_names_find(there, column) == there->n) return str_add_text(sql, ", NULL", err);
    FINCH_TRY(str_add_text(sql, ", CAST(", err));
    FINCH_TRY(data_sql_name(sql, column, err));
    return str_add_text(sql, " AS VARCHAR)", err);
}

static finch_status build_query(job *j, finch_error *err)
{
    const data_names *there = data_relation_columns(j->input);
    str *sql = &j->query;
    FINCH_TRY(str_add_text(sql, "SELECT ", err));
    for (size_t i = 0; i < there->n; i++) {
        FINCH_TRY(data_sql_name(sql, there->at[i], err));
        FINCH_TRY(str_add_text(sql, ", ", err));
    }
    for (size_t i = 0; i < j->added.n; i++) {
        FINCH_TRY(str_add_text(sql, i > 0 ? ", \"finch row\"." : "\"finch row\".", err));
        FINCH_TRY(data_sql_name(sql, j->plain.at[i], err));
        FINCH_TRY(str_add_text(sql, " AS ", err));
        FINCH_TRY(data_sql_name(sql, j->added.at[i], err));
    }
    FINCH_TRY(str_add_text(sql, " FROM (SELECT *, " SCORE_FUNCTION "(", err));
    FINCH_TRY(str_add_text(sql, "CAST(", err));
    FINCH_TRY(data_sql_name(sql, j->options->text_column, err));
    FINCH_TRY(str_add_text(sql, " AS VARCHAR)", err));
    FINCH_TRY(add_argument(j, j->options->ticker_column, sql, err));
    FINCH_TRY(add_argument(j, j->options->time_column, sql, err));
    FINCH_TRY(str_add_text(sql, ") AS \"finch row\" FROM (", err));
    if (j->first == 0 && j->end == data_relation_rows(j->input))
        FINCH_TRY(str_add_text(sql, data_relation_sql(j->input), err));
    else FINCH_TRY(data_relation_rows_sql(j->input, j->first, j->end, sql, err));
    return str_add_text(sql, "))", err);
}

/* floor(n * part / parts) without the product. */
static uint64_t share(uint64_t n, uint64_t part, uint64_t parts) { return n / parts * part + n % parts * part / parts; }

static void choose_rows(job *j)
{
    const data_score_options *o = j->options;
    uint64_t n = data_relation_rows(j->input);
    j->n_all = o->limit > 0 && o->limit < n ? o->limit : n;
    j->end = j->n_all;
    if (o->n_shards == 0) return;
    j->first = share(j->n_all, o->shard, o->n_shards);
    j->end = share(j->n_all, o->shard + 1, o->n_shards);
}

static finch_status open_job(job *j, data_scoring *s, finch_error *err)
{
    const data_score_options *o = j->options;
    bool typed;
    FINCH_TRY(data_output_open(o->output, &j->output, err));
    FINCH_TRY(data_database_open(&j->db, err));
    typed = j->output.kind.format != DATA_CSV; /* CSV to CSV keeps every byte of a value */
    FINCH_TRY(
        data_relation_open(&j->db, &o->source, &(data_relation_options){typed, o->text_column, o->watch}, &j->input, err));
    FINCH_TRY(data_relation_check_output(j->input, o->output, err));
    FINCH_TRY(check_columns(j, err));
    FINCH_TRY(open_function(j, s, err));
    FINCH_TRY(check_added_columns(j, err));
    choose_rows(j);
    return build_query(j, err);
}

static finch_status run_job(job *j, data_scoring *s, finch_error *err)
{
    uint64_t n_written = 0;
    s->watch = j->options->watch;
    s->n_total = j->end - j->first;
    finch_status st = j->output.kind.format == DATA_PARQUET ? data_even_open(&j->db, j->query.at, &j->even, err) : FINCH_OK;
    if (st == FINCH_OK)
        st = data_output_copy(&j->db, &j->output, j->even != NULL ? DATA_EVEN_QUERY : j->query.at, &n_written, err);
    if (j->function.error.status != FINCH_OK) { /* the engine's own words rather than DuckDB's about them */
        if (err != NULL) *err = j->function.error;
        return j->function.error.status;
    }
    FINCH_TRY(st);
    if (s->counts.rows != n_written)
        return finch_fail(err, FINCH_E_FAILED,
                          "%llu rows were scored and %llu written; nothing was kept. Please report this input",
                          (unsigned long long)s->counts.rows, (unsigned long long)n_written);
    if (j->end - j->first == data_relation_rows(j->input)) FINCH_TRY(data_relation_check_rows(j->input, n_written, err));
    else if (n_written != j->end - j->first)
        return finch_fail(err, FINCH_E_FAILED, "%llu rows were to be scored and %llu were; please report this input",
                          (unsigned long long)(j->end - j->first), (unsigned long long)n_written);
    return data_output_commit(&j->output, err);
}

finch_status data_score_file(data_scoring *s, const data_score_options *options, data_score_result *out, finch_error *err)
{
    job j = {.options = options};
    *out = (data_score_result){0};
    finch_status st = open_job(&j, s, err);
    if (st == FINCH_OK) st = run_job(&j, s, err);
    if (st == FINCH_OK) {
        const data_rejects *rejects = data_relation_rejects(j.input);
        *out = (data_score_result){j.n_all, j.first, rejects->n};
        if (rejects->n > 0 && options->rejects != NULL) st = data_rejects_write(rejects, options->rejects, err);
    }
    close_job(&j);
    return st;
}
