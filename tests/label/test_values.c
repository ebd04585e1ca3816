/* Small values from outside: HTTP dates, Retry-After, classes, lines for messages. */
#include "harness.h"

#include "label/values.h"

static bool date(const char *text, int64_t *out) { return values_http_date(text, strlen(text), out); }

static double wait_of(const char *text, int64_t server_now)
{
    double seconds = -7;
    return values_retry_after(text, strlen(text), server_now, &seconds) ? seconds : -1;
}

TEST(the_three_forms_of_a_date_are_one_moment)
{
    int64_t at = 0;
    CHECK(date("Sun, 06 Nov 1994 08:49:37 GMT", &at));
    CHECK_EQUAL(784111777, at);
    CHECK(date("Sunday, 06-Nov-94 08:49:37 GMT", &at));
    CHECK_EQUAL(784111777, at);
    CHECK(date("Sun Nov  6 08:49:37 1994", &at));
    CHECK_EQUAL(784111777, at);
    CHECK(date("Thu, 29 Feb 2024 23:59:60 GMT ", &at));
    CHECK_EQUAL(1709251200, at);
    CHECK(date("Thu, 01 Jan 1970 00:00:00 GMT", &at));
    CHECK_EQUAL(0, at);
}

TEST(what_is_no_date_is_refused)
{
    static const char *const bad[] = {"",
                                      ",",
                                      "Sun,",
                                      "Sun, 6 Nov 1994 08:49:37 GMT",
                                      "Sun, 32 Nov 1994 08:49:37 GMT",
                                      "Sun, 31 Nov 1994 08:49:37 GMT",
                                      "Sun, 06 Nov 1994 24:49:37 GMT",
                                      "Sun, 06 Nov 1994 08:60:37 GMT",
                                      "Sun, 06 Nov 1994 08:49:37",
                                      "Sun, 06 Nov 1994 08:49:37 CET",
                                      "Sun, 06 Nov 1894 08:49:37 GMT",
                                      "Sun, 06 Xov 1994 08:49:37 GMT",
                                      "Sun Nov  6 08:49:37 94",
                                      "1994-11-06T08:49:37Z"};
    int64_t at;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        if (date(bad[i], &at)) print_error("%s\n", bad[i]), CHECK(false);
}

TEST(retry_after_is_seconds_or_a_date_by_the_servers_clock)
{
    CHECK_NEAR(7, wait_of("7", -1), 0);
    CHECK_NEAR(0, wait_of("0", -1), 0);
    CHECK_NEAR(1.5, wait_of(" 1.5\t", -1), 0);
    CHECK_NEAR(30, wait_of("Sun, 06 Nov 1994 08:49:37 GMT", 784111747), 0);
    CHECK_NEAR(0, wait_of("Sun, 06 Nov 1994 08:49:37 GMT", 784111800), 0);
    CHECK_NEAR(0, wait_of("Sun, 06 Nov 1994 08:49:37 GMT", -1), 0); /* long past by our clock */
    CHECK_NEAR(VALUES_WAIT_MAX_SECONDS, wait_of("999999999", -1), 0);
    CHECK_NEAR(VALUES_WAIT_MAX_SECONDS, wait_of("Fri, 31 Dec 9999 23:59:59 GMT", -1), 0);
    CHECK_NEAR(-1, wait_of("-5", -1), 0);
    CHECK_NEAR(-1, wait_of("", -1), 0);
    CHECK_NEAR(-1, wait_of("1e3", -1), 0);
    CHECK_NEAR(-1, wait_of("inf", -1), 0);
    CHECK_NEAR(-1, wait_of("1.2.3", -1), 0);
    CHECK_NEAR(-1, wait_of("soon", -1), 0);
}

TEST(classes_are_known_by_their_whole_names_only)
{
    CHECK_EQUAL(0, values_class("STRONGLY_NEGATIVE", 17));
    CHECK_EQUAL(4, values_class(" strongly positive\n", 19));
    CHECK_EQUAL(4, values_class("Strongly-Positive", 17));
    CHECK_EQUAL(1, values_class("Negative", 8));
    CHECK_EQUAL(-1, values_class("POSITIV", 7));
    CHECK_EQUAL(-1, values_class("POSITIVE.", 9));
    CHECK_EQUAL(-1, values_class("NOT NEGATIVE", 12));
    CHECK_EQUAL(-1, values_class("", 0));
    CHECK_EQUAL(-1, values_class("bullish", 7));
    for (int i = 0; i < 5; i++) CHECK_EQUAL(i, values_class(values_class_name(i), strlen(values_class_name(i))));
    CHECK_TEXT("", values_class_name(5));
    CHECK_TEXT("", values_class_name(-1));
}

TEST(a_line_is_whole_utf8_without_control_characters)
{
    char out[16], tiny[5];
    values_line("\x1b[31m a\n\tb\x00"
                "c\xC2\x85",
                13, out, sizeof out);
    CHECK_TEXT("[31m a b c", out);
    values_line("\xFF\xC3\xE2\x82", 4, out, sizeof out);
    CHECK_TEXT("", out);
    values_line("ab\xE2\x82\xAC", 5, tiny, sizeof tiny); /* the euro sign does not fit whole */
    CHECK_TEXT("ab", tiny);
}
