/* finch stream: a message broker's tweets scored and published again. */
#include "cli/cli.h"

#include "base/clock.h"
#include "serve/models.h"
#include "stream/stream.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define DRAIN_SECONDS 20.0

enum { MESSAGE_BYTES_MAX = 64 << 20 };

static const cli_option options[] = {
    CLI_OPTION_MODEL,
    {"broker", "URL", CLI_TEXT, NULL,
     "redis://HOST:PORT[/DATABASE], nats://HOST:PORT or kafka://HOST:PORT (default: $FINCH_BROKER, which may hold "
     "user:password@ too)",
     false, 0, 0},
    {"broker-config", "FILE", CLI_PATH, NULL,
     "Kafka: settings of librdkafka, a line each, name=value: such as security.protocol=SASL_SSL", false, 0, 0},
    {"input", "NAME", CLI_TEXT, NULL, "the stream to read: a key of Redis, a subject of NATS, a topic of Kafka", true, 0, 0},
    {"output", "NAME", CLI_TEXT, NULL, "the stream that scored messages go to", true, 0, 0},
    {"dead-letters", "NAME", CLI_TEXT, NULL,
     "the stream that messages go to which can not be scored, each with its reason (default: the input's name with .dead "
     "behind "
     "it)",
     false, 0, 0},
    {"group", "NAME", CLI_TEXT, "finch", "the consumer group: its members share the messages", false, 0, 0},
    {"consumer", "NAME", CLI_TEXT, NULL, "this member's name (default: the host's name and the process)", false, 0, 0},
    {"from", "oldest|new", CLI_CHOICE, "oldest", "where a group that does not exist yet begins", false, 0, 0},
    {"create", NULL, CLI_FLAG, NULL,
     "make what is missing: NATS' streams, kept on disk; Kafka's topics, where the broker makes them when asked (Redis "
     "makes "
     "its own)",
     false, 0, 0},
    {"text-column", "KEY", CLI_TEXT, "body",
     "the key of the text in a message's JSON object; where it is not written and not there, text", false, 0, 0},
    {"logits", NULL, CLI_FLAG, NULL, "add the keys logit_*, the model's values before the softmax", false, 0, 0},
    {"prefix", "TEXT", CLI_TEXT, "", "put before the names of all added keys", false, 0, 0},
    {"compute", "auto|f32|bf16x3|bf16|int8", CLI_CHOICE, "auto",
     "the arithmetic of the model's products; auto: as its weights are stored", false, 0, 0},
    {"max-tokens", "N", CLI_SIZE, "128", "tokens of a text that are read; what is cut is marked truncated", false, 2, 65536},
    {"batch", "N", CLI_SIZE, "256", "messages scored together, at most", false, 1, 65536},
    {"in-flight", "N", CLI_SIZE, "1024", "messages read and not acknowledged, at most; at least two batches", false, 2,
     1000000},
    {"max-wait-ms", "N", CLI_SIZE, "10", "the longest that a message waits for others to fill its batch", false, 0, 60000},
    {"ack-wait-s", "SECONDS", CLI_REAL, "30",
     "a message that was read and not acknowledged for so long is taken over by another member", false, 0.1, 86400},
    {"max-deliveries", "N", CLI_SIZE, "5", "a message that came more often than this goes to the dead letters", false, 1,
     1000000},
    {"max-message-bytes", "N", CLI_SIZE, "1000000", "a larger message goes to the dead letters", false, 16,
     MESSAGE_BYTES_MAX},
    {"until-empty", NULL, CLI_FLAG, NULL, "end when the group has nothing left to read or to acknowledge", false, 0, 0},
    {"metrics-host", "ADDRESS", CLI_TEXT, "127.0.0.1", "the address that --metrics-port listens on", false, 0, 0},
    {"metrics-port", "N", CLI_SIZE, NULL, "listen for GET /metrics (Prometheus) and GET /health; 0: any free port", false, 0,
     65535},
    {0},
};

typedef struct job {
    const cli_args *args;
    stream_options options;
    stream_figures figures;
    data_scoring scoring;
    model *engine;
    stream_url url;
    stream_page *page;
    str folder, dead, consumer;
    char version[MODEL_VERSION_BYTES];
    cli_bar bar;
    progress watch;
    double seconds;
} job;

/* ---- what was asked for ---- */

/* Names go into ids, subjects and commands of all brokers. */
static finch_status check_name(const char *option, const char *name, finch_error *err)
{
    size_t n = strlen(name);
    for (size_t i = 0; i < n; i++)
        if (name[i] <= ' ' || name[i] > '~') n = 0;
    if (n > 0 && n < STREAM_NAME_BYTES) return FINCH_OK;
    return finch_fail(err, FINCH_E_USAGE, "--%s must be 1 to %d visible ASCII characters", option, STREAM_NAME_BYTES - 1);
}

