#include "harness.h"

#include "base/clock.h"

#include <signal.h>
#include <sys/time.h>

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

static double as_seconds(struct timespec t) { return (double)t.tv_sec + (double)t.tv_nsec * 1e-9; }

/* Fractions all over the second, so that wherever the clock stands some carry and some do not. */
TEST(a_moment_ahead_carries_its_nanoseconds)
{
    size_t n_carried = 0;
    for (int i = 0; i < 4 * 64; i++) {
        double seconds = i / 64.0, before = clock_seconds();
        struct timespec until = clock_after(CLOCK_MONOTONIC, seconds);
        double after = clock_seconds();
        CHECK(until.tv_nsec >= 0 && until.tv_nsec < 1000000000L);
        CHECK(as_seconds(until) > before + seconds - 1e-6 && as_seconds(until) < after + seconds + 1e-6);
        if (until.tv_sec > (time_t)before + (time_t)seconds) n_carried++;
    }
    CHECK(n_carried > 0 && n_carried < 4 * 64);
}

TEST(a_moment_ahead_is_of_the_clock_that_was_asked_for_and_never_behind_it)
{
    double wall = (double)clock_unix(), behind = clock_seconds();
    CHECK_NEAR(wall + 3600.5, as_seconds(clock_after(CLOCK_REALTIME, 3600.5)), 30);
    CHECK(as_seconds(clock_after(CLOCK_MONOTONIC, -5)) >= behind);
    CHECK_NEAR(wall * 1000, (double)clock_unix_ms(), 30000);
}

static volatile sig_atomic_t n_alarms;
static void on_alarm(int number)
{
    (void)number;
    n_alarms++;
}

/* A signal each 5 ms. */
static void set_alarms(bool on)
{
    struct sigaction action = {.sa_handler = on ? on_alarm : SIG_DFL};
    struct itimerval every = {.it_interval = {0, on ? 5000 : 0}, .it_value = {0, on ? 5000 : 0}};
    n_alarms = 0;
    if (on) sigaction(SIGALRM, &action, NULL);
    setitimer(ITIMER_REAL, &every, NULL);
    if (!on) sigaction(SIGALRM, &action, NULL);
}

TEST(a_sleep_goes_on_after_signals_and_the_other_one_ends_with_the_first)
{
    double begin = clock_seconds();
    set_alarms(true);
    clock_sleep(0.2);
    double slept = clock_seconds() - begin;
    CHECK(slept >= 0.2 && slept < 20);
    CHECK(n_alarms >= 3);
    begin = clock_seconds();
    clock_sleep_or_signal(60);
    CHECK(clock_seconds() - begin < 30);
    set_alarms(false);
    begin = clock_seconds();
    clock_sleep_or_signal(0.05);
    CHECK(clock_seconds() - begin >= 0.05);
    clock_sleep(-1);
}
