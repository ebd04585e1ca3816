#include "label/request.h"

#include "base/json.h"
#include "label/values.h"

#include <stdlib.h>
#include <string.h>

/* Measured with the tokenizers of Gemma 3 and GPT: English tweets with cashtags and links have 3.3 to 4 bytes a token, a line
 * {"n":17,"label":"NEGATIVE"} 10 to 13 tokens. The high side is taken: an estimate must not promise too little. */
#define BYTES_A_TOKEN 3.3
#define TOKENS_AN_ITEM_IN 9.0 /* {"n":17,"text":""}, */
#define TOKENS_AN_ITEM_OUT 13.0
#define TOKENS_FRAME 30.0

request_size request_estimate(size_t prompt_bytes, size_t text_bytes, size_t n_items)
{
    double n = (double)n_items;
    return (request_size){((double)prompt_bytes + (double)text_bytes) / BYTES_A_TOKEN + n * TOKENS_AN_ITEM_IN + TOKENS_FRAME,
                          n * TOKENS_AN_ITEM_OUT + TOKENS_FRAME};
}

/* The numbered texts as the JSON array that ends the user message. */
static char *numbered_texts(const labels_item *const *items, size_t n_items)
{
    json_t *list = json_array();
    bool made = list != NULL;
    for (size_t i = 0; made && i < n_items; i++) {
        json_t *text = json_stringn(items[i]->text, items[i]->text_bytes);
        made = text != NULL &&
               json_array_append_new(list, json_pack("{s:I, s:o}", "n", (json_int_t)(i + 1), "text", text)) == 0;
    }
    char *out = made ? json_dumps(list, JSON_COMPACT) : NULL;
    json_decref(list);
    return out;
}

/* ["STRONGLY_NEGATIVE", ...] */
static json_t *class_names(void)
{
    json_t *names = json_array();
    for (int i = 0; i < 5; i++)
        if (json_array_append_new(names, json_string(values_class_name(i))) != 0) {
            json_decref(names);
            return NULL;
        }
    return names;
}

/* Any number, or one of 1 to n_items where the schema is the request's own. */
static json_t *number_schema(size_t n_items)
{
    json_t *numbers = n_items > 0 ? json_array() : NULL;
    for (size_t i = 1; i <= n_items; i++)
        if (json_array_append_new(numbers, json_integer((json_int_t)i)) != 0) {
            json_decref(numbers);
            return NULL;
        }
    return json_pack("{s:s, s:o*}", "type", "integer", "enum", numbers);
}

static json_t *answer_schema(size_t n_items)
{
    json_t *list = json_pack("{s:s, s:{s:s, s:{s:o, s:{s:s, s:o}}, s:[s, s], s:b}}", "type", "array", "items", "type",
                             "object", "properties", "n", number_schema(n_items), "label", "type", "string", "enum",
                             class_names(), "required", "n", "label", "additionalProperties", 0);
    if (n_items > 0 && (json_object_set_new(list, "minItems", json_integer((json_int_t)n_items)) != 0 ||
                        json_object_set_new(list, "maxItems", json_integer((json_int_t)n_items)) != 0)) {
        json_decref(list);
        return NULL;
    }
    return json_pack("{s:s, s:{s:o}, s:[s], s:b}", "type", "object", "properties", "labels", list, "required", "labels",
                     "additionalProperties", 0);
}

static json_t *response_format(request_format format, size_t n_items)
{
    switch (format) {
    case FORMAT_SCHEMA:
        return json_pack("{s:s, s:{s:s, s:b, s:o}}", "type", "json_schema", "json_schema", "name", "labels", "strict", 1,
                         "schema", answer_schema(0));
    case FORMAT_GUIDED: return json_pack("{s:s, s:o}", "type", "json_object", "schema", answer_schema(n_items));
    default: return json_pack("{s:s}", "type", "json_object");
    }
}

static bool add_options(json_t *root, const request_options *o, size_t n_items)
{
    bool made = json_object_set_new(root, "temperature", json_real(o->temperature)) == 0;
    if (o->max_tokens > 0)
        made = made && json_object_set_new(root, "max_tokens", json_integer((json_int_t)o->max_tokens)) == 0;
    if (o->format != FORMAT_PLAIN)
        made = json_object_set_new(root, "response_format", response_format(o->format, n_items)) == 0 && made;
    if (o->logprobs) made = made && json_object_set_new(root, "logprobs", json_true()) == 0;
    if (o->usage_cost) made = made && json_object_set_new(root, "usage", json_pack("{s:b}", "include", 1)) == 0;
    return made;
}

finch_status request_write(const request_options *o, const labels_item *const *items, size_t n_items, str *out,
                           finch_error *err)
{
    char *texts = numbered_texts(items, n_items), *body = NULL;
    json_t *root = NULL;
    str user = {0};
    finch_status st = texts != NULL ? FINCH_OK : finch_fail(err, FINCH_E_MEMORY, "out of memory for a request");
    if (st == FINCH_OK) st = str_add_format(&user, err, "%s\n\n%s", o->words->user.at, texts);
    if (st == FINCH_OK) {
        root = json_pack("{s:s, s:[{s:s, s:s}, {s:s, s:s%}]}", "model", o->model, "messages", "role", "system", "content",
                         o->words->system.at, "role", "user", "content", user.at, user.size);
        if (root != NULL && add_options(root, o, n_items)) body = json_dumps(root, JSON_COMPACT);
        if (body == NULL) st = finch_fail(err, FINCH_E_MEMORY, "out of memory for a request");
    }
    str_clear(out);
    if (st == FINCH_OK) st = str_add_text(out, body, err);
    json_decref(root);
    str_free(&user);
    free(texts); /* jansson's own, both */
    free(body);
    return st;
}
