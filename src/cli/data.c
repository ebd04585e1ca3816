/* finch data: a look at tables, and tables from one format to another. */
#include "cli/cli.h"
#include "cli/grid.h"
#include "cli/tables.h"
#include "data/shards.h"

#include "data/files.h"
#include "data/look.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

static const cli_option options[] = {
    {"rows", "N", CLI_SIZE, "10", "head: how many rows", false, 0, 1000000},
    {"output", "FILE", CLI_PATH, NULL, "convert, concat: the file to write, its format by its ending", false, 0, 0},
    CLI_OPTION_REJECTS("beside the output of convert and concat"),
    {"order-by", "COLUMN", CLI_TEXT, NULL, "concat: put the rows in the order of this column (an index that shards kept)",
     false, 0, 0},
    CLI_OPTION_STRICT,
    CLI_OPTION_MAX_LINE,
    {0},
};

typedef finch_status (*action_fn)(const cli_args *args, data_look *look, finch_error *err);

/* ---- tables for people ---- */

static finch_status add_size(pen *p, const data_look *look, finch_error *err)
{
    char rows[PEN_NUMBER_BYTES], columns[PEN_NUMBER_BYTES], rejected[PEN_NUMBER_BYTES];
    FINCH_TRY(str_add_format(&p->out, err, "  %s rows, %s columns", pen_grouped(data_look_rows(look), rows),
                             pen_grouped(data_look_columns(look)->n, columns)));
    if (data_look_rejected(look) > 0)
        FINCH_TRY(
            str_add_format(&p->out, err, "; %s broken rows are left out", pen_grouped(data_look_rejected(look), rejected)));
    return str_add_text(&p->out, "\n", err);
}

/* ---- actions ---- */

static finch_status head(const cli_args *args, data_look *look, finch_error *err)
{
    data_grid grid;
    pen p = pen_open(STDOUT_FILENO);
    if (cli_wants_json(args)) {
        finch_status st = data_look_head_json(look, cli_size(args, "rows"), &p.out, err);
        if (st == FINCH_OK) st = str_add_text(&p.out, "\n", err);
        return pen_print(&p, st, err);
    }
    FINCH_TRY(data_look_head(look, cli_size(args, "rows"), &grid, err));
    finch_status st = grid_add(&p, &grid, data_look_columns(look), err);
    if (st == FINCH_OK) st = add_size(&p, look, err);
    data_grid_free(&grid);
    return pen_print(&p, st, err);
}

/* The figures that every --json answer about a table has; NULL where memory is out. */
static json_t *size_json(const data_look *look)
{
    return json_pack("{s:I, s:I}", "rows", (json_int_t)data_look_rows(look), "rejected",
                     (json_int_t)data_look_rejected(look));
}

static json_t *columns_json(const data_look *look)
{
    const data_names *columns = data_look_columns(look), *types = data_look_types(look);
    json_t *list = json_array();
    for (size_t i = 0; list != NULL && i < columns->n; i++) {
        json_t *column = json_pack("{s:s, s:s}", "name", columns->at[i], "type", types->at[i]);
        if (json_array_append_new(list, column) != 0) {
            json_decref(list);
            list = NULL;
        }
    }
    return list;
}

/* size_json with the list under "columns"; takes over list. */
static finch_status print_columns_json(const data_look *look, json_t *list, finch_error *err)
{
    json_t *all = size_json(look);
    if (json_object_set_new(all, "columns", list) != 0) {
        json_decref(all);
        all = NULL;
    }
    return cli_print_json(all, err);
}

static finch_status schema(const cli_args *args, data_look *look, finch_error *err)
{
    const data_names *columns = data_look_columns(look), *types = data_look_types(look);
    pen p = pen_open(STDOUT_FILENO);
    size_t widest = GRID_CELL_LEAST, used;
    finch_status st = FINCH_OK;
    if (cli_wants_json(args)) return print_columns_json(look, columns_json(look), err);
    for (size_t i = 0; st == FINCH_OK && i < columns->n; i++) {
        st = pen_add_sane(&p, columns->at[i], GRID_CELL_MOST, &used, err);
        if (st == FINCH_OK && used > widest) widest = used;
    }
    p.out.size = 0; /* it was written to be measured */
    for (size_t i = 0; st == FINCH_OK && i < columns->n; i++) {
        st = grid_add_cell(&p, columns->at[i], widest, err);
        if (st == FINCH_OK) st = str_add_text(&p.out, "  ", err);
        if (st == FINCH_OK) st = pen_add_sane(&p, types->at[i], p.width - widest - 4, NULL, err);
        if (st == FINCH_OK) st = str_add_text(&p.out, "\n", err);
    }
    if (st == FINCH_OK) st = add_size(&p, look, err);
    return pen_print(&p, st, err);
}

