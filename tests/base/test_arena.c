#include "harness.h"

#include "base/arena.h"

TEST(an_equal_round_after_reset_needs_no_allocator)
{
    arena a;
    finch_error err;
    arena_init(&a);
    for (int round = 0; round < 3; round++) {
        uint64_t before = mem_count().allocations;
        for (size_t n = 1; n < 200000; n *= 3) {
            float *items;
            CHECK_OK(ARENA_NEW(&a, &items, n, &err), &err);
            CHECK_EQUAL(0, (uintptr_t)items % MEM_ALIGN);
            items[0] = items[n - 1] = 1.0f;
        }
        if (round > 0) CHECK_EQUAL(before, mem_count().allocations);
        arena_reset(&a);
    }
    arena_free(&a);
}

TEST(release_gives_back_to_the_mark_across_blocks)
{
    arena a;
    finch_error err;
    arena_init(&a);
    char *first, *again;
    CHECK_OK(arena_alloc(&a, 100, 1, (void **)&first, &err), &err);
    arena_place place = arena_mark(&a);
    for (int i = 0; i < 20; i++) {
        void *big;
        CHECK_OK(arena_alloc(&a, 1u << 16, 1, &big, &err), &err);
    }
    arena_release(&a, place);
    CHECK_EQUAL(place.used_bytes, a.used_bytes);
    CHECK_OK(arena_alloc(&a, 1, 1, (void **)&again, &err), &err);
    CHECK(again == first + 128);
    arena_free(&a);
}

TEST(a_product_that_overflows_is_refused)
{
    arena a;
    finch_error err;
    void *items = &a;
    arena_init(&a);
    CHECK_STATUS(FINCH_E_MEMORY, arena_alloc(&a, SIZE_MAX / 2, 4, &items, &err), &err);
    CHECK(items == NULL);
    arena_free(&a);
}

TEST(failed_allocations_are_reported_and_leak_nothing)
{
    finch_error err;
    arena a;
    arena_init(&a);
    void *items;
    fault_arm(FAULT_ALLOC, 1);
    CHECK_STATUS(FINCH_E_MEMORY, arena_alloc(&a, 10, 4, &items, &err), &err);
    CHECK(fault_disarm());
    CHECK_OK(arena_alloc(&a, 10, 4, &items, &err), &err);
    arena_free(&a);
}
