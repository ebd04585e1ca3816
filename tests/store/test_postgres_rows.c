/* What is sent to PostgreSQL in bulk, held against the bytes that its documentation gives. */
#include "harness.h"

#include "store/postgres_rows.h"

static finch_error err;

static void check_bytes(const void *expected, size_t size, const str *seen)
{
    CHECK_EQUAL(size, seen->size);
    assert_memory_equal(expected, seen->at, size);
}

TEST(a_number_of_a_result_has_its_sign)
{
    static const unsigned char low[] = {0x80, 0, 0, 0, 0, 0, 0, 0},
                               high[] = {0x01, 0x02, 0x03, 0x04, 0x05, 0x06, 0x07, 0xF8};
    const char *bytes = (const char *)low;
    CHECK_EQUAL(INT64_MIN, postgres_integer(bytes, 8));
    CHECK_EQUAL(INT32_MIN, postgres_integer(bytes, 4));
    CHECK_EQUAL(INT16_MIN, postgres_integer(bytes, 2));
    bytes = (const char *)high;
    CHECK_EQUAL(INT64_C(0x01020304050607F8), postgres_integer(bytes, 8));
    CHECK_EQUAL(1, postgres_integer(bytes, 1));
    CHECK_EQUAL(0, postgres_integer(bytes, 0));
}

TEST(a_copy_is_the_documented_one)
{
    static const unsigned char
        expected[] = {'P',  'G', 'C', 'O', 'P',  'Y',  '\n', 0xFF, '\r', '\n', 0,    0,    0,    0,
                      0,    0,   0,   0,   0, /* flags, what more is in the head */
                      0,    3,   0,   0,   0,    8,    0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFE, /* -2 */
                      0,    0,   0,   4,   '\t', '\\', 'N',  '\n', 0xFF, 0xFF, 0xFF, 0xFF, /* a text, no text */
                      0,    3,   0,   0,   0,    8,    1,    2,    3,    4,    5,    6,    7,    8,
                      0,    0,   0,   0,   0xFF, 0xFF, 0xFF, 0xFF, /* an empty text */
                      0xFF, 0xFF};
    const sql_value rows[] = {sql_integer(-2), sql_text("\t\\N\n"), sql_text(NULL), sql_integer(0x0102030405060708),
                              sql_text(""),    sql_null()};
    str out = {0};
    CHECK_OK(postgres_copy_head(&out, &err), &err);
    for (size_t i = 0; i < 2; i++) CHECK_OK(postgres_copy_row(&out, rows + 3 * i, 3, &err), &err);
    CHECK_OK(postgres_copy_end(&out, &err), &err);
    check_bytes(expected, sizeof expected, &out);
    str_free(&out);
}

TEST(a_column_is_an_array_of_its_type)
{
    static const unsigned char numbers[] = {0, 0, 0, 1, 0, 0, 0,    0,    0,    0,    0,    20,   0,    0,   0,
                                            2, 0, 0, 0, 1, 0, 0,    0,    8,    0,    0,    0,    0,    0,   0,
                                            0, 7, 0, 0, 0, 8, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF};
    static const unsigned char texts[] = {0, 0, 0, 1, 0, 0, 0, 1, 0, 0,   0,    25,   0,    0,   0,
                                          2, 0, 0, 0, 1, 0, 0, 0, 1, '*', 0xFF, 0xFF, 0xFF, 0xFF};
    const sql_value rows[] = {sql_integer(7), sql_text("*"), sql_integer(-1), sql_text(NULL)};
    str out = {0};
    CHECK_OK(postgres_array(&out, rows, 2, 2, 0, &err), &err);
    check_bytes(numbers, sizeof numbers, &out);
    str_clear(&out);
    CHECK_OK(postgres_array(&out, rows, 2, 2, 1, &err), &err);
    check_bytes(texts, sizeof texts, &out);
    CHECK_EQUAL(1016, postgres_array_type(rows, 0)); /* bigint[] and text[] of pg_type.dat */
    CHECK_EQUAL(1009, postgres_array_type(rows, 1));
    str_free(&out);
}
