/* A request in OpenAI's chat format as a work of the chat thread: its options, its conversation, the form of its answer. */
#include "serve/chat.h"
#include "serve/handlers.h"
#include "serve/reply.h"

#include <string.h>

static bool refuse(request *r, const char *parameter, const char *message)
{
    reply_error(r, 400, "invalid_request", json_pack("{s:s}", "param", parameter), "%s", message);
    return false;
}

/* ---- the model -------------------------------------------------------------------------------------------------------- */

/* The first Gemma that is served, where the request names no model. */
static model_slot *any_gemma(models *m)
{
    for (size_t i = 0; i < models_count(m); i++) {
        model_slot *slot = models_at(m, i);
        if (slot != NULL && model_gemma(slot->engine) != NULL) return slot;
        model_release(slot);
    }
    return NULL;
}

static model_slot *find_model(request *r)
{
    const char *name = json_string_value(json_object_get(r->json, "model"));
    models *m = r->server->models;
    model_slot *first = any_gemma(m), *slot = name != NULL ? models_acquire(m, name) : first;
    if (slot != NULL && model_gemma(slot->engine) != NULL) {
        if (name != NULL) model_release(first);
        return slot;
    }
    if (!atomic_load(&r->server->ready)) {
        reply_retry_after(r, 1);
        reply_error(r, 503, "not_ready", NULL, "the models are being loaded; GET /ready says when they are there");
    } else if (first == NULL) {
        reply_error(r, 404, "no_chat_model", json_pack("{s:s}", "param", "model"),
                    "no Gemma is served, and other models do not write text; start finch serve with --model GEMMA");
    } else {
        reply_error(r, 404, "model_not_found", json_pack("{s:s}", "param", "model"),
                    slot != NULL ? "that model is no Gemma and writes no text; GET /v1/models lists those that do"
                                 : "no model of that name is served; GET /v1/models lists those that answer chats");
    }
    model_release(first);
    if (slot != first) model_release(slot);
    return NULL;
}

/* ---- options ---------------------------------------------------------------------------------------------------------- */

static double number_or(const json_t *root, const char *key, double preset)
{
    const json_t *value = json_object_get(root, key);
    return json_is_number(value) ? json_number_value(value) : preset;
}

/* What finch has not got is refused, unless the value is the one that changes nothing. */
static bool check_unsupported(request *r)
{
    static const struct {
        const char *key;
        double harmless;
    } numbers[] = {{"n", 1.0}, {"frequency_penalty", 0.0}, {"presence_penalty", 0.0}};
    for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++)
        if (number_or(r->json, numbers[i].key, numbers[i].harmless) != numbers[i].harmless)
            return refuse(r, numbers[i].key,
                          i == 0 ? "n must be 1: send a request for each answer"
                                 : "penalties are not supported; leave them at 0");
    if (json_object_size(json_object_get(r->json, "logit_bias")) > 0)
        return refuse(r, "logit_bias", "logit_bias is not supported; leave it out");
    return true;
}

static bool read_stops(request *r, chat_work *w)
{
    const json_t *stop = json_object_get(r->json, "stop"), *each;
    size_t i;
    if (json_is_string(stop)) w->stops[w->ask.n_stops++] = (finch_text){json_string_value(stop), json_string_length(stop)};
    json_array_foreach(stop, i, each)
        w->stops[w->ask.n_stops++] = (finch_text){json_string_value(each), json_string_length(each)};
    w->ask.stops = w->stops;
    for (i = 0; i < w->ask.n_stops; i++)
        if (w->stops[i].size_bytes == 0 || w->stops[i].size_bytes > GENERATE_STOP_BYTES_MAX)
            return refuse(r, "stop", "a stop text must have 1 to 1024 bytes");
    return true;
}

static bool read_budget(request *r, chat_work *w)
{
    const json_t *given = json_object_get(r->json, "max_completion_tokens");
    size_t most = r->server->options.limits.max_answer_tokens;
    if (!json_is_integer(given)) given = json_object_get(r->json, "max_tokens");
    w->ask.max_tokens = json_is_integer(given) ? (size_t)json_integer_value(given) : most;
    if (w->ask.max_tokens <= most) return true;
    reply_limit(r, 400, "answer_too_long", "max_answer_tokens", most, "max-answer-tokens",
                "more tokens are asked for than an answer may have");
    return false;
}

static void read_sampling(const request *r, chat_work *w)
{
    const json_t *seed = json_object_get(r->json, "seed");
    siphash_key random = siphash_key_make();
    w->ask.how = (sampling){number_or(r->json, "temperature", 1.0), (size_t)number_or(r->json, "top_k", 0.0),
                            number_or(r->json, "top_p", 1.0)};
    w->ask.seed = json_is_integer(seed) ? (uint64_t)json_integer_value(seed) : random.word[0];
    w->ask.wants_tokens = json_is_true(json_object_get(r->json, "logprobs"));
    w->ask.n_top = (size_t)number_or(r->json, "top_logprobs", 0.0);
}

static bool make_form(request *r, chat_work *w, const json_t *schema)
{
    finch_error err = {0};
    finch_status st = json_form_create(schema, "response_format", &w->form, &err);
    if (st == FINCH_E_UNSUPPORTED || st == FINCH_E_DATA) return refuse(r, "response_format", err.message);
    if (st != FINCH_OK) reply_failure(r, st, &err);
    w->ask.form = w->form;
    return st == FINCH_OK;
}

