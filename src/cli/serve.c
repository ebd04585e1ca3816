/* finch serve: the models behind an HTTP API. */
#include "cli/cli.h"
#include "cli/serve_settings.h"
#include "cli/serve_tasks.h"

#include "base/clock.h"
#include "base/file.h"
#include "base/process.h"
#include "serve/host.h"
#include "serve/serve.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define LIMIT_OPTION(field, flag, preset, least, most, help) {flag, "N", CLI_SIZE, #preset, help, false, least, most},

static const cli_option options[] = {
    {"model", "MODEL", CLI_LIST, NULL,
     "models to serve: folders, names, or NAME=FOLDER; the first answers where a request names none (default: finch-mini-5)",
     false, 0, 0},
    {"compute", "auto|f32|bf16x3|bf16|int8", CLI_CHOICE, "auto",
     "the arithmetic of the models' products; auto: as their weights are stored", false, 0, 0},
    {"host", "ADDRESS", CLI_TEXT, "127.0.0.1", "the address to listen on", false, 0, 0},
    {"port", "N", CLI_SIZE, "8000", "the port to listen on; 0: any free one", false, 0, 65535},
    {"open-to-network", NULL, CLI_FLAG, NULL,
     "listen on an address that other machines reach although no API key is asked for", false, 0, 0},
    {"state", "PLACE", CLI_TEXT, NULL,
     "the store: a SQLite file or postgres://...; none: run without (default: FINCH_STATE, else finch/finch.sqlite in the "
     "data folder)",
     false, 0, 0},
    {"require-keys", NULL, CLI_FLAG, NULL,
     "ask for an API key also while the store has none (keys that are there are always asked for)", false, 0, 0},
    {"rate-limit", "N", CLI_SIZE, "0", "requests a minute of a key that has no limit of its own; 0: none", false, 0,
     1000000},
    {"keep-predictions", NULL, CLI_FLAG, NULL,
     "without keys: keep what is predicted, with its text, in the history (a key says it for itself)", false, 0, 0},
    {"history-keep", "DAYS", CLI_SIZE, "0",
     "predictions older than that leave the history, their sums by hour stay (on PostgreSQL month by month, up to a month "
     "later); 0: none leave",
     false, 0, 36500},
    {"alerts-seconds", "SECONDS", CLI_REAL, "30",
     "how often the rules of finch alerts are looked at, and what is due is sent to its webhook; 0: not by this server",
     false, 0, 86400},
    {"shadow-share", "SHARE", CLI_REAL, "1",
     "the share of texts, 0 to 1, that the version in the stage shadow scores too, in the background", false, 0, 1},
    {"batch-folder", "FOLDER", CLI_PATH, NULL, "where uploads and results of batch jobs lie (default: beside the store)",
     false, 0, 0},
    {"batch-threads", "N", CLI_SIZE, "1", "threads that score batch jobs beside the requests", false, 1, 1024},
    {"web", "FOLDER", CLI_PATH, NULL,
     "the dashboard's files; none: without (default: those beside the program, where there are any)", false, 0, 0},
    {"tls-certificate", "FILE", CLI_PATH, NULL, "PEM file of the certificate and its chain: HTTPS; with --tls-key", false, 0,
     0},
    {"tls-key", "FILE", CLI_PATH, NULL, "PEM file of the certificate's private key", false, 0, 0},
    {"cors-origin", "ORIGIN...", CLI_LIST, NULL,
     "origins whose pages may call the API from a browser, such as https://a.example", false, 0, 0},
    {"allowed-host", "NAME...", CLI_LIST, NULL,
     "names in the Host header that are answered beside the address (a reverse proxy's); *: any. On loopback others are "
     "refused, "
     "so that no page of a stranger reaches the server by a name that it points here",
     false, 0, 0},
    {"http-threads", "N", CLI_SIZE, "2", "threads that read requests and write answers", false, 1, 256},
    {"max-tokens", "N", CLI_SIZE, "128", "tokens of a text that are read; what is cut is marked truncated", false, 2, 65536},
    {"batch-tokens", "N", CLI_SIZE, "512", "tokens that a packed batch has at most, unless one text alone has more", false,
     16, 65536},
    {"chats-together", "N", CLI_SIZE, "8", "chat completions that a Gemma answers in one batch; more wait", false, 1, 64},
    {"cache", "N", CLI_SIZE, "65536", "results that are remembered; 0: none", false, 0, 16777216},
    SERVE_LIMIT_LIST(LIMIT_OPTION){"access-log", "FILE", CLI_PATH, "-",
                                   "where a line of JSON goes for each answer; -: stderr; none: nowhere", false, 0, 0},
    {"config", "FILE", CLI_PATH, NULL, "settings as a JSON object, by the names of these options", false, 0, 0},
    {"print-config", NULL, CLI_FLAG, NULL, "print every setting with its source as JSON, and end", false, 0, 0},
    {0},
};

