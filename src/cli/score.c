/* finch score: tables and streams of tweets in, the same with their sentiment out. */
#include "cli/cli.h"
#include "cli/score_shard.h"
#include "cli/score_view.h"
#include "cli/tables.h"

#include "base/clock.h"
#include "base/file.h"
#include "data/files.h"
#include "data/score.h"

#include <signal.h>
#include <string.h>
#include <unistd.h>

static const cli_option options[] = {
    CLI_OPTION_MODEL,
    {"input", "F...", CLI_LIST, NULL,
     "tables: .csv .tsv .jsonl .json .parquet, text also as .gz or .zst, any in a .zip; globs; - for JSONL on stdin", true,
     0, 0},
    {"output", "FILE", CLI_PATH, NULL, "the scored table, its format by its ending as for the input; - for JSONL on stdout",
     true, 0, 0},
    {"text-column", "NAME", CLI_TEXT, "body", CLI_TEXT_COLUMN, false, 0, 0},
    {"ticker-column", "NAME", CLI_TEXT, "ticker_symbol",
     "for the summary: the column of the tickers (A|B for several); where there is none, the texts' cashtags", false, 0, 0},
    {"time-column", "NAME", CLI_TEXT, "post_date", "for the summary: the column of the times", false, 0, 0},
    {"logits", NULL, CLI_FLAG, NULL, "add the columns logit_*, the model's values before the softmax", false, 0, 0},
    {"prefix", "TEXT", CLI_TEXT, "", "put before the names of all added columns", false, 0, 0},
    {"compute", "auto|f32|bf16x3|bf16|int8", CLI_CHOICE, "auto",
     "the arithmetic of the model's products; auto: as its weights are stored", false, 0, 0},
    {"max-tokens", "N", CLI_SIZE, "128", "tokens of a text that are read; what is cut is marked in the column truncated",
     false, 2, 65536},
    {"limit", "N", CLI_SIZE, "0", "score the first N rows only; 0: all", false, 0, 1e15},
    SCORE_SHARD_OPTIONS,
    CLI_OPTION_REJECTS("beside the output"),
    CLI_OPTION_STRICT,
    CLI_OPTION_MAX_LINE,
    {0},
};

/* What one run holds. */
typedef struct job {
    const cli_args *args;
    data_score_options options;
    data_scoring scoring;
    model *engine;
    str folder, rejects;
    cli_differences differences;
    cli_bar bar;
    progress watch;
    data_shard shard;   /* count 0: all rows are scored */
    json_t *finished;   /* the manifest of a shard whose work was done before */
    uint64_t n_rejected;
    double seconds; /* from the opened model to the finished output */
} job;

static bool reads_pipe(const data_source *source) { return source->n_inputs == 1 && strcmp(source->inputs[0], "-") == 0; }

static finch_status check_pipe_output(const job *j, finch_error *err)
{
    const char *output = j->options.output;
    data_kind kind;
    for (size_t i = 0; i < j->options.source.n_inputs; i++)
        if (strcmp(j->options.source.inputs[i], "-") == 0 && !reads_pipe(&j->options.source))
            return finch_fail(err, FINCH_E_USAGE, "--input - stands alone; score the files in a run of their own");
    if (!reads_pipe(&j->options.source)) return FINCH_OK;
    if (j->options.limit > 0)
        return finch_fail(err, FINCH_E_USAGE, "--limit is for files; for a pipe use head -n %llu",
                          (unsigned long long)j->options.limit);
    if (strcmp(output, "-") == 0 ||
        (data_kind_of_path(output, &kind) && kind.format == DATA_JSONL && kind.compression == DATA_PLAIN))
        return FINCH_OK;
    return finch_fail(err, FINCH_E_USAGE,
                      "--input - is answered line by line: --output is - or a .jsonl file, not %s; for another format "
                      "convert it with finch data convert",
                      output);
}

