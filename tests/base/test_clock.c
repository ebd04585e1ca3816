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