#undef LIMIT_OPTION

extern const cli_command cli_command_serve;

typedef struct job {
    const cli_args *args;
    serve_settings settings;
    serve_options options;
    char *certificate, *key; /* PEM */
    str batch_folder, web;
    int log;
    serve *server;
} job;

static const cli_args *of(const job *j, const char *name) { return serve_setting(&j->settings, name); }
static size_t size_of(const job *j, const char *name) { return cli_size(of(j, name), name); }
static const char *text_of(const job *j, const char *name) { return cli_text(of(j, name), name); }

/* ---- settings -------------------------------------------------------------------------------------------------------- */

/* Once the store is open: whether it has keys decides. */
static finch_status check_host(const job *j, finch_error *err)
{
    if (host_is_loopback(j->options.host) || serve_keys_required(j->server) ||
        cli_flag(of(j, "open-to-network"), "open-to-network"))
        return FINCH_OK;
    return finch_fail(
        err, FINCH_E_USAGE,
        "--host %s can be reached from other machines, and no API key is asked for: make one with finch keys create, or "
        "say --open-to-network",
        j->options.host);
}

static finch_status check_origins(const job *j, finch_error *err)
{
    for (size_t i = 0; i < j->options.n_origins; i++) {
        const char *o = j->options.origins[i], *host = strstr(o, "://");
        bool star = strcmp(o, "*") == 0;
        if (!star && (host == NULL || strchr(host + 3, '/') != NULL || host[3] == '\0'))
            return finch_fail(err, FINCH_E_USAGE,
                              "--cors-origin %s is no origin: write it as https://host or https://host:port", o);
    }
    return FINCH_OK;
}

static finch_status read_tls(job *j, finch_error *err)
{
    enum { PEM_BYTES = 1 << 20 };
    const char *certificate = text_of(j, "tls-certificate"), *key = text_of(j, "tls-key");
    size_t size;
    if ((certificate == NULL) != (key == NULL))
        return finch_fail(err, FINCH_E_USAGE, "--tls-certificate and --tls-key go together");
    if (certificate == NULL) return FINCH_OK;
    FINCH_TRY(file_read(certificate, PEM_BYTES, &j->certificate, &size, err));
    FINCH_TRY(file_read(key, PEM_BYTES, &j->key, &size, err));
    j->options.tls_certificate = j->certificate;
    j->options.tls_key = j->key;
    return FINCH_OK;
}

/* Beside a SQLite store, its path with ".batches" behind it; finch/batches in the data folder for PostgreSQL. */
static finch_status find_batch_folder(job *j, finch_error *err)
{
    const char *given = text_of(j, "batch-folder"),
               *state = j->options.state != NULL ? j->options.state : getenv("FINCH_STATE");
    const char *data = getenv("XDG_DATA_HOME"), *home = getenv("HOME");
    if (given != NULL) return str_add_text(&j->batch_folder, given, err);
    if (state != NULL && state[0] != '\0' && strstr(state, "://") == NULL)
        return str_add_format(&j->batch_folder, err, "%s.batches", state);
    if (data != NULL && data[0] == '/') return str_add_format(&j->batch_folder, err, "%s/finch/batches", data);
    if (home != NULL && home[0] != '\0') return str_add_format(&j->batch_folder, err, "%s/.local/share/finch/batches", home);
    return finch_fail(err, FINCH_E_USAGE, "there is no place for uploads: give --batch-folder, or --state none");
}

static finch_status read_state(job *j, finch_error *err)
{
    serve_options *o = &j->options;
    o->state = text_of(j, "state");
    o->has_store = o->state == NULL || strcmp(o->state, "none") != 0;
    if (!o->has_store) {
        o->state = NULL;
        return FINCH_OK;
    }
    FINCH_TRY(find_batch_folder(j, err));
    o->batch_folder = j->batch_folder.at;
    return FINCH_OK;
}

