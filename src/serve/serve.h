/* finch serve: models behind an HTTP API. What a request meets, in order: http (bytes, limits of time and size), route (the
 * one table that also writes the OpenAPI document), access (keys, scopes, rates), schema (fields), its handler; predictions
 * go on to batcher (packed batches over the compute threads) and cache.
 *
 *   serve_create -> serve_start (listens; /ready says no) -> serve_load ... -> serve_wait -> serve_drain -> serve_destroy
 *
 * Threads: these calls come from one thread. How it works: docs/serve.md. */
#ifndef FINCH_SERVE_SERVE_H
#define FINCH_SERVE_SERVE_H

#include "base/json.h"
#include "base/progress.h"
#include "model/model.h"
#include "store/store.h"

#include <stdint.h>

/* Every limit a client can meet: field, flag, preset, what it bounds. The error of each names all three.
 *        field                flag                    preset    least  most        help */
/* clang-format off */
#define SERVE_LIMIT_LIST(X)                                                                                                        \
    X(max_body_bytes,      "max-body-bytes",       4194304,  1024, 1073741824, "bytes a request's body may have")                  \
    X(max_upload_bytes,    "max-upload-bytes",     1073741824, 1024, 1099511627776, "bytes a batch's upload may have")               \
    X(max_batch,           "max-batch",            256,      1,    65536,      "texts one request may have")                       \
    X(max_text_chars,      "max-text-chars",       20000,    1,    10000000,   "characters one text may have")                     \
    X(max_header_bytes,    "max-header-bytes",     16384,    4096, 1048576,    "bytes a request's line and headers may have")      \
    X(max_connections,     "max-connections",      16384,    4,    1000000,    "connections open at once")                         \
    X(max_queue,           "max-queue",            4096,     1,    1000000,    "texts that may wait for a compute thread")         \
    X(header_seconds,      "header-seconds",       10,       1,    3600,       "seconds a client may take to send its headers")    \
    X(body_seconds,        "body-seconds",         30,       1,    3600,       "seconds a body may take, and one more for each 16 KiB of it") \
    X(idle_seconds,        "idle-seconds",         75,       1,    86400,      "seconds a connection may stay open between requests") \
    X(request_ms,          "request-ms",           10000,    10,   3600000,    "milliseconds a text may wait before it is dropped; a request's X-Timeout-Ms may ask for less") \
    X(max_chats,           "max-chats",            64,       1,    65536,      "chat completions that may wait for their turn")    \
    X(max_answer_tokens,   "max-answer-tokens",    1024,     1,    1048576,    "tokens that a chat completion's answer may have")  \
    X(chat_ms,             "chat-ms",              120000,   10,   3600000,    "milliseconds a chat completion may wait for its turn; a request's X-Timeout-Ms may ask for less") \
    X(drain_seconds,       "drain-seconds",        20,       0,    3600,       "seconds that requests in work get at SIGTERM")
/* clang-format on */

typedef struct serve_limits {
#define SERVE_LIMIT_FIELD(field, flag, preset, least, most, help) size_t field;
    SERVE_LIMIT_LIST(SERVE_LIMIT_FIELD)
#undef SERVE_LIMIT_FIELD
} serve_limits;

/* A table to score in the background. */
typedef struct serve_table_task {
    const model *engine;
    const char *model;       /* name@version, for the summary */
    const char *input, *output;
    const char *text_column; /* NULL: the usual names */
    size_t max_tokens, n_threads;
    const progress *watch;
} serve_table_task;

