/* Patterns as Python's fnmatch reads them: tests/fixtures/hub/globs.json holds its answers (make_globs.py made it). */
#include "base/json.h"
#include "data/hub_glob.h"
#include "harness.h"

TEST(patterns_match_as_fnmatch_says)
{
    finch_error err = {0};
    json_t *cases;
    CHECK_OK(json_parse_file(FIXTURES "/hub/globs.json", &cases, &err), &err);
    CHECK(json_array_size(cases) > 1000);
    size_t n_matches = 0;
    for (size_t i = 0; i < json_array_size(cases); i++) {
        const json_t *one = json_array_get(cases, i);
        const char *pattern = json_string_value(json_array_get(one, 0)), *path = json_string_value(json_array_get(one, 1));
        bool want = json_is_true(json_array_get(one, 2)), have = hub_glob_match(pattern, path);
        if (want != have) printf("pattern %s, path %s: fnmatch says %d\n", pattern, path, want);
        CHECK(want == have);
        n_matches += want;
    }
    CHECK(n_matches > 250);
    json_decref(cases);
}

TEST(stars_take_no_time)
{
    char path[2001];
    memset(path, 'a', 2000);
    path[2000] = '\0';
    CHECK(!hub_glob_match("*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*b", path));
}

TEST(what_is_chosen)
{
    const char *const include[] = {"*.json", "sub/"}, *const exclude[] = {"sub/x*"};
    CHECK(hub_glob_chosen("a.json", include, 2, exclude, 1));
    CHECK(hub_glob_chosen("sub/y", include, 2, exclude, 1));
    CHECK(!hub_glob_chosen("sub/x.json", include, 2, exclude, 1));
    CHECK(!hub_glob_chosen("a.bin", include, 2, exclude, 1));
    CHECK(hub_glob_chosen("a.bin", NULL, 0, exclude, 1));
    CHECK(!hub_glob_chosen("sub/x", NULL, 0, exclude, 1));
}
