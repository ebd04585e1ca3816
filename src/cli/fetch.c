/* finch fetch: a model or dataset from the Hugging Face Hub into the cache. */
#include "base/clock.h"
#include "cli/cli.h"
#include "data/hub.h"
#include "data/hub_download.h"

static const cli_option options[] = {
    {"dataset", NULL, CLI_FLAG, NULL, "REPO is a dataset, not a model", false, 0, 0},
    {"revision", "R", CLI_TEXT, "main", "branch, tag, commit or refs/pr/N", false, 0, 0},
    {"include", "GLOB...", CLI_LIST, NULL,
     "only files that match one of these (* also across /; a folder's name with / means all below it)", false, 0, 0},
    {"exclude", "GLOB...", CLI_LIST, NULL, "no files that match one of these", false, 0, 0},
    {"verify", NULL, CLI_FLAG, NULL, "check the hashes of files that are there already, and fetch broken ones again", false,
     0, 0},
    {"connections", "N", CLI_SIZE, "8", "requests at once", false, 1, HUB_CONNECTIONS_MOST},
    {"part-size", "BYTES", CLI_SIZE, "33554432", "larger files are fetched in parts of this size at once", false,
     HUB_PART_BYTES_LEAST, 1e15},
    {"retries", "N", CLI_SIZE, "5", "further tries of a request that brings nothing", false, 0, 100},
    {"retry-wait", "SECONDS", CLI_REAL, "1", "before the first further try; doubles up to eight times that", false, 0, 600},
    {0},
};

static hub_options read_options(const cli_args *args)
{
    size_t n;
    hub_options o = {.kind = cli_flag(args, "dataset") ? HUB_DATASET : HUB_MODEL,
                     .repo = cli_operands(args, &n)[0],
                     .revision = cli_text(args, "revision"),
                     .n_connections = cli_size(args, "connections"),
                     .part_bytes = cli_size(args, "part-size"),
                     .n_retries = cli_size(args, "retries"),
                     .retry_seconds = cli_real(args, "retry-wait"),
                     .verify = cli_flag(args, "verify")};
    o.include = cli_list(args, "include", &o.n_include);
    o.exclude = cli_list(args, "exclude", &o.n_exclude);
    return o;
}

/* The bar counts bytes. Before the first of them there is only to listen for Ctrl-C, and a wait to tell of, once. */
typedef struct listener {
    const cli_args *args;
    progress bar;
    bool told;
} listener;

static bool hear(void *context, uint64_t done, uint64_t total, const char *note)
{
    listener *l = context;
    if (total > 0) return progress_report(&l->bar, done, total, note);
    if (note != NULL && !l->told) cli_say(l->args, "%s\n", note);
    l->told = l->told || note != NULL;
    return !cli_cancelled();
}

static finch_status print_result(const cli_args *args, const hub_options *o, const hub_result *r, double seconds,
                                 finch_error *err)
{
    if (!cli_wants_json(args)) {
        FINCH_TRY(cli_print(r->snapshot.at, r->snapshot.size, err));
        return cli_print("\n", 1, err);
    }
    json_t *result = json_pack("{s:s, s:s, s:s, s:s, s:s, s:I, s:I, s:I, s:I, s:b, s:f}", "repo", o->repo, "type",
                               o->kind == HUB_DATASET ? "dataset" : "model", "revision", o->revision, "commit", r->commit,
                               "snapshot", r->snapshot.at, "files", (json_int_t)r->n_files, "bytes", (json_int_t)r->bytes,
                               "from_cache", (json_int_t)r->n_cached, "bytes_received", (json_int_t)r->bytes_received,
                               "asked_hub", !r->offline && r->unreached.size == 0, "seconds", seconds);
    return cli_print_json(result, err);
}

static void say_result(const cli_args *args, const hub_options *o, const hub_result *r, double seconds)
{
    static const double megabyte = 1e6;
    if (r->unreached.size > 0)
        cli_warn(args, "the Hub could not be asked whether there is something newer; the cache served. %s", r->unreached.at);
    cli_say(args, "%s at %.7s: %zu files, %.1f MB; %zu were there, %.1f MB came", o->repo, r->commit, r->n_files,
            (double)r->bytes / megabyte, r->n_cached, (double)r->bytes_received / megabyte);
    if (r->bytes_received > 0 && seconds > 0)
        cli_say(args, " in %.1f s (%.1f MB/s)", seconds, (double)r->bytes_received / megabyte / seconds);
    cli_say(args, "\n");
}

static finch_status run(const cli_args *args, finch_error *err)
{
    hub_options o = read_options(args);
    hub_result result;
    cli_bar bar;
    double begin = clock_seconds();
    cli_bar_begin(&bar, args, "fetching", "bytes");
    listener l = {.args = args, .bar = cli_bar_progress(&bar)};
    progress watch = {hear, &l};
    finch_status st = hub_fetch(&o, &watch, &result, err);
    cli_bar_end(&bar);
    double seconds = clock_seconds() - begin;
    if (st == FINCH_OK) {
        say_result(args, &o, &result, seconds);
        st = print_result(args, &o, &result, seconds, err);
    }
    hub_result_free(&result);
    return st;
}

const cli_command cli_command_fetch = {
    .name = "fetch",
    .group = CLI_GROUP_MAKE,
    .summary = "a model or dataset from the Hugging Face Hub",
    .about =
        "Fetches a snapshot of a repository into the cache that huggingface_hub and transformers use, and prints its "
        "folder. "
        "Files that are there already are not fetched again; what was interrupted goes on where it stopped. Every file is "
        "checked against its sha256 or git blob id before it gets its name.\n"
        "--model of the other commands takes OWNER/NAME or OWNER/NAME@REVISION for what was fetched; a dataset's files are "
        "in the printed folder.\n"
        "Read from the environment, as huggingface_hub does: HF_TOKEN (private and gated repositories), HF_ENDPOINT, "
        "HF_HOME, HF_HUB_CACHE, HF_HUB_OFFLINE, HF_HUB_ETAG_TIMEOUT, HF_HUB_DOWNLOAD_TIMEOUT, SSL_CERT_FILE, https_proxy.",
    .example = "finch fetch ProsusAI/finbert\n"
               "finch fetch mjw/stock_market_tweets --dataset --include '*.csv'\n"
               "finch score --model ProsusAI/finbert --input tweets.csv --output scored.parquet",
    .operands = "REPO",
    .operands_min = 1,
    .operands_max = 1,
    .options = options,
    .run = run,
};
