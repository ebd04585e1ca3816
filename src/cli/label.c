/* finch label: five-class labels from an OpenAI-compatible chat endpoint, and the jobs that make them. */
#include "cli/cli.h"
#include "cli/label_view.h"
#include "cli/tables.h"

#include "label/label.h"

#include <string.h>

#define MONTH_SECONDS 2.6e6

static const cli_option options[] = {
    {"input", "F...", CLI_LIST, NULL, "tables of texts: .csv .tsv .jsonl .json .parquet, text also as .gz or .zst; globs",
     false, 0, 0},
    {"output", "FILE", CLI_PATH, NULL, "the labelled table, its format by its ending; - for JSONL on stdout", false, 0, 0},
    {"text-column", "NAME", CLI_TEXT, "text", CLI_TEXT_COLUMN, false, 0, 0},
    {"provider", "openrouter|openai|mistral|groq|together|deepseek|ollama|llama.cpp|vllm", CLI_CHOICE, "openrouter",
     "whose endpoint is asked", false, 0, 0},
    {"provider-url", "URL", CLI_TEXT, NULL, "any other OpenAI-compatible endpoint, without /chat/completions", false, 0, 0},
    {"model", "NAME", CLI_TEXT, "google/gemini-2.5-pro", "the model's name at the provider", false, 0, 0},
    {"prompt", "FILE", CLI_PATH, NULL, "what the model is told, a Markdown file (default: prompts/five-class.md, built in)",
     false, 0, 0},
    {"batch", "N", CLI_SIZE, "20", "tweets a request", false, 1, 500},
    {"in-flight", "N", CLI_SIZE, "32", "the most requests at once; fewer on 429s and growing latency", false, 1, 1000},
    {"rpm", "N", CLI_REAL, "0", "requests a minute and key, evenly spaced; 0: no limit", false, 0, 1e7},
    {"tpm", "N", CLI_REAL, "0", "tokens a minute and key, of questions and answers; 0: no limit", false, 0, 1e12},
    {"key-env", "NAME", CLI_TEXT, NULL, "the environment variable of the API key (default: by the provider)", false, 0, 0},
    {"key-file", "FILE", CLI_PATH, NULL, "a file of API keys, one a line, mode 600; all are used in turn", false, 0, 0},
    {"allow-http", NULL, CLI_FLAG, NULL, "let http:// lead to other machines than this one", false, 0, 0},
    {"referer", "URL", CLI_TEXT, "http://localhost/finch", "sent as HTTP-Referer", false, 0, 0},
    {"title", "TEXT", CLI_TEXT, "finch", "sent as X-Title", false, 0, 0},
    CLI_OPTION_STATE,
    {"job", "NAME", CLI_TEXT, NULL,
     "the job's name (default: made from files, model and prompt, so the same command goes on)", false, 0, 0},
    {"max-cost", "DOLLARS", CLI_REAL, NULL, "stop before the job costs more", false, 0, 1e9},
    {"max-requests", "N", CLI_SIZE, "0", "stop after this many requests; 0: no limit", false, 0, 1e15},
    {"price-in", "DOLLARS", CLI_REAL, NULL, "price of a million tokens of questions, where the provider does not say costs",
     false, 0, 1e6},
    {"price-out", "DOLLARS", CLI_REAL, NULL, "price of a million tokens of answers", false, 0, 1e6},
    {"dry-run", NULL, CLI_FLAG, NULL, "read the texts, estimate requests, tokens and cost, ask nothing", false, 0, 0},
    {"attempts", "N", CLI_SIZE, "3", "how often a text is asked alone until it is set aside as unlabelled", false, 1, 100},
    {"response-format", "auto|schema|guided|object|plain", CLI_CHOICE, "auto",
     "ask under a JSON schema, for a JSON object with the schema beside it, for any JSON object, or by the prompt alone; "
     "auto: the first "
     "of these that the model knows",
     false, 0, 0},
    {"temperature", "T", CLI_REAL, NULL, "sampling temperature (default: 0, and 0.7 with several votes)", false, 0, 2},
    {"max-tokens", "N", CLI_SIZE, "0", "the most tokens of an answer; 0: the provider's own", false, 0, 1e7},
    {"logprobs", NULL, CLI_FLAG, NULL, "ask for log-probabilities: they give each label a confidence", false, 0, 0},
    {"votes", "N", CLI_SIZE, "1", "ask each text so often; the majority is its label, the share its confidence", false, 1,
     15},
    {"judge", "MODEL", CLI_TEXT, NULL, "the model that decides where votes differ", false, 0, 0},
    {"gold", "FILE", CLI_PATH, NULL, "texts with people's labels, asked first: kappa and a confusion matrix", false, 0, 0},
    {"gold-text-column", "NAME", CLI_TEXT, "text", "the column of its texts", false, 0, 0},
    {"gold-label-column", "NAME", CLI_TEXT, "label", "the column of its labels", false, 0, 0},
    {"stop-kappa", "K", CLI_REAL, NULL, "stop where Cohen's kappa with the gold labels is below", false, -1, 1},
    {"stop-after", "N", CLI_SIZE, "100", "gold answers that are needed for that", false, 1, 1e9},
    {"timeout", "SECONDS", CLI_REAL, "120", "for a whole answer", false, 0.01, 86400},
    {"first-byte-timeout", "SECONDS", CLI_REAL, "100", "for an answer to begin", false, 0.01, 86400},
    {"connect-timeout", "SECONDS", CLI_REAL, "15", "for a connection", false, 0.01, 3600},
    {"backoff", "SECONDS", CLI_REAL, "1", "the first wait after a failure, doubled each time, with jitter", false, 0.001,
     3600},
    {"give-up", "SECONDS", CLI_REAL, "300", "stop when there was no good answer for so long", false, 0.1, MONTH_SECONDS},
    {"lease", "SECONDS", CLI_REAL, "60", "after so long others take over what a process that is gone had taken", false, 1,
     86400},
    {"retry-unlabelled", NULL, CLI_FLAG, NULL, "ask again what was set aside", false, 0, 0},
    {"provenance", NULL, CLI_FLAG, NULL,
     "add source, confidence, votes, model, prompt, request, time and people's labels of each label", false, 0, 0},
    {"reviews", "win|beside", CLI_CHOICE, "win",
     "labels that people gave in finch review: win: the class of more than half of them is the label; beside: the model's "
     "stays",
     false, 0, 0},
    {"prefix", "TEXT", CLI_TEXT, "", "put before the names of the added columns", false, 0, 0},
    CLI_OPTION_REJECTS("beside the output"),
    CLI_OPTION_STRICT,
    CLI_OPTION_MAX_LINE,
    {0},
};

