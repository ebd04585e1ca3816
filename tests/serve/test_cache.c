/* The cache of results. */
#include "harness.h"

#include "serve/cache.h"

static finch_error err;

static finch_text text_of(const char *at) { return (finch_text){at, strlen(at)}; }

TEST(what_was_put_is_found_for_its_model_alone)
{
    cache *c;
    float in[3] = {1, 2, 3}, out[3] = {0};
    cache_info info = {.n_tokens = 7, .truncated = true};
    CHECK_OK(cache_create(1, (siphash_key){{1, 2}}, &c, &err), &err); /* one set: all texts meet in it */
    CHECK(!cache_get(c, 1, text_of("a"), out, 3, &info));
    cache_put(c, 1, text_of("a"), in, 3, info);
    info = (cache_info){0};
    CHECK(cache_get(c, 1, text_of("a"), out, 3, &info));
    CHECK(memcmp(in, out, sizeof in) == 0 && info.n_tokens == 7 && info.truncated);
    CHECK(!cache_get(c, 2, text_of("a"), out, 3, &info));
    CHECK(!cache_get(c, 1, text_of("b"), out, 3, &info));
    CHECK(!cache_get(c, 1, text_of(""), out, 3, &info));
    CHECK_EQUAL(1, cache_used(c));
    cache_put(c, 1, text_of("a"), in, 3, info);
    CHECK_EQUAL(1, cache_used(c));
    cache_destroy(c);
}

TEST(the_one_not_used_the_longest_gives_way)
{
    cache *c;
    float value[1] = {1};
    cache_info info = {0};
    char name[16];
    CHECK_OK(cache_create(1, (siphash_key){{1, 2}}, &c, &err), &err); /* one set of eight */
    for (int i = 0; i < 8; i++) {
        snprintf(name, sizeof name, "t%d", i);
        cache_put(c, 1, text_of(name), value, 1, info);
    }
    CHECK(cache_get(c, 1, text_of("t0"), value, 1, &info));
    cache_put(c, 1, text_of("new"), value, 1, info);
    CHECK(cache_get(c, 1, text_of("t0"), value, 1, &info));
    CHECK(cache_get(c, 1, text_of("new"), value, 1, &info));
    CHECK(!cache_get(c, 1, text_of("t1"), value, 1, &info));
    CHECK_EQUAL(8, cache_used(c));
    cache_destroy(c);
}

TEST(too_many_labels_are_never_held)
{
    cache *c;
    float values[CACHE_LABELS_MAX + 1] = {0};
    cache_info info = {0};
    CHECK_OK(cache_create(8, (siphash_key){{1, 2}}, &c, &err), &err);
    cache_put(c, 1, text_of("a"), values, CACHE_LABELS_MAX + 1, info);
    CHECK(!cache_get(c, 1, text_of("a"), values, CACHE_LABELS_MAX + 1, &info));
    CHECK_EQUAL(0, cache_used(c));
    cache_destroy(c);
}
