/* Unfinished contents: parts in any order, taken up again, checked; and the cache's small files under faults. */
#include "base/file.h"
#include "data/hub_blob.h"
#include "harness.h"

#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

enum { SIZE = 200000, PART = 60000 };

#define COMMIT "0123456789012345678901234567890123456789"

static finch_error err;
static char content[SIZE];
/* Of the content that file_of makes, by Python's hashlib: ours is not asked about itself. */
static const char sha256[] = "e870fec3223bac8f6147b08b31e6e6e4bb9abd783820bcd212b7737af6a02174";
static const char git_id[] = "e14557067d44d346f33644e0deb839ce2cfa37ec";

static hub_file file_of(const char *sha)
{
    hub_file f = {.path = (char *)(uintptr_t) "sub/model.bin", .size = SIZE, .listed_size = SIZE};
    for (size_t i = 0; i < SIZE; i++) content[i] = (char)(i * 7 + i / 251);
    memcpy(f.oid, git_id, sizeof f.oid);
    if (sha != NULL) memcpy(f.sha256, sha, sizeof f.sha256);
    return f;
}

static hub_cache open_cache(void)
{
    hub_cache cache;
    CHECK_OK(hub_cache_open(harness_folder(), HUB_MODEL, "own/er", &cache, &err), &err);
    CHECK_OK(hub_cache_prepare(&cache, COMMIT, &err), &err);
    return cache;
}

static finch_status open_blob(const hub_cache *cache, const hub_file *file, hub_blob *blob)
{
    int lock = -1;
    CHECK_OK(hub_cache_lock(cache, hub_file_id(file), &lock, &err), &err);
    CHECK(lock >= 0);
    return hub_blob_open(cache, file, lock, PART, blob, &err);
}

static void fill(hub_blob *blob, size_t part, size_t size)
{
    const hub_part *p = &blob->parts[part];
    CHECK_OK(hub_blob_write(blob, part, content + p->begin + p->done, size, &err), &err);
}

static void fill_rest(hub_blob *blob)
{
    for (size_t i = blob->n_parts; i-- > 0;)
        fill(blob, i, (size_t)(blob->parts[i].end - blob->parts[i].begin - blob->parts[i].done));
}

static bool digest_is_good(hub_blob *blob)
{
    CHECK_EQUAL(blob->file->size, hub_blob_solid(blob));
    for (uint64_t end = 0; end <= blob->file->size; end += 10000) CHECK_OK(hub_blob_digest(blob, end, &err), &err);
    CHECK_EQUAL(blob->file->size, blob->hashed);
    return hub_blob_good(blob);
}

static void check_in_place(const hub_cache *cache, const hub_file *file)
{
    str path = {0};
    char *text;
    size_t size;
    bool good = false;
    CHECK_OK(hub_cache_link(cache, COMMIT, file, &err), &err);
    CHECK_OK(hub_cache_pointer(cache, COMMIT, file->path, &path, &err), &err);
    CHECK_OK(file_read(path.at, SIZE, &text, &size, &err), &err);
    CHECK(size == SIZE && memcmp(text, content, SIZE) == 0);
    CHECK_OK(hub_blob_check(path.at, file, true, &good, &err), &err);
    CHECK(good);
    mem_free(text);
    str_free(&path);
}

static void round_trip(const char *sha)
{
    hub_file file = file_of(sha);
    hub_cache cache = open_cache();
    hub_blob blob;
    CHECK_OK(open_blob(&cache, &file, &blob), &err);
    CHECK_EQUAL(4, blob.n_parts);
    CHECK(!hub_blob_complete(&blob));
    fill_rest(&blob);
    CHECK(hub_blob_complete(&blob));
    CHECK(digest_is_good(&blob));
    CHECK_OK(hub_blob_commit(&blob, &cache, &err), &err);
    hub_blob_close(&blob);
    check_in_place(&cache, &file);
    hub_cache_close(&cache);
}

TEST(parts_in_any_order_make_the_content)
{
    round_trip(sha256);
}

TEST(outside_lfs_the_id_is_gits)
{
    round_trip(NULL);
}