/* {"type":"text"}, {"type":"json_object"} (with a "schema", as llama.cpp's and vLLM's clients send it, or any object), or
 * {"type":"json_schema","json_schema":{"schema":...}}. */
static bool read_format(request *r, chat_work *w)
{
    const json_t *format = json_object_get(r->json, "response_format");
    const char *type = json_string_value(json_object_get(format, "type"));
    if (type == NULL || strcmp(type, "text") == 0) return true;
    if (strcmp(type, "json_object") == 0) return make_form(r, w, json_object_get(format, "schema"));
    const json_t *schema = json_object_get(json_object_get(format, "json_schema"), "schema");
    if (schema == NULL)
        return refuse(r, "response_format", "response_format of the type json_schema needs json_schema.schema");
    return make_form(r, w, schema);
}

/* ---- the conversation ------------------------------------------------------------------------------------------------- */

static text_role role_of(const json_t *message)
{
    const char *role = json_string_value(json_object_get(message, "role"));
    if (strcmp(role, "assistant") == 0) return TEXT_MODEL;
    return strcmp(role, "user") == 0 ? TEXT_USER : TEXT_SYSTEM;
}

/* A text, or parts that are texts, put end to end in *joined. */
static finch_status content_of(const json_t *message, str *joined, finch_text *out, finch_error *err)
{
    const json_t *content = json_object_get(message, "content"), *part;
    size_t i, from = joined->size;
    if (json_is_string(content)) {
        *out = (finch_text){json_string_value(content), json_string_length(content)};
        return FINCH_OK;
    }
    json_array_foreach(content, i, part)
    {
        const json_t *text = json_object_get(part, "text");
        FINCH_TRY(str_add(joined, json_string_value(text), json_string_length(text), err));
    }
    *out = (finch_text){joined->at + from, joined->size - from};
    return FINCH_OK;
}

static size_t joined_bytes(const json_t *messages)
{
    size_t i, k, n = 0;
    const json_t *message, *part;
    json_array_foreach(messages, i, message) json_array_foreach(json_object_get(message, "content"), k, part)
        n += json_string_length(json_object_get(part, "text"));
    return n;
}

finch_status chat_encode(const chat_work *w, text_scratch *scratch, size_t n_most, int32_t *ids, size_t *n, finch_error *err)
{
    const json_t *messages = json_object_get(w->r->json, "messages"), *message;
    size_t i, n_turns = json_array_size(messages);
    text_turn *turns;
    str joined = {0};
    FINCH_TRY(mem_alloc(n_turns, sizeof *turns, (void **)&turns, err));
    finch_status st = str_reserve(&joined, joined_bytes(messages), err); /* texts point into it: it must not move */
    json_array_foreach(messages, i, message)
    {
        turns[i].role = role_of(message);
        if (st == FINCH_OK) st = content_of(message, &joined, &turns[i].content, err);
    }
    if (st == FINCH_OK)
        st = text_encode_chat(model_tokenizer(w->slot->engine), turns, n_turns, true, n_most, ids, n, scratch, err);
    str_free(&joined);
    mem_free(turns);
    return st;
}

/* ---- the handlers ----------------------------------------------------------------------------------------------------- */

static bool read_request(request *r, chat_work *w)
{
    w->deadline = request_deadline(r, r->server->options.limits.chat_ms);
    w->created = r->began_ms / 1000;
    w->wants_stream = json_is_true(json_object_get(r->json, "stream"));
    w->wants_usage = json_is_true(json_object_get(json_object_get(r->json, "stream_options"), "include_usage"));
    snprintf(w->id, sizeof w->id, "chatcmpl-%s", r->id);
    read_sampling(r, w);
    return check_unsupported(r) && read_stops(r, w) && read_budget(r, w) && read_format(r, w);
}

handler_answer handle_chat(request *r)
{
    chat_work *w;
    finch_error err = {0};
    finch_status st = MEM_NEW(&w, 1, &err);
    if (st != FINCH_OK) {
        reply_failure(r, st, &err);
        return HANDLER_ANSWERED;
    }
    atomic_init(&w->n_references, 1);
    pthread_mutex_init(&w->stream.lock, NULL);
    w->r = r;
    w->slot = find_model(r);
    if (w->slot == NULL || !read_request(r, w)) {
        chat_work_release(w);
        return HANDLER_ANSWERED;
    }
    if (chat_submit(r->server->chat, w, &err) == FINCH_OK) return HANDLER_WAITS;
    chat_work_release(w);
    reply_retry_after(r, 1);
    if (atomic_load(&r->server->draining)) {
        reply_error(r, 503, "shutting_down", NULL, "the server is going down; try again");
        return HANDLER_ANSWERED;
    }
    reply_limit(r, 503, "queue_full", "max_chats", r->server->options.limits.max_chats, "max-chats",
                "too many chat completions are waiting already");
    return HANDLER_ANSWERED;
}

handler_answer handle_chat_models(request *r)
{
    models *m = r->server->models;
    json_t *list = json_array();
    for (size_t i = 0; i < models_count(m); i++) {
        model_slot *slot = models_at(m, i);
        if (slot != NULL && model_gemma(slot->engine) != NULL)
            json_array_append_new(list, json_pack("{s:s, s:s, s:I, s:s}", "id", slot->name, "object", "model", "created",
                                                  (json_int_t)slot->loaded_unix, "owned_by", "finch"));
        model_release(slot);
    }
    reply_document(r, 200, json_pack("{s:s, s:o}", "object", "list", "data", list));
    return HANDLER_ANSWERED;
}
