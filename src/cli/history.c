/* finch history: predictions that were kept, and what the market said. */
#include "cli/cli.h"
#include "cli/history.h"
#include "cli/pen.h"

#include "base/clock.h"
#include "base/file.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const cli_option options[] = {
    {"input", "F...", CLI_LIST, NULL, "import: tables that finch score or finch label wrote; globs", false, 0, 0},
    {"text-column", "NAME", CLI_TEXT, "body", "import: " CLI_TEXT_COLUMN, false, 0, 0},
    {"date-column", "NAME", CLI_TEXT, "post_date", "import: the column of times: Unix seconds, dates, time stamps", false, 0,
     0},
    {"ticker-column", "NAME", CLI_TEXT, "ticker_symbol",
     "import: the column of tickers (A|B, or a list), where there is one", false, 0, 0},
    {"label-column", "NAME", CLI_TEXT, "label", "import: the column of the classes", false, 0, 0},
    {"score-column", "NAME", CLI_TEXT, "score", "import: the column of the scores, where there is one", false, 0, 0},
    {"reach", "NAME...", CLI_LIST, NULL,
     "import: columns whose sum is a text's reach (default: like_num, retweet_num, comment_num)", false, 0, 0},
    {"model", "NAME", CLI_TEXT, "import",
     "import: what the rows are said to come from; sentiment, rows: only what this model said", false, 0, 0},
    {"texts", NULL, CLI_FLAG, "yes", "import: keep the texts; without them only numbers and hashes", false, 0, 0},
    {"strict", NULL, CLI_FLAG, NULL, "import: stop at the first broken row instead of passing it over", false, 0, 0},
    {"ticker", "TICKER", CLI_TEXT, NULL, "sentiment, rows: of this ticker only", false, 0, 0},
    {"from", "TIME", CLI_TEXT, NULL, "sentiment, rows, export: from this time on (2024-01-31, 2024-01-31T14:30Z)", false, 0,
     0},
    {"to", "TIME", CLI_TEXT, NULL, "sentiment, rows, export: up to this time, itself not", false, 0, 0},
    {"bucket", "WIDTH", CLI_TEXT, "1d", "sentiment: 1m, 5m, 15m, 1h, 4h, 1d, 1w or 1mo, in UTC", false, 0, 0},
    {"by-reach", NULL, CLI_FLAG, NULL, "sentiment: weigh texts by 1 + their reach", false, 0, 0},
    {"with-spam", NULL, CLI_FLAG, NULL, "sentiment, rows: spam counts too", false, 0, 0},
    {"with-near-duplicates", NULL, CLI_FLAG, NULL, "sentiment, rows: near-duplicates count too", false, 0, 0},
    {"limit", "N", CLI_SIZE, "20", "rows: how many, newest first", false, 1, 100000},
    {"output", "FILE", CLI_PATH, NULL, "export: the file of JSON lines", false, 0, 0},
    {"before", "TIME", CLI_TEXT, NULL, "prune: what is older goes", false, 0, 0},
    {"keep-sums", NULL, CLI_FLAG, "yes", "prune: sums by hour and day stay", false, 0, 0},
    {"only-texts", NULL, CLI_FLAG, NULL, "prune: only wipe the texts, rows stay", false, 0, 0},
    CLI_OPTION_STATE,
    {0},
};

static finch_status read_time(const cli_args *args, const char *option, int64_t *out, finch_error *err)
{
    const char *text = cli_text(args, option);
    if (text == NULL || clock_parse_utc(text, strlen(text), out)) return FINCH_OK;
    return finch_fail(err, FINCH_E_USAGE, "--%s takes a date or a time (2024-01-31, 2024-01-31T14:30Z), not \"%.60s\"",
                      option, text);
}

/* ---- import ---- */

