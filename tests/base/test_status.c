#include "harness.h"

#include "base/status.h"

TEST(codes_have_the_numbers_of_the_contract)
{
    CHECK_EQUAL(0, finch_status_exit_code(FINCH_OK));
    CHECK_EQUAL(2, finch_status_exit_code(FINCH_E_USAGE));
    CHECK_EQUAL(3, finch_status_exit_code(FINCH_E_DATA));
    CHECK_EQUAL(3, finch_status_exit_code(FINCH_E_UNSUPPORTED));
    CHECK_EQUAL(4, finch_status_exit_code(FINCH_E_REMOTE));
    CHECK_EQUAL(130, finch_status_exit_code(FINCH_E_CANCELLED));
    CHECK_EQUAL(1, finch_status_exit_code(FINCH_E_IO));
    CHECK_EQUAL(404, finch_status_http(FINCH_E_NOT_FOUND));
    CHECK_TEXT("E_DATA", finch_status_name(FINCH_E_DATA));
    CHECK(finch_status_retry(FINCH_E_REMOTE) && !finch_status_retry(FINCH_E_DATA));
}

TEST(every_code_is_told_apart_and_one_outside_is_a_failure)
{
    for (int i = 0; i < FINCH_STATUS_COUNT; i++) {
        CHECK(finch_status_text((finch_status)i)[0] != '\0');
        CHECK((finch_status_exit_code((finch_status)i) == 0) == (i == FINCH_OK));
        for (int j = 0; j < i; j++)
            CHECK(strcmp(finch_status_name((finch_status)i), finch_status_name((finch_status)j)) != 0);
    }
    CHECK_EQUAL(1, finch_status_exit_code((finch_status)99));
    CHECK_EQUAL(1, finch_status_exit_code((finch_status)-1));
}

TEST(a_failure_has_status_row_and_message)
{
    finch_error err;
    CHECK_EQUAL(FINCH_E_DATA, finch_fail_row(&err, FINCH_E_DATA, 12, "%s:%d", "file", 3));
    CHECK_EQUAL(FINCH_E_DATA, err.status);
    CHECK_EQUAL(12, err.row);
    CHECK_TEXT("file:3", err.message);
    CHECK_EQUAL(FINCH_E_IO, finch_fail(&err, FINCH_E_IO, "again"));
    CHECK_EQUAL(0, err.row);
    CHECK_TEXT("again", err.message);
    CHECK_EQUAL(FINCH_E_IO, finch_fail(NULL, FINCH_E_IO, "nobody %s", "listens"));
}

TEST(a_prefix_keeps_status_and_row)
{
    finch_error err;
    finch_fail_row(&err, FINCH_E_DATA, 4, "the quote is open");
    CHECK_EQUAL(FINCH_E_DATA, finch_fail_prefix(&err, "%s", "tweets.csv"));
    CHECK_TEXT("tweets.csv: the quote is open", err.message);
    CHECK_EQUAL(4, err.row);
    CHECK_EQUAL(FINCH_E_FAILED, finch_fail_prefix(NULL, "x"));
}

/* What is left of a cut message must be whole UTF-8 characters, wherever the cut falls. */
TEST(a_failure_may_be_told_again_in_other_words)
{
    finch_error err;
    finch_fail(&err, FINCH_E_USAGE, "too long");
    CHECK_STATUS(FINCH_E_DATA, finch_fail(&err, FINCH_E_DATA, "bucket: %s", err.message), &err);
    CHECK_TEXT("bucket: too long", err.message);
}

TEST(a_long_message_is_cut_between_characters)
{
    finch_error err;
    for (size_t pad = 0; pad < 5; pad++) {
        char text[sizeof err.message + 100];
        memset(text, 'a', pad);
        size_t at = pad;
        for (; at + 4 < sizeof text; at += 4) memcpy(text + at, "\xF0\x9F\x93\x88", 4);
        text[at] = '\0';
        finch_fail(&err, FINCH_E_DATA, "%s", text);
        size_t size = strlen(err.message);
        CHECK(size < sizeof err.message && size >= sizeof err.message - 5);
        CHECK_EQUAL(0, (size - pad) % 4);
        CHECK(memcmp(err.message, text, size) == 0);
        finch_fail_prefix(&err, "a prefix of %d bytes and more", 30);
        size = strlen(err.message);
        CHECK(((unsigned char)err.message[size - 1] & 0x80u) == 0 ||
              memcmp(err.message + size - 4, "\xF0\x9F\x93\x88", 4) == 0);
    }
}