/* --web (none: without), else the dashboard that was built beside the program or installed with it. */
static finch_status find_web(job *j, finch_error *err)
{
    static const char *const places[] = {"../web/out", "../../web/out", "../share/finch/web"};
    char program[PATH_MAX];
    const char *given = text_of(j, "web");
    if (given != NULL) return strcmp(given, "none") == 0 ? FINCH_OK : str_add_text(&j->web, given, err);
    if (process_folder(program) == 0) return FINCH_OK;
    for (size_t i = 0; i < sizeof places / sizeof places[0]; i++) {
        str_clear(&j->web);
        FINCH_TRY(str_add_format(&j->web, err, "%s%s/index.html", program, places[i]));
        if (!file_exists(j->web.at)) continue;
        j->web.at[j->web.size - strlen("/index.html")] = '\0';
        return FINCH_OK;
    }
    str_free(&j->web);
    return FINCH_OK;
}

static finch_status open_log(job *j, finch_error *err)
{
    const char *path = text_of(j, "access-log");
    j->log = -1;
    if (strcmp(path, "none") == 0) return FINCH_OK;
    if (strcmp(path, "-") == 0) {
        j->options.log_descriptor = cli_flag(j->args, "quiet") ? -1 : STDERR_FILENO;
        return FINCH_OK;
    }
    j->log = open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0640);
    if (j->log < 0) return finch_fail(err, FINCH_E_IO, "--access-log %s can not be opened for writing", path);
    j->options.log_descriptor = j->log;
    return FINCH_OK;
}

static finch_status read_options(job *j, finch_error *err)
{
    serve_options *o = &j->options;
    o->host = text_of(j, "host");
    o->port = (uint16_t)size_of(j, "port");
    o->http_threads = size_of(j, "http-threads");
    o->compute_threads = cli_threads(j->args);
    o->max_tokens = size_of(j, "max-tokens");
    o->batch_tokens = size_of(j, "batch-tokens");
    o->chats_together = size_of(j, "chats-together");
    o->cache_entries = size_of(j, "cache");
    o->origins = cli_list(of(j, "cors-origin"), "cors-origin", &o->n_origins);
    o->hosts = cli_list(of(j, "allowed-host"), "allowed-host", &o->n_hosts);
    o->log_descriptor = -1;
#define READ_LIMIT(field, flag, preset, least, most, help) o->limits.field = size_of(j, flag);
    SERVE_LIMIT_LIST(READ_LIMIT)
#undef READ_LIMIT
    (void)model_compute_find(text_of(j, "compute"), &o->compute);
    o->keys_required = cli_flag(of(j, "require-keys"), "require-keys");
    o->rate_limit = size_of(j, "rate-limit");
    o->keep_predictions = cli_flag(of(j, "keep-predictions"), "keep-predictions");
    o->history_days = size_of(j, "history-keep");
    o->alerts_seconds = cli_real(of(j, "alerts-seconds"), "alerts-seconds");
    o->shadow_share = cli_real(of(j, "shadow-share"), "shadow-share");
    o->batch_threads = size_of(j, "batch-threads");
    o->work = serve_tasks();
    FINCH_TRY(read_state(j, err));
    FINCH_TRY(find_web(j, err));
    o->web = j->web.at;
    FINCH_TRY(check_origins(j, err));
    FINCH_TRY(read_tls(j, err));
    return open_log(j, err);
}

/* ---- models ---------------------------------------------------------------------------------------------------------- */

/* Of a path, slashes at its end left out. */
static finch_status add_last_part(str *out, const char *path, finch_error *err)
{
    size_t end = strlen(path);
    while (end > 1 && path[end - 1] == '/') end--;
    size_t begin = end;
    while (begin > 0 && path[begin - 1] != '/') begin--;
    return str_add(out, path + begin, end - begin, err);
}