static double real_or(const cli_args *args, const char *name, double otherwise)
{
    return cli_given(args, name) ? cli_real(args, name) : otherwise;
}

static void read_engine(const cli_args *args, engine_options *e)
{
    static const request_format formats[] = {FORMAT_SCHEMA, FORMAT_SCHEMA, FORMAT_GUIDED, FORMAT_OBJECT, FORMAT_PLAIN};
    *e = (engine_options){
        .batch = cli_size(args, "batch"),
        .in_flight = cli_size(args, "in-flight"),
        .attempts = cli_size(args, "attempts"),
        .rpm = cli_real(args, "rpm"),
        .tpm = cli_real(args, "tpm"),
        .temperature = real_or(args, "temperature", -1),
        .max_tokens = cli_size(args, "max-tokens"),
        .format = formats[cli_choice(args, "response-format")],
        .format_fixed = cli_choice(args, "response-format") > 0,
        .logprobs = cli_flag(args, "logprobs"),
        .max_cost = real_or(args, "max-cost", -1),
        .max_requests = cli_size(args, "max-requests"),
        .price_in = real_or(args, "price-in", -1),
        .price_out = real_or(args, "price-out", -1),
        .backoff_seconds = cli_real(args, "backoff"),
        .give_up_seconds = cli_real(args, "give-up"),
        .lease_seconds = cli_real(args, "lease"),
        .stop_kappa = real_or(args, "stop-kappa", -2),
        .stop_after = cli_size(args, "stop-after"),
    };
}

