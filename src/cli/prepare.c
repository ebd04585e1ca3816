/* finch prepare: raw tables of tweets in, one tidy table out, with what was left out and a report beside it. */
#include "cli/cli.h"
#include "cli/pen.h"
#include "cli/tables.h"

#include "base/clock.h"
#include "data/prepare.h"
#include "data/text_column.h"

#include <ctype.h>
#include <inttypes.h>
#if defined(__GLIBC__)
#include <malloc.h>
#endif
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const cli_option options[] = {
    {"input", "F...", CLI_LIST, NULL,
     "tables: .csv .tsv .jsonl .json .parquet, text also as .gz or .zst, any in a .zip; globs; - for standard input", true,
     0, 0},
    {"output", "FILE", CLI_PATH, NULL, "the tidy table, its format by its ending: .parquet .csv .tsv .jsonl .json", true, 0,
     0},
    {"dropped", "FILE", CLI_PATH, NULL, "the table of dropped rows (default: P.dropped.parquet for an output P.parquet)",
     false, 0, 0},
    {"text-column", "NAME", CLI_TEXT, "body", CLI_TEXT_COLUMN, false, 0, 0},
    {"author-column", "NAME", CLI_TEXT, "writer", "the column of the authors, for floods", false, 0, 0},
    {"time-column", "NAME", CLI_TEXT, "post_date", "the column of the times, for the report", false, 0, 0},
    {"map", "NEW=OLD...", CLI_LIST, NULL, "rename columns of the input: --map tweet_id=id", false, 0, 0},
#define STAGE_OPTION(name, word, help) {word, NULL, CLI_FLAG, "yes", help, false, 0, 0},
    PREPARE_STAGE_LIST(STAGE_OPTION)
#undef STAGE_OPTION
        {"placeholders", "token|none", CLI_CHOICE, "token", "links and user names become tokens, or nothing", false, 0, 0},
    {"min-words", "N", CLI_SIZE, "1", "words a text must have beside links, user names and cashtags", false, 0, 1000},
    {"near", "J", CLI_REAL, "0.8", "Jaccard similarity from which two texts are near-duplicates", false, 0.3, 1},
    {"flood", "N", CLI_SIZE, "5", "rows of one author with one template that make a flood", false, 2, 1e9},
    {"report", NULL, CLI_FLAG, "yes", "write P.report.json and P.report.html", false, 0, 0},
    CLI_OPTION_REJECTS("beside the output"),
    CLI_OPTION_STRICT,
    CLI_OPTION_MAX_LINE,
    {"memory-limit", "SIZE", CLI_TEXT, NULL,
     "memory of the whole process, for example 1GiB (default: little, and up to half of the machine's where that does not "
     "do)",
     false, 0, 0},
    {0},
};

/* What one run holds. */
typedef struct job {
    const cli_args *args;
    prepare_options options;
    prepare_result result;
    str dropped, rejects, report_json, report_html;
    prepare_renaming *renamings;
    str names; /* the renamings' new names, NUL between */
    cli_differences differences;
    cli_bar bar;
    progress watch;
    double seconds;
} job;

static finch_status parse_size(const char *text, size_t *out, finch_error *err)
{
    static const struct {
        const char *unit;
        unsigned shift;
    } units[] = {{"", 0},     {"k", 10},  {"kib", 10}, {"kb", 10},  {"m", 20},
                 {"mib", 20}, {"mb", 20}, {"g", 30},   {"gib", 30}, {"gb", 30}};
    char *end = NULL;
    char unit[4] = "";
    double number = isdigit((unsigned char)text[0]) ? strtod(text, &end) : -1;
    bool known = end != NULL && strlen(end) < sizeof unit;
    for (size_t i = 0; known && end[i] != '\0'; i++) unit[i] = (char)tolower((unsigned char)end[i]);
    for (size_t i = 0; known && i < sizeof units / sizeof units[0]; i++) {
        if (strcmp(unit, units[i].unit) != 0) continue;
        double bytes = number * (double)(1ull << units[i].shift);
        if (bytes < 1 || bytes > 1e15) break;
        *out = (size_t)bytes;
        return FINCH_OK;
    }
    return finch_fail(err, FINCH_E_USAGE, "--memory-limit %s is no size; write it like 1GiB or 800MiB", text);
}

static size_t half_of_memory(void)
{
    long pages = sysconf(_SC_PHYS_PAGES), page = sysconf(_SC_PAGESIZE);
    size_t bytes = pages > 0 && page > 0 ? (size_t)pages * (size_t)page / 2 : (size_t)1 << 30;
    return bytes > (size_t)512 << 20 ? bytes : (size_t)512 << 20;
}

