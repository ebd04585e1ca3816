/* finch sql: DuckDB's SQL over files, with the model in it. */
#include "cli/cli.h"
#include "cli/grid.h"
#include "cli/sql_store.h"

#include "base/clock.h"
#include "base/file.h"
#include "data/files.h"
#include "data/sql.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { STATEMENT_LIMIT_BYTES = 16 << 20, LINE_SHOWN = 160 };

static const cli_option options[] = {
    CLI_OPTION_MODEL,
    {"file", "FILE", CLI_PATH, NULL, "read the SQL from a file; - as the statement reads it from stdin", false, 0, 0},
    {"output", "FILE", CLI_PATH, NULL, "write the rows to a file, its format by its ending; without it they go to stdout",
     false, 0, 0},
    {"format", "auto|table|csv|json|jsonl", CLI_CHOICE, "auto", "the rows on stdout; auto: a table on a terminal, else csv",
     false, 0, 0},
    {"rows", "N", CLI_SIZE, "40", "rows that a table on stdout shows", false, 0, 1000000},
    {"memory-limit", "SIZE", CLI_TEXT, NULL,
     "memory of the queries (4GiB, 500MB; default: 1GiB); what does not fit goes to $TMPDIR", false, 0, 0},
    {"max-tokens", "N", CLI_SIZE, "128", "tokens of a text that the model reads", false, 2, 65536},
    {"state", "PLACE", CLI_PATH, NULL,
     "the store behind the tables store.NAME: a file, or postgres://HOST/NAME (default: $FINCH_STATE, else "
     "~/.local/share/finch/finch.sqlite)",
     false, 0, 0},
    {0},
};

typedef enum sql_format { SQL_AUTO, SQL_TABLE, SQL_CSV, SQL_JSON, SQL_JSONL } sql_format;

/* What one run holds. */
typedef struct job {
    const cli_args *args;
    sql_format format;
    const char *output;
    char *text; /* of the statements */
    size_t size;
    model *engine;
    str folder;
    data_sql *sql;
    double begin;
} job;

/* ---- the statement ---- */

static finch_status read_stdin(job *j, finch_error *err)
{
    str all = {0};
    char part[1 << 16];
    finch_status st = str_add_text(&all, "", err);
    while (st == FINCH_OK) {
        ssize_t got = read(STDIN_FILENO, part, sizeof part);
        if (got < 0 && errno == EINTR && !cli_cancelled()) continue;
        if (got < 0)
            st = cli_cancelled() ? cli_cancelled_fail(err)
                                 : finch_fail(err, FINCH_E_IO, "reading the SQL from stdin failed");
        if (got <= 0) break;
        if (all.size + (size_t)got > STATEMENT_LIMIT_BYTES)
            st = finch_fail(err, FINCH_E_USAGE, "the SQL on stdin is longer than 16 MiB; is it SQL?");
        if (st == FINCH_OK) st = str_add(&all, part, (size_t)got, err);
    }
    j->size = all.size;
    j->text = str_steal(&all);
    return st;
}

static finch_status read_statement(job *j, finch_error *err)
{
    size_t n;
    const char *const *words = cli_operands(j->args, &n), *path = cli_text(j->args, "file");
    if ((n == 1) == (path != NULL))
        return finch_fail(err, FINCH_E_USAGE, "give the SQL as one word in quotes, or with --file F.sql, or as - for stdin");
    if (path != NULL && strcmp(path, "-") != 0) return file_read(path, STATEMENT_LIMIT_BYTES, &j->text, &j->size, err);
    if (path != NULL || strcmp(words[0], "-") == 0) return read_stdin(j, err);
    j->size = strlen(words[0]);
    return mem_text(words[0], j->size, &j->text, err);
}