TEST(one_wrong_byte_is_seen)
{
    hub_file file = file_of(sha256);
    hub_cache cache = open_cache();
    hub_blob blob;
    CHECK_OK(open_blob(&cache, &file, &blob), &err);
    content[SIZE / 2] ^= 1;
    fill_rest(&blob);
    CHECK(!digest_is_good(&blob));
    content[SIZE / 2] ^= 1;
    CHECK_OK(hub_blob_restart(&blob, false, &err), &err);
    CHECK_EQUAL(0, hub_blob_done(&blob));
    fill_rest(&blob);
    CHECK(digest_is_good(&blob));
    hub_blob_close(&blob);
    hub_cache_close(&cache);
}

TEST(what_was_reached_is_taken_up)
{
    hub_file file = file_of(sha256);
    hub_cache cache = open_cache();
    hub_blob blob;
    CHECK_OK(open_blob(&cache, &file, &blob), &err);
    fill(&blob, 2, PART);
    fill(&blob, 0, 5);
    /* SIGKILL: a whole part is counted at once, one begun only every MiB. */
    blob.unsaved = false;
    hub_blob_close(&blob);
    CHECK_OK(open_blob(&cache, &file, &blob), &err);
    CHECK_EQUAL(PART, hub_blob_done(&blob));
    CHECK_EQUAL(PART, blob.parts[2].done);
    fill(&blob, 0, 7);
    hub_blob_close(&blob); /* any other end: all is counted */
    CHECK_OK(open_blob(&cache, &file, &blob), &err);
    CHECK_EQUAL(PART + 7, hub_blob_done(&blob));
    fill_rest(&blob);
    CHECK(digest_is_good(&blob));
    hub_blob_close(&blob);
    hub_cache_close(&cache);
}

static str unfinished(const hub_cache *cache)
{
    str path = {0};
    CHECK_OK(hub_cache_blob(cache, sha256, &path, &err), &err);
    CHECK_OK(str_add_text(&path, ".finch.incomplete", &err), &err);
    return path;
}

TEST(a_file_that_was_about_to_be_renamed_counts_as_whole)
{
    hub_file file = file_of(sha256);
    hub_cache cache = open_cache();
    str path = unfinished(&cache);
    hub_blob blob;
    CHECK_OK(file_write(path.at, content, SIZE, &err), &err);
    CHECK_OK(open_blob(&cache, &file, &blob), &err);
    CHECK(hub_blob_complete(&blob));
    CHECK(digest_is_good(&blob));
    hub_blob_close(&blob);
    str_free(&path);
    hub_cache_close(&cache);
}

TEST(an_unfinished_file_of_another_make_is_begun_anew)
{
    hub_file file = file_of(sha256);
    hub_cache cache = open_cache();
    str path = unfinished(&cache);
    hub_blob blob;
    static char other[SIZE + 100];
    memset(other, 'x', sizeof other);
    for (size_t size = 1; size < sizeof other; size += 49999) {
        CHECK_OK(file_write(path.at, other, size == SIZE ? size + 1 : size, &err), &err);
        CHECK_OK(open_blob(&cache, &file, &blob), &err);
        CHECK_EQUAL(0, hub_blob_done(&blob));
        fill_rest(&blob);
        CHECK(digest_is_good(&blob));
        hub_blob_close(&blob);
    }
    /* Right magic, impossible numbers. */
    static const uint64_t numbers[] = {0, 1, UINT64_MAX, PART};
    for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++) {
        memset(other, 0xFF, sizeof other);
        memcpy(other + SIZE, "finchpt1", 8);
        memcpy(other + SIZE + 8, &numbers[i], 8);
        CHECK_OK(file_write(path.at, other, sizeof other, &err), &err);
        CHECK_OK(open_blob(&cache, &file, &blob), &err);
        CHECK_EQUAL(0, hub_blob_done(&blob));
        hub_blob_close(&blob);
    }
    str_free(&path);
    hub_cache_close(&cache);
}

