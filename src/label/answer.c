/* The envelope: choices, usage, errors. The labels in the text are answer_text.c's. */
#include "label/answer.h"

#include "base/json.h"
#include "base/str.h"
#include "label/answer_text.h"
#include "label/values.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

static void say(answer *out, answer_kind kind, const char *format, const char *detail, size_t size)
{
    char line[160];
    out->kind = kind;
    values_line(detail, size, line, sizeof line);
    snprintf(out->reason, sizeof out->reason, "%s%s", format, line);
}

/* ---- errors ---- */

static const char *text_of(const json_t *value, size_t *size)
{
    *size = json_is_string(value) ? json_string_length(value) : 0;
    return json_is_string(value) ? json_string_value(value) : "";
}

/* {"error":{"message":...}}, {"error":"..."}, {"message":...}, {"detail":...} */
static const char *message_of(const json_t *root, size_t *size)
{
    const json_t *error = json_object_get(root, "error"), *found = error;
    if (json_is_object(error)) found = json_object_get(error, "message");
    else if (json_is_array(root) && json_is_object(json_array_get(root, 0)))
        return message_of(json_array_get(root, 0), size);
    if (!json_is_string(found)) found = json_object_get(root, "message");
    if (!json_is_string(found)) found = json_object_get(root, "detail");
    return text_of(found, size);
}

void answer_error_text(const char *body, size_t size, char *out, size_t out_size)
{
    json_t *root = NULL;
    size_t n = 0;
    if (json_parse(body, size, "the response", &root, NULL) == FINCH_OK) {
        const char *message = message_of(root, &n);
        values_line(message, n, out, out_size);
    }
    if (n == 0) values_line(body, size < 400 ? size : 400, out, out_size);
    json_decref(root);
}

/* ---- numbers ---- */

static int64_t whole(const json_t *object, const char *key)
{
    const json_t *value = json_object_get(object, key);
    json_int_t n = json_is_integer(value) ? json_integer_value(value) : -1;
    return n >= 0 && n <= INT64_C(1000000000000) ? (int64_t)n : -1;
}

static void read_usage(const json_t *root, answer *out)
{
    const json_t *usage = json_object_get(root, "usage"), *cost = json_object_get(usage, "cost");
    out->input_tokens = whole(usage, "prompt_tokens");
    out->output_tokens = whole(usage, "completion_tokens");
    double dollars = json_is_number(cost) ? json_number_value(cost) : -1;
    if (dollars >= 0 && dollars < 1e6) out->cost_nano = llround(dollars * 1e9);
}

/* The code of an error inside a 200: a number, or a number in a text, else 500. */
static int error_status(const json_t *error)
{
    const json_t *code = json_object_get(error, "code");
    json_int_t status = 0;
    if (json_is_integer(code)) status = json_integer_value(code);
    else if (json_is_string(code))
        for (const char *at = json_string_value(code); *at >= '0' && *at <= '9' && status < 1000; at++)
            status = status * 10 + (*at - '0');
    return status >= 400 && status <= 599 ? (int)status : 500;
}

static bool read_error(const json_t *holder, answer *out)
{
    const json_t *error = json_object_get(holder, "error");
    size_t n;
    if (error == NULL || json_is_null(error)) return false;
    const char *message = message_of(holder, &n);
    say(out, ANSWER_ERROR, "the provider said: ", message, n);
    out->status = json_is_object(error) ? error_status(error) : 500;
    return true;
}

/* ---- the choice ---- */

/* The content: a text, or a list of parts whose texts are joined (then *joined is to be freed). */
static const char *content_of(const json_t *message, size_t *size, str *joined)
{
    const json_t *content = json_object_get(message, "content"), *part;
    size_t i;
    if (!json_is_array(content)) return text_of(content, size);
    json_array_foreach(content, i, part)
    {
        size_t n;
        const char *text = text_of(json_object_get(part, "text"), &n);
        if (str_add(joined, text, n, NULL) != FINCH_OK) break;
    }
    *size = joined->size;
    return joined->at != NULL ? joined->at : "";
}

static bool is_text(const json_t *value, const char *wanted)
{
    return json_is_string(value) && strcmp(json_string_value(value), wanted) == 0;
}

static void read_message(const json_t *choice, answer_row *rows, size_t n_rows, answer *out)
{
    const json_t *message = json_object_get(choice, "message"), *refusal = json_object_get(message, "refusal");
    const json_t *finish = json_object_get(choice, "finish_reason");
    str joined = {0};
    size_t size = 0;
    const char *content = content_of(message, &size, &joined);
    if (is_text(finish, "content_filter"))
        say(out, ANSWER_FILTERED, "the provider's content filter stopped the answer", "", 0);
    else if (json_is_string(refusal) && json_string_length(refusal) > 0)
        say(out, ANSWER_FILTERED, "the model refused: ", json_string_value(refusal), json_string_length(refusal));
    else if (is_text(finish, "length"))
        say(out, ANSWER_TRUNCATED, "the answer was cut at the model's limit of tokens", "", 0);
    else if (size == 0) say(out, ANSWER_INVALID, "the model's answer was empty", "", 0);
    else {
        out->kind = answer_read_text(content, size, rows, n_rows, out);
        if (out->kind == ANSWER_ROWS)
            answer_add_confidence(json_object_get(json_object_get(choice, "logprobs"), "content"), content, size, rows,
                                  n_rows);
    }
    str_free(&joined);
}

static void read_root(const json_t *root, answer_row *rows, size_t n_rows, answer *out)
{
    const json_t *choices = json_object_get(root, "choices"), *choice = json_array_get(choices, 0);
    const json_t *id = json_object_get(root, "id");
    if (json_is_string(id))
        values_line(json_string_value(id), json_string_length(id), out->provider_id, sizeof out->provider_id);
    read_usage(root, out);
    if (read_error(root, out) || read_error(choice, out)) return;
    if (!json_is_object(json_object_get(choice, "message")))
        say(out, ANSWER_BROKEN, "the response is no chat completion: it has no choices[0].message", "", 0);
    else if (is_text(json_object_get(choice, "finish_reason"), "error")) {
        say(out, ANSWER_ERROR, "the provider ended the answer with an error", "", 0);
        out->status = 502;
    } else read_message(choice, rows, n_rows, out);
}

void answer_read(const char *body, size_t size, answer_row *rows, size_t n_rows, answer *out)
{
    json_t *root = NULL;
    finch_error err;
    *out = (answer){.kind = ANSWER_BROKEN, .input_tokens = -1, .output_tokens = -1, .cost_nano = -1};
    for (size_t i = 0; i < n_rows; i++) rows[i] = (answer_row){.state = ROW_MISSING, .label = -1, .confidence = -1};
    if (json_parse(body, size, "the response", &root, &err) != FINCH_OK)
        say(out, ANSWER_BROKEN, "", err.message, strlen(err.message));
    else read_root(root, rows, n_rows, out);
    json_decref(root);
}
