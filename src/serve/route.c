#include "serve/handlers.h"

#include <stdio.h>
#include <string.h>

#define API "/api/v1"

static const route_parameter sentiment_parameters[] = {
    {"ticker", "Ticker", false, "a ticker such as AAPL; absent: all texts"},
    {"from", "Time", false, "the beginning, counted in (30 days before to)"},
    {"to", "Time", false, "the end, not counted in (now)"},
    {"bucket", "Bucket", false, "1m 5m 15m 1h 4h 1d 1w 1mo (1d)"},
    {"model", "Word", false, "predictions of one model only: name@version"},
    {"weight", "Weight", false, "reach: a text counts by how many saw it"},
    {"spam", "Boolean", false, "true: spam is counted in"},
    {"near_duplicates", "Boolean", false, "true: near-duplicates are counted in"},
    {0}};

static const route_parameter leader_parameters[] = {
    {"from", "Time", false, "the beginning, counted in (30 days before to)"},
    {"to", "Time", false, "the end, not counted in (now)"},
    {"order", "LeaderOrder", false, "bullish: the highest first; bearish: the lowest"},
    {"least", "Count", false, "texts that a ticker must have (10)"},
    {"limit", "Limit", false, "tickers at most (10)"},
    {"model", "Word", false, "predictions of one model only"},
    {"weight", "Weight", false, "reach: a text counts by how many saw it"},
    {"spam", "Boolean", false, "true: spam is counted in"},
    {"near_duplicates", "Boolean", false, "true: near-duplicates are counted in"},
    {0}};

static const route_parameter ticker_parameters[] = {
    {"prefix", "Word", false, "what the ticker begins with"}, {"limit", "Limit", false, "tickers at most (50)"}, {0}};

static const route_parameter prediction_parameters[] = {
    {"ticker", "Ticker", false, "a ticker; absent: all texts"},
    {"from", "Time", false, "the beginning, counted in (30 days before to)"},
    {"to", "Time", false, "the end, not counted in (now)"},
    {"before", "RowId", false, "only those with a smaller id: the next page"},
    {"limit", "Limit", false, "rows at most (50)"},
    {"model", "Word", false, "predictions of one model only"},
    {"spam", "Boolean", false, "true: spam too"},
    {"near_duplicates", "Boolean", false, "true: near-duplicates too"},
    {0}};

static const route_parameter stream_parameters[] = {
    {"ticker", "Ticker", false, "predictions of one ticker only"},
    {"kind", "EventKind", false, "events of one kind only"},
    {"last_event_id", "Id", false, "what came after this id first, as the header Last-Event-ID"},
    {0}};

static const route_parameter upload_parameters[] = {
    {"text_column", "Word", false, "the column of the texts (body, else text)"},
    {"model", "Word", false, "a served model; absent: the default one"},
    {"format", "TableFormat", false, "where neither name nor Content-Type tell it"},
    {0}};

static const route_parameter list_parameters[] = {{"limit", "Limit", false, "entries at most (50)"}, {0}};

static const route_parameter log_parameters[] = {
    {"limit", "Limit", false, "lines at most (100)"}, {"after", "Id", false, "only lines behind this number"}, {0}};
static const route_parameter result_parameters[] = {{"format", "ResultFormat", false, "parquet (preset), csv or jsonl"},
                                                    {0}};

static const route_parameter compare_parameters[] = {{"ids", "Ids", true, "ids of models between commas, at most 8"}, {0}};

static const route_parameter record_parameters[] = {
    {"name", "Word", false, "of one model only"},
    {"limit", "Limit", false, "entries at most (100)"},
    {"at", "Time", false, "also which version was in the stage then; needs name"},
    {"stage", "Word", false, "for at (production)"},
    {0}};

static const route_parameter review_parameters[] = {{"job", "Word", false, "a labelling job by name; absent: the newest"},
                                                    {"reviewer", "Word", false, "who reviews; absent: the key, else api"},
                                                    {"order", "ReviewOrder", false, "doubt (preset), random or input"},
                                                    {"limit", "Limit", false, "texts at most (50)"},
                                                    {0}};

