/* A chat completion as OpenAI's clients read it: whole, or as server-sent events that end with [DONE]. */
#include "serve/chat.h"

#include "serve/reply.h"
#include "text/utf8.h"

#include <stdlib.h>
#include <string.h>

enum { STREAM_BLOCK_BYTES = 1 << 14 };

static const char *reason_of(generate_end end) { return end == GENERATE_LENGTH ? "length" : "stop"; }

/* ---- log-probabilities ------------------------------------------------------------------------------------------------ */

/* The token's text, and its bytes, which need not be whole characters. */
static json_t *token_json(const text_tokenizer *t, generate_choice choice)
{
    str text = {0};
    size_t size;
    const char *piece = text_tokenizer_piece(t, choice.id, &size);
    bool is_byte = text_tokenizer_kind(t, choice.id) == TEXT_PIECE_BYTE && size == strlen("<0x00>");
    if (is_byte) {
        const char digits[3] = {piece[3], piece[4], '\0'};
        char byte = (char)strtoul(digits, NULL, 16);
        (void)str_add(&text, &byte, 1, NULL);
    } else {
        (void)text_decode(t, &choice.id, 1, false, &text, NULL);
    }
    json_t *list = json_array();
    for (size_t i = 0; i < text.size; i++) json_array_append_new(list, json_integer((unsigned char)text.at[i]));
    bool whole = text.size > 0 && utf8_valid_size((const unsigned char *)text.at, text.size) == text.size;
    json_t *out = json_pack("{s:s%, s:f, s:o}", "token", whole ? text.at : "\xEF\xBF\xBD", whole ? text.size : (size_t)3,
                            "logprob", (double)choice.logprob, "bytes", list);
    str_free(&text);
    return out;
}

/* Of tokens [from, to). */
static json_t *logprobs_json(const chat_work *w, const generate_result *result, size_t from, size_t to)
{
    const text_tokenizer *t = model_tokenizer(w->slot->engine);
    if (!w->ask.wants_tokens) return json_null();
    json_t *list = json_array();
    for (size_t i = from; i < to; i++) {
        const generate_token *token = &result->tokens[i];
        json_t *one = token_json(t, token->chosen), *top = json_array();
        for (size_t k = 0; k < token->n_top; k++) json_array_append_new(top, token_json(t, token->top[k]));
        json_object_set_new(one, "top_logprobs", top);
        json_array_append_new(list, one);
    }
    return json_pack("{s:o, s:n}", "content", list, "refusal");
}

/* ---- whole ------------------------------------------------------------------------------------------------------------ */

static json_t *usage_json(const generate_result *result)
{
    return json_pack("{s:I, s:I, s:I, s:{s:I}}", "prompt_tokens", (json_int_t)result->n_prompt, "completion_tokens",
                     (json_int_t)result->n_tokens, "total_tokens", (json_int_t)(result->n_prompt + result->n_tokens),
                     "prompt_tokens_details", "cached_tokens", (json_int_t)result->n_reused);
}

void chat_answer_whole(chat_work *w)
{
    generate_result result = generation_result(w->g);
    w->r->n_texts = 1;
    w->r->n_tokens = result.n_prompt + result.n_tokens;
    json_t *choice = json_pack("{s:i, s:{s:s, s:s%, s:n}, s:o, s:s}", "index", 0, "message", "role", "assistant", "content",
                               result.text.size_bytes > 0 ? result.text.at : "", result.text.size_bytes, "refusal",
                               "logprobs", logprobs_json(w, &result, 0, result.n_listed), "finish_reason",
                               reason_of(result.end));
    reply_document(w->r, 200,
                   json_pack("{s:s, s:s, s:I, s:s, s:s, s:[o], s:o}", "id", w->id, "object", "chat.completion", "created",
                             (json_int_t)w->created, "model", w->slot->name, "system_fingerprint", w->slot->version,
                             "choices", choice, "usage", usage_json(&result)));
}

/* ---- streamed --------------------------------------------------------------------------------------------------------- */

/* Under the lock: a connection that sleeps until there is more goes on. */
static void wake_reader(chat_stream *s)
{
    if (!s->suspended || s->left) return;
    s->suspended = false;
    MHD_resume_connection(s->connection);
}

/* Takes over the reference. */
static bool send_event(chat_work *w, json_t *event)
{
    chat_stream *s = &w->stream;
    char *text = event != NULL ? json_dumps(event, JSON_COMPACT | JSON_REAL_PRECISION(9)) : NULL;
    bool sent = text != NULL;
    pthread_mutex_lock(&s->lock);
    if (s->sent > 0 && s->sent == s->pending.size) {
        str_clear(&s->pending);
        s->sent = 0;
    }
    sent = sent && str_add_format(&s->pending, NULL, "data: %s\n\n", text) == FINCH_OK;
    wake_reader(s);
    sent = sent && !s->left;
    pthread_mutex_unlock(&s->lock);
    json_decref(event);
    free(text); /* jansson's own */
    return sent;
}