/* What rooms below this one can do, handed in by the program. Each is called from several threads. */
typedef struct serve_work {
    void *context;
    /* *summary: {"rows","scored",...} or NULL; the output appears whole or not at all. FINCH_E_CANCELLED where watch says so. */
    finch_status (*score)(void *context, const serve_table_task *task, json_t **summary, finch_error *err);
    /* A table that score wrote, into the history: the rows of a job count once, however often it is tried. summary: score's,
     * which names model and columns. else_time_ms: of rows without a time. *n: how many are new. */
    finch_status (*keep)(void *context, store *s, const char *job, const char *table, const json_t *summary,
                         int64_t else_time_ms, const progress *watch, uint64_t *n, finch_error *err);
    /* A table from one format to another, by the files' endings. */
    finch_status (*convert)(void *context, const char *from, const char *to, finch_error *err);
    /* The review desk: {"job","reviewer","waiting","done","items":[..]}. job, reviewer NULL: the newest, "api". */
    finch_status (*reviews)(void *context, store *s, const char *job, const char *reviewer, const char *order, size_t limit,
                            json_t **out, finch_error *err);
    /* The reviewer's label of the text of that hash; label NULL takes it back. */
    finch_status (*review)(void *context, store *s, const char *job, const char *reviewer, const char *hash,
                           const char *label, json_t **out, finch_error *err);
    /* An array of the labelling jobs, with their progress, requests and cost. */
    finch_status (*label_jobs)(void *context, store *s, json_t **out, finch_error *err);
} serve_work;

/* All texts are borrowed and live as long as the server. */
typedef struct serve_options {
    const char *host; /* a numeric address or "localhost" */
    uint16_t port; /* 0: any free one (serve_port tells) */
    size_t http_threads; /* at least 1 */
    size_t compute_threads; /* at least 1 */
    serve_limits limits;
    model_compute compute; /* of models that come from the registry */
    size_t max_tokens; /* of a text; longer ones are cut and marked */
    size_t batch_tokens; /* a packed batch holds about as many */
    size_t chats_together; /* chat completions that are answered in one batch */
    size_t cache_entries; /* 0: no cache of results */
    const char *const *origins; /* CORS allow-list: "https://host[:port]", or "*" alone */
    size_t n_origins;
    const char *const *hosts; /* names the server answers to beside its address (host.h); "*" alone: any */
    size_t n_hosts;
    const char *tls_certificate; /* PEM texts, both or none */
    const char *tls_key;
    bool has_store;
    const char *state; /* as store_open; NULL: the preset place */
    bool keys_required; /* also while the store has no key */
    size_t rate_limit; /* requests a minute of a key that has no number of its own; 0: none */
    bool keep_predictions; /* without keys: into the history */
    size_t history_days; /* predictions older than that go, their sums stay; 0: none go */
    double alerts_seconds; /* how often alerts are looked at; 0: not by this server */
    double shadow_share; /* of the texts: 0 to 1, scored by the version in the stage shadow too */
    const char *batch_folder; /* uploads and results */
    size_t batch_threads;
    const char *web; /* the dashboard's files; NULL: none */
    serve_work work;
    int log_descriptor; /* where the access log goes; -1: nowhere */
} serve_options;

typedef struct serve serve;

finch_status serve_create(const serve_options *options, serve **out, finch_error *err);
/* Binds and listens. Errors: FINCH_E_IO naming the address, FINCH_E_USAGE (TLS pair). */
finch_status serve_start(serve *s, finch_error *err);
uint16_t serve_port(const serve *s);

/* Opens a model folder and serves it under name; where the name is taken already the new one takes its place without a failed
 * request: what was begun ends on the old one. version may be NULL: then it is drawn from the weights. */
finch_status serve_load(serve *s, const char *name, const char *version, const char *folder, model_compute compute,
                        finch_error *err);
/* The same of a registered model: NAME, whose production version is followed as it changes, or NAME@NUMBER, NAME@STAGE. *found false:
 * there is none (or no store). */
finch_status serve_load_registered(serve *s, const char *reference, bool *found, finch_error *err);
/* The model of requests that name none; the first loaded one unless set. FINCH_E_NOT_FOUND. */
finch_status serve_set_default(serve *s, const char *name, finch_error *err);
/* Whether requests need an API key now. */
bool serve_keys_required(const serve *s);
/* /ready says yes from here on. */
void serve_set_ready(serve *s);

/* Refuses new connections, answers what is in work for at most limits.drain_seconds, ends streams. */
void serve_drain(serve *s);
/* NULL is legal. */
void serve_destroy(serve *s);

#endif
