#include "harness.h"

#include "base/str.h"

TEST(text_grows_and_stays_ended)
{
    str s = {0};
    finch_error err;
    size_t want = 0;
    for (int i = 0; i < 1000; i++) {
        CHECK_OK(str_add_format(&s, &err, "%d,", i), &err);
        want += i < 10 ? 2 : i < 100 ? 3 : 4;
        CHECK_EQUAL(want, s.size);
        CHECK_EQUAL('\0', s.at[s.size]);
    }
    CHECK(strncmp(s.at, "0,1,2,", 6) == 0);
    CHECK_TEXT("998,999,", s.at + s.size - 8);
    str_free(&s);
    CHECK(s.at == NULL && s.size == 0 && s.capacity == 0);
}

TEST(nul_bytes_are_kept)
{
    str s = {0};
    finch_error err;
    CHECK_OK(str_add(&s, "a\0b", 3, &err), &err);
    CHECK_OK(str_add(&s, "", 0, &err), &err);
    CHECK_OK(str_add_text(&s, "c", &err), &err);
    CHECK_EQUAL(4, s.size);
    CHECK(memcmp(s.at, "a\0bc", 5) == 0);
    str_free(&s);
}

TEST(reserved_room_needs_no_allocator)
{
    str s = {0};
    finch_error err;
    CHECK_OK(str_reserve(&s, 5000, &err), &err);
    CHECK_TEXT("", s.at);
    uint64_t before = mem_count().allocations;
    for (int i = 0; i < 5000; i++) CHECK_OK(str_add(&s, "x", 1, &err), &err);
    CHECK_EQUAL(before, mem_count().allocations);
    str_clear(&s);
    CHECK_TEXT("", s.at);
    CHECK_EQUAL(0, s.size);
    for (int i = 0; i < 5000; i++) CHECK_OK(str_add(&s, "y", 1, &err), &err);
    CHECK_EQUAL(before, mem_count().allocations);
    str_free(&s);
}

TEST(a_stolen_text_is_the_callers)
{
    str s = {0};
    finch_error err;
    CHECK_OK(str_add_text(&s, "kept", &err), &err);
    char *text = str_steal(&s);
    str_free(&s);
    CHECK_TEXT("kept", text);
    mem_free(text);
}

TEST(a_failed_growth_leaves_the_text)
{
    str s = {0};
    finch_error err;
    CHECK_OK(str_add_text(&s, "before", &err), &err);
    char big[200];
    memset(big, 'x', sizeof big);
    fault_arm(FAULT_ALLOC, 1);
    CHECK_STATUS(FINCH_E_MEMORY, str_add(&s, big, sizeof big, &err), &err);
    CHECK(fault_disarm());
    CHECK_TEXT("before", s.at);
    CHECK_STATUS(FINCH_E_MEMORY, str_reserve(&s, SIZE_MAX - 3, &err), &err);
    CHECK_STATUS(FINCH_E_MEMORY, str_reserve(&s, SIZE_MAX - 6, &err), &err);
    CHECK_TEXT("before", s.at);
    CHECK_OK(str_add(&s, big, sizeof big, &err), &err);
    CHECK_EQUAL(206, s.size);
    str_free(&s);
}