static finch_status import_tables(const cli_args *args, store *s, history_imported *out, finch_error *err)
{
    cli_bar bar;
    cli_bar_begin(&bar, args, "importing", "rows");
    progress watch = cli_bar_progress(&bar);
    history_import_options o = {.strict = cli_flag(args, "strict"),
                                .text_column = cli_text(args, "text-column"),
                                .time_column = cli_text(args, "date-column"),
                                .ticker_column = cli_text(args, "ticker-column"),
                                .label_column = cli_text(args, "label-column"),
                                .score_column = cli_text(args, "score-column"),
                                .needs_tickers = cli_given(args, "ticker-column"),
                                .model = cli_text(args, "model"),
                                .source = "import",
                                .keep_texts = cli_flag(args, "texts"),
                                .watch = &watch};
    o.inputs = cli_list(args, "input", &o.n_inputs);
    o.reach = cli_list(args, "reach", &o.n_reach);
    finch_status st = history_import_tables(&o, s, out, err);
    cli_bar_end(&bar);
    return st == FINCH_E_CANCELLED ? cli_cancelled_fail(err) : st;
}

static finch_status import_action(const cli_args *args, store *s, finch_error *err)
{
    history_imported done;
    char rows[PEN_NUMBER_BYTES];
    if (!cli_given(args, "input")) return finch_fail(err, FINCH_E_USAGE, "finch history import needs --input F...");
    FINCH_TRY(import_tables(args, s, &done, err));
    if (done.n_rejected > 0)
        cli_warn(args, "%llu broken rows of the files were passed over", (unsigned long long)done.n_rejected);
    if (done.n_skipped > 0)
        cli_warn(args, "%llu rows without a text, a label or a time were passed over", (unsigned long long)done.n_skipped);
    cli_say(args, "%s rows are new in the history\n", pen_grouped(done.n_imported, rows));
    if (done.n_known > 0) cli_say(args, "%s rows were there already\n", pen_grouped(done.n_known, rows));
    if (!cli_wants_json(args)) return FINCH_OK;
    return cli_print_json(json_pack("{s:I, s:I, s:I, s:I, s:I}", "rows", (json_int_t)done.n_rows, "known",
                                    (json_int_t)done.n_known, "imported", (json_int_t)done.n_imported, "skipped",
                                    (json_int_t)done.n_skipped, "rejected", (json_int_t)done.n_rejected),
                          err);
}

/* ---- looking ---- */

static finch_status show_info(const cli_args *args, store *s, finch_error *err)
{
    json_t *info;
    char rows[PEN_NUMBER_BYTES];
    FINCH_TRY(history_info(s, &info, err));
    if (cli_wants_json(args)) return cli_print_json(info, err);
    pen p = pen_open(STDOUT_FILENO);
    const char *first = json_string_value(json_object_get(info, "first")),
               *last = json_string_value(json_object_get(info, "last"));
    finch_status st = str_add_format(&p.out, err, "  %s predictions, %lld tickers, %zu models\n",
                                     pen_grouped((uint64_t)json_integer_value(json_object_get(info, "rows")), rows),
                                     (long long)json_integer_value(json_object_get(info, "tickers")),
                                     json_array_size(json_object_get(info, "models")));
    if (st == FINCH_OK && first != NULL && last != NULL) st = str_add_format(&p.out, err, "  from %s to %s\n", first, last);
    json_decref(info);
    return pen_print(&p, st, err);
}

/* What the options ask for; the whole history where they name no span. */
static finch_status read_query(const cli_args *args, store *s, history_query *q, finch_error *err)
{
    json_t *info;
    *q = (history_query){.ticker = cli_text(args, "ticker"),
                         .model = cli_given(args, "model") ? cli_text(args, "model") : NULL,
                         .by_reach = cli_flag(args, "by-reach"),
                         .with_spam = cli_flag(args, "with-spam"),
                         .with_near_duplicates = cli_flag(args, "with-near-duplicates")};
    FINCH_TRY(history_info(s, &info, err));
    const char *first = json_string_value(json_object_get(info, "first")),
               *last = json_string_value(json_object_get(info, "last"));
    bool known = first != NULL && last != NULL && clock_parse_utc(first, strlen(first), &q->from_ms) &&
                 clock_parse_utc(last, strlen(last), &q->to_ms);
    json_decref(info);
    q->to_ms = known ? q->to_ms + 1 : 1;
    FINCH_TRY(read_time(args, "from", &q->from_ms, err));
    return read_time(args, "to", &q->to_ms, err);
}

