/* The query: COPY (SELECT columns, s.label, s.score, ... FROM (SELECT *, finch_score_row(...) AS s FROM input)) TO output.
 * DuckDB streams: a chunk of 2,048 rows is read, scored and written before the next. */
#include "data/score.h"

#include "data/output.h"
#include "data/relation.h"
#include "data/score_function.h"

#include <string.h>

/* Everything that lasts for one file job. */
typedef struct job {
    const data_score_options *options;
    data_database db;
    data_relation *input;
    data_output output;
    data_names plain, added; /* the struct's fields; the columns' names */
    score_function function;
    str query;
} job;

static void close_job(job *j)
{
    data_output_close(&j->output);
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
    FINCH_TRY(str_add_format(sql, err, ") AS \"finch row\" FROM (SELECT * FROM (%s)", data_relation_sql(j->input)));
    if (j->options->limit > 0) FINCH_TRY(str_add_format(sql, err, " LIMIT %llu", (unsigned long long)j->options->limit));
    return str_add_text(sql, "))", err);
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
    return build_query(j, err);
}

static finch_status run_job(job *j, data_scoring *s, finch_error *err)
{
    uint64_t n_written = 0, n_rows = data_relation_rows(j->input), limit = j->options->limit;
    bool limited = limit > 0 && limit < n_rows;
    s->watch = j->options->watch;
    s->n_total = limited ? limit : n_rows;
    finch_status st = data_output_copy(&j->db, &j->output, j->query.at, &n_written, err);
    if (j->function.error.status != FINCH_OK) { /* the engine's own words rather than DuckDB's about them */
        if (err != NULL) *err = j->function.error;
        return j->function.error.status;
    }
    FINCH_TRY(st);
    if (s->counts.rows != n_written)
        return finch_fail(err, FINCH_E_FAILED,
                          "%llu rows were scored and %llu written; nothing was kept. Please report this input",
                          (unsigned long long)s->counts.rows, (unsigned long long)n_written);
    if (!limited) FINCH_TRY(data_relation_check_rows(j->input, n_written, err));
    return data_output_commit(&j->output, err);
}

finch_status data_score_file(data_scoring *s, const data_score_options *options, uint64_t *rejected, finch_error *err)
{
    job j = {.options = options};
    *rejected = 0;
    finch_status st = open_job(&j, s, err);
    if (st == FINCH_OK) st = run_job(&j, s, err);
    if (st == FINCH_OK) {
        const data_rejects *rejects = data_relation_rejects(j.input);
        *rejected = rejects->n;
        if (rejects->n > 0) st = data_rejects_write(rejects, options->rejects, err);
    }
    close_job(&j);
    return st;
}
