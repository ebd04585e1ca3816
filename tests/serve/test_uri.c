/* Targets: what reaches a handler, and what never does. */
#include "harness.h"

#include "serve/uri.h"

static finch_error err;
static arena memory;

static finch_status parse(const char *target, uri *out) { return uri_parse(target, strlen(target), &memory, out, &err); }

TEST(segments_and_parameters_are_decoded)
{
    uri u;
    arena_init(&memory);
    CHECK_OK(parse("/a%20b/%E2%82%AC?x=1+2&y=%26&x=3&&flag&=v", &u), &err);
    CHECK_EQUAL(2, u.n_segments);
    CHECK_TEXT("a b", u.segments[0]);
    CHECK_TEXT("\xE2\x82\xAC", u.segments[1]);
    CHECK_EQUAL(5, u.n_parameters);
    CHECK_TEXT("3", uri_get(&u, "x")); /* the last one */
    CHECK_TEXT("&", uri_get(&u, "y"));
    CHECK_TEXT("", uri_get(&u, "flag"));
    CHECK_TEXT("v", uri_get(&u, ""));
    CHECK(uri_get(&u, "z") == NULL);
    CHECK_TEXT("1 2", u.parameters[0].value);
    arena_free(&memory);
}

TEST(slashes_count)
{
    uri u;
    arena_init(&memory);
    CHECK_OK(parse("/", &u), &err);
    CHECK_EQUAL(0, u.n_segments);
    CHECK_OK(parse("/a/", &u), &err);
    CHECK_EQUAL(2, u.n_segments);
    CHECK_TEXT("", u.segments[1]);
    CHECK_OK(parse("/a%2Fb", &u), &err); /* one segment that holds a slash */
    CHECK_EQUAL(1, u.n_segments);
    CHECK_TEXT("a/b", u.segments[0]);
    arena_free(&memory);
}

TEST(hostile_targets_are_refused)
{
    static const char *const bad[] = {"",        "x",
                                      "*",       "/%",
                                      "/%1",     "/%gg",
                                      "/%00",    "/a%0d%0ab",
                                      "/%ff",    "/%c0%af",
                                      "//a",     "/a//b",
                                      "/./a",    "/a/..",
                                      "/%2E",    "/%2e%2e/%2e",
                                      "/?a=%",   "/?%00=1",
                                      "/?a=%ff", "/%7f",
                                      "/\x01",   "/a/b/c/d/e/f/g/h/i/j/k/l/m/n/o/p/q"};
    uri u;
    arena_init(&memory);
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) CHECK_STATUS(FINCH_E_USAGE, parse(bad[i], &u), &err);
    char many[400] = "/?";
    for (size_t i = 0; i < URI_PARAMETERS_MAX + 1; i++) strcat(many, "a=1&");
    CHECK_STATUS(FINCH_E_USAGE, parse(many, &u), &err);
    arena_free(&memory);
}

TEST(only_the_given_bytes_are_read)
{
    uri u;
    arena_init(&memory);
    CHECK_OK(uri_parse("/ab%41?c=d", 3, &memory, &u, &err), &err);
    CHECK_TEXT("ab", u.segments[0]);
    CHECK_STATUS(FINCH_E_USAGE, uri_parse("/ab%41", 5, &memory, &u, &err), &err);
    arena_free(&memory);
}
