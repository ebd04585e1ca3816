/* Lists of files: the Hub's pages, and the form that huggingface_hub keeps. */
#include "data/hub_list.h"
#include "harness.h"

#define OID "0123456789012345678901234567890123456789"
#define SHA "0123456789012345678901234567890123456789012345678901234567890123"

static finch_error err;

static finch_status add(hub_list *list, const char *json) { return hub_list_add_page(list, json, strlen(json), NULL, &err); }

TEST(pages_become_one_sorted_list)
{
    hub_list list = {0};
    size_t n = 0;
    const char *page = "[{\"type\":\"file\",\"path\":\"b/x\",\"size\":3,\"oid\":\"" OID "\",\"more\":[]},"
                       "{\"type\":\"directory\",\"path\":\"b\",\"size\":0,\"oid\":\"x\"}]";
    CHECK_OK(hub_list_add_page(&list, page, strlen(page), &n, &err), &err);
    CHECK_EQUAL(1, n);
    CHECK_OK(add(&list, "[{\"type\":\"file\",\"path\":\"a\",\"size\":130,\"oid\":\"" OID "\",\"xetHash\":\"" SHA "\","
                        "\"lfs\":{\"oid\":\"" SHA "\",\"size\":7,\"pointerSize\":130}}]"),
             &err);
    CHECK_OK(hub_list_finish(&list, &err), &err);
    CHECK_EQUAL(2, list.n);
    CHECK_TEXT("a", list.files[0].path);
    CHECK_EQUAL(7, list.files[0].size);
    CHECK_EQUAL(130, list.files[0].listed_size);
    CHECK_TEXT(SHA, hub_file_id(&list.files[0]));
    CHECK_TEXT(OID, hub_file_id(&list.files[1]));
    hub_list_free(&list);
}

TEST(what_is_no_list_is_the_servers_fault)
{
    static const char *const wrong[] = {
        "",
        "{}",
        "[1]",
        "[{\"type\":\"file\"}]",
        "[{\"type\":\"file\",\"path\":\"\",\"size\":1,\"oid\":\"" OID "\"}]",
        "[{\"type\":\"file\",\"path\":\"a\\u0000b\",\"size\":1,\"oid\":\"" OID "\"}]",
        "[{\"type\":\"file\",\"path\":\"a\",\"size\":-1,\"oid\":\"" OID "\"}]",
        "[{\"type\":\"file\",\"path\":\"a\",\"size\":1.0,\"oid\":\"" OID "\"}]",
        "[{\"type\":\"file\",\"path\":\"a\",\"size\":1,\"oid\":\"" OID "0\"}]",
        "[{\"type\":\"file\",\"path\":\"a\",\"size\":1,\"oid\":\"../" OID "\"}]",
        "[{\"type\":\"file\",\"path\":\"a\",\"size\":1,\"oid\":\"" OID "\",\"lfs\":{}}]",
        "[{\"type\":\"file\",\"path\":\"a\",\"size\":1,\"oid\":\"" OID "\",\"lfs\":{\"oid\":\"" SHA "\",\"size\":-1}}]",
    };
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        hub_list list = {0};
        CHECK_STATUS(FINCH_E_REMOTE, add(&list, wrong[i]), &err);
        hub_list_free(&list);
    }
}

static finch_status names(const char *const *paths, size_t n)
{
    hub_list list = {0};
    char page[400];
    for (size_t i = 0; i < n; i++) {
        snprintf(page, sizeof page, "[{\"type\":\"file\",\"path\":\"%s\",\"size\":1,\"oid\":\"" OID "\"}]", paths[i]);
        CHECK_OK(add(&list, page), &err);
    }
    finch_status st = hub_list_finish(&list, &err);
    hub_list_free(&list);
    return st;
}

TEST(names_that_can_not_all_exist_are_refused)
{
    CHECK_OK(names((const char *const[]){"a", "a-", "a.b", "b/a", "b/a-/c", "b.a"}, 6), &err);
    CHECK_EQUAL(FINCH_E_REMOTE, names((const char *const[]){"b", "a", "b"}, 3));
    CHECK_EQUAL(FINCH_E_REMOTE, names((const char *const[]){"a/b", "a!", "a-", "a"}, 4));
    CHECK_EQUAL(FINCH_E_REMOTE, names((const char *const[]){"a/b/c/d", "x", "a/b"}, 3));
    CHECK_EQUAL(FINCH_E_REMOTE, names((const char *const[]){"a/b", "a/b/c", "a/bb"}, 3));
}

TEST(the_kept_form_is_pythons)
{
    /* json.dump(..., indent=1) of huggingface_hub 2.4 for the same two files. */
    static const char want[] = "{\n \"format_version\": 1,\n \"files\": {\n"
                               "  \"a\\\"\\\\\\u00e9\\ud83d\\ude00/b\": {\n   \"size\": 9,\n   \"blob_id\": \"" OID
                               "\"\n  },\n"
                               "  \"b\": {\n   \"size\": 130,\n   \"blob_id\": \"" OID "\",\n   \"lfs_sha256\": \"" SHA
                               "\",\n"
                               "   \"lfs_size\": 7,\n   \"xet_hash\": \"" SHA "\"\n  }\n }\n}";
    hub_list list = {0}, again = {0};
    str text = {0}, second = {0};
    CHECK_OK(add(&list,
                 "[{\"type\":\"file\",\"path\":\"a\\\"\\\\\xc3\xa9\xf0\x9f\x98\x80/b\",\"size\":9,\"oid\":\"" OID "\"},"
                 "{\"type\":\"file\",\"path\":\"b\",\"size\":130,\"oid\":\"" OID "\",\"xetHash\":\"" SHA "\","
                 "\"lfs\":{\"oid\":\"" SHA "\",\"size\":7}}]"),
             &err);
    CHECK_OK(hub_list_finish(&list, &err), &err);
    CHECK_OK(hub_list_write(&list, &text, &err), &err);
    CHECK_TEXT(want, text.at);
    CHECK_OK(hub_list_read(&again, text.at, text.size, "t", &err), &err);
    CHECK_OK(hub_list_write(&again, &second, &err), &err);
    CHECK_TEXT(want, second.at);
    hub_list_free(&list);
    hub_list_free(&again);
    str_clear(&text);
    CHECK_OK(hub_list_write(&list, &text, &err), &err);
    CHECK_TEXT("{\n \"format_version\": 1,\n \"files\": {}\n}", text.at);
    str_free(&text);
    str_free(&second);
}

TEST(a_kept_list_of_another_version_or_with_holes_is_not_read)
{
    static const char *const wrong[] = {
        "{\"format_version\":2,\"files\":{}}",
        "{\"format_version\":1}",
        "[]",
        "{\"format_version\":1,\"files\":{\"a\":{\"size\":1}}}",
        "{\"format_version\":1,\"files\":{\"a\":{\"size\":1,\"blob_id\":\"" OID "\",\"xet_hash\":\"x\"}}}",
        "{\"format_version\":1,\"files\":{\"a\":{\"size\":1,\"blob_id\":\"" OID "\",\"lfs_sha256\":\"" SHA "\"}}}"};
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        hub_list list = {0};
        CHECK_STATUS(FINCH_E_DATA, hub_list_read(&list, wrong[i], strlen(wrong[i]), "t", &err), &err);
        hub_list_free(&list);
    }
}