static void read_options(const cli_args *args, label_options *o)
{
    *o = (label_options){
        .text_column = cli_text(args, "text-column"),
        .output = cli_text(args, "output"),
        .prefix = cli_text(args, "prefix"),
        .provenance = cli_flag(args, "provenance"),
        .people = (export_people)cli_choice(args, "reviews"),
        .state = cli_text(args, "state"),
        .job = cli_text(args, "job"),
        .provider_url = cli_text(args, "provider-url"),
        .model = cli_text(args, "model"),
        .judge = cli_text(args, "judge"),
        .prompt = cli_text(args, "prompt"),
        .votes = cli_size(args, "votes"),
        .retry_aside = cli_flag(args, "retry-unlabelled"),
        .gold = cli_text(args, "gold"),
        .gold_text_column = cli_text(args, "gold-text-column"),
        .gold_label_column = cli_text(args, "gold-label-column"),
        .key_env = cli_text(args, "key-env"),
        .key_file = cli_text(args, "key-file"),
        .allow_plain = cli_flag(args, "allow-http"),
        .referer = cli_text(args, "referer"),
        .title = cli_text(args, "title"),
        .connect_seconds = cli_real(args, "connect-timeout"),
        .first_byte_seconds = cli_real(args, "first-byte-timeout"),
        .total_seconds = cli_real(args, "timeout"),
        .dry_run = cli_flag(args, "dry-run"),
    };
    size_t n_inputs;
    const char *const *inputs = cli_list(args, "input", &n_inputs);
    o->source = cli_source(args, inputs, n_inputs);
    read_engine(args, &o->engine);
}

static finch_status check_together(const cli_args *args, const label_options *o, finch_error *err)
{
    if (cli_given(args, "price-in") != cli_given(args, "price-out"))
        return finch_fail(err, FINCH_E_USAGE, "--price-in and --price-out are only known together; give both");
    if (o->judge != NULL && o->votes < 2)
        return finch_fail(err, FINCH_E_USAGE, "--judge decides where votes differ; give --votes 2 or more");
    if (cli_given(args, "stop-kappa") && o->gold == NULL)
        return finch_fail(err, FINCH_E_USAGE, "--stop-kappa is measured against people's labels; give them with --gold");
    FINCH_TRY(client_check_header("--referer", o->referer, err));
    FINCH_TRY(client_check_header("--title", o->title, err));
    return cli_check_stdout(args, o->output, err);
}

/* ---- labelling ---- */

static finch_status run_job(const cli_args *args, label_options *o, finch_error *err)
{
    label_report report = {0};
    label_view view;
    label_view_open(&view, args, o);
    finch_status st = label_run(o, label_view_begin, &view, &report, err);
    label_view_close(&view);
    finch_status said = label_view_report(&view, &report, st == FINCH_OK ? NULL : err, st == FINCH_OK ? err : NULL);
    label_report_free(&report);
    return st != FINCH_OK ? st : said;
}

static finch_status label_table(const cli_args *args, label_options *o, finch_error *err)
{
    if (o->source.n_inputs == 0) return finch_fail(err, FINCH_E_USAGE, "--input is missing: the tables of texts to label");
    if (o->output == NULL && !o->dry_run)
        return finch_fail(err, FINCH_E_USAGE, "--output is missing: where the labelled table goes");
    if (o->provider_url == NULL) o->provider_url = label_preset_url(cli_text(args, "provider"));
    return run_job(args, o, err);
}

static finch_status resume(const cli_args *args, label_options *o, finch_error *err)
{
    o->existing = true;
    if (o->provider_url == NULL && cli_given(args, "provider"))
        o->provider_url = label_preset_url(cli_text(args, "provider"));
    return run_job(args, o, err);
}

static finch_status export(const cli_args *args, label_options *o, finch_error *err)
{
    label_report report = {0};
    label_view view;
    if (o->output == NULL) return finch_fail(err, FINCH_E_USAGE, "--output is missing: where the labelled table goes");
    label_view_open(&view, args, o);
    finch_status st = label_export(o, &report, err);
    label_view_close(&view);
    if (st == FINCH_OK) st = label_view_report(&view, &report, NULL, err);
    label_report_free(&report);
    return st;
}

