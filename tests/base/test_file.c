#include "harness.h"

#include "base/file.h"

#include <dirent.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/stat.h>
#include <unistd.h>

static void path_of(const char *name, str *out)
{
    finch_error err;
    CHECK_OK(file_join(harness_folder(), name, out, &err), &err);
}

static void check_content(const char *path, const char *want)
{
    finch_error err;
    char *text;
    size_t size;
    CHECK_OK(file_read(path, 1 << 20, &text, &size, &err), &err);
    CHECK_EQUAL(strlen(want), size);
    CHECK_TEXT(want, text);
    mem_free(text);
}

static size_t entries(const char *folder)
{
    size_t n = 0;
    DIR *dir = opendir(folder);
    CHECK(dir != NULL);
    for (struct dirent *entry; (entry = readdir(dir)) != NULL;) n += entry->d_name[0] != '.';
    closedir(dir);
    return n;
}

/* Walks every fault of a kind through one write over an existing file: each fails, and the old file stays alone. */
static void check_faults(fault_kind kind, const char *path)
{
    finch_error err;
    int failed = 0;
    for (int nth = 1; fault_arm(kind, nth); nth++) {
        finch_status st = file_write(path, "new", 3, &err);
        if (!fault_disarm()) {
            CHECK_OK(st, &err);
            break;
        }
        failed++;
        CHECK(st != FINCH_OK);
        CHECK(err.message[0] != '\0');
        if (kind != FAULT_FSYNC || nth == 1)
            check_content(path, "old"); /* the second flush is the folder's, after the rename */
        CHECK_EQUAL(1, entries(harness_folder()));
        CHECK_OK(file_write(path, "old", 3, &err), &err);
    }
    CHECK(failed > 0);
    check_content(path, "new");
    CHECK_OK(file_write(path, "old", 3, &err), &err);
}

TEST(an_output_is_whole_or_the_old_one_under_every_fault)
{
    str path = {0};
    finch_error err;
    path_of("output", &path);
    CHECK_OK(file_write(path.at, "old", 3, &err), &err);
    static const fault_kind kinds[] = {FAULT_ALLOC, FAULT_OPEN, FAULT_WRITE, FAULT_FSYNC, FAULT_RENAME};
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++) check_faults(kinds[i], path.at);
    str_free(&path);
}

TEST(nothing_is_at_the_path_before_commit_nor_after_abort)
{
    str path = {0};
    finch_error err;
    file_writer writer;
    path_of("output", &path);
    CHECK_OK(file_writer_open(path.at, &writer, &err), &err);
    CHECK_OK(file_writer_write(&writer, "half", 4, &err), &err);
    CHECK(!file_exists(path.at));
    file_writer_abort(&writer);
    file_writer_abort(&writer);
    CHECK_EQUAL(0, entries(harness_folder()));
    CHECK_OK(file_writer_open(path.at, &writer, &err), &err);
    CHECK_OK(file_writer_write(&writer, "who", 3, &err), &err);
    CHECK_OK(file_writer_write(&writer, "le", 2, &err), &err);
    CHECK_EQUAL(5, writer.size_bytes);
    CHECK_OK(file_writer_commit(&writer, &err), &err);
    file_writer_abort(&writer);
    check_content(path.at, "whole");
    str_free(&path);
}

TEST(an_output_is_never_put_over_what_is_no_file)
{
    str path = {0}, beside = {0};
    finch_error err;
    path_of("pipe", &path);
    path_of("beside", &beside);
    CHECK_EQUAL(0, mkfifo(path.at, 0600));
    CHECK_OK(file_write(beside.at, "x", 1, &err), &err);
    CHECK_STATUS(FINCH_E_USAGE, file_write(path.at, "x", 1, &err), &err);
    CHECK_STATUS(FINCH_E_USAGE, file_replace(beside.at, path.at, &err), &err);
    CHECK_STATUS(FINCH_E_USAGE, file_check_output("/dev/null", &err), &err);
    CHECK_STATUS(FINCH_E_USAGE, file_check_output(harness_folder(), &err), &err);
    CHECK(strstr(err.message, "a folder") != NULL);
    CHECK_STATUS(FINCH_E_USAGE, file_check_output("", &err), &err);
    CHECK_EQUAL(2, entries(harness_folder()));
    str_free(&path);
    str_free(&beside);
}

/* The name beside an output can be guessed: a link planted there must not be written through. */
TEST(a_planted_link_is_replaced_not_followed)
{
    str path = {0}, victim = {0}, planted = {0};
    finch_error err;
    path_of("output", &path);
    path_of("victim", &victim);
    CHECK_OK(file_write(victim.at, "safe", 4, &err), &err);
    CHECK_OK(str_add_format(&planted, &err, "%s.part-%ld", path.at, (long)getpid()), &err);
    CHECK_EQUAL(0, symlink("victim", planted.at));
    CHECK_OK(file_write(path.at, "mine", 4, &err), &err);
    check_content(victim.at, "safe");
    check_content(path.at, "mine");
    str_free(&path);
    str_free(&victim);
    str_free(&planted);
}

