/* POST /predict and GET /info as text-embeddings-inference speaks them (its router/src/http/types.rs), so that its clients and the
 * Hub's inference clients work unchanged. A request with "parameters" comes from the latter: they read a list of lists. */
#include "serve/handlers.h"
#include "serve/reply.h"
#include "serve/schema.h"
#include "serve/scoring.h"

#include <math.h>
#include <string.h>

typedef enum tei_function { TEI_SOFTMAX, TEI_SIGMOID, TEI_NONE } tei_function;

typedef struct tei_request {
    bool nested; /* the answer is a list of lists */
    bool truncate;
    tei_function function;
    size_t top_k; /* 0: all */
    size_t n;
    const json_t *inputs;
} tei_request;

static void values_of(const scoring *s, const tei_request *q, size_t i, float *out)
{
    const float *logits = s->job.texts[i].logits;
    if (q->function == TEI_SOFTMAX) {
        scoring_probabilities(s, i, out);
        return;
    }
    for (size_t c = 0; c < s->job.slot->n_labels; c++)
        out[c] = q->function == TEI_NONE ? logits[c] : 1.0f / (1.0f + expf(-logits[c]));
}

/* The classes from the likeliest on. */
static json_t *classes_json(const scoring *s, const tei_request *q, size_t i)
{
    const model_config *c = model_get_config(s->job.slot->engine);
    float values[MODEL_LABELS_MAX] = {0};
    bool given[MODEL_LABELS_MAX] = {false};
    json_t *list = json_array();
    values_of(s, q, i, values);
    for (size_t rank = 0; rank < c->n_labels && (q->top_k == 0 || rank < q->top_k); rank++) {
        size_t best = c->n_labels;
        for (size_t k = 0; k < c->n_labels; k++)
            if (!given[k] && (best == c->n_labels || values[k] > values[best])) best = k;
        given[best] = true;
        json_array_append_new(list, json_pack("{s:f, s:s}", "score", (double)values[best], "label", c->labels[best]));
    }
    return list;
}

static void answer(scoring *s)
{
    const tei_request *q = s->context;
    for (size_t i = 0; i < q->n && !q->truncate; i++)
        if (s->job.texts[i].info.truncated) {
            reply_error(
                s->r, 413, "too_long", NULL,
                "Input validation error: `inputs` must have at most %zu tokens, text %zu has more; send \"truncate\": true "
                "to have it cut (finch serve --max-tokens is %zu)",
                s->job.slot->max_tokens, i + 1, s->r->server->options.max_tokens);
            return;
        }
    json_t *all = json_array();
    for (size_t i = 0; i < q->n; i++) scoring_observe(s, i);
    for (size_t i = 0; i < q->n; i++) json_array_append_new(all, classes_json(s, q, i));
    if (!q->nested && all != NULL) {
        json_t *only = json_incref(json_array_get(all, 0));
        json_decref(all);
        all = only;
    }
    reply_document(s->r, 200, all);
}

static finch_text text_at(const tei_request *q, size_t i)
{
    const json_t *text = q->inputs;
    if (json_is_array(text)) text = json_array_get(text, i);
    if (json_is_array(text)) text = json_array_get(text, 0);
    return (finch_text){json_string_value(text), json_string_length(text)};
}

static void read_request(const request *r, tei_request *q)
{
    const json_t *parameters = json_object_get(r->json, "parameters");
    const char *function = json_string_value(json_object_get(parameters, "function_to_apply"));
    q->inputs = json_object_get(r->json, "inputs");
    bool batch = json_is_array(q->inputs) && json_is_array(json_array_get(q->inputs, 0));
    q->n = batch ? json_array_size(q->inputs) : 1;
    q->nested = batch || parameters != NULL;
    q->truncate = json_is_true(json_object_get(r->json, "truncate")) || parameters != NULL;
    q->top_k = (size_t)json_integer_value(json_object_get(parameters, "top_k"));
    if (json_is_true(json_object_get(r->json, "raw_scores")) || (function != NULL && strcmp(function, "none") == 0))
        q->function = TEI_NONE;
    else q->function = function != NULL && strcmp(function, "sigmoid") == 0 ? TEI_SIGMOID : TEI_SOFTMAX;
}

handler_answer handle_tei_predict(request *r)
{
    tei_request *q;
    scoring *s;
    finch_error err = {0};
    finch_status st = ARENA_NEW(&r->memory, &q, 1, &err);
    if (st != FINCH_OK) {
        reply_failure(r, st, &err);
        return HANDLER_ANSWERED;
    }
    *q = (tei_request){0};
    read_request(r, q);
    if (!scoring_open(r, NULL, q->n, answer, q, &s)) return HANDLER_ANSWERED;
    for (size_t i = 0; i < q->n; i++) s->job.texts[i].text = text_at(q, i);
    return scoring_run(s);
}

handler_answer handle_tei_info(request *r)
{
    const serve_options *o = &r->server->options;
    model_slot *slot = models_acquire(r->server->models, NULL);
    if (slot == NULL) {
        reply_retry_after(r, 1);
        reply_error(r, 503, "not_ready", NULL, "no model is loaded yet");
        return HANDLER_ANSWERED;
    }
    const model_config *c = model_get_config(slot->engine);
    json_t *names = json_object(), *ids = json_object();
    for (size_t i = 0; i < c->n_labels; i++) {
        char id[24];
        snprintf(id, sizeof id, "%zu", i);
        json_object_set_new(names, id, json_string(c->labels[i]));
        json_object_set_new(ids, c->labels[i], json_integer((json_int_t)i));
    }
    reply_document(r, 200,
                   json_pack("{s:s, s:s, s:s, s:{s:{s:o, s:o}}, s:I, s:I, s:I, s:n, s:I, s:b, s:I, s:s, s:n, s:n}",
                             "model_id", slot->name, "model_sha", slot->version, "model_dtype",
                             model_compute_name(model_get_compute(slot->engine)), "model_type", "classifier", "id2label",
                             names, "label2id", ids, "max_concurrent_requests", (json_int_t)o->limits.max_queue,
                             "max_input_length", (json_int_t)slot->max_tokens, "max_batch_tokens",
                             (json_int_t)o->batch_tokens, "max_batch_requests", "max_client_batch_size",
                             (json_int_t)o->limits.max_batch, "auto_truncate", 0, "tokenization_workers",
                             (json_int_t)o->compute_threads, "version", finch_version(), "sha", "docker_label"));
    model_release(slot);
    return HANDLER_ANSWERED;
}