/* ---- looking and pausing ---- */

static finch_status status(const cli_args *args, const label_options *o, finch_error *err)
{
    store *s = NULL;
    FINCH_TRY(store_open(o->state, &s, err));
    finch_status st = label_view_status(args, s, o->job, err);
    store_close(s);
    return st;
}

static finch_status pause_job(const cli_args *args, const label_options *o, finch_error *err)
{
    store *s = NULL;
    labels_job job = {0};
    FINCH_TRY(store_open(o->state, &s, err));
    finch_status st = labels_job_find(s, o->job, &job, err);
    if (st == FINCH_OK && strcmp(job.state.at, "done") == 0)
        st = finch_fail(err, FINCH_E_FAILED, "the job %s is done", job.name.at);
    if (st == FINCH_OK) st = labels_job_set_state(s, job.id, "paused", "by finch label pause", err);
    if (st == FINCH_OK)
        cli_say(args, "paused %s; processes at work on it end within seconds. Go on with: finch label resume --job %s\n",
                job.name.at, job.name.at);
    if (st == FINCH_OK && cli_wants_json(args))
        st = cli_print_json(json_pack("{s:s, s:s}", "job", job.name.at, "state", "paused"), err);
    labels_job_free(&job);
    store_close(s);
    return st;
}

static finch_status run_words(const cli_args *args, label_options *o, finch_error *err)
{
    size_t n = 0;
    const char *const *words = cli_operands(args, &n);
    if (n == 0) return label_table(args, o, err);
    if (strcmp(words[0], "status") == 0) return status(args, o, err);
    if (strcmp(words[0], "pause") == 0) return pause_job(args, o, err);
    if (strcmp(words[0], "resume") == 0) return resume(args, o, err);
    return export(args, o, err);
}

static finch_status run(const cli_args *args, finch_error *err)
{
    label_options o;
    cli_differences differences;
    str rejects = {0};
    read_options(args, &o);
    cli_warn_of_differences(args, &differences, &o.source);
    finch_status st = cli_rejects_path(args, o.output, &rejects, err);
    o.rejects = rejects.at;
    if (st == FINCH_OK) st = check_together(args, &o, err);
    if (st == FINCH_OK) st = run_words(args, &o, err);
    str_free(&rejects);
    return st;
}

const cli_command cli_command_label = {
    .name = "label",
    .group = CLI_GROUP_USE,
    .summary = "five-class labels from a language model, never lost and never paid for twice",
    .about = "Asks an OpenAI-compatible chat endpoint for the class of each text, many at a time, and writes the input's "
             "columns with "
             "label (empty where there is none) and label_reason. Each answer is held against its question; what fails is "
             "asked again, "
             "then alone, then set aside with the reason: a failure never gets a class.\n"
             "All that is asked and answered is in a store. After Ctrl-C, kill -9 or a power cut the same command goes on, "
             "and at most "
             "the requests in flight are asked again; a text that this model has answered under this prompt is never asked "
             "twice, in "
             "this job or another. With a PostgreSQL store many processes on many machines work on one job.\n"
             "Keys come from the environment (OPENROUTER_API_KEY, also _1 to _9; OPENAI_API_KEY) or a file, never from the "
             "command line. "
             "status lists jobs, pause ends the processes at work on one, resume goes on, export writes the table as far as "
             "it is.",
    .example = "OPENROUTER_API_KEY=... finch label --input tweets.parquet --output labelled.parquet --max-cost 5\n"
               "finch label --provider llama.cpp --model gemma --input tweets.csv --output labelled.csv\n"
               "finch label status\n"
               "finch label export --job 3f2a91c04b7d --output so-far.parquet --provenance",
    .operands = "[status|pause|resume|export]",
    .operands_min = 0,
    .operands_max = 1,
    .operand_words = "status|pause|resume|export",
    .options = options,
    .texts_of = "input",
    .run = run,
};
