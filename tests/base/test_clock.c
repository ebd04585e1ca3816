#include "harness.h"

#include "base/clock.h"

TEST(dates_are_utc)
{
    char text[32];
    clock_format_utc(0, text, sizeof text);
    CHECK_TEXT("1970-01-01T00:00:00Z", text);
    clock_format_utc(1709210096, text, sizeof text); /* the leap day of 2024 */
    CHECK_TEXT("2024-02-29T12:34:56Z", text);
    clock_format_utc(1709210096, text, 10);
    CHECK_TEXT("", text);
    clock_format_utc(INT64_MAX, text, sizeof text); /* a year that no calendar of the library holds */
    CHECK_TEXT("", text);
}

static int64_t parsed(const char *text)
{
    int64_t ms = -1;
    return clock_parse_utc(text, strlen(text), &ms) ? ms : -1;
}

TEST(dates_are_read_and_what_is_none_is_refused)
{
    static const char *const none[] = {"",
                                       "2024",
                                       "2024-2-29",
                                       "2023-02-29",
                                       "2024-13-01",
                                       "2024-02-29x",
                                       "2024-02-29T",
                                       "1969-12-31",
                                       "2024-02-29T24:00Z",
                                       "2024-02-29T12:34:56.Z",
                                       "2024-02-29T12:34:60Z",
                                       "1970-01-01T00:00+01:00",
                                       "2024-02-29T12:34+15:00",
                                       " 2024-02-29",
                                       "2024-02-29T12:34:56.1234567890Z",
                                       "99999-01-01"};
    CHECK_EQUAL(0, parsed("1970-01-01"));
    CHECK_EQUAL(1709210096000, parsed("2024-02-29T12:34:56Z"));
    CHECK_EQUAL(1709210096000, parsed("2024-02-29 12:34:56"));
    CHECK_EQUAL(1709210096789, parsed("2024-02-29t12:34:56.7891z"));
    CHECK_EQUAL(1709210096500, parsed("2024-02-29T14:34:56.5+02:00"));
    CHECK_EQUAL(1709210040000, parsed("2024-02-29T07:04-0530"));
    CHECK_EQUAL(253402300799000, parsed("9999-12-31T23:59:59Z"));
    for (size_t i = 0; i < sizeof none / sizeof none[0]; i++) CHECK_EQUAL(-1, parsed(none[i]));
}

TEST(seconds_never_go_back)
{
    double last = clock_seconds();
    for (int i = 0; i < 100000; i++) {
        double now = clock_seconds();
        CHECK(now >= last);
        last = now;
    }
    CHECK(clock_unix() > 1700000000);
}