/* NAME=FOLDER, a name of the registry, or a model as every command takes it: its name is then the last part of its path. */
static finch_status load_model(job *j, const char *given, finch_error *err)
{
    str folder = {0}, name = {0};
    bool found = false;
    finch_status st = FINCH_OK;
    const char *equals = given != NULL ? strchr(given, '=') : NULL;
    bool is_name = given != NULL && equals == NULL && strchr(given, '/') == NULL && !file_exists(given);
    if (is_name) st = serve_load_registered(j->server, given, &found, err);
    if (st != FINCH_OK || found) return st;
    st = cli_model_folder(equals != NULL ? equals + 1 : given, &folder, err);
    if (st == FINCH_OK && equals != NULL) st = str_add(&name, given, (size_t)(equals - given), err);
    else if (st == FINCH_OK && given != NULL && !file_exists(given)) st = str_add(&name, given, strcspn(given, "@"), err);
    else if (st == FINCH_OK) st = add_last_part(&name, folder.at, err);
    if (st == FINCH_OK) st = serve_load(j->server, name.at, NULL, folder.at, j->options.compute, err);
    str_free(&folder);
    str_free(&name);
    return st;
}

static finch_status load_models(job *j, finch_error *err)
{
    size_t n;
    const char *const *models = cli_list(of(j, "model"), "model", &n);
    if (n == 0) FINCH_TRY(load_model(j, NULL, err));
    for (size_t i = 0; i < n; i++) FINCH_TRY(load_model(j, models[i], err));
    serve_set_ready(j->server);
    return FINCH_OK;
}

/* ---- running --------------------------------------------------------------------------------------------------------- */

static finch_status announce(const job *j, finch_error *err)
{
    bool v6 = strchr(j->options.host, ':') != NULL;
    const char *scheme = j->options.tls_key != NULL ? "https" : "http";
    cli_say(j->args, "finch %s serves on %s://%s%s%s:%u (documentation at /docs); Ctrl-C ends it\n", finch_version(), scheme,
            v6 ? "[" : "", j->options.host, v6 ? "]" : "", serve_port(j->server));
    if (!cli_wants_json(j->args)) return FINCH_OK;
    return cli_print_json(json_pack("{s:o, s:i, s:i}", "url",
                                    json_sprintf("%s://%s%s%s:%u", scheme, v6 ? "[" : "", j->options.host, v6 ? "]" : "",
                                                 serve_port(j->server)),
                                    "port", (int)serve_port(j->server), "pid", (int)getpid()),
                          err);
}

static void wait_for_end(void)
{
    while (!cli_cancelled()) clock_sleep_or_signal(0.1);
}

static finch_status run_server(job *j, finch_error *err)
{
    FINCH_TRY(serve_create(&j->options, &j->server, err));
    FINCH_TRY(check_host(j, err));
    FINCH_TRY(serve_start(j->server, err));
    FINCH_TRY(announce(j, err));
    FINCH_TRY(load_models(j, err));
    wait_for_end();
    serve_drain(j->server);
    return FINCH_OK;
}

static finch_status run(const cli_args *args, finch_error *err)
{
    job j = {.args = args, .log = -1};
    finch_status st = serve_settings_open(&cli_command_serve, args, &j.settings, err);
    if (st == FINCH_OK && cli_flag(args, "print-config")) {
        st = cli_print_json(serve_settings_json(&j.settings), err);
    } else {
        if (st == FINCH_OK) st = read_options(&j, err);
        if (st == FINCH_OK) st = run_server(&j, err);
    }
    serve_destroy(j.server);
    if (j.log >= 0) close(j.log);
    str_free(&j.batch_folder);
    str_free(&j.web);
    mem_free(j.certificate);
    mem_free(j.key);
    serve_settings_close(&j.settings);
    return st;
}

const cli_command cli_command_serve = {
    .name = "serve",
    .group = CLI_GROUP_USE,
    .summary = "models behind an HTTP API",
    .about =
        "Answers POST /api/v1/predict with the sentiment of texts, and POST /predict in text-embeddings-inference's format. "
        "Texts of "
        "concurrent requests are packed into batches; the scores are those of finch score, to the bit. /docs is the "
        "interactive "
        "documentation, /openapi.json its document, /health, /ready and /metrics are for operators.\n"
        "A setting is taken from the command line, else from FINCH_SERVE_NAME, else from --config, else from its preset; "
        "--print-config shows all. SIGTERM lets requests in work finish.",
    .example =
        "finch serve\n"
        "finch serve --port 9000 --model finch-mini-5 large=runs/large --max-batch 512\n"
        "curl -d '{\"text\":\"$AAPL to the moon\"}' -H 'Content-Type: application/json' localhost:8000/api/v1/predict",
    .many_barriers = true,
    .options = options,
    .run = run,
};