TEST(a_lock_is_one_holders)
{
    hub_cache cache = open_cache();
    int first, second;
    CHECK_OK(hub_cache_lock(&cache, sha256, &first, &err), &err);
    CHECK_OK(hub_cache_lock(&cache, sha256, &second, &err), &err);
    CHECK(first >= 0 && second == -1);
    close(first);
    CHECK_OK(hub_cache_lock(&cache, sha256, &second, &err), &err);
    CHECK(second >= 0);
    close(second);
    hub_cache_close(&cache);
}

static finch_status make_all(const hub_cache *cache, const hub_file *file)
{
    hub_blob blob;
    int lock = -1;
    FINCH_TRY(hub_cache_prepare(cache, COMMIT, &err));
    FINCH_TRY(hub_cache_lock(cache, hub_file_id(file), &lock, &err));
    FINCH_TRY(hub_blob_open(cache, file, lock, PART, &blob, &err));
    finch_status st = FINCH_OK;
    for (size_t i = 0; st == FINCH_OK && i < blob.n_parts; i++) {
        const hub_part *p = &blob.parts[i];
        st = hub_blob_write(&blob, i, content + p->begin + p->done, (size_t)(p->end - p->begin - p->done), &err);
    }
    if (st == FINCH_OK) st = hub_blob_digest(&blob, file->size, &err);
    if (st == FINCH_OK && !hub_blob_good(&blob)) st = FINCH_E_FAILED;
    if (st == FINCH_OK) st = hub_blob_commit(&blob, cache, &err);
    hub_blob_close(&blob);
    if (st == FINCH_OK) st = hub_cache_link(cache, COMMIT, file, &err);
    return st == FINCH_OK ? hub_cache_write_ref(cache, "main", COMMIT, &err) : st;
}

TEST(after_any_fault_the_next_run_ends_well)
{
    static const fault_kind kinds[] = {FAULT_ALLOC, FAULT_OPEN, FAULT_READ, FAULT_WRITE, FAULT_FSYNC, FAULT_RENAME};
    hub_file file = file_of(sha256);
    hub_cache cache;
    CHECK_OK(hub_cache_open(harness_folder(), HUB_MODEL, "own/er", &cache, &err), &err);
    for (size_t k = 0; k < sizeof kinds / sizeof kinds[0]; k++) {
        size_t n_faults = 0;
        for (int nth = 1; fault_arm(kinds[k], nth); nth++) {
            finch_status st = make_all(&cache, &file);
            bool struck = fault_disarm();
            CHECK(st == FINCH_OK || struck); /* a ref that can not be read is written anew: no failure */
            n_faults += st != FINCH_OK;
            CHECK_OK(make_all(&cache, &file), &err);
            check_in_place(&cache, &file);
            CHECK_OK(file_remove_tree(cache.folder.at, &err), &err);
            if (!struck) break;
        }
        CHECK(n_faults > 0);
    }
    hub_cache_close(&cache);
}

TEST(refs_are_read_without_network)
{
    hub_cache cache = open_cache();
    char commit[HUB_COMMIT_DIGITS + 1];
    bool found;
    CHECK_OK(hub_cache_read_ref(&cache, "main", commit, &found, &err), &err);
    CHECK(!found);
    CHECK_OK(hub_cache_write_ref(&cache, "refs/pr/1", COMMIT, &err), &err);
    CHECK_OK(hub_cache_read_ref(&cache, "refs/pr/1", commit, &found, &err), &err);
    CHECK(found);
    CHECK_TEXT(COMMIT, commit);
    str path = {0};
    CHECK_OK(str_add_format(&path, &err, "%s/refs/bad", cache.folder.at), &err);
    CHECK_OK(file_write(path.at, "../../x", 7, &err), &err);
    CHECK_STATUS(FINCH_E_DATA, hub_cache_read_ref(&cache, "bad", commit, &found, &err), &err);
    CHECK_OK(hub_cache_write_ref(&cache, "bad", COMMIT, &err), &err);
    CHECK_OK(hub_cache_read_ref(&cache, "bad", commit, &found, &err), &err);
    CHECK(found);
    str_free(&path);
    hub_cache_close(&cache);
}