static finch_status read_url(job *j, finch_error *err)
{
    stream_place *p = &j->options.place;
    const char *given = cli_text(j->args, "broker"), *preset = getenv("FINCH_BROKER");
    p->url = given != NULL ? given : preset;
    if (p->url == NULL)
        return finch_fail(err, FINCH_E_USAGE, "which broker? Give --broker redis://127.0.0.1:6379, or set FINCH_BROKER");
    FINCH_TRY(stream_broker_find(p->url, &j->options.broker, err));
    FINCH_TRY(stream_url_read(p->url, 0, &j->url, err));
    if (given != NULL && j->url.password != NULL)
        return finch_fail(
            err, FINCH_E_USAGE,
            "a password on the command line is seen by every user of this machine; set FINCH_BROKER to the URL");
    p->place = j->url.place.at;
    p->config = cli_text(j->args, "broker-config");
    if (p->config != NULL && !j->options.broker->takes_config)
        return finch_fail(err, FINCH_E_USAGE, "--broker-config is for Kafka; %s takes none", j->options.broker->what);
    return FINCH_OK;
}

static finch_status read_names(job *j, finch_error *err)
{
    stream_place *p = &j->options.place;
    const char *dead = cli_text(j->args, "dead-letters"), *consumer = cli_text(j->args, "consumer");
    char host[128] = "";
    p->input = cli_text(j->args, "input");
    p->output = cli_text(j->args, "output");
    p->group = cli_text(j->args, "group");
    gethostname(host, sizeof host - 1);
    if (dead != NULL) FINCH_TRY(str_add_text(&j->dead, dead, err));
    else FINCH_TRY(str_add_format(&j->dead, err, "%s.dead", p->input));
    if (consumer != NULL) FINCH_TRY(str_add_text(&j->consumer, consumer, err));
    else FINCH_TRY(str_add_format(&j->consumer, err, "%s-%ld", host, (long)getpid()));
    p->dead = j->dead.at;
    p->consumer = j->consumer.at;
    FINCH_TRY(check_name("input", p->input, err));
    FINCH_TRY(check_name("output", p->output, err));
    FINCH_TRY(check_name("dead-letters", p->dead, err));
    FINCH_TRY(check_name("group", p->group, err));
    FINCH_TRY(check_name("consumer", p->consumer, err));
    if (strcmp(p->input, p->output) == 0 || strcmp(p->input, p->dead) == 0)
        return finch_fail(
            err, FINCH_E_USAGE,
            "--output and --dead-letters must be other streams than --input: what is written would be read again");
    return FINCH_OK;
}

static finch_status read_options(job *j, finch_error *err)
{
    const cli_args *args = j->args;
    stream_options *o = &j->options;
    FINCH_TRY(read_url(j, err));
    FINCH_TRY(read_names(j, err));
    o->place.from_new = cli_choice(args, "from") == 1;
    o->place.create = cli_flag(args, "create");
    o->place.ack_wait_seconds = cli_real(args, "ack-wait-s");
    o->text.name = cli_text(args, "text-column");
    if (!cli_given(args, "text-column")) o->text.otherwise = "text";
    o->prefix = cli_text(args, "prefix");
    o->logits = cli_flag(args, "logits");
    o->batch = cli_size(args, "batch");
    o->in_flight = cli_size(args, "in-flight");
    o->place.in_flight_max = o->in_flight;
    o->max_wait_seconds = (double)cli_size(args, "max-wait-ms") / 1000;
    o->max_deliveries = cli_size(args, "max-deliveries");
    o->max_message_bytes = cli_size(args, "max-message-bytes");
    o->until_empty = cli_flag(args, "until-empty");
    o->drain_seconds = DRAIN_SECONDS;
    if (o->in_flight >= 2 * o->batch) return FINCH_OK;
    return finch_fail(err, FINCH_E_USAGE, "--in-flight %zu has no room for two batches of %zu; raise it or lower --batch",
                      o->in_flight, o->batch);
}

static finch_status open_engine(job *j, finch_error *err)
{
    model_compute compute = MODEL_AUTO;
    const char *word = cli_text(j->args, "compute");
    if (!model_compute_find(word, &compute)) return finch_fail(err, FINCH_E_USAGE, "--compute %s is not known", word);
    FINCH_TRY(cli_model_folder(cli_text(j->args, "model"), &j->folder, err));
    FINCH_TRY(models_version(j->folder.at, j->version, err));
    FINCH_TRY(model_open(j->folder.at, compute, &j->engine, err));
    j->options.model_version = j->version;
    return data_scoring_open(j->engine, cli_threads(j->args), cli_size(j->args, "max-tokens"), j->options.batch, &j->scoring,
                             err);
}

/* ---- running ---- */

static void tell(void *context, const char *text)
{
    const job *j = context;
    cli_warn(j->args, "%s", text);
}

