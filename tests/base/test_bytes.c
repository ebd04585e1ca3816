#include "harness.h"

#include "base/bytes.h"

static const unsigned char eight[8] = {1, 2, 3, 4, 5, 6, 7, 8};

TEST(a_range_is_inside_or_refused)
{
    bytes whole = {eight, 8}, part = {eight, 1};
    CHECK(bytes_range(whole, 2, 5, &part));
    CHECK(part.at == eight + 2 && part.size == 3);
    CHECK(bytes_range(whole, 8, 8, &part));
    CHECK_EQUAL(0, part.size);
    part = (bytes){eight, 1};
    CHECK(!bytes_range(whole, 0, 9, &part));
    CHECK(!bytes_range(whole, 5, 4, &part));
    CHECK(!bytes_range(whole, UINT64_MAX, UINT64_MAX, &part));
    CHECK(!bytes_range(whole, UINT64_MAX, 1, &part)); /* the difference would wrap to 2 */
    CHECK(part.at == eight && part.size == 1);
}

TEST(an_empty_file_has_an_empty_range)
{
    bytes none = {NULL, 0}, part = {eight, 1};
    CHECK(bytes_range(none, 0, 0, &part));
    CHECK(part.at == NULL && part.size == 0);
    CHECK(bytes_take(&none, 0, &part));
    CHECK(!bytes_take(&none, 1, &part));
}

TEST(numbers_are_little_endian_and_taken_from_the_front)
{
    bytes rest = {eight, 8};
    uint8_t a;
    uint16_t b;
    uint32_t c;
    CHECK(bytes_take_u8(&rest, &a) && bytes_take_u16(&rest, &b) && bytes_take_u32(&rest, &c));
    CHECK_EQUAL(1, a);
    CHECK_EQUAL(0x0302, b);
    CHECK_EQUAL(0x07060504, c);
    CHECK_EQUAL(1, rest.size);
    rest = (bytes){eight, 8};
    uint64_t d;
    CHECK(bytes_take_u64(&rest, &d));
    CHECK(d == 0x0807060504030201u);
    CHECK_EQUAL(0, rest.size);
}

TEST(too_little_left_takes_nothing)
{
    bytes rest = {eight, 7};
    uint64_t wide = 99;
    uint8_t narrow = 99;
    CHECK(!bytes_take_u64(&rest, &wide));
    CHECK(wide == 99 && rest.size == 7 && rest.at == eight);
    rest.size = 0;
    CHECK(!bytes_take_u8(&rest, &narrow));
    CHECK_EQUAL(99, narrow);
    bytes part = {eight, 1};
    CHECK(!bytes_take(&rest, UINT64_MAX, &part));
    CHECK_EQUAL(1, part.size);
}

TEST(equal_compares_length_and_bytes)
{
    CHECK(bytes_equal((bytes){(const unsigned char *)"abc", 3}, "abc"));
    CHECK(!bytes_equal((bytes){(const unsigned char *)"abc", 2}, "abc"));
    CHECK(!bytes_equal((bytes){(const unsigned char *)"abd", 3}, "abc"));
    CHECK(!bytes_equal((bytes){(const unsigned char *)"a\0c", 3}, "a"));
    CHECK(bytes_equal((bytes){NULL, 0}, ""));
}