/* clang-format off */
const route routes[] = {
    {"GET", "/health", SCOPE_OPEN, ROUTE_ENVELOPE, "health", "operations", "whether the process lives",
     NULL, "Health", NULL, NULL, handle_health},
    {"GET", "/ready", SCOPE_OPEN, ROUTE_ENVELOPE, "ready", "operations", "whether it can answer: models loaded, store reachable",
     NULL, "Ready", NULL, NULL, handle_ready},
    {"GET", "/metrics", SCOPE_READ, ROUTE_FILE, "metrics", "operations", "figures in Prometheus' text format",
     NULL, NULL, "text/plain; version=0.0.4; charset=utf-8", NULL, handle_metrics},
    {"GET", "/openapi.json", SCOPE_OPEN, ROUTE_PLAIN, "openapi", "documentation", "this document",
     NULL, "Any", NULL, NULL, handle_openapi},
    {"GET", "/docs", SCOPE_OPEN, ROUTE_FILE, "docs", "documentation", "the interactive documentation",
     NULL, NULL, "text/html; charset=utf-8", NULL, handle_docs},
    {"GET", "/docs/docs.js", SCOPE_OPEN, ROUTE_FILE, "docsScript", "documentation", "its script",
     NULL, NULL, "text/javascript; charset=utf-8", NULL, handle_docs_script},
    {"GET", "/docs/docs.css", SCOPE_OPEN, ROUTE_FILE, "docsStyle", "documentation", "its style",
     NULL, NULL, "text/css; charset=utf-8", NULL, handle_docs_style},
    {"GET", "/", SCOPE_OPEN, ROUTE_FILE, "root", "documentation", "the first page",
     NULL, NULL, "text/html; charset=utf-8", NULL, handle_root},
    {"POST", API "/predict", SCOPE_PREDICT, ROUTE_ENVELOPE, "predict", "predictions", "the sentiment of one text or of many",
     "PredictRequest", "PredictData", NULL, NULL, handle_predict},
    {"POST", "/predict", SCOPE_PREDICT, ROUTE_TEI, "teiPredict", "text-embeddings-inference", "the same in text-embeddings-inference's format",
     "TeiRequest", "TeiPredictions", NULL, NULL, handle_tei_predict},
    {"POST", "/", SCOPE_PREDICT, ROUTE_TEI, "teiRoot", "text-embeddings-inference", "the same as POST /predict, where its clients post to the server's address",
     "TeiRequest", "TeiPredictions", NULL, NULL, handle_tei_predict},
    {"GET", "/info", SCOPE_READ, ROUTE_TEI, "teiInfo", "text-embeddings-inference", "the default model and the limits, in text-embeddings-inference's format",
     NULL, "TeiInfo", NULL, NULL, handle_tei_info},
    {"POST", "/v1/chat/completions", SCOPE_PREDICT, ROUTE_OPENAI, "chatCompletion", "chat", "the answer of a Gemma to a conversation, in OpenAI's format; with stream as server-sent events",
     "ChatRequest", "ChatCompletion", "text/event-stream", NULL, handle_chat},
    {"GET", "/v1/models", SCOPE_READ, ROUTE_OPENAI, "chatModels", "chat", "the models that answer chat completions, in OpenAI's format",
     NULL, "ChatModels", NULL, NULL, handle_chat_models},
    {"GET", API "/sentiment", SCOPE_READ, ROUTE_ENVELOPE, "sentiment", "market", "sentiment over time: count, mean with its interval, class shares",
     NULL, "Sentiment", NULL, sentiment_parameters, handle_sentiment},
    {"GET", API "/sentiment/leaders", SCOPE_READ, ROUTE_ENVELOPE, "leaders", "market", "the most bullish or bearish tickers of a span",
     NULL, "Leaders", NULL, leader_parameters, handle_leaders},
    {"GET", API "/tickers", SCOPE_READ, ROUTE_ENVELOPE, "tickers", "market", "tickers of the history by their beginning, most texts first",
     NULL, "Tickers", NULL, ticker_parameters, handle_tickers},
    {"GET", API "/predictions", SCOPE_READ, ROUTE_ENVELOPE, "predictions", "market", "the texts behind a point, newest first",
     NULL, "Predictions", NULL, prediction_parameters, handle_predictions},
    {"GET", API "/stream", SCOPE_READ, ROUTE_FILE, "stream", "market", "server-sent events: predictions kept, progress of jobs, alerts, changes of models",
     NULL, NULL, "text/event-stream", stream_parameters, handle_stream},
    {"POST", API "/batches", SCOPE_PREDICT, ROUTE_ENVELOPE, "createBatch", "batches", "uploads a table to be scored in the background: the body itself, or the part file of a form",
     "Upload", "Batch", NULL, upload_parameters, handle_batch_create},
    {"GET", API "/batches", SCOPE_READ, ROUTE_ENVELOPE, "batches", "batches", "batch jobs, newest first",
     NULL, "Batches", NULL, list_parameters, handle_batches},
    {"GET", API "/batches/{id}", SCOPE_READ, ROUTE_ENVELOPE, "batch", "batches", "a job's state and progress",
     NULL, "Batch", NULL, NULL, handle_batch},
    {"DELETE", API "/batches/{id}", SCOPE_PREDICT, ROUTE_ENVELOPE, "cancelBatch", "batches", "stops a job",
     NULL, "Batch", NULL, NULL, handle_batch_cancel},
    {"GET", API "/batches/{id}/result", SCOPE_READ, ROUTE_FILE, "batchResult", "batches", "the scored table",
     NULL, NULL, "application/vnd.apache.parquet", result_parameters, handle_batch_result},
    {"GET", API "/models", SCOPE_READ, ROUTE_ENVELOPE, "models", "models", "what is served and what is registered",
     NULL, "Models", NULL, NULL, handle_models},
    {"GET", API "/models/compare", SCOPE_READ, ROUTE_ENVELOPE, "compareModels", "models", "metrics and confusion matrices side by side",
     NULL, "ModelComparison", NULL, compare_parameters, handle_models_compare},
    {"GET", API "/models/record", SCOPE_READ, ROUTE_ENVELOPE, "modelsRecord", "models", "what was put where, when and by whom",
     NULL, "ModelRecord", NULL, record_parameters, handle_models_record},
    {"GET", API "/models/{id}", SCOPE_READ, ROUTE_ENVELOPE, "model", "models", "a version with its card, metrics and training curve",
     NULL, "Model", NULL, NULL, handle_model},
    {"GET", API "/models/{id}/metrics", SCOPE_READ, ROUTE_ENVELOPE, "modelMetrics", "models", "its evaluation, or its card's validation",
     NULL, "Any", NULL, NULL, handle_model_metrics},
    {"GET", API "/models/{id}/confusion_matrix", SCOPE_READ, ROUTE_ENVELOPE, "modelConfusion", "models", "rows are the true classes",
     NULL, "ConfusionMatrix", NULL, NULL, handle_model_confusion},
    {"GET", API "/models/{id}/samples", SCOPE_READ, ROUTE_ENVELOPE, "modelSamples", "models", "predictions to show",
     NULL, "Samples", NULL, NULL, handle_model_samples},
    {"POST", API "/models/{id}/promote", SCOPE_ADMIN, ROUTE_ENVELOPE, "promoteModel", "models", "puts a version into a stage: production serves from the next second on",
     "StageRequest", "StageChange", NULL, NULL, handle_model_promote},
    {"POST", API "/models/{id}/rollback", SCOPE_ADMIN, ROUTE_ENVELOPE, "rollBackModel", "models", "back to the version that was in the stage before",
     "StageRequest", "StageChange", NULL, NULL, handle_model_rollback},
    {"GET", API "/reviews", SCOPE_READ, ROUTE_ENVELOPE, "reviews", "reviews", "texts of a labelling job that a person should look at first",
     NULL, "Reviews", NULL, review_parameters, handle_reviews},
    {"POST", API "/reviews", SCOPE_PREDICT, ROUTE_ENVELOPE, "review", "reviews", "a person's label of a text; null takes it back",
     "ReviewRequest", "Review", NULL, NULL, handle_review},
    {"GET", API "/labels", SCOPE_READ, ROUTE_ENVELOPE, "labelJobs", "reviews", "labelling jobs: progress, classes, requests and cost",
     NULL, "LabelJobs", NULL, NULL, handle_label_jobs},
    {"GET", API "/log", SCOPE_ADMIN, ROUTE_ENVELOPE, "log", "operations", "the last lines of the access log, oldest first",
     NULL, "Log", NULL, log_parameters, handle_log},
    {"GET", API "/system", SCOPE_READ, ROUTE_ENVELOPE, "system", "operations", "the server: versions, load, latencies, models, store",
     NULL, "System", NULL, NULL, handle_system},
    {"GET", API "/keys", SCOPE_ADMIN, ROUTE_ENVELOPE, "keys", "access", "API keys, without their secrets",
     NULL, "Keys", NULL, NULL, handle_keys},
    {"POST", API "/keys", SCOPE_ADMIN, ROUTE_ENVELOPE, "createKey", "access", "makes a key; its text is in this answer and nowhere else",
     "KeyRequest", "NewKey", NULL, NULL, handle_key_create},
    {"DELETE", API "/keys/{id}", SCOPE_ADMIN, ROUTE_ENVELOPE, "revokeKey", "access", "revokes a key at once",
     NULL, "Revoked", NULL, NULL, handle_key_revoke},
    {"POST", API "/session", SCOPE_READ, ROUTE_ENVELOPE, "openSession", "access", "signs a browser in: turns the key of this request into a cookie",
     NULL, "Session", NULL, NULL, handle_session_open},
    {"DELETE", API "/session", SCOPE_READ, ROUTE_ENVELOPE, "closeSession", "access", "signs it out",
     NULL, "Session", NULL, NULL, handle_session_close},
};
/* clang-format on */