static json_t *text_json(const char *text) { return text != NULL ? json_string(text) : json_null(); }

static json_t *stats_json(const data_look *look, const data_grid *grid)
{
    static const char *const keys[DATA_STAT_COUNT] = {"nulls", "distinct", "least", "most", "mean"};
    json_t *list = columns_json(look);
    for (size_t i = 0; list != NULL && i < grid->n_rows; i++)
        for (size_t k = 0; k < DATA_STAT_COUNT; k++) {
            const char *value = grid->values[i * grid->n_columns + k];
            bool number = k == DATA_STAT_NULLS || k == DATA_STAT_DISTINCT || k == DATA_STAT_MEAN;
            /* jansson reads the figure that DuckDB wrote; least and most stay texts of any type. */
            json_t *item = number && value != NULL ? json_loads(value, JSON_DECODE_ANY, NULL) : text_json(value);
            json_object_set_new(json_array_get(list, i), keys[k], item != NULL ? item : text_json(value));
        }
    return list;
}

/* The statistics with the columns' names and types before them. */
static finch_status widen(const data_look *look, const data_grid *stats, data_grid *out, finch_error *err)
{
    const data_names *lists[] = {data_look_columns(look), data_look_types(look)};
    *out = (data_grid){.n_rows = stats->n_rows, .n_columns = stats->n_columns + 2};
    FINCH_TRY(MEM_NEW(&out->values, out->n_rows * out->n_columns, err));
    for (size_t row = 0; row < out->n_rows; row++)
        for (size_t i = 0; i < out->n_columns; i++) {
            const char *value = i < 2 ? lists[i]->at[row] : stats->values[row * stats->n_columns + i - 2];
            if (value != NULL) FINCH_TRY(mem_text(value, strlen(value), &out->values[row * out->n_columns + i], err));
        }
    return FINCH_OK;
}

static finch_status stats(const cli_args *args, data_look *look, finch_error *err)
{
    static char *titles[] = {"column", "type", "nulls", "distinct", "least", "most", "mean"};
    static const data_names names = {titles, sizeof titles / sizeof titles[0], 0};
    data_grid grid, wide = {0};
    pen p = pen_open(STDOUT_FILENO);
    FINCH_TRY(data_look_stats(look, &grid, err));
    if (cli_wants_json(args)) {
        finch_status st = print_columns_json(look, stats_json(look, &grid), err);
        data_grid_free(&grid);
        return st;
    }
    finch_status st = widen(look, &grid, &wide, err);
    if (st == FINCH_OK) st = grid_add(&p, &wide, &names, err);
    if (st == FINCH_OK)
        st = str_add_format(&p.out, err, "  %sthe mean of texts is that of their lengths\n",
                            data_look_stats_exact(look) ? "" : "distinct is an estimate; ");
    if (st == FINCH_OK) st = add_size(&p, look, err);
    data_grid_free(&grid);
    data_grid_free(&wide);
    return pen_print(&p, st, err);
}

static finch_status convert(const cli_args *args, data_look *look, finch_error *err)
{
    const char *output = cli_text(args, "output");
    char rows[PEN_NUMBER_BYTES];
    uint64_t n_written;
    str rejects = {0};
    finch_status st = cli_rejects_path(args, output, &rejects, err);
    if (st == FINCH_OK) st = data_look_convert(look, output, rejects.at, &n_written, err);
    if (st == FINCH_OK && data_look_rejected(look) > 0)
        cli_warn(args, "%llu broken rows were set aside, see %s", (unsigned long long)data_look_rejected(look), rejects.at);
    str_free(&rejects);
    if (st != FINCH_OK) return st;
    cli_say(args, "%s rows were written to %s\n", pen_grouped(n_written, rows), output);
    if (!cli_wants_json(args)) return FINCH_OK;
    json_t *all = size_json(look);
    if (json_object_set_new(all, "output", json_string(output)) != 0) {
        json_decref(all);
        all = NULL;
    }
    return cli_print_json(all, err);
}

/* What convert does, in order. */
static finch_status concat(const cli_args *args, data_look *look, finch_error *err)
{
    uint64_t n_equal = 0;
    const char *column = cli_text(args, "order-by");
    if (column != NULL) FINCH_TRY(data_look_order(look, column, &n_equal, err));
    if (n_equal > 0)
        cli_warn(args, "%llu rows have a value of \"%s\" that came before: they stand in the order of the files",
                 (unsigned long long)n_equal, column);
    return convert(args, look, err);
}