static finch_status gather_point(void *context, const history_point *point, finch_error *err)
{
    if (json_array_append_new(context, history_point_json(point)) == 0) return FINCH_OK;
    return finch_fail(err, FINCH_E_MEMORY, "out of memory for the points");
}

enum { BAR_HALF = 15 };

/* A bar from the middle to the mean, left for negative. */
static finch_status add_bar(pen *p, double mean, finch_error *err)
{
    int at = (int)lround(fmax(-1, fmin(1, mean)) * BAR_HALF);
    for (int i = -BAR_HALF; i <= BAR_HALF; i++) {
        bool on = (at < 0 && i >= at && i < 0) || (at > 0 && i > 0 && i <= at);
        const char *mark = i == 0 ? (p->unicode ? "\xE2\x94\x82" : "|") : on ? (p->unicode ? "\xE2\x96\x88" : "#") : " ";
        FINCH_TRY(str_add_text(&p->out, mark, err));
    }
    return FINCH_OK;
}

static finch_status add_point(void *context, const history_point *point, finch_error *err)
{
    pen *p = context;
    char date[32], n[PEN_NUMBER_BYTES];
    clock_format_utc(point->start_ms / 1000, date, sizeof date);
    FINCH_TRY(str_add_format(&p->out, err, "  %.16sZ  %9s  ", date, pen_grouped((uint64_t)point->n, n)));
    if (point->n == 0) return str_add_text(&p->out, "only spam and near-duplicates\n", err);
    FINCH_TRY(str_add_format(&p->out, err, "%+.3f  ", point->mean));
    if (isnan(point->low)) FINCH_TRY(str_add_text(&p->out, "      one text      ", err));
    else FINCH_TRY(str_add_format(&p->out, err, "%+.3f to %+.3f    ", point->low, point->high));
    FINCH_TRY(add_bar(p, point->mean, err));
    return str_add_text(&p->out, "\n", err);
}

static finch_status sentiment(const cli_args *args, store *s, finch_error *err)
{
    history_query q;
    FINCH_TRY(read_query(args, s, &q, err));
    FINCH_TRY(history_bucket_parse(cli_text(args, "bucket"), &q.bucket, err));
    if (cli_wants_json(args)) {
        json_t *points = json_array();
        finch_status st = history_sentiment(s, &q, gather_point, points, err);
        if (st == FINCH_OK) return cli_print_json(json_pack("{s:o}", "points", points), err);
        json_decref(points);
        return st;
    }
    pen p = pen_open(STDOUT_FILENO);
    finch_status st = history_sentiment(s, &q, add_point, &p, err);
    if (st == FINCH_OK && p.out.size == 0) cli_say(args, "there are no predictions in this span\n");
    return pen_print(&p, st, err);
}

static finch_status gather_row(void *context, const history_row *row, finch_error *err)
{
    if (json_array_append_new(context, history_row_json(row)) == 0) return FINCH_OK;
    return finch_fail(err, FINCH_E_MEMORY, "out of memory for the rows");
}

static finch_status add_row(void *context, const history_row *row, finch_error *err)
{
    pen *p = context;
    char date[32], *text = NULL;
    clock_format_utc(row->time_ms / 1000, date, sizeof date);
    FINCH_TRY(str_add_format(&p->out, err, "  %.16sZ  %+.2f  ", date, row->score));
    FINCH_TRY(mem_text(row->text.at, row->text.size_bytes, &text, err));
    finch_status st = pen_add_sane(p, row->has_text ? text : "(not kept)", p->width - 29, NULL, err);
    mem_free(text);
    return st == FINCH_OK ? str_add_text(&p->out, "\n", err) : st;
}