/* The output's path with word before its ending: a/P.parquet, "dropped" is a/P.dropped.parquet. */
static finch_status path_beside(const char *output, const char *word, const char *ending, str *out, finch_error *err)
{
    const char *slash = strrchr(output, '/'), *name = slash != NULL ? slash + 1 : output;
    static const char *const formats[] = {".parquet", ".pq", ".csv", ".tsv", ".txt", ".jsonl", ".ndjson", ".json"};
    size_t size = strlen(output), cut = size;
    for (size_t i = 0; i < sizeof formats / sizeof formats[0]; i++) {
        const char *at = strstr(name, formats[i]);
        for (const char *next = at; next != NULL; next = strstr(next + 1, formats[i])) at = next;
        size_t rest = at != NULL ? strlen(at + strlen(formats[i])) : 1;
        bool last = at != NULL && (rest == 0 || strcmp(at + strlen(formats[i]), ".gz") == 0 ||
                                   strcmp(at + strlen(formats[i]), ".zst") == 0);
        if (last && at > name) cut = (size_t)(at - output);
    }
    return str_add_format(out, err, "%.*s.%s%s", (int)cut, output, word, ending != NULL ? ending : output + cut);
}

static finch_status name_outputs(job *j, finch_error *err)
{
    prepare_options *o = &j->options;
    bool pipe = strcmp(o->output, "-") == 0;
    FINCH_TRY(cli_check_stdout(j->args, o->output, err));
    if (pipe && cli_text(j->args, "dropped") == NULL)
        return finch_fail(err, FINCH_E_USAGE, "--output - needs --dropped FILE, so that no row is lost");
    if (cli_text(j->args, "dropped") != NULL) FINCH_TRY(str_add_text(&j->dropped, cli_text(j->args, "dropped"), err));
    else FINCH_TRY(path_beside(o->output, "dropped", NULL, &j->dropped, err));
    if (strcmp(j->dropped.at, "-") == 0) return finch_fail(err, FINCH_E_USAGE, "--dropped names a file, not -");
    const char *named = pipe ? j->dropped.at : o->output;
    FINCH_TRY(cli_rejects_path(j->args, o->output, &j->rejects, err));
    FINCH_TRY(path_beside(named, "report", ".json", &j->report_json, err));
    FINCH_TRY(path_beside(named, "report", ".html", &j->report_html, err));
    o->dropped = j->dropped.at;
    o->rejects = j->rejects.at;
    if (!cli_flag(j->args, "report")) return FINCH_OK;
    o->report_json = j->report_json.at;
    o->report_html = j->report_html.at;
    return FINCH_OK;
}

static finch_status read_renamings(job *j, finch_error *err)
{
    size_t n, room = 0;
    const char *const *maps = cli_list(j->args, "map", &n);
    for (size_t i = 0; i < n; i++) room += strlen(maps[i]) + 1;
    FINCH_TRY(str_reserve(&j->names, room, err)); /* so that the names stay where they are */
    FINCH_TRY(MEM_NEW(&j->renamings, n, err));
    for (size_t i = 0; i < n; i++) {
        const char *equals = strchr(maps[i], '=');
        if (equals == NULL || equals == maps[i] || equals[1] == '\0')
            return finch_fail(err, FINCH_E_USAGE, "--map %s is no renaming; write NEW=OLD, for example tweet_id=id",
                              maps[i]);
        j->renamings[i] = (prepare_renaming){j->names.at + j->names.size, equals + 1};
        FINCH_TRY(str_add(&j->names, maps[i], (size_t)(equals - maps[i]), err));
        FINCH_TRY(str_add(&j->names, "", 1, err));
    }
    j->options.renamings = j->renamings;
    j->options.n_renamings = n;
    return FINCH_OK;
}

static void show_phase(void *context, const char *name, const char *unit)
{
    job *j = context;
    cli_bar_end(&j->bar);
    cli_bar_begin(&j->bar, j->args, name, unit);
}