static finch_status read_options(job *j, finch_error *err)
{
    j->format = (sql_format)cli_choice(j->args, "format");
    j->output = cli_text(j->args, "output");
    if (j->output != NULL && strcmp(j->output, "-") == 0) j->output = NULL;
    if (j->output != NULL && j->format != SQL_AUTO)
        return finch_fail(err, FINCH_E_USAGE, "--format is for stdout; the ending of --output says the file's format");
    if (cli_wants_json(j->args) && j->output == NULL) {
        if (j->format != SQL_AUTO && j->format != SQL_JSON)
            return finch_fail(err, FINCH_E_USAGE, "--json prints the rows as one JSON array; leave out --format");
        j->format = SQL_JSON;
    }
    if (j->format == SQL_AUTO) j->format = isatty(STDOUT_FILENO) ? SQL_TABLE : SQL_CSV;
    return read_statement(j, err);
}

/* ---- running it ---- */

static finch_status open_sql(job *j, const progress *watch, finch_error *err)
{
    data_sql_options o = {
        .text = {j->text, j->size},
        .n_threads = cli_threads(j->args),
        .max_tokens = cli_size(j->args, "max-tokens"),
        .memory_limit = cli_text(j->args, "memory-limit"),
        .watch = watch,
    };
    if (cli_given(j->args, "model") || data_sql_needs_model(o.text)) {
        FINCH_TRY(cli_model_folder(cli_text(j->args, "model"), &j->folder, err));
        FINCH_TRY(model_open(j->folder.at, MODEL_AUTO, &j->engine, err));
        o.engine = j->engine;
    }
    FINCH_TRY(data_sql_open(&o, &j->sql, err));
    if (!sql_store_needed(o.text)) return FINCH_OK;
    return sql_store_copy(j->sql, o.text, cli_text(j->args, "state"), watch, err);
}

/* The line of the SQL where the error is, and a mark below it. */
static void show_place(const job *j)
{
    size_t line, column, at = 0;
    if (j->sql == NULL || !data_sql_error_place(j->sql, &line, &column)) return;
    for (size_t i = 1; i < line; i++) {
        const char *end = memchr(j->text + at, '\n', j->size - at);
        if (end == NULL) return;
        at = (size_t)(end - j->text) + 1;
    }
    const char *end = memchr(j->text + at, '\n', j->size - at);
    size_t size = end != NULL ? (size_t)(end - j->text) - at : j->size - at;
    if (size > LINE_SHOWN || column > LINE_SHOWN) return;
    for (size_t i = 0; i < size; i++)
        if ((unsigned char)j->text[at + i] < ' ' || j->text[at + i] == 0x7F)
            return; /* tabs would move the mark; control bytes */
    cli_say(j->args, "  %.*s\n  %*s\n", (int)size, j->text + at, (int)column, "^");
}

static finch_status show_table(job *j, finch_error *err)
{
    data_grid grid;
    bool more;
    size_t n_rows = cli_size(j->args, "rows");
    FINCH_TRY(data_sql_head(j->sql, n_rows, &grid, &more, err));
    pen p = pen_open(STDOUT_FILENO);
    finch_status st = grid_add(&p, &grid, data_sql_columns(j->sql), err);
    if (st == FINCH_OK && more)
        st = str_add_format(&p.out, err,
                            "  the first %zu rows; --rows N shows more, --output FILE or --format csv gives all\n", n_rows);
    else if (st == FINCH_OK) st = str_add_format(&p.out, err, "  %zu rows\n", grid.n_rows);
    data_grid_free(&grid);
    return pen_print(&p, st, err);
}

static finch_status say_written(const job *j, uint64_t n_rows, finch_error *err)
{
    char rows[PEN_NUMBER_BYTES];
    double seconds = clock_seconds() - j->begin;
    cli_say(j->args, "%s rows were written to %s\n", pen_grouped(n_rows, rows), j->output);
    if (!cli_wants_json(j->args)) return FINCH_OK;
    return cli_print_json(json_pack("{s:I, s:s, s:f, s:I, s:I}", "rows", (json_int_t)n_rows, "output", j->output, "seconds",
                                    seconds, "texts_scored", (json_int_t)data_sql_scored(j->sql), "peak_rss_bytes",
                                    (json_int_t)cli_peak_rss_bytes()),
                          err);
}

