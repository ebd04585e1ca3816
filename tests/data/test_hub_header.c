/* Header values as servers write them, and as nobody should. */
#include "data/hub_header.h"
#include "harness.h"

static bytes of(const char *text) { return (bytes){(const unsigned char *)text, strlen(text)}; }

static const char *text_of(bool (*parse)(bytes, bytes *), const char *value)
{
    static char out[256];
    bytes found = {0};
    if (!parse(of(value), &found)) return NULL;
    CHECK(found.size < sizeof out);
    memcpy(out, found.at, found.size);
    out[found.size] = '\0';
    return out;
}

TEST(etags)
{
    CHECK_TEXT("abc", text_of(hub_header_etag, "\"abc\""));
    CHECK_TEXT("abc", text_of(hub_header_etag, "W/\"abc\""));
    CHECK_TEXT("abc", text_of(hub_header_etag, "  abc\t"));
    CHECK_TEXT("W", text_of(hub_header_etag, "W"));
    CHECK(text_of(hub_header_etag, "") == NULL);
    CHECK(text_of(hub_header_etag, "\"\"") == NULL);
    CHECK(text_of(hub_header_etag, "W/") == NULL);
}

TEST(the_next_page)
{
    CHECK_TEXT("http://h/p?c=1,2", text_of(hub_header_next_link, "<http://h/p?c=1,2>; rel=\"next\""));
    CHECK_TEXT("/b", text_of(hub_header_next_link, "</a>; rel=\"prev\", </b>; rel=\"next\""));
    CHECK_TEXT("/b", text_of(hub_header_next_link, "</a>; title=\"x, </c>; rel=next\"; rel=last, </b>;rel=next"));
    CHECK_TEXT("/b", text_of(hub_header_next_link, "</b>; REL=\"prev NEXT\""));
    CHECK(text_of(hub_header_next_link, "</b>; rel=\"nextpage\"") == NULL);
    CHECK(text_of(hub_header_next_link, "</b>; xrel=\"next\"") == NULL);
    CHECK(text_of(hub_header_next_link, "<>; rel=\"next\"") == NULL);
    CHECK(text_of(hub_header_next_link, "</b; rel=\"next\"") == NULL);
    CHECK(text_of(hub_header_next_link, "/b; rel=\"next\"") == NULL);
    CHECK(text_of(hub_header_next_link, "") == NULL);
}

static bool range(const char *value, uint64_t first, uint64_t last, uint64_t whole)
{
    uint64_t a = 0, b = 0, c = 0;
    return hub_header_content_range(of(value), &a, &b, &c) && a == first && b == last && c == whole;
}

static bool no_range(const char *value)
{
    uint64_t a = 7, b = 7, c = 7;
    return !hub_header_content_range(of(value), &a, &b, &c) && a == 7 && b == 7 && c == 7;
}

TEST(content_ranges)
{
    CHECK(range("bytes 0-99/1234", 0, 99, 1234));
    CHECK(range(" Bytes 5-5/* ", 5, 5, UINT64_MAX));
    CHECK(range("bytes 18446744073709551613-18446744073709551613/18446744073709551614", UINT64_MAX - 2, UINT64_MAX - 2,
                UINT64_MAX - 1));
    static const char *const wrong[] = {"",
                                        "bytes",
                                        "bytes ",
                                        "bytes */1234",
                                        "bytes 5-4/10",
                                        "bytes 0-10/10",
                                        "bytes 0-9",
                                        "bytes 0-9/",
                                        "bytes -9/10",
                                        "bytes 0-/10",
                                        "bytes 0-9/10x",
                                        "items 0-9/10",
                                        "bytes 0-18446744073709551616/*",
                                        "bytes 0 - 9/10",
                                        "bytes=0-9/10",
                                        "bytes 0-9/-10"};
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) CHECK(no_range(wrong[i]));
}

TEST(waits)
{
    uint64_t seconds = 0;
    CHECK(hub_header_retry_after(of(" 120 "), &seconds) && seconds == 120);
    CHECK(!hub_header_retry_after(of("Wed, 21 Oct 2015 07:28:00 GMT"), &seconds));
    CHECK(!hub_header_retry_after(of("-1"), &seconds));
    CHECK(!hub_header_retry_after(of(""), &seconds));
    CHECK(!hub_header_retry_after(of("99999999999999999999"), &seconds));
    CHECK(hub_header_rate_limit(of("\"api\";r=0;t=55"), &seconds) && seconds == 55);
    CHECK(hub_header_rate_limit(of("\"api\" ; r = 0 ; t = 5"), &seconds) && seconds == 5);
    CHECK(!hub_header_rate_limit(of("\"api\";r=3;t=55"), &seconds));
    CHECK(!hub_header_rate_limit(of("\"api\";t=55"), &seconds));
}

TEST(hexadecimal_digits)
{
    CHECK(hub_header_is_hex(of("0123456789abcdef"), 16));
    CHECK(!hub_header_is_hex(of("0123456789abcdeF"), 16));
    CHECK(!hub_header_is_hex(of("0123456789abcdef"), 15));
    CHECK(!hub_header_is_hex(of("0123456789abcdeg"), 16));
}