static finch_status read_options(job *j, finch_error *err)
{
    const cli_args *args = j->args;
    prepare_options *o = &j->options;
    size_t n_inputs;
    const char *const *inputs = cli_list(args, "input", &n_inputs);
    o->source = cli_source(args, inputs, n_inputs);
    cli_warn_of_differences(args, &j->differences, &o->source);
    o->output = cli_text(args, "output");
    o->text_column = cli_text(args, "text-column");
    if (!cli_given(args, "text-column") && !cli_given(args, "map"))
        o->text_column = data_text_column(inputs, n_inputs, o->text_column);
    o->author_column = cli_text(args, "author-column");
    o->time_column = cli_text(args, "time-column");
    o->author_needed = cli_given(args, "author-column");
    o->time_needed = cli_given(args, "time-column");
    for (int stage = 0; stage < PREPARE_STAGES; stage++)
        o->off[stage] = !cli_flag(args, prepare_stage_name((prepare_stage)stage));
    o->remove_placeholders = cli_choice(args, "placeholders") == 1;
    o->least_words = cli_size(args, "min-words");
    o->near_threshold = cli_real(args, "near");
    o->flood_rows = cli_size(args, "flood");
    o->n_threads = cli_threads(args);
    o->memory_limit_bytes = half_of_memory();
    o->memory_limit_given = cli_given(args, "memory-limit");
    if (o->memory_limit_given) FINCH_TRY(parse_size(cli_text(args, "memory-limit"), &o->memory_limit_bytes, err));
    FINCH_TRY(name_outputs(j, err));
    return read_renamings(j, err);
}

static finch_status print_json(const job *j, finch_error *err)
{
    const prepare_counts *c = &j->result.counts;
    double seconds = j->seconds > 0 ? j->seconds : 1e-9;
    json_t *dropped = json_object();
    for (int reason = PREPARE_KEPT + 1; reason < PREPARE_REASONS; reason++)
        json_object_set_new(dropped, prepare_reason_name((prepare_reason)reason),
                            json_integer((json_int_t)c->by_reason[reason]));
    const char *report = j->options.report_json != NULL ? j->options.report_json : "";
    return cli_print_json(
        json_pack("{s:I, s:I, s:I, s:I, s:o, s:f, s:f, s:f, s:f, s:f, s:f, s:I, s:I, s:s, s:s, s:s, s:s}", "rows",
                  (json_int_t)c->rows, "kept", (json_int_t)c->kept, "dropped", (json_int_t)c->dropped, "rejected",
                  (json_int_t)c->rejected, "dropped_for", dropped, "seconds", j->seconds, "seconds_looking",
                  j->result.seconds_looking, "seconds_reading", j->result.seconds_reading, "seconds_comparing",
                  j->result.seconds_judging, "seconds_writing", j->result.seconds_writing, "rows_per_second",
                  (double)c->rows / seconds, "peak_rss_bytes", (json_int_t)cli_peak_rss_bytes(), "steps_repeated",
                  (json_int_t)j->result.steps_repeated, "output", j->options.output, "dropped_output", j->options.dropped,
                  "rejects", c->rejected > 0 ? j->options.rejects : "", "report", report),
        err);
}

static finch_status add_stage_line(pen *p, const job *j, prepare_stage stage, uint64_t *left, finch_error *err)
{
    char a[PEN_NUMBER_BYTES], b[PEN_NUMBER_BYTES];
    const prepare_counts *c = &j->result.counts;
    uint64_t dropped = 0;
    bool drops = false;
    if (j->options.off[stage]) return str_add_format(&p->out, err, "  %-16s off\n", prepare_stage_name(stage));
    for (int reason = PREPARE_KEPT + 1; reason < PREPARE_REASONS; reason++) {
        if (prepare_reason_stage((prepare_reason)reason) != stage) continue;
        drops = true;
        dropped += c->by_reason[reason];
    }
    *left -= dropped;
    if (drops)
        return str_add_format(&p->out, err, "  %-16s %12s dropped, %s left\n", prepare_stage_name(stage),
                              pen_grouped(dropped, a), pen_grouped(*left, b));
    return str_add_format(&p->out, err, "  %-16s %12s rows %s\n", prepare_stage_name(stage),
                          pen_grouped(c->changed[stage], a), stage == PREPARE_TICKERS ? "with one" : "changed");
}