static finch_status read_options(job *j, finch_error *err)
{
    const cli_args *args = j->args;
    data_score_options *o = &j->options;
    size_t n_inputs;
    const char *const *inputs = cli_list(args, "input", &n_inputs);
    o->source = cli_source(args, inputs, n_inputs);
    cli_warn_of_differences(args, &j->differences, &o->source);
    o->output = cli_text(args, "output");
    o->text_column = cli_text(args, "text-column");
    if (!cli_given(args, "text-column")) o->text_otherwise = "text";
    o->ticker_column = cli_text(args, "ticker-column");
    o->time_column = cli_text(args, "time-column");
    o->ticker_needed = cli_given(args, "ticker-column");
    o->time_needed = cli_given(args, "time-column");
    o->prefix = cli_text(args, "prefix");
    o->logits = cli_flag(args, "logits");
    o->limit = cli_size(args, "limit");
    FINCH_TRY(cli_check_stdout(args, o->output, err));
    FINCH_TRY(check_pipe_output(j, err));
    FINCH_TRY(score_shard_choose(args, &o->shard, &o->n_shards, err));
    if (o->n_shards > 0 && reads_pipe(&o->source))
        return finch_fail(err, FINCH_E_USAGE, "a pipe has no shards; --input names files");
    FINCH_TRY(cli_rejects_path(args, o->output, &j->rejects, err));
    o->rejects = j->rejects.at;
    return FINCH_OK;
}

/* From here on the output is the shard's part. */
static finch_status open_shard(job *j, finch_error *err)
{
    data_score_options *o = &j->options;
    if (o->n_shards == 0) return FINCH_OK;
    json_t *settings = score_shard_settings(j->args, model_compute_name(model_get_compute(j->engine)));
    FINCH_TRY(data_shard_open(o->output, o->shard, o->n_shards, &o->source, j->folder.at, settings, &j->shard, err));
    o->output = j->shard.part.at;
    o->rejects = o->shard == 0 ? j->shard.rejects.at : NULL;
    return data_shard_finished(&j->shard, &j->finished, err);
}

static finch_status open_engine(job *j, finch_error *err)
{
    model_compute compute = MODEL_AUTO;
    const char *word = cli_text(j->args, "compute");
    if (!model_compute_find(word, &compute)) return finch_fail(err, FINCH_E_USAGE, "--compute %s is not known", word);
    FINCH_TRY(cli_model_folder(cli_text(j->args, "model"), &j->folder, err));
    FINCH_TRY(model_open(j->folder.at, compute, &j->engine, err));
    return data_scoring_open(j->engine, cli_threads(j->args), cli_size(j->args, "max-tokens"), DATA_SCORE_CAPACITY,
                             &j->scoring, err);
}

/* Stdin's lines to stdout or to a file that appears whole. */
static finch_status score_pipe(job *j, finch_error *err)
{
    file_writer writer;
    if (strcmp(j->options.output, "-") == 0)
        return data_score_pipe(&j->scoring, &j->options, STDIN_FILENO, STDOUT_FILENO, &j->n_rejected, err);
    FINCH_TRY(file_writer_open(j->options.output, &writer, err));
    finch_status st = data_score_pipe(&j->scoring, &j->options, STDIN_FILENO, writer.descriptor, &j->n_rejected, err);
    if (st == FINCH_OK) return file_writer_commit(&writer, err);
    file_writer_abort(&writer);
    return st;
}

static finch_status score_file(job *j, finch_error *err)
{
    data_score_result result;
    FINCH_TRY(data_score_file(&j->scoring, &j->options, &result, err));
    j->n_rejected = result.n_rejected;
    return j->shard.count > 0 ? data_shard_commit(&j->shard, &result, &j->scoring.counts, err) : FINCH_OK;
}

static finch_status score(job *j, finch_error *err)
{
    double begin = clock_seconds();
    cli_bar_begin(&j->bar, j->args, "scoring", "tweets");
    j->watch = cli_bar_progress(&j->bar);
    j->options.watch = &j->watch;
    finch_status st = reads_pipe(&j->options.source) ? score_pipe(j, err) : score_file(j, err);
    cli_bar_end(&j->bar);
    j->seconds = clock_seconds() - begin;
    return st == FINCH_E_CANCELLED ? cli_cancelled_fail(err) : st;
}

static const char *model_name(const job *j)
{
    const char *slash = strrchr(j->folder.at, '/');
    return slash != NULL && slash[1] != '\0' ? slash + 1 : j->folder.at;
}

static const char *rejects_file(const job *j)
{
    bool pipe = reads_pipe(&j->options.source);
    return pipe ? NULL : j->shard.count > 0 ? j->shard.rejects.at : j->rejects.at;
}

