/* What is sent: prompts and the body of a request. */
#include "harness.h"

#include "label/prompt.h"
#include "label/request.h"
#include "label/values.h"

#include "base/file.h"
#include "base/json.h"

static finch_error err;

#define CLASSES "STRONGLY_NEGATIVE NEGATIVE NEUTRAL POSITIVE STRONGLY_POSITIVE"

TEST(the_built_in_prompt_is_the_file_in_prompts)
{
    prompt built_in, file;
    CHECK_OK(prompt_open(NULL, &built_in, &err), &err);
    CHECK_OK(prompt_open(SOURCE_DIR "/prompts/five-class.md", &file, &err), &err);
    CHECK_TEXT(file.version, built_in.version);
    CHECK_TEXT(file.text.at, built_in.text.at);
    CHECK_TEXT("Give the class of each of these tweets.", built_in.user.at);
    CHECK(strstr(built_in.system.at, "<!-- user -->") == NULL && strstr(built_in.system.at, "Give the class") == NULL);
    prompt_close(&built_in);
    prompt_close(&file);
}

TEST(a_prompts_version_is_its_bytes)
{
    prompt a, b;
    CHECK_OK(prompt_read("a", CLASSES, strlen(CLASSES), &a, &err), &err);
    CHECK_OK(prompt_read("b", CLASSES "\n", strlen(CLASSES) + 1, &b, &err), &err);
    CHECK(strcmp(a.version, b.version) != 0);
    CHECK_TEXT(a.system.at, b.system.at);
    prompt_close(&a);
    prompt_close(&b);
    CHECK_OK(prompt_read("c", CLASSES "\n<!-- user -->\r\nGo:\n", strlen(CLASSES) + 20, &a, &err), &err);
    CHECK_TEXT("Go:", a.user.at);
    CHECK_TEXT(CLASSES, a.system.at);
    prompt_close(&a);
}

TEST(prompts_that_can_not_work_are_refused)
{
    prompt p;
    CHECK_STATUS(FINCH_E_DATA, prompt_read("p", "", 0, &p, &err), &err);
    CHECK_STATUS(FINCH_E_DATA, prompt_read("p", "POSITIVE NEGATIVE", 17, &p, &err), &err);
    CHECK(strstr(err.message, "STRONGLY_NEGATIVE") != NULL);
    CHECK_STATUS(FINCH_E_DATA, prompt_read("p", CLASSES "\xFF", strlen(CLASSES) + 1, &p, &err), &err);
    CHECK_STATUS(FINCH_E_DATA, prompt_read("p", CLASSES "\0x", strlen(CLASSES) + 2, &p, &err), &err);
    CHECK_STATUS(FINCH_E_DATA, prompt_read("p", "<!-- user -->\n" CLASSES, strlen(CLASSES) + 14, &p, &err), &err);
    CHECK_STATUS(FINCH_E_NOT_FOUND, prompt_open("/nonexistent.md", &p, &err), &err);
    CHECK(p.text.at == NULL);
}

TEST(the_user_message_ends_with_the_numbered_texts)
{
    char first[] = "$AAPL \"up\" 5%\n\xE2\x82\xAC", second[] = "]}, {\"n\":3";
    labels_item items[] = {{.text = first, .text_bytes = sizeof first - 1},
                           {.text = second, .text_bytes = sizeof second - 1}};
    const labels_item *const list[] = {&items[0], &items[1]};
    prompt p;
    str body = {0};
    json_t *root, *texts;
    CHECK_OK(prompt_read("p", CLASSES, strlen(CLASSES), &p, &err), &err);
    request_options options = {.model = "m",
                               .words = &p,
                               .temperature = 0,
                               .format = FORMAT_SCHEMA,
                               .max_tokens = 99,
                               .logprobs = true,
                               .usage_cost = true};
    CHECK_OK(request_write(&options, list, 2, &body, &err), &err);
    CHECK_OK(json_parse(body.at, body.size, "body", &root, &err), &err);
    CHECK_TEXT("m", json_string_value(json_object_get(root, "model")));
    const json_t *messages = json_object_get(root, "messages");
    CHECK_TEXT(CLASSES, json_string_value(json_object_get(json_array_get(messages, 0), "content")));
    const char *user = json_string_value(json_object_get(json_array_get(messages, 1), "content"));
    const char *array = strstr(user, "\n\n[");
    CHECK(array != NULL);
    CHECK_OK(json_parse(array + 2, strlen(array + 2), "texts", &texts, &err), &err);
    CHECK_EQUAL(2, json_array_size(texts));
    CHECK_EQUAL(2, json_integer_value(json_object_get(json_array_get(texts, 1), "n")));
    CHECK_TEXT(first, json_string_value(json_object_get(json_array_get(texts, 0), "text")));
    CHECK_TEXT(second, json_string_value(json_object_get(json_array_get(texts, 1), "text")));
    const json_t *schema = json_object_get(json_object_get(json_object_get(root, "response_format"), "json_schema"),
                                           "schema");
    const json_t *item = json_object_get(json_object_get(json_object_get(schema, "properties"), "labels"), "items");
    CHECK_EQUAL(5, json_array_size(json_object_get(json_object_get(json_object_get(item, "properties"), "label"), "enum")));
    CHECK(json_is_false(json_object_get(schema, "additionalProperties")) &&
          json_is_false(json_object_get(item, "additionalProperties")));
    CHECK_EQUAL(99, json_integer_value(json_object_get(root, "max_tokens")));
    CHECK(json_is_true(json_object_get(json_object_get(root, "usage"), "include")) &&
          json_is_true(json_object_get(root, "logprobs")));
    json_decref(texts);
    json_decref(root);
    options = (request_options){.model = "m", .words = &p, .format = FORMAT_GUIDED};
    CHECK_OK(request_write(&options, list, 2, &body, &err), &err);
    CHECK_OK(json_parse(body.at, body.size, "body", &root, &err), &err);
    const json_t *guide = json_object_get(json_object_get(json_object_get(root, "response_format"), "schema"), "properties");
    guide = json_object_get(guide, "labels");
    CHECK_EQUAL(2, json_integer_value(json_object_get(guide, "maxItems")));
    guide = json_object_get(json_object_get(json_object_get(json_object_get(guide, "items"), "properties"), "n"), "enum");
    CHECK_EQUAL(2, json_array_size(guide));
    CHECK_EQUAL(2, json_integer_value(json_array_get(guide, 1)));
    json_decref(root);
    options = (request_options){.model = "m", .words = &p, .format = FORMAT_OBJECT};
    CHECK_OK(request_write(&options, list, 1, &body, &err), &err);
    CHECK_OK(json_parse(body.at, body.size, "body", &root, &err), &err);
    CHECK_TEXT("json_object", json_string_value(json_object_get(json_object_get(root, "response_format"), "type")));
    json_decref(root);
    options = (request_options){.model = "m", .words = &p};
    CHECK_OK(request_write(&options, list, 1, &body, &err), &err);
    CHECK_OK(json_parse(body.at, body.size, "body", &root, &err), &err);
    CHECK_EQUAL(3, json_object_size(root)); /* nothing that a strict server would stumble over */
    json_decref(root);
    str_free(&body);
    prompt_close(&p);
}
