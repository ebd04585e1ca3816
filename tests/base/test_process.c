#include "harness.h"

#include "base/process.h"

#include <unistd.h>

TEST(the_programs_folder_ends_with_a_slash_and_holds_the_program)
{
    char folder[PATH_MAX], path[2 * PATH_MAX], expected[PATH_MAX] = "", name[PATH_MAX];
    CHECK(readlink("/proc/self/exe", expected, sizeof expected - 1) > 0);
    size_t size = process_folder(folder);
    CHECK(size > 1);
    CHECK_EQUAL(strlen(folder), size);
    CHECK(folder[0] == '/' && folder[size - 1] == '/');
    snprintf(name, sizeof name, "%s", strrchr(expected, '/') + 1);
    snprintf(path, sizeof path, "%s%s", folder, name);
    CHECK_TEXT(expected, path);
}

/* Touched, so that the pages are there. */
TEST(resident_memory_grows_with_what_is_touched)
{
    enum { MANY = 64 << 20 };
    uint64_t before = process_resident_bytes();
    char *block;
    CHECK(before > 0);
    CHECK_OK(MEM_NEW(&block, MANY, NULL), NULL);
    memset(block, 1, MANY);
    CHECK(process_resident_bytes() >= before + MANY / 2);
    mem_free(block);
}