TEST(what_can_not_be_opened_says_why)
{
    finch_error err;
    char *text = (char *)&err;
    size_t size = 9;
    file_map map;
    CHECK_STATUS(FINCH_E_NOT_FOUND, file_read("no/such/file", 10, &text, &size, &err), &err);
    CHECK(text == NULL && size == 0);
    CHECK(strstr(err.message, "no/such/file") != NULL);
    CHECK_STATUS(FINCH_E_DATA, file_read(harness_folder(), 10, &text, &size, &err), &err);
    CHECK_STATUS(FINCH_E_DATA, file_map_open(harness_folder(), &map, &err), &err);
    CHECK(map.content.at == NULL);
    CHECK_STATUS(FINCH_E_NOT_FOUND, file_map_open("no/such/file", &map, &err), &err);
    CHECK_STATUS(FINCH_E_NOT_FOUND, file_write("no/such/folder/file", "x", 1, &err), &err);
    file_map_close(&map);
}

TEST(reading_is_bounded_and_faults_leak_nothing)
{
    str path = {0};
    finch_error err;
    char *text;
    size_t size;
    path_of("ten", &path);
    CHECK_OK(file_write(path.at, "0123456789", 10, &err), &err);
    CHECK_STATUS(FINCH_E_DATA, file_read(path.at, 9, &text, &size, &err), &err);
    CHECK_OK(file_read(path.at, 10, &text, &size, &err), &err);
    CHECK_EQUAL(10, size);
    CHECK_EQUAL('\0', text[10]);
    mem_free(text);
    for (fault_kind kind = FAULT_ALLOC; kind <= FAULT_READ; kind++) {
        fault_arm(kind, 1);
        CHECK(file_read(path.at, 10, &text, &size, &err) != FINCH_OK);
        CHECK(fault_disarm());
        CHECK(text == NULL && size == 0);
    }
    str_free(&path);
}

TEST(a_mapping_has_the_files_bytes)
{
    str path = {0};
    finch_error err;
    file_map map;
    path_of("mapped", &path);
    CHECK_OK(file_write(path.at, "ab\0c", 4, &err), &err);
    CHECK_OK(file_map_open(path.at, &map, &err), &err);
    CHECK_EQUAL(4, map.content.size);
    CHECK(memcmp(map.content.at, "ab\0c", 4) == 0);
    file_map_close(&map);
    file_map_close(&map);
    CHECK_OK(file_write(path.at, "", 0, &err), &err);
    CHECK_OK(file_map_open(path.at, &map, &err), &err);
    CHECK_EQUAL(0, map.content.size);
    file_map_close(&map);
    str_free(&path);
}

TEST(folders_are_made_with_their_parents_and_removed_with_their_content)
{
    str path = {0}, inner = {0};
    finch_error err;
    path_of("a//b/c/", &path);
    CHECK_OK(file_make_directories(path.at, &err), &err);
    CHECK_OK(file_make_directories(path.at, &err), &err);
    CHECK(file_is_directory(path.at));
    path_of("a/b/file", &inner);
    CHECK_OK(file_write(inner.at, "x", 1, &err), &err);
    path_of("a/b/file/below", &path);
    CHECK(file_make_directories(path.at, &err) != FINCH_OK);
    path_of("outside", &inner);
    CHECK_OK(file_write(inner.at, "kept", 4, &err), &err);
    path_of("a/link", &path);
    CHECK_EQUAL(0, symlink("../outside", path.at));
    path_of("a", &path);
    CHECK_OK(file_remove_tree(path.at, &err), &err);
    CHECK(!file_exists(path.at));
    check_content(inner.at, "kept"); /* a link is removed, not what it names */
    CHECK_OK(file_remove_tree(path.at, &err), &err);
    str_free(&path);
    str_free(&inner);
}

/* ---- a folder in place of a folder ---- */

typedef struct watching {
    char path[512];
    atomic_bool ended;
    size_t n_there, n_missing;
} watching;

static void *watch_folder(void *context)
{
    watching *w = context;
    while (!atomic_load(&w->ended)) {
        if (file_exists(w->path)) w->n_there++;
        else w->n_missing++;
    }
    return NULL;
}

/* A folder of this name with one file, the round's number in it. */
static void make_folder(const char *name, int round, str *out)
{
    str file = {0};
    char text[16];
    finch_error err;
    path_of(name, out);
    CHECK_OK(file_make_directories(out->at, &err), &err);
    CHECK_OK(file_join(out->at, "file", &file, &err), &err);
    snprintf(text, sizeof text, "%d", round);
    CHECK_OK(file_write(file.at, text, strlen(text), &err), &err);
    str_free(&file);
}

TEST(a_folder_that_is_replaced_is_never_missing)
{
    enum { ROUNDS = 200 };
    str path = {0}, beside = {0}, file = {0};
    watching w = {.path = ""};
    pthread_t thread;
    finch_error err;
    path_of("never-missing", &path);
    snprintf(w.path, sizeof w.path, "%s", path.at);
    for (int round = 0; round < ROUNDS; round++) {
        make_folder("never-missing.new", round, &beside);
        CHECK_OK(file_replace_folder(beside.at, path.at, &err), &err);
        CHECK(!file_exists(beside.at));
        if (round == 0) CHECK_EQUAL(0, pthread_create(&thread, NULL, watch_folder, &w));
    }
    atomic_store(&w.ended, true);
    pthread_join(thread, NULL);
    CHECK_OK(file_join(path.at, "file", &file, &err), &err);
    check_content(file.at, "199");
    CHECK(w.n_there > 0);
    CHECK_EQUAL(0, w.n_missing);
    str_free(&path);
    str_free(&beside);
    str_free(&file);
}