static finch_status rows(const cli_args *args, store *s, finch_error *err)
{
    history_query q;
    FINCH_TRY(read_query(args, s, &q, err));
    if (cli_wants_json(args)) {
        json_t *list = json_array();
        finch_status st = history_rows(s, &q, 0, cli_size(args, "limit"), gather_row, list, err);
        if (st == FINCH_OK) return cli_print_json(json_pack("{s:o}", "rows", list), err);
        json_decref(list);
        return st;
    }
    pen p = pen_open(STDOUT_FILENO);
    return pen_print(&p, history_rows(s, &q, 0, cli_size(args, "limit"), add_row, &p, err), err);
}

/* ---- export ---- */

enum { EXPORT_STEP = 2000 };

typedef struct exporting {
    file_writer writer;
    int64_t from_ms, to_ms, last_id;
    uint64_t n_written, n_read;
} exporting;

static finch_status export_row(void *context, const history_row *row, finch_error *err)
{
    exporting *x = context;
    x->last_id = row->id;
    x->n_read++;
    if (row->time_ms < x->from_ms || row->time_ms >= x->to_ms) return FINCH_OK;
    json_t *object = history_row_json(row);
    char *line = object != NULL ? json_dumps(object, JSON_COMPACT | JSON_REAL_PRECISION(7)) : NULL; /* kept in 1e-6 */
    json_decref(object);
    if (line == NULL) return finch_fail(err, FINCH_E_MEMORY, "out of memory for a row");
    finch_status st = file_writer_write(&x->writer, line, strlen(line), err);
    if (st == FINCH_OK) st = file_writer_write(&x->writer, "\n", 1, err);
    free(line); /* jansson's own */
    x->n_written++;
    return st;
}

static finch_status export_rows(const cli_args *args, store *s, exporting *x, finch_error *err)
{
    cli_bar bar;
    uint64_t before;
    finch_status st = FINCH_OK;
    cli_bar_begin(&bar, args, "exporting", "rows");
    progress watch = cli_bar_progress(&bar);
    do {
        before = x->n_read;
        st = history_rows_after(s, x->last_id, EXPORT_STEP, export_row, x, err);
        if (st == FINCH_OK && !progress_report(&watch, x->n_read, 0, NULL)) st = cli_cancelled_fail(err);
    } while (st == FINCH_OK && x->n_read == before + EXPORT_STEP);
    cli_bar_end(&bar);
    return st;
}

static finch_status export_action(const cli_args *args, store *s, finch_error *err)
{
    exporting x = {.last_id = INT64_MIN, .to_ms = INT64_MAX};
    char n[PEN_NUMBER_BYTES];
    if (!cli_given(args, "output")) return finch_fail(err, FINCH_E_USAGE, "finch history export needs --output FILE");
    FINCH_TRY(read_time(args, "from", &x.from_ms, err));
    FINCH_TRY(read_time(args, "to", &x.to_ms, err));
    FINCH_TRY(file_writer_open(cli_text(args, "output"), &x.writer, err));
    finch_status st = export_rows(args, s, &x, err);
    if (st == FINCH_OK) st = file_writer_commit(&x.writer, err);
    if (st != FINCH_OK) file_writer_abort(&x.writer);
    FINCH_TRY(st);
    cli_say(args, "%s rows were written to %s\n", pen_grouped(x.n_written, n), cli_text(args, "output"));
    return cli_wants_json(args)
               ? cli_print_json(json_pack("{s:I, s:s}", "rows", (json_int_t)x.n_written, "output", cli_text(args, "output")),
                                err)
               : FINCH_OK;
}

/* ---- leaving ---- */

static finch_status say_gone(const cli_args *args, const char *what, uint64_t n, finch_error *err)
{
    char number[PEN_NUMBER_BYTES];
    cli_say(args, "%s %s\n", pen_grouped(n, number), what);
    return cli_wants_json(args) ? cli_print_json(json_pack("{s:I}", "rows", (json_int_t)n), err) : FINCH_OK;
}