static finch_status run_last(job *j, finch_error *err)
{
    uint64_t n_rows;
    char changed[PEN_NUMBER_BYTES];
    if (data_sql_columns(j->sql)->n == 0) {
        if (j->output != NULL)
            return finch_fail(err, FINCH_E_USAGE, "the last statement gives no rows, so --output has nothing to hold");
        FINCH_TRY(data_sql_run(j->sql, &n_rows, err));
        cli_say(j->args, n_rows > 0 ? "done, %s rows\n" : "done\n", pen_grouped(n_rows, changed));
        return cli_wants_json(j->args) ? cli_print_json(json_array(), err) : FINCH_OK;
    }
    if (j->output != NULL) {
        FINCH_TRY(data_sql_write(j->sql, j->output, &n_rows, err));
        return say_written(j, n_rows, err);
    }
    if (!data_sql_is_select(j->sql) && !cli_wants_json(j->args)) return show_table(j, err);
    switch (j->format) {
    case SQL_CSV: return data_sql_print(j->sql, DATA_CSV, &n_rows, err);
    case SQL_JSON: return data_sql_print(j->sql, DATA_JSON, &n_rows, err);
    case SQL_JSONL: return data_sql_print(j->sql, DATA_JSONL, &n_rows, err);
    default: return show_table(j, err);
    }
}

static finch_status run(const cli_args *args, finch_error *err)
{
    job j = {.args = args, .begin = clock_seconds()};
    cli_bar bar;
    finch_status st = read_options(&j, err);
    if (st == FINCH_OK) {
        cli_bar_begin(&bar, args, "asking, with scores of", "texts");
        progress watch = cli_bar_progress(&bar);
        st = open_sql(&j, &watch, err);
        if (st == FINCH_OK) st = data_sql_begin(j.sql, err);
        if (st == FINCH_OK) st = run_last(&j, err);
        cli_bar_end(&bar);
        if (st == FINCH_E_CANCELLED) st = cli_cancelled_fail(err);
        if (st != FINCH_OK) show_place(&j);
        if (st == FINCH_E_USAGE) sql_store_hint(args, (finch_text){j.text, j.size});
    }
    data_sql_close(j.sql);
    model_close(j.engine);
    mem_free(j.text);
    str_free(&j.folder);
    return st;
}

const cli_command cli_command_sql = {
    .name = "sql",
    .group = CLI_GROUP_USE,
    .summary = "SQL over files, with the sentiment of texts as a function",
    .about = "DuckDB's SQL: a file's name in quotes is a table (CSV, JSONL, JSON, Parquet, also .gz and .zst, globs, many "
             "at once). "
             "Beside its functions there are finch_score(text), finch_label(text), finch_probs(text) with a field for each "
             "class, "
             "finch_clean(text) and finch_tickers(text). A text is scored once however often a query asks.\n"
             "Of the store there are the tables store.jobs, store.labels, store.answers, store.requests, store.reviews, "
             "store.prompts, store.predictions, store.batches and store.models: copies, made when a statement names them.\n"
             "Rows go to stdout or to --output, whose ending says the format; of several statements the last one's. No "
             "extension is installed or loaded, and nothing is fetched.",
    .example =
        "finch sql \"SELECT ticker_symbol, avg(finch_score(body)) AS mood FROM 'tweets.parquet' GROUP BY 1 ORDER BY 2\"\n"
        "finch sql \"SELECT * FROM 'day-*.csv' WHERE finch_label(body) = 'STRONGLY_NEGATIVE'\" --output bad.parquet\n"
        "finch sql \"SELECT job, label, count(*) FROM store.labels GROUP BY ALL ORDER BY ALL\" --state jobs.sqlite\n"
        "finch sql --file report.sql --format json",
    .operands = "[SQL]",
    .operands_min = 0,
    .operands_max = 1,
    .options = options,
    .run = run,
};
