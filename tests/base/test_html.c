#include "harness.h"

#include "base/html.h"

static void check_text(const char *expected, const char *text, size_t size)
{
    finch_error err;
    str out = {0};
    CHECK_OK(html_text(&out, text, size, &err), &err);
    CHECK_TEXT(expected, out.at);
    str_free(&out);
}

TEST(a_tweet_can_not_leave_its_cell)
{
    check_text("&lt;script&gt;alert(&quot;x&quot;) &amp;amp;", "<script>alert(\"x\")\n&amp;", 24);
    check_text("\xEF\xBF\xBD"
               "a\xEF\xBF\xBD",
               "\0a\x1b", 3);
    check_text("\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD", "\xED\xA0\x80", 3); /* a surrogate is no character */
    check_text("\xEF\xBF\xBD", "\xF0", 1);
    check_text("\xF0\x9F\x9A\x80\xE2\x82\xAC\xC3\xA9", "\xF0\x9F\x9A\x80\xE2\x82\xAC\xC3\xA9", 9);
}

TEST(charts_clamp_what_is_out_of_range)
{
    finch_error err;
    str out = {0};
    const double x[] = {-1, 0.5, NAN}, y[] = {0, 2, 1};
    html_series series = {.name = "a<b", .x = x, .y = y, .n = 3};
    html_chart chart = {.title = "t", .x_label = "x", .y_label = "y", .series = &series, .n_series = 1, .diagonal = true};
    CHECK_OK(html_line_chart(&out, &chart, &err), &err);
    CHECK(strstr(out.at, "44.0,328.0 204.0,8.0 44.0,8.0 ") != NULL);
    CHECK(strstr(out.at, "a&lt;b") != NULL);
    CHECK(strstr(out.at, "nan") == NULL);
    str_free(&out);
}

TEST(a_heat_map_shows_every_count_and_an_empty_row)
{
    finch_error err;
    str out = {0};
    const char *labels[] = {"A", "B"};
    const uint64_t counts[] = {3, 1, 0, 0};
    CHECK_OK(html_heat_map(&out, labels, counts, 2, &err), &err);
    CHECK(strstr(out.at, "rgba(var(--heat),0.56)\" title=\"75.0 % of the row\">3</td>") != NULL);
    CHECK(strstr(out.at, "rgba(var(--heat),0.00)\" title=\"0.0 % of the row\">0</td>") != NULL);
    str_free(&out);
}