/* The parts that the shards of finch score have left, as one file. */
static finch_status join_parts(const cli_args *args, const char *folder, finch_error *err)
{
    const char *output = cli_text(args, "output");
    char rows[PEN_NUMBER_BYTES];
    data_joined joined = {0};
    str rejects = {0};
    if (cli_given(args, "order-by"))
        return finch_fail(err, FINCH_E_USAGE, "%s: the parts know their order; leave out --order-by", folder);
    finch_status st = cli_rejects_path(args, output, &rejects, err);
    if (st == FINCH_OK) st = data_shards_join(folder, output, rejects.at, &joined, err);
    if (st == FINCH_OK && joined.n_rejected > 0)
        cli_warn(args, "%llu broken rows were set aside, see %s", (unsigned long long)joined.n_rejected, rejects.at);
    str_free(&rejects);
    if (st != FINCH_OK) return st;
    cli_say(args, "%s rows of %zu parts were written to %s\n", pen_grouped(joined.n_rows, rows), joined.n_parts, output);
    if (!cli_wants_json(args)) return FINCH_OK;
    return cli_print_json(json_pack("{s:I, s:I, s:I, s:s}", "rows", (json_int_t)joined.n_rows, "rejected",
                                    (json_int_t)joined.n_rejected, "parts", (json_int_t)joined.n_parts, "output", output),
                          err);
}

static const struct {
    const char *word;
    action_fn run;
} actions[] = {{"head", head}, {"schema", schema}, {"stats", stats}, {"convert", convert}, {"concat", concat}};

static finch_status find_action(const cli_args *args, const char *word, action_fn *out, finch_error *err)
{
    *out = NULL;
    for (size_t i = 0; i < sizeof actions / sizeof actions[0]; i++)
        if (strcmp(actions[i].word, word) == 0) *out = actions[i].run;
    if (*out == NULL)
        return finch_fail(err, FINCH_E_USAGE, "finch data does head, schema, stats, convert and concat, not \"%.100s\"",
                          word);
    if ((*out == convert || *out == concat) && cli_text(args, "output") == NULL)
        return finch_fail(err, FINCH_E_USAGE, "finch data %s needs --output FILE", word);
    if (*out != concat && cli_given(args, "order-by"))
        return finch_fail(err, FINCH_E_USAGE, "--order-by is for finch data concat");
    return FINCH_OK;
}

/* A CSV that becomes a CSV keeps every value as it is written. */
static bool wants_types(const cli_args *args, action_fn action)
{
    data_kind kind;
    return !((action == convert || action == concat) && data_kind_of_path(cli_text(args, "output"), &kind) &&
             kind.format == DATA_CSV);
}

static finch_status run(const cli_args *args, finch_error *err)
{
    size_t n;
    const char *const *words = cli_operands(args, &n);
    action_fn action;
    data_look *look;
    cli_bar bar;
    FINCH_TRY(find_action(args, words[0], &action, err));
    if (action == concat && n == 2 && data_shards_are(words[1])) return join_parts(args, words[1], err);
    data_source source = cli_source(args, words + 1, n - 1);
    cli_differences differences;
    if (action == convert || action == concat) cli_warn_of_differences(args, &differences, &source);
    cli_bar_begin(&bar, args, "reading", "rows");
    progress watch = cli_bar_progress(&bar);
    finch_status st = data_look_open(&source, wants_types(args, action), &watch, &look, err);
    cli_bar_end(&bar);
    if (st == FINCH_E_CANCELLED) return cli_cancelled_fail(err);
    bool looks = action != convert && action != concat; /* those list broken rows themselves */
    if (st == FINCH_OK && looks && cli_given(args, "rejects") && data_look_rejected(look) > 0)
        st = data_look_list_rejects(look, cli_text(args, "rejects"), err);
    if (st == FINCH_OK) st = action(args, look, err);
    data_look_close(look);
    return st;
}

const cli_command cli_command_data = {
    .name = "data",
    .group = CLI_GROUP_LOOK,
    .summary = "a look at tables: head, schema, stats; convert between formats",
    .about =
        "head shows the first rows, schema the columns and their types, stats what each column holds: nulls, distinct "
        "values, least and most, mean. convert writes one or several tables as one file of another format. concat "
        "joins tables in the order given, columns by their names, says what differs, and with --order-by restores the order "
        "of "
        "rows that were worked on in shards; the folder of parts that finch score --shards makes is put together to the "
        "file of "
        "one process.\n"
        "Tables are .csv .tsv .jsonl .json .parquet, the text ones also as .gz or .zst; separators, quotes and encodings "
        "of CSV files are found. A CSV column has the narrowest type that every one of its values has.",
    .example = "finch data head tweets.csv\n"
               "finch data stats 'day-*.parquet' --json\n"
               "finch data convert day1.csv day2.jsonl.gz --output days.parquet\n"
               "finch data concat 'shard-*.parquet' --order-by row --output all.parquet\n"
               "finch data concat scored.csv.parts --output scored.csv",
    .operands = "head|schema|stats|convert|concat F...",
    .operands_min = 2,
    .operands_max = 100000,
    .options = options,
    .run = run,
};