static finch_status print_json(const job *j, finch_error *err)
{
    const data_scoring_counts *c = &j->scoring.counts;
    const char *rejects = j->n_rejected > 0 ? rejects_file(j) : NULL;
    double seconds = j->seconds > 0 ? j->seconds : 1e-9;
    json_t *all = json_pack("{s:I, s:I, s:I, s:I, s:I, s:f, s:f, s:f, s:I, s:s, s:s, s:s, s:s}", "rows", (json_int_t)c->rows,
                            "scored", (json_int_t)c->scored, "skipped", (json_int_t)c->skipped, "rejected",
                            (json_int_t)j->n_rejected, "truncated", (json_int_t)c->truncated, "seconds", j->seconds,
                            "texts_per_second", (double)c->scored / seconds, "tokens_per_second",
                            (double)c->tokens / seconds, "peak_rss_bytes", (json_int_t)cli_peak_rss_bytes(), "model",
                            j->folder.at, "compute", model_compute_name(model_get_compute(j->engine)), "output",
                            j->options.output, "rejects", rejects != NULL ? rejects : "");
    if (j->shard.count > 0) {
        json_t *more = json_pack("{s:I, s:I, s:b}", "shard", (json_int_t)j->shard.index, "shards",
                                 (json_int_t)j->shard.count, "finished_before", false);
        if (more == NULL || json_object_update(all, more) != 0) {
            json_decref(all);
            all = NULL;
        }
        json_decref(more);
    }
    return cli_print_json(all, err);
}

static finch_status report(const job *j, finch_error *err)
{
    bool pipe = reads_pipe(&j->options.source);
    score_view view = {
        .output = j->options.output,
        .model = model_name(j),
        .compute = model_compute_name(model_get_compute(j->engine)),
        .rejects = rejects_file(j),
        .n_rejected = j->n_rejected,
        .max_tokens = cli_size(j->args, "max-tokens"),
        .seconds = j->seconds,
    };
    FINCH_TRY(score_view_show(j->args, &j->scoring, &view, err));
    if (cli_wants_json(j->args)) FINCH_TRY(print_json(j, err));
    if (!pipe || j->n_rejected == 0) return FINCH_OK;
    return finch_fail(err, FINCH_E_DATA, "%llu lines were broken; each was answered with an error and its line in its place",
                      (unsigned long long)j->n_rejected);
}

static finch_status score_and_tell(job *j, finch_error *err)
{
    FINCH_TRY(score(j, err));
    return report(j, err);
}

static finch_status run(const cli_args *args, finch_error *err)
{
    /* A file size limit (ulimit -f) is then an error of the write like a full disk, with a message, not a dead process. */
    struct sigaction ignore = {.sa_handler = SIG_IGN};
    job j = {.args = args};
    sigaction(SIGXFSZ, &ignore, NULL);
    finch_status st = read_options(&j, err);
    if (st == FINCH_OK) st = open_engine(&j, err);
    if (st == FINCH_OK) st = open_shard(&j, err);
    if (st == FINCH_OK && j.finished != NULL)
        st = score_shard_tell_finished(args, &j.shard, j.finished, j.folder.at,
                                       model_compute_name(model_get_compute(j.engine)), err);
    else if (st == FINCH_OK) st = score_and_tell(&j, err);
    data_scoring_close(&j.scoring);
    model_close(j.engine);
    data_shard_close(&j.shard);
    json_decref(j.finished);
    str_free(&j.folder);
    str_free(&j.rejects);
    return st;
}

const cli_command cli_command_score = {
    .name = "score",
    .group = CLI_GROUP_USE,
    .summary = "the sentiment of every tweet in a table or a stream",
    .about =
        "Adds label, score (-1 to 1), prob_<class> and truncated to every row, in the rows' order; the other columns pass "
        "through. Files may be larger than memory. Rows without a text get empty values; broken rows are listed in "
        "rejects.csv with their lines. The output appears whole or not at all.\n"
        "With --input - each line of JSON on stdin is answered by one line: the object with the added keys or, where the "
        "line is broken, an object with error and line; the exit code is then 3.\n"
        "With --shards each of N processes or machines scores its share of the rows into OUTPUT.parts, where a shard that "
        "is "
        "finished is not scored again; finch data concat OUTPUT.parts --output OUTPUT then gives the very file that one "
        "process would have written. mpirun -n N finch score chooses shards by itself.",
    .example = "finch score --input tweets.csv --output scored.parquet\n"
               "finch score --input 'day-*.jsonl.gz' --text-column text --output scored.csv\n"
               "finch score --input year.parquet --output scored.parquet --shards 16 --shard 3\n"
               "echo '{\"body\":\"$AAPL to the moon\"}' | finch score --input - --output -",
    .options = options,
    .texts_of = "input",
    .run = run,
};