size_t route_count(void) { return sizeof routes / sizeof routes[0]; }

/* Segment by segment; {id} takes any that is not empty. */
static bool path_fits(const char *pattern, const uri *u, const char **arguments)
{
    size_t n_arguments = 0, at = 0;
    if (strcmp(pattern, "/") == 0) return u->n_segments == 0;
    for (const char *p = pattern; *p == '/'; at++) {
        size_t n = strcspn(p + 1, "/");
        if (at == u->n_segments) return false;
        const char *segment = u->segments[at];
        if (p[1] == '{') {
            if (segment[0] == '\0') return false;
            arguments[n_arguments++] = segment;
        } else if (strlen(segment) != n || memcmp(segment, p + 1, n) != 0) {
            return false;
        }
        p += 1 + n;
    }
    return at == u->n_segments;
}

route_match route_find(request *r, const char *method)
{
    route_match match = ROUTE_NO_PATH;
    for (size_t i = 0; i < route_count(); i++) {
        if (!path_fits(routes[i].path, &r->target, r->arguments)) continue;
        if (strcmp(routes[i].method, method) == 0) {
            r->route = &routes[i];
            r->route_index = i;
            return ROUTE_FOUND;
        }
        match = ROUTE_NO_METHOD;
    }
    return match;
}

void route_allowed(const request *r, char *out, size_t size)
{
    const char *arguments[REQUEST_ARGUMENTS_MAX];
    size_t used = 0;
    out[0] = '\0';
    for (size_t i = 0; i < route_count(); i++) {
        if (!path_fits(routes[i].path, &r->target, arguments)) continue;
        int n = snprintf(out + used, size - used, "%s%s, ", strcmp(routes[i].method, "GET") == 0 ? "GET, " : "",
                         strcmp(routes[i].method, "GET") == 0 ? "HEAD" : routes[i].method);
        if (n > 0 && (size_t)n < size - used) used += (size_t)n;
    }
    if (used > 0 && size - used > sizeof "OPTIONS") memcpy(out + used, "OPTIONS", sizeof "OPTIONS");
}
