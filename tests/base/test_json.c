#include "harness.h"

#include "base/file.h"
#include "base/json.h"

static finch_status parse(const char *text, size_t size, json_t **out, finch_error *err)
{
    return json_parse(text, size, "config.json", out, err);
}

static void check_refused(const char *text, size_t size, const char *part)
{
    finch_error err;
    json_t *value = (json_t *)&err;
    CHECK_STATUS(FINCH_E_DATA, parse(text, size, &value, &err), &err);
    CHECK(value == NULL);
    CHECK(strstr(err.message, "config.json") != NULL);
    if (strstr(err.message, part) == NULL) fail_msg("\"%s\" does not say \"%s\"", err.message, part);
}

TEST(malformed_text_is_refused_with_its_place)
{
    check_refused("{\"a\": 1,\n \"b\": }", 16, "line 2");
    check_refused("{\"a\": 1", 7, "line 1");
    check_refused("", 0, "config.json");
    check_refused("{\"a\": 1, \"a\": 2}", 16, "duplicate");
    check_refused("{} {}", 5, "line 1");
    check_refused("{\"a\": \"\xFF\"}", 10, "byte 0xff");
    check_refused("{\"a\\u0000b\": 1}", 15, "NUL");
    check_refused("\0", 1, "line 1");
}

TEST(a_size_is_held_not_a_nul)
{
    finch_error err;
    json_t *value;
    CHECK_OK(parse("{}garbage", 2, &value, &err), &err);
    CHECK(json_is_object(value));
    json_decref(value);
}

TEST(depth_is_bounded)
{
    enum { DEPTH = 200000 };
    finch_error err;
    char *text;
    json_t *value;
    CHECK_OK(mem_alloc(DEPTH, 1, (void **)&text, &err), &err);
    memset(text, '[', DEPTH);
    CHECK_STATUS(FINCH_E_DATA, parse(text, DEPTH, &value, &err), &err);
    CHECK(strstr(err.message, "depth") != NULL);
    mem_free(text);
}

TEST(fields_have_their_type_or_are_refused_by_name)
{
    static const char text[] =
        "{\"n\": 3, \"x\": 1.5, \"t\": \"words\", \"b\": true, \"minus\": -1, \"nul\": \"a\\u0000b\", \"null\": null}";
    finch_error err;
    json_t *o;
    size_t n = 0;
    double x = 0;
    const char *t = NULL;
    bool b = false;
    CHECK_OK(parse(text, sizeof text - 1, &o, &err), &err);
    CHECK_OK(json_get_size(o, "f", "n", &n, &err), &err);
    CHECK_EQUAL(3, n);
    CHECK_OK(json_get_number(o, "f", "x", &x, &err), &err);
    CHECK_NEAR(1.5, x, 0);
    CHECK_OK(json_get_number(o, "f", "n", &x, &err), &err);
    CHECK_NEAR(3, x, 0);
    CHECK_OK(json_get_text(o, "f", "t", &t, &err), &err);
    CHECK_TEXT("words", t);
    CHECK_OK(json_get_bool(o, "f", "b", &b, &err), &err);
    CHECK(b);
    CHECK_STATUS(FINCH_E_DATA, json_get_size(o, "f", "minus", &n, &err), &err);
    CHECK_STATUS(FINCH_E_DATA, json_get_size(o, "f", "x", &n, &err), &err);
    CHECK_STATUS(FINCH_E_DATA, json_get_number(o, "f", "t", &x, &err), &err);
    CHECK_STATUS(FINCH_E_DATA, json_get_bool(o, "f", "n", &b, &err), &err);
    CHECK_STATUS(FINCH_E_DATA, json_get_text(o, "f", "n", &t, &err), &err);
    CHECK_STATUS(FINCH_E_DATA, json_get_text(o, "f", "nul", &t, &err), &err);
    CHECK_STATUS(FINCH_E_DATA, json_get_text(o, "model/config.json", "absent", &t, &err), &err);
    CHECK_TEXT("model/config.json: the field \"absent\" is missing", err.message);
    CHECK(json_has(o, "n") && !json_has(o, "null") && !json_has(o, "absent"));
    json_decref(o);
}

TEST(a_file_written_is_the_value_read)
{
    finch_error err;
    str path = {0};
    json_t *back;
    json_t *value = json_pack("{s:f, s:I, s:s}", "third", 1.0 / 3.0, "big", (json_int_t)INT64_MAX, "text",
                              "\xF0\x9F\x93\x88 \"$AAPL\"\n");
    CHECK_OK(file_join(harness_folder(), "value.json", &path, &err), &err);
    CHECK_OK(json_write_file(path.at, value, &err), &err);
    CHECK_OK(json_parse_file(path.at, &back, &err), &err);
    CHECK(json_equal(value, back));
    json_decref(back);
    for (fault_kind kind = FAULT_OPEN; kind <= FAULT_RENAME; kind++) {
        if (kind == FAULT_READ) continue;
        fault_arm(kind, 1);
        CHECK(json_write_file(path.at, value, &err) != FINCH_OK);
        CHECK(fault_disarm());
    }
    json_decref(value);
    str_free(&path);
}
