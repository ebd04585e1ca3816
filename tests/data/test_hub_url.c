/* Names of repositories, revisions and files, and the addresses made of them. */
#include "data/hub_url.h"
#include "harness.h"

TEST(names_of_repositories)
{
    static const char *const good[] = {"gpt2",  "ProsusAI/finbert",  "google/gemma-3-12b-it", "a/b",
                                       "a_/_b", "Foo-BAR_foo.bar123"};
    static const char *const wrong[] = {"",     "/",     "a/",    "/a",    "a/b/c", ".a",   "a.",         "a/-b", "a--b",
                                        "a..b", "a.git", "a b/c", "a/b\n", "..",    "a/..", "\xc3\xa9/b", "a@b",  "-a/b"};
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) CHECK(hub_repo_valid(good[i]));
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        finch_error err = {0};
        CHECK(!hub_repo_valid(wrong[i]));
        CHECK_STATUS(FINCH_E_USAGE, hub_repo_check(wrong[i], &err), &err);
    }
    char longest[98];
    memset(longest, 'a', 97);
    longest[97] = '\0';
    CHECK(!hub_repo_valid(longest));
    longest[96] = '\0';
    CHECK(hub_repo_valid(longest));
}

TEST(revisions)
{
    static const char *const good[] = {"main", "v1.0", "refs/pr/12", "feature/x-y", "0123abc"};
    static const char *const wrong[] = {"",   "/x",  "x/", "x//y", "..", "a/../b", "a b", "a~1",
                                        "a^", "a:b", "a?", "a*",   "a[", "a\\b",   "a\n", "./a"};
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) CHECK_OK(hub_revision_check(good[i], NULL), NULL);
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++)
        CHECK_EQUAL(FINCH_E_USAGE, hub_revision_check(wrong[i], NULL));
    CHECK(hub_is_commit("0123456789012345678901234567890123456789"));
    CHECK(!hub_is_commit("012345678901234567890123456789012345678"));
    CHECK(!hub_is_commit("0123456789012345678901234567890123456789a"));
    CHECK(!hub_is_commit("A123456789012345678901234567890123456789"));
}

TEST(paths_that_may_be_written)
{
    static const char *const good[] = {"a", "a/b.c", ".gitattributes", "...", "a/..b", "a b", "\xc3\xa9", "a\\b", "ab:c"};
    static const char *const wrong[] = {"",         "/a",    "a/",  "a//b",  ".",  "..",  "a/.",   "a/..", "../a",
                                        "a\\..\\b", "..\\a", "\\a", "a/\\b", "c:", "c:a", "a/c:b", "a\tb", "a\x7f"};
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) CHECK(hub_path_safe(good[i], NULL));
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        const char *why = NULL;
        CHECK(!hub_path_safe(wrong[i], &why));
        CHECK(why != NULL);
    }
}

TEST(addresses)
{
    finch_error err = {0};
    str url = {0};
    CHECK_OK(hub_url_file("http://h", HUB_DATASET, "a/b", "c0", "d e/\xc3\xa9%?#+~.x", &url, &err), &err);
    CHECK_TEXT("http://h/datasets/a/b/resolve/c0/d%20e/%C3%A9%25%3F%23%2B~.x", url.at);
    str_clear(&url);
    CHECK_OK(hub_url_info("http://h", HUB_MODEL, "a/b", "refs/pr/1", &url, &err), &err);
    CHECK_TEXT("http://h/api/models/a/b/revision/refs%2Fpr%2F1", url.at);
    str_clear(&url);
    CHECK_OK(hub_url_tree("http://h", HUB_DATASET, "a/b", "c0", &url, &err), &err);
    CHECK_TEXT("http://h/api/datasets/a/b/tree/c0?recursive=true&expand=false", url.at);
    str_free(&url);
}

static const char *joined(const char *base, const char *location)
{
    static char out[256];
    str url = {0};
    finch_error err = {0};
    finch_status st = hub_url_join(base, location, &url, &err);
    CHECK(st == FINCH_OK || st == FINCH_E_REMOTE);
    snprintf(out, sizeof out, "%s", st == FINCH_OK ? url.at : "refused");
    str_free(&url);
    return out;
}

TEST(where_a_redirect_leads)
{
    CHECK_TEXT("https://h/x/b?c=1", joined("https://h/x/a", "b?c=1"));
    CHECK_TEXT("https://h/b", joined("https://h/x/a", "/b"));
    CHECK_TEXT("https://o/b", joined("https://h/x/a", "//o/b"));
    CHECK_TEXT("https://o/b", joined("http://h/x/a", "https://o/b"));
    CHECK_TEXT("refused", joined("https://h/x/a", "http://h/b"));
    CHECK_TEXT("refused", joined("https://h/x/a", "file:///etc/passwd"));
    CHECK_TEXT("refused", joined("https://h/x/a", "ftp://h/b"));
    CHECK_TEXT("refused", joined("https://h/x/a", "https://user:pass@h/b"));
    CHECK_TEXT("refused", joined("https://h/x/a", "https://"));
}

TEST(the_origin_is_scheme_host_and_port)
{
    CHECK(hub_url_same_origin("https://h/a", "https://H:443/b?c"));
    CHECK(hub_url_same_origin("http://h:80", "http://h/"));
    CHECK(!hub_url_same_origin("https://h", "http://h"));
    CHECK(!hub_url_same_origin("https://h", "https://h:8443"));
    CHECK(!hub_url_same_origin("https://h", "https://h.evil"));
    CHECK(!hub_url_same_origin("https://h", "https://evil/h"));
    CHECK(!hub_url_same_origin("https://h", "https://h@evil/"));
    CHECK(!hub_url_same_origin("https://h", "nothing at all"));
}

TEST(addresses_in_messages_have_no_query)
{
    str shown = {0};
    CHECK_OK(hub_url_shown("https://h/a\x1b[2J?X-Amz-Signature=secret", &shown, NULL), NULL);
    CHECK_TEXT("https://h/a?[2J", shown.at);
    str_free(&shown);
}
