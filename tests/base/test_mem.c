#include "harness.h"

TEST(sizes_that_do_not_fit_are_refused)
{
    size_t out = 7;
    CHECK(!size_mul(SIZE_MAX, 2, &out));
    CHECK(!size_mul((size_t)1 << 33, (size_t)1 << 31, &out));
    CHECK(!size_add(SIZE_MAX, 1, &out));
    CHECK_EQUAL(7, out);
    CHECK(size_mul(SIZE_MAX, 1, &out) && out == SIZE_MAX);
    CHECK(size_mul(0, SIZE_MAX, &out) && out == 0);
    CHECK(size_add(SIZE_MAX - 1, 1, &out) && out == SIZE_MAX);
}

TEST(blocks_are_aligned_and_zeroed_where_asked)
{
    finch_error err;
    for (size_t n = 0; n < 300; n += 7) {
        unsigned char *plain, *zeroed;
        CHECK_OK(mem_alloc(n, 3, (void **)&plain, &err), &err);
        CHECK_EQUAL(0, (uintptr_t)plain % MEM_ALIGN);
        memset(plain, 0xFF, n * 3);
        mem_free(plain); /* the next block is likely the same one, and must not come with its bytes */
        CHECK_OK(mem_alloc_zero(n, 3, (void **)&zeroed, &err), &err);
        CHECK_EQUAL(0, (uintptr_t)zeroed % MEM_ALIGN);
        for (size_t i = 0; i < n * 3; i++) CHECK_EQUAL(0, zeroed[i]);
        mem_free(zeroed);
    }
}

TEST(a_product_that_overflows_gives_no_block)
{
    finch_error err;
    void *block = &err;
    CHECK_STATUS(FINCH_E_MEMORY, mem_alloc(SIZE_MAX / 2, 3, &block, &err), &err);
    CHECK(block == NULL);
    block = &err;
    CHECK_STATUS(FINCH_E_MEMORY, mem_alloc(SIZE_MAX, 1, &block, &err), &err);
    CHECK(block == NULL);
    CHECK_STATUS(FINCH_E_MEMORY, mem_alloc_zero(SIZE_MAX - 10, 1, &block, &err), &err);
    char *text = (char *)&err;
    CHECK_STATUS(FINCH_E_MEMORY, mem_text("x", SIZE_MAX, &text, &err), &err);
    CHECK(text == NULL);
}

TEST(growing_keeps_the_content_also_when_it_fails)
{
    finch_error err;
    void *block;
    CHECK_OK(mem_alloc(4, 1, &block, &err), &err);
    memcpy(block, "abcd", 4);
    CHECK_OK(mem_grow(&block, 4, 100, 1, &err), &err);
    CHECK(memcmp(block, "abcd", 4) == 0);
    void *before = block;
    fault_arm(FAULT_ALLOC, 1);
    CHECK_STATUS(FINCH_E_MEMORY, mem_grow(&block, 100, 1000, 1, &err), &err);
    CHECK(fault_disarm());
    CHECK(block == before && memcmp(block, "abcd", 4) == 0);
    CHECK_OK(mem_grow(&block, 100, 2, 1, &err), &err);
    CHECK(memcmp(block, "ab", 2) == 0);
    mem_free(block);
    block = NULL;
    CHECK_OK(mem_grow(&block, 0, 8, 8, &err), &err);
    mem_free(block);
}

TEST(room_grows_by_doubling_and_stays_on_failure)
{
    enum { MANY = 1000 };
    finch_error err;
    size_t *items = NULL, room = 0;
    mem_counts before = mem_count();
    for (size_t n = 0; n < MANY; n++) {
        CHECK_OK(MEM_ROOM(&items, n, 1, &room, &err), &err);
        CHECK(room > n);
        items[n] = 3 * n;
    }
    for (size_t n = 0; n < MANY; n++) CHECK_EQUAL(3 * n, items[n]);
    CHECK(mem_count().allocations - before.allocations < 10);
    size_t kept = room;
    CHECK_OK(MEM_ROOM(&items, room - 1, 1, &room, &err), &err);
    CHECK_EQUAL(kept, room);
    fault_arm(FAULT_ALLOC, 1);
    CHECK_STATUS(FINCH_E_MEMORY, MEM_ROOM(&items, MANY, kept, &room, &err), &err);
    CHECK(fault_disarm());
    CHECK_STATUS(FINCH_E_MEMORY, MEM_ROOM(&items, MANY, SIZE_MAX, &room, &err), &err);
    CHECK_STATUS(FINCH_E_MEMORY, MEM_ROOM(&items, MANY, SIZE_MAX / 2, &room, &err), &err);
    CHECK_EQUAL(kept, room);
    CHECK_EQUAL(3 * (MANY - 1), items[MANY - 1]);
    CHECK_OK(MEM_ROOM(&items, MANY, 5 * MANY, &room, &err), &err); /* more than twice as many */
    CHECK_EQUAL(6 * MANY, room);
    CHECK_EQUAL(3 * (MANY - 1), items[MANY - 1]);
    mem_free(items);
}

TEST(blocks_are_counted)
{
    finch_error err;
    mem_counts before = mem_count();
    char *text;
    CHECK_OK(mem_text("a\0b", 3, &text, &err), &err);
    CHECK(memcmp(text, "a\0b", 4) == 0);
    mem_counts during = mem_count();
    CHECK_EQUAL(before.live + 1, during.live);
    CHECK_EQUAL(before.allocations + 1, during.allocations);
    mem_free(text);
    mem_free(NULL);
    CHECK_EQUAL(before.live, mem_count().live);
}

TEST(the_nth_allocation_fails_once)
{
    finch_error err;
    void *a, *b, *c;
    fault_arm(FAULT_ALLOC, 2);
    CHECK_OK(mem_alloc(1, 1, &a, &err), &err);
    CHECK_STATUS(FINCH_E_MEMORY, mem_alloc(1, 1, &b, &err), &err);
    CHECK_OK(mem_alloc(1, 1, &c, &err), &err);
    CHECK(fault_disarm());
    fault_arm(FAULT_ALLOC, 1);
    CHECK(!fault_disarm());
    mem_free(a);
    mem_free(c);
}

/* Old bytes of the allocator must not show, and the table can be written to anywhere. */
TEST(a_sparse_block_is_zeros_and_can_be_written_to)
{
    static const size_t sizes[] = {1, 100, 5000, 70001, 3 << 20};
    finch_error err;
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        unsigned char *old, *block;
        CHECK_OK(mem_alloc(sizes[i], 1, (void **)&old, &err), &err);
        memset(old, 0xAB, sizes[i]);
        mem_free(old);
        CHECK_OK(mem_alloc_sparse(sizes[i], 1, (void **)&block, &err), &err);
        CHECK((uintptr_t)block % MEM_ALIGN == 0);
        for (size_t k = 0; k < sizes[i]; k++) CHECK(block[k] == 0);
        memset(block, 1, sizes[i]);
        mem_free(block);
    }
    CHECK_STATUS(FINCH_E_MEMORY, mem_alloc_sparse(SIZE_MAX, 2, (void **)&(void *){NULL}, &err), &err);
}