static finch_status add_summary(pen *p, const job *j, finch_error *err)
{
    char a[PEN_NUMBER_BYTES], b[PEN_NUMBER_BYTES];
    const prepare_counts *c = &j->result.counts;
    const data_names *names = &j->result.columns, *types = &j->result.types;
    uint64_t left = c->rows;
    FINCH_TRY(str_add_text(&p->out, "\n  columns:", err));
    for (size_t i = 0; i < names->n; i++) {
        FINCH_TRY(str_add_text(&p->out, i > 0 ? ", " : " ", err));
        FINCH_TRY(pen_add_sane(p, names->at[i], 40, NULL, err));
        FINCH_TRY(str_add_format(&p->out, err, " %.40s", types->at[i]));
    }
    FINCH_TRY(str_add_format(&p->out, err, "\n  %s rows read in %.1f s\n", pen_grouped(c->rows, a), j->seconds));
    if (c->rejected > 0)
        FINCH_TRY(str_add_format(&p->out, err, "  %s broken rows were set aside, see %s\n", pen_grouped(c->rejected, a),
                                 j->options.rejects));
    for (int stage = 0; stage < PREPARE_STAGES; stage++) FINCH_TRY(add_stage_line(p, j, (prepare_stage)stage, &left, err));
    FINCH_TRY(str_add_format(&p->out, err, "  %s rows in %s, %s in %s\n", pen_grouped(c->kept, a), j->options.output,
                             pen_grouped(c->dropped, b), j->options.dropped));
    if (j->result.steps_repeated > 0)
        FINCH_TRY(str_add_format(&p->out, err,
                                 "  steps that ran again with more memory: %zu; --memory-limit gives it at once\n",
                                 j->result.steps_repeated));
    if (j->options.report_html != NULL) FINCH_TRY(str_add_format(&p->out, err, "  report: %s\n", j->options.report_html));
    return FINCH_OK;
}

static finch_status report(const job *j, finch_error *err)
{
    pen p = pen_open(STDERR_FILENO);
    finch_status st = add_summary(&p, j, err);
    if (st == FINCH_OK) cli_say(j->args, "%s", p.out.at);
    str_free(&p.out);
    if (st == FINCH_OK && cli_wants_json(j->args)) st = print_json(j, err);
    return st;
}

/* DuckDB allocates its blocks and row groups anew all the time. Handed back to the system and fetched again, each page of
 * them costs a fault: about a tenth of the run. */
static void keep_freed_memory(void)
{
#if defined(__GLIBC__)
    mallopt(M_MMAP_THRESHOLD, 32 << 20);
    mallopt(M_TRIM_THRESHOLD, 32 << 20);
#endif
}

static finch_status run(const cli_args *args, finch_error *err)
{
    /* A file size limit (ulimit -f) is then an error of the write like a full disk, with a message, not a dead process. */
    struct sigaction ignore = {.sa_handler = SIG_IGN};
    job j = {.args = args};
    sigaction(SIGXFSZ, &ignore, NULL);
    keep_freed_memory();
    double begin = clock_seconds();
    finch_status st = read_options(&j, err);
    cli_bar_begin(&j.bar, args, "looking", "rows");
    j.watch = cli_bar_progress(&j.bar);
    j.options.watch = &j.watch;
    j.options.phase = show_phase;
    j.options.phase_context = &j;
    if (st == FINCH_OK) st = data_prepare(&j.options, &j.result, err);
    cli_bar_end(&j.bar);
    j.seconds = clock_seconds() - begin;
    if (st == FINCH_OK) st = report(&j, err);
    prepare_result_free(&j.result);
    str_free(&j.dropped);
    str_free(&j.rejects);
    str_free(&j.report_json);
    str_free(&j.report_html);
    str_free(&j.names);
    mem_free(j.renamings);
    return st == FINCH_E_CANCELLED ? cli_cancelled_fail(err) : st;
}

const cli_command cli_command_prepare = {
    .name = "prepare",
    .group = CLI_GROUP_USE,
    .summary = "raw tables of tweets to one tidy table without copies and spam",
    .about =
        "Adds text (the clean text), tickers and cluster_id to the columns of the input, and leaves out rows without words, "
        "in other languages, copies, near-copies and floods. What is left out goes into a second table with dropped_reason "
        "and the row that was kept in its place: rows read = rows kept + rows dropped, and broken rows are listed in "
        "rejects.csv. Each stage has its --no-STAGE. Rows keep their order; the outputs appear whole or not at all.\n"
        "cluster_id is the number (from 1) of the first row of its cluster of equal and nearly equal texts.",
    .example = "finch prepare --input 'raw/*.csv.gz' --output tweets.parquet\n"
               "finch prepare --input export.jsonl --output tweets.parquet --text-column full_text --map tweet_id=id\n"
               "finch prepare --input a.csv --output a.jsonl --no-language --no-near-duplicates --memory-limit 1GiB",
    .options = options,
    .run = run,
};