static finch_status open_page(job *j, finch_error *err)
{
    if (!cli_given(j->args, "metrics-port")) return FINCH_OK;
    const char *host = cli_text(j->args, "metrics-host");
    FINCH_TRY(stream_page_open(&j->figures, host, (unsigned)cli_size(j->args, "metrics-port"), &j->page, err));
    cli_say(j->args, "metrics on http://%s:%u/metrics\n", host, stream_page_port(j->page));
    return FINCH_OK;
}

static finch_status score(job *j, finch_error *err)
{
    double begin = clock_seconds();
    const stream_place *p = &j->options.place;
    cli_say(j->args, "%s of %s: %s to %s as %s in the group %s; ids end with @%s\n", j->options.broker->what, p->place,
            p->input, p->output, p->consumer, p->group, j->version);
    cli_bar_begin(&j->bar, j->args, "scoring", "tweets");
    j->watch = cli_bar_progress(&j->bar);
    j->options.watch = &j->watch;
    j->options.tell = tell;
    j->options.context = j;
    finch_status st = stream_run(&j->scoring, &j->options, &j->figures, err);
    cli_bar_end(&j->bar);
    j->seconds = clock_seconds() - begin;
    return st;
}

static long long count_of(const atomic_uint_fast64_t *counter) { return (long long)atomic_load(counter); }

static finch_status print_json(const job *j, finch_error *err)
{
    const stream_figures *f = &j->figures;
    double seconds = j->seconds > 0 ? j->seconds : 1e-9;
    return cli_print_json(
        json_pack("{s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:f, s:f, s:f, s:f, s:s, s:s, s:s, s:s}", "read",
                  (json_int_t)count_of(&f->read), "redelivered", (json_int_t)count_of(&f->redelivered), "scored",
                  (json_int_t)count_of(&f->scored), "without_text", (json_int_t)count_of(&f->without_text), "truncated",
                  (json_int_t)count_of(&f->truncated), "dead_letters", (json_int_t)count_of(&f->dead), "batches",
                  (json_int_t)count_of(&f->batches), "lost_connections", (json_int_t)count_of(&f->lost_connections),
                  "seconds", j->seconds, "texts_per_second", (double)count_of(&f->scored) / seconds, "latency_p50_ms",
                  stream_figures_quantile(f, 0.5), "latency_p99_ms", stream_figures_quantile(f, 0.99), "model", j->folder.at,
                  "model_version", j->version, "input", j->options.place.input, "output", j->options.place.output),
        err);
}

static finch_status report(const job *j, finch_error *err)
{
    const stream_figures *f = &j->figures;
    cli_say(j->args, "%lld messages read: %lld scored, %lld without a text, %lld to %s; %.0f tweets/s\n", count_of(&f->read),
            count_of(&f->scored), count_of(&f->without_text), count_of(&f->dead), j->options.place.dead,
            j->seconds > 0 ? (double)count_of(&f->scored) / j->seconds : 0.0);
    return cli_wants_json(j->args) ? print_json(j, err) : FINCH_OK;
}

static finch_status run(const cli_args *args, finch_error *err)
{
    job j = {.args = args};
    finch_status st = read_options(&j, err);
    if (st == FINCH_OK) st = open_engine(&j, err);
    if (st == FINCH_OK) st = open_page(&j, err);
    if (st == FINCH_OK) st = score(&j, err);
    if (st == FINCH_OK) st = report(&j, err);
    stream_page_close(j.page);
    data_scoring_close(&j.scoring);
    model_close(j.engine);
    stream_url_free(&j.url);
    str_free(&j.folder);
    str_free(&j.dead);
    str_free(&j.consumer);
    return st;
}

const cli_command cli_command_stream = {
    .name = "stream",
    .group = CLI_GROUP_USE,
    .summary = "score the messages of a broker: Redis Streams, NATS JetStream, Kafka",
    .about = "Reads JSON objects from a stream as a member of a consumer group, adds what finch score adds, and publishes "
             "them to "
             "another stream. A message is acknowledged once its output is confirmed, so none is lost whatever dies; one "
             "that comes "
             "twice gets the same id twice: the message's id, @, and the model's version. What can not be scored goes to "
             "the dead "
             "letters with its reason.\n"
             "SIGTERM and Ctrl-C end it gracefully: what is in flight is finished. A broker that is lost is called again "
             "until it "
             "answers. docs/stream.md has more.",
    .example = "finch stream --broker redis://127.0.0.1:6379 --input tweets --output scored\n"
               "finch stream --broker nats://127.0.0.1:4222 --input tweets.raw --output tweets.scored --create\n"
               "finch stream --broker kafka://127.0.0.1:9092 --input tweets --output scored --broker-config kafka.conf\n"
               "finch stream --input tweets --output scored --metrics-port 9100 --until-empty --json",
    .options = options,
    .run = run,
};