/* choice NULL: the chunk has none. Both references are taken over. */
static json_t *chunk_json(const chat_work *w, json_t *choice, json_t *usage)
{
    json_t *choices = choice != NULL ? json_pack("[o]", choice) : json_array();
    return json_pack("{s:s, s:s, s:I, s:s, s:s, s:o, s:o*}", "id", w->id, "object", "chat.completion.chunk", "created",
                     (json_int_t)w->created, "model", w->slot->name, "system_fingerprint", w->slot->version, "choices",
                     choices, "usage", usage);
}

/* The log-probabilities of the tokens that came since the last chunk. */
static json_t *news(chat_work *w)
{
    generate_result result = generation_result(w->g);
    size_t from = w->n_sent_tokens;
    w->n_sent_tokens = result.n_listed;
    return logprobs_json(w, &result, from, result.n_listed);
}

bool chat_stream_text(void *context, const char *text, size_t size)
{
    chat_work *w = context;
    json_t *choice = json_pack("{s:i, s:{s:s%}, s:o, s:n}", "index", 0, "delta", "content", text, size, "logprobs", news(w),
                               "finish_reason");
    w->failed = !send_event(w, choice != NULL ? chunk_json(w, choice, NULL) : NULL) || w->failed;
    return !w->failed;
}

static void end_stream(chat_work *w)
{
    static const char done[] = "data: [DONE]\n\n";
    chat_stream *s = &w->stream;
    pthread_mutex_lock(&s->lock);
    (void)str_add(&s->pending, done, sizeof done - 1, NULL);
    s->ended = true;
    wake_reader(s);
    pthread_mutex_unlock(&s->lock);
}

void chat_stream_end(chat_work *w, const char *why)
{
    if (w->failed && why == NULL) why = "out of memory";
    if (why != NULL) {
        (void)send_event(w, json_pack("{s:{s:s, s:s, s:s, s:n}}", "error", "message", why, "type", "server_error", "code",
                                      "generation_failed", "param"));
    } else if (!chat_stream_left(w)) {
        generate_result result = generation_result(w->g);
        (void)send_event(w, chunk_json(w,
                                       json_pack("{s:i, s:{}, s:o, s:s}", "index", 0, "delta", "logprobs", news(w),
                                                 "finish_reason", reason_of(result.end)),
                                       NULL));
        if (w->wants_usage) (void)send_event(w, chunk_json(w, NULL, usage_json(&result)));
    }
    end_stream(w);
}

bool chat_stream_left(chat_work *w)
{
    pthread_mutex_lock(&w->stream.lock);
    bool left = w->stream.left;
    pthread_mutex_unlock(&w->stream.lock);
    return left;
}

static ssize_t read_stream(void *context, uint64_t position, char *out, size_t most)
{
    chat_work *w = context;
    chat_stream *s = &w->stream;
    (void)position;
    pthread_mutex_lock(&s->lock);
    size_t n = size_least(s->pending.size - s->sent, most);
    ssize_t answer = (ssize_t)n;
    if (n > 0) {
        memcpy(out, s->pending.at + s->sent, n);
        s->sent += n;
    } else if (s->ended) {
        answer = MHD_CONTENT_READER_END_OF_STREAM;
    } else {
        /* The connection sleeps until there is more (returning 0 alone would be asked again and again). */
        s->suspended = true;
        MHD_suspend_connection(s->connection);
    }
    pthread_mutex_unlock(&s->lock);
    return answer;
}

static void end_reader(void *context)
{
    chat_work *w = context;
    pthread_mutex_lock(&w->stream.lock);
    w->stream.left = true;
    pthread_mutex_unlock(&w->stream.lock);
    chat_work_release(w);
}

bool chat_stream_begin(chat_work *w)
{
    request *r = w->r;
    json_t *first = json_pack("{s:i, s:{s:s, s:s}, s:n, s:n}", "index", 0, "delta", "role", "assistant", "content", "",
                              "logprobs", "finish_reason");
    w->stream.connection = r->connection;
    if (!send_event(w, first != NULL ? chunk_json(w, first, NULL) : NULL)) {
        reply_failure(r, FINCH_E_MEMORY, NULL);
        return false;
    }
    r->prepared = MHD_create_response_from_callback(MHD_SIZE_UNKNOWN, STREAM_BLOCK_BYTES, read_stream, w, end_reader);
    if (r->prepared == NULL) {
        reply_failure(r, FINCH_E_MEMORY, NULL);
        return false;
    }
    atomic_fetch_add_explicit(&w->n_references, 1, memory_order_relaxed); /* the reader's */
    r->n_texts = 1;
    r->status = 200;
    r->content_type = "text/event-stream";
    request_add_header(r, "X-Accel-Buffering", "no");
    w->r = NULL;
    request_done(r);
    return true;
}