static finch_status prune(const cli_args *args, store *s, finch_error *err)
{
    int64_t before = 0;
    uint64_t n;
    if (!cli_given(args, "before")) return finch_fail(err, FINCH_E_USAGE, "finch history prune needs --before TIME");
    FINCH_TRY(read_time(args, "before", &before, err));
    if (cli_flag(args, "only-texts")) {
        FINCH_TRY(history_forget_texts(s, before, &n, err));
        return say_gone(args, "texts were wiped", n, err);
    }
    FINCH_TRY(history_prune(s, before, !cli_flag(args, "keep-sums"), &n, err));
    return say_gone(args, "rows have left", n, err);
}

enum { TEXT_MOST = 1 << 20 };

static finch_status read_stdin(str *out, finch_error *err)
{
    char piece[4096];
    ssize_t n;
    while ((n = read(STDIN_FILENO, piece, sizeof piece)) > 0) {
        FINCH_TRY(str_add(out, piece, (size_t)n, err));
        if (out->size > TEXT_MOST)
            return finch_fail(err, FINCH_E_USAGE, "a text of over %d bytes is none of the history's", (int)TEXT_MOST);
    }
    return n == 0 ? str_add_text(out, "", err) : finch_fail(err, FINCH_E_IO, "stdin can not be read");
}

/* The text comes on stdin, so that it is in no history of a shell; a line end behind it is not its own. */
static finch_status forget(const cli_args *args, store *s, finch_error *err)
{
    char hash[STORE_HASH_BYTES];
    str text = {0};
    uint64_t n = 0;
    finch_status st = read_stdin(&text, err);
    if (st == FINCH_OK && text.size > 0 && text.at[text.size - 1] == '\n') text.size--;
    if (st == FINCH_OK) st = store_hash(text.at, text.size, hash, err);
    if (st == FINCH_OK) st = history_forget(s, hash, &n, err);
    str_free(&text);
    return st == FINCH_OK ? say_gone(args, "predictions of this text have left, from rows and sums", n, err) : st;
}

/* ---- the command ---- */

static const struct {
    const char *word;
    finch_status (*run)(const cli_args *args, store *s, finch_error *err);
} actions[] = {{"info", show_info},       {"import", import_action}, {"sentiment", sentiment}, {"rows", rows},
               {"export", export_action}, {"prune", prune},          {"forget", forget}};

static finch_status run(const cli_args *args, finch_error *err)
{
    size_t n, at = 0;
    const char *const *words = cli_operands(args, &n);
    store *s;
    while (at < sizeof actions / sizeof actions[0] && strcmp(actions[at].word, words[0]) != 0) at++;
    if (at == sizeof actions / sizeof actions[0])
        return finch_fail(err, FINCH_E_USAGE,
                          "finch history does info, import, sentiment, rows, export, prune and forget, not \"%.100s\"",
                          words[0]);
    FINCH_TRY(store_open(cli_text(args, "state"), &s, err));
    finch_status st = actions[at].run(args, s, err);
    store_close(s);
    return st;
}

const cli_command cli_command_history = {
    .name = "history",
    .group = CLI_GROUP_LOOK,
    .summary = "predictions that were kept: import, sentiment by ticker and time, export, prune",
    .about = "import takes tables that finch score wrote into the history, so that the server and its dashboard show them; "
             "rows that "
             "finch prepare dropped are marked as spam or near-duplicates. The same rows again count once. sentiment gives "
             "the mean score "
             "with its 95 % interval by time, for all texts or one ticker, from sums that answer at once however long the "
             "history is.\n"
             "prune takes out old rows or their texts; forget reads a text from stdin and takes all its predictions out.",
    .example = "finch history import --input scored.parquet --model finch-mini-5@1\n"
               "finch history sentiment --ticker TSLA --from 2018-01-01 --to 2019-01-01 --bucket 1w\n"
               "finch history rows --ticker TSLA --limit 5 --json\n"
               "finch history prune --before 2025-01-01 --only-texts",
    .operands = "info|import|sentiment|rows|export|prune|forget",
    .operands_min = 1,
    .operands_max = 1,
    .operand_words = "info|import|sentiment|rows|export|prune|forget",
    .options = options,
    .texts_of = "input",
    .run = run,
};
