/* The validator, on the schemas the server has. */
#include "harness.h"

#include "serve/schema.h"

static finch_error err;
static schema_set *set;

static void begin(void)
{
    serve_limits limits = {.max_text_chars = 5, .max_batch = 3};
    CHECK_OK(schema_set_create(&limits, &set, &err), &err);
}

static void end(void)
{
    schema_set_destroy(set);
    set = NULL;
}

/* The errors of a body, as "type at loc;..." */
static void errors_of(const char *schema, const char *body, char *out, size_t size)
{
    json_t *value = NULL, *errors = json_array(), *one;
    size_t i, used = 0;
    out[0] = '\0';
    CHECK_OK(json_parse(body, strlen(body), "body", &value, &err), &err);
    CHECK_OK(schema_check(set, schema, value, "body", errors, &err), &err);
    json_array_foreach(errors, i, one)
    {
        char *loc = json_dumps(json_object_get(one, "loc"), JSON_COMPACT);
        used += (size_t)snprintf(out + used, size - used, "%s at %s;", json_string_value(json_object_get(one, "type")), loc);
        free(loc);
    }
    json_decref(value);
    json_decref(errors);
}

static void check_errors(const char *schema, const char *body, const char *wanted)
{
    char found[2000];
    errors_of(schema, body, found, sizeof found);
    CHECK_TEXT(wanted, found);
}

TEST(good_bodies_have_no_errors)
{
    begin();
    check_errors("PredictRequest", "{\"text\":\"abcde\"}", "");
    check_errors("PredictRequest",
                 "{\"texts\":[\"a\",\"\",\"\\u00e9\\u00e9\\u00e9\\u00e9\\u00e9\"],\"explain\":\"occlusion\"}", "");
    check_errors("TeiRequest", "{\"inputs\":[[\"a\"],[\"b\"]],\"anything\":1}", "");
    check_errors("Any", "[1,{\"a\":null}]", "");
    end();
}

TEST(every_kind_of_error_has_its_place)
{
    begin();
    check_errors("PredictRequest", "{\"text\":\"abcdef\"}", "string_too_long at [\"body\",\"text\"];");
    check_errors("PredictRequest", "{\"texts\":[\"a\",\"b\",\"c\",\"d\"]}", "too_long at [\"body\",\"texts\"];");
    check_errors("PredictRequest", "{\"texts\":[\"a\",2]}", "string_type at [\"body\",\"texts\",1];");
    check_errors("PredictRequest", "{\"texts\":[]}", "too_short at [\"body\",\"texts\"];");
    check_errors("PredictRequest", "{\"text\":\"a\",\"texts\":[\"a\"]}", "value_error at [\"body\"];");
    check_errors("PredictRequest", "{\"text\":\"a\",\"b\":1}", "extra_forbidden at [\"body\",\"b\"];");
    check_errors("PredictRequest", "{\"text\":\"a\",\"explain\":2}", "value_error at [\"body\",\"explain\"];");
    check_errors("TeiRequest", "{}", "missing at [\"body\",\"inputs\"];");
    check_errors("TeiRequest", "{\"inputs\":\"a\",\"parameters\":{\"top_k\":0}}",
                 "greater_than_equal at [\"body\",\"parameters\",\"top_k\"];");
    check_errors("TeiRequest", "{\"inputs\":\"a\",\"parameters\":{\"function_to_apply\":\"x\"}}",
                 "enum at [\"body\",\"parameters\",\"function_to_apply\"];");
    end();
}

TEST(errors_do_not_repeat_what_came)
{
    begin();
    json_t *value = json_pack("{s:s}", "text", "secret"), *errors = json_array();
    CHECK_OK(schema_check(set, "PredictRequest", value, "body", errors, &err), &err);
    char *text = json_dumps(errors, 0);
    CHECK(strstr(text, "secret") == NULL);
    CHECK(strstr(text, "--max-text-chars") != NULL);
    free(text);
    json_decref(value);
    json_decref(errors);
    end();
}

TEST(queries_are_read_as_their_type)
{
    begin();
    static const char *const cases[][3] = {{"Label", "x", ""}, {"Text", "abcdef", "string_too_long"}};
    for (size_t i = 0; i < 2; i++) {
        json_t *errors = json_array();
        CHECK_OK(schema_check_text(set, cases[i][0], cases[i][1], "p", errors, &err), &err);
        CHECK_EQUAL(cases[i][2][0] != '\0', json_array_size(errors));
        json_decref(errors);
    }
    end();
}

TEST(failing_allocations_are_statuses)
{
    for (int nth = 1; fault_arm(FAULT_ALLOC, nth); nth++) {
        serve_limits limits = {.max_text_chars = 5, .max_batch = 3};
        finch_status st = schema_set_create(&limits, &set, &err);
        bool happened = fault_disarm();
        if (st == FINCH_OK) end();
        else CHECK_EQUAL(FINCH_E_MEMORY, st);
        if (!happened) return;
    }
}
