/* What cleaning does to a text, stage by stage, and what holds for any text. */
#include "harness.h"

#include "base/rng.h"
#include "text/clean.h"
#include "text/clean_chars.h"
#include "text/clean_words.h"
#include "text/unicode.h"
#include "text/utf8.h"

#include <utf8proc.h>

typedef struct example {
    const char *in, *out;
    unsigned changed;
} example;

static text_clean_report last;

static void check_example(const text_clean_options *options, const char *in, size_t size, const char *want)
{
    finch_error err;
    str out = {0};
    text_clean_scratch scratch = {0};
    CHECK_OK(text_clean((finch_text){in, size}, options, &out, &last, &scratch, &err), &err);
    CHECK_TEXT(want, out.at);
    CHECK_EQUAL(strlen(want), out.size);
    text_clean_scratch_free(&scratch);
    str_free(&out);
}

static void check_examples(const text_clean_options *options, const example *at, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        check_example(options, at[i].in, strlen(at[i].in), at[i].out);
        CHECK_EQUAL(at[i].changed, last.changed);
    }
}

#define CHECK_EXAMPLES(options, examples) check_examples((options), (examples), sizeof(examples) / sizeof *(examples))

TEST(a_plain_tweet_stays_as_it_is)
{
    static const example examples[] = {
        {"$AAPL beats & raises, #earnings up 6% after hours 🚀", "$AAPL beats & raises, #earnings up 6% after hours 🚀", 0},
        {"", "", 0},
        {"café “quoted” – fine", "café “quoted” – fine", 0},
        {"S&P/ASX 200, Amazon.com, U.S./China, AT&T, a.m., 1.5/2", "S&P/ASX 200, Amazon.com, U.S./China, AT&T, a.m., 1.5/2",
         0},
    };
    CHECK_EXAMPLES(NULL, examples);
}

TEST(entities_are_decoded_however_often_they_were_escaped)
{
    static const example examples[] = {
        {"Johnson &amp; Johnson", "Johnson & Johnson", TEXT_CLEAN_ENTITIES},
        {"&lt;$5 &amp;amp;gt; &#8217;&#x27;", "<$5 > ’'", TEXT_CLEAN_ENTITIES},
        {"&notit; &am&#112;;", "¬it; &", TEXT_CLEAN_ENTITIES},
        {"&bogus; & &; &# &#x; &#12345678901;", "&bogus; & &; &# &#x; �", TEXT_CLEAN_ENTITIES},
    };
    CHECK_EXAMPLES(NULL, examples);
}

TEST(links_become_a_token)
{
    static const example examples[] = {
        {"up 5% http://t.co/abc123 $AAPL", "up 5% http $AAPL", TEXT_CLEAN_URLS},
        {"Incomehttps://t.co/abc,$AAPL", "Income http,$AAPL", TEXT_CLEAN_URLS},
        {"see (https://en.wikipedia.org/wiki/Apple_(firm)).", "see (http).", TEXT_CLEAN_URLS},
        {"cut https://t.co/ab…", "cut http", TEXT_CLEAN_URLS},
        {"cut htt…", "cut http", TEXT_CLEAN_URLS},
        {"cut http:/...", "cut http", TEXT_CLEAN_URLS},
        {"pic.twitter.com/Ab1 bit.ly/x www.finch.example", "http http http", TEXT_CLEAN_URLS},
        {"HTTP://X.COM/Y?a=1&b=2!", "http!", TEXT_CLEAN_URLS},
        {"リンクhttp://t.co/abと", "リンク http と", TEXT_CLEAN_URLS},
    };
    CHECK_EXAMPLES(NULL, examples);
}

TEST(names_become_a_token_but_prices_and_addresses_do_not)
{
    static const example examples[] = {
        {"thanks @jimcramer, .@CNBC!", "thanks @user, .@user!", TEXT_CLEAN_USERS},
        {"long @5.20 and @10k @9am, me@mail.example", "long @5.20 and @10k @9am, me@mail.example", 0},
        {"@user", "@user", 0},
        {"@a_name_longer_than_20_letters", "@a_name_longer_than_20_letters", 0},
    };
    CHECK_EXAMPLES(NULL, examples);
}

TEST(retweet_marks_go_and_are_reported)
{
    static const example examples[] = {
        {"RT @jimcramer: We like $FB", "We like $FB", TEXT_CLEAN_RETWEETS},
        {"rt@a: RT @b: twice", "twice", TEXT_CLEAN_RETWEETS},
        {"RT : @a text", "RT : @user text", TEXT_CLEAN_USERS},
        {"so true RT @a: text", "so true RT @user: text", TEXT_CLEAN_USERS},
        {"RT", "RT", 0},
    };
    CHECK_EXAMPLES(NULL, examples);
    text_clean_options mark = TEXT_CLEAN_DEFAULT;
    mark.retweets = TEXT_CLEAN_TOKEN;
    check_example(&mark, "RT @a: RT @b: twice", 19, "[RT] twice");
    CHECK(last.retweet);
    mark.retweets = TEXT_CLEAN_KEEP;
    check_example(&mark, "RT @a: once", 11, "RT @user: once");
    CHECK(last.retweet);
}

TEST(white_space_of_any_kind_is_one_space)
{
    static const example examples[] = {
        {"  a\n\n b\302\240\342\200\203 c\343\200\200", "a b c", TEXT_CLEAN_SPACES},
        {"a\342\200\250 b", "a b", TEXT_CLEAN_SPACES},
    };
    CHECK_EXAMPLES(NULL, examples);
    text_clean_options keep = TEXT_CLEAN_DEFAULT;
    keep.spaces = false;
    check_example(&keep, " a\n\n b ", 7, " a\n\n b ");
}

TEST(mojibake_is_undone_where_it_is_certain)
{
    static const example examples[] = {
        {"Donâ€™t", "Don’t", TEXT_CLEAN_REPAIR},
        {"CafÃ©", "Café", TEXT_CLEAN_REPAIR},
        {"ðŸš€", "🚀", TEXT_CLEAN_REPAIR},
        {"Ã¢â‚¬â„¢s", "’s", TEXT_CLEAN_REPAIR},
        {"&acirc;&euro;&trade;s", "’s", TEXT_CLEAN_REPAIR | TEXT_CLEAN_ENTITIES},
        {"it\302\222s", "it’s", TEXT_CLEAN_REPAIR},
        {"IRMÃ… “MAÇÃ”", "IRMÃ… “MAÇÃ”", 0},
    };
    CHECK_EXAMPLES(NULL, examples);
}

TEST(what_no_text_needs_is_removed)
{
    static const example examples[] = {
        {"\357\273\277z\342\200\213ero\007", "zero", TEXT_CLEAN_REPAIR},
        {"e\314\201", "é", TEXT_CLEAN_REPAIR},
        {"👩\342\200\215💻 ❤\357\270\217", "👩\342\200\215💻 ❤\357\270\217", 0},
    };
    CHECK_EXAMPLES(NULL, examples);
}

/* Eight printable bytes are taken at once: what is none of them goes from any place among them, and nothing else does; and the
 * letter before a combining mark may be one of them. */
TEST(control_characters_go_from_any_place_of_a_text)
{
    enum { SIZE = 27 };
    const text_clean_options options = {.repair = true};
    for (unsigned code = 0; code < 0x80; code++) {
        for (size_t place = 0; place < SIZE; place++) {
            char text[SIZE + 3], want[SIZE + 3];
            bool stays = (code >= 0x20 && code < 0x7F) || code == '\t' || code == '\n' || code == '\r';
            memset(text, '~', SIZE);
            memcpy(text + SIZE, "\303\251", 3);
            text[place] = (char)code;
            memcpy(want, text, place);
            memcpy(want + place, text + place + !stays, sizeof text - place - !stays);
            check_example(&options, text, sizeof text - 1, want);
        }
    }
    for (size_t before = 0; before < SIZE; before++) {
        char text[SIZE + 4] = "", want[SIZE + 4] = "";
        memset(text, '~', before);
        memset(want, '~', before);
        memcpy(text + before, "e\314\201", 3);
        memcpy(want + before, "\303\251", 2);
        check_example(&options, text, strlen(text), want);
    }
}

TEST(a_letter_has_so_many_combining_marks_and_no_more)
{
    char text[1 + 2 * (CLEAN_MARKS_MAX + 5) + 1] = "x", want[1 + 2 * CLEAN_MARKS_MAX + 1] = "x";
    for (size_t i = 0; i < CLEAN_MARKS_MAX + 5; i++) memcpy(text + 1 + 2 * i, "\314\226", 2);
    for (size_t i = 0; i < CLEAN_MARKS_MAX; i++) memcpy(want + 1 + 2 * i, "\314\226", 2);
    check_example(NULL, text, sizeof text - 1, want);
    CHECK_EQUAL(TEXT_CLEAN_REPAIR, last.changed);
}

TEST(ill_formed_utf8_is_replaced_and_counted)
{
    check_example(NULL,
                  "a\xFF"
                  "b\xE2\x80",
                  5,
                  "a�"
                  "b�");
    CHECK_EQUAL(2, last.n_ill_formed);
    CHECK_EQUAL(TEXT_CLEAN_UTF8, last.changed);
}

/* Whether NFC leaves the code point and its neighbours alone, by utf8proc: not changed, no mark, never the second of a pair. */
TEST(no_code_point_called_safe_is_touched_by_nfc)
{
    static bool is_second[UNICODE_LIMIT];
    for (uint32_t code = 0x80; code < UNICODE_LIMIT; code++) {
        uint32_t parts[UNICODE_PARTS_MAX];
        if (code >= 0xD800 && code < 0xE000) continue;
        size_t n = unicode_decompose(code, parts);
        for (size_t i = 1; i < n; i++) is_second[parts[i]] = true;
    }
    for (uint32_t code = 0x1161; code <= 0x11C2; code++) is_second[code] = true; /* Hangul is composed by rule */
    size_t n_safe = 0;
    for (uint32_t code = 0x20; code < UNICODE_LIMIT; code++) {
        if (!clean_code_is_nfc(code)) continue;
        utf8proc_int32_t composed[8] = {(utf8proc_int32_t)code};
        utf8proc_ssize_t n = utf8proc_decompose_char((utf8proc_int32_t)code, composed, 8, UTF8PROC_DECOMPOSE, NULL);
        n = utf8proc_normalize_utf32(composed, n, UTF8PROC_STABLE | UTF8PROC_COMPOSE);
        CHECK(n == 1 && composed[0] == (utf8proc_int32_t)code && unicode_combining_class(code) == 0 && !is_second[code]);
        n_safe++;
    }
    CHECK(n_safe > 30000);
}

/* Texts of parts that cleaning has to do with, glued at random; no mojibake whose certainty depends on its neighbours, which
 * a token may replace. */
static size_t random_text(rng *r, char *out, size_t room)
{
    static const char *const parts[] = {
        "a",
        "B",
        " ",
        "  ",
        "\n",
        "&",
        "&amp;",
        "amp;",
        "&#39;",
        "&#",
        "x41;",
        "&acirc;&euro;&trade;",
        "lt;",
        "@",
        "@bob",
        "@bob_1",
        ":",
        "RT ",
        "RT @a: ",
        "http://",
        "https://t.co/ab",
        "t.co/x",
        "www.",
        ".",
        "..",
        "\342\200\246",
        "htt",
        "https",
        "/",
        "$",
        "$AAPL",
        "#x",
        "!",
        ")",
        "(",
        "\303\242\342\202\254\342\204\242",
        "\302\240",
        "\342\200\213",
        "\314\201",
        "\315\204",
        "e\314\201",
        "\302\222",
        "\360\237\232\200",
        "\377",
        "\342\200",
        "\000",
        "\033",
        "\343\200\200",
        "\357\273\277",
        "_",
        "-",
        "9",
        "\330\247",
        "\360\235\205\240",
        "'",
        "\"",
    };
    size_t size = 0, n = (size_t)rng_below(r, 14);
    for (size_t i = 0; i < n; i++) {
        const char *part = parts[rng_below(r, sizeof parts / sizeof *parts)];
        size_t bytes = part[0] == '\0' ? 1 : strlen(part);
        if (size + bytes > room) break;
        memcpy(out + size, part, bytes);
        size += bytes;
    }
    return size;
}

/* Where links or names are removed, "RT" and a name may come to stand together: then retweets are kept here. */
static text_clean_options random_options(rng *r)
{
    text_clean_options o = {.entities = rng_below(r, 4) > 0, .repair = rng_below(r, 4) > 0, .spaces = rng_below(r, 4) > 0};
    o.urls = (text_clean_mark)rng_below(r, 3);
    o.users = (text_clean_mark)rng_below(r, 3);
    o.retweets = (text_clean_mark)rng_below(r, 3);
    if (o.urls == TEXT_CLEAN_REMOVE || o.users == TEXT_CLEAN_REMOVE) o.retweets = TEXT_CLEAN_KEEP;
    return o;
}

/* The text in a block of exactly its size, so that the address sanitizer sees a read past it. */
static void clean_exactly(const char *text, size_t size, const text_clean_options *options, str *out,
                          text_clean_report *report, text_clean_scratch *scratch)
{
    finch_error err;
    void *block;
    CHECK_OK(mem_alloc(size, 1, &block, &err), &err);
    if (size > 0) memcpy(block, text, size);
    CHECK_OK(text_clean((finch_text){block, size}, options, out, report, scratch, &err), &err);
    mem_free(block);
}

TEST(what_holds_for_any_text_under_any_options)
{
    rng r = {.seed = 11};
    str once = {0}, twice = {0};
    text_clean_scratch scratch = {0};
    char text[256];
    for (int i = 0; i < 60000; i++) {
        text_clean_report report, again;
        text_clean_options options = random_options(&r);
        size_t size = random_text(&r, text, sizeof text);
        clean_exactly(text, size, &options, &once, &report, &scratch);
        CHECK_EQUAL(once.size, utf8_valid_size((unsigned char *)once.at, once.size));
        CHECK(once.size <= TEXT_CLEAN_GROWTH * size && once.at[once.size] == '\0');
        CHECK((report.changed == 0) == (once.size == size && memcmp(once.at, text, size) == 0));
        clean_exactly(once.at, once.size, &options, &twice, &again, &scratch);
        if (twice.size != once.size || memcmp(twice.at, once.at, once.size) != 0)
            print_message("<%.*s> <%s> <%s>\n", (int)size, text, once.at, twice.at);
        CHECK(twice.size == once.size && memcmp(twice.at, once.at, once.size) == 0);
    }
    text_clean_scratch_free(&scratch);
    str_free(&once);
    str_free(&twice);
}

TEST(a_megabyte_of_one_thing_takes_linear_time)
{
    static const char *const parts[] = {"a",
                                        "&",
                                        "&amp;",
                                        "&amp",
                                        "&am&#112;",
                                        "&#",
                                        "@",
                                        "@a",
                                        "http://",
                                        "www.",
                                        "a.",
                                        "..",
                                        "RT ",
                                        "RT @a:",
                                        " ",
                                        "\314\201",
                                        "\315\204\314\243",
                                        "\303\203",
                                        "\303\242\342\202\254",
                                        "\377",
                                        "\342\200\246",
                                        "ht",
                                        ")",
                                        "h"};
    static char text[1 << 20];
    str out = {0};
    text_clean_scratch scratch = {0};
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
        size_t size = strlen(parts[i]);
        for (size_t k = 0; k < sizeof text; k++) text[k] = parts[i][k % size];
        clean_exactly(text, sizeof text, NULL, &out, NULL, &scratch); /* a quadratic walk would outlast the timeout */
    }
    text_clean_scratch_free(&scratch);
    str_free(&out);
}

TEST(nothing_is_allocated_once_the_memory_has_grown)
{
    static const char *const texts[] = {"RT @a: caf\303\203\302\251 &amp;amp; e\314\201 http://t.co/x\n\n\377", "plain"};
    finch_error err;
    str out = {0};
    text_clean_scratch scratch = {0};
    for (int round = 0; round < 3; round++) {
        uint64_t before = mem_count().allocations;
        for (size_t i = 0; i < 2; i++)
            CHECK_OK(text_clean((finch_text){texts[i], strlen(texts[i])}, NULL, &out, NULL, &scratch, &err), &err);
        CHECK(round == 0 || mem_count().allocations == before);
    }
    text_clean_scratch_free(&scratch);
    str_free(&out);
}

TEST(no_memory_is_an_error_and_leaves_nothing)
{
    static const char text[] = "RT @a: caf\303\203\302\251 &amp;amp; e\314\201\314\243 http://t.co/x \377";
    size_t n_failed = 0;
    for (int nth = 1;; nth++) {
        finch_error err;
        str out = {0};
        text_clean_scratch scratch = {0};
        (void)fault_arm(FAULT_ALLOC, nth);
        finch_status st = text_clean((finch_text){text, sizeof text - 1}, NULL, &out, NULL, &scratch, &err);
        (void)fault_disarm();
        text_clean_scratch_free(&scratch);
        str_free(&out);
        if (st == FINCH_OK) break;
        CHECK_EQUAL(FINCH_E_MEMORY, st);
        n_failed++;
    }
    CHECK(n_failed >= 4);
}

/* What clean_plain_end passes over is what the walk from piece to piece would have copied as it is: runs, signs and single
 * spaces between; and it ends where a piece does, or among other signs. */
TEST(plain_text_is_what_the_pieces_leave_as_it_is)
{
    static const char *const parts[] = {"a",
                                        "word",
                                        " ",
                                        "  ",
                                        ".",
                                        "..",
                                        ":",
                                        "://",
                                        "http",
                                        "/",
                                        "@",
                                        "$",
                                        "#",
                                        "-",
                                        "_",
                                        "\xC2\xA0",
                                        "\xE2\x80\xA6",
                                        "\t",
                                        "www.",
                                        "t.co/x",
                                        "\xF0\x9F\x9A\x80",
                                        "\xC3\xA9",
                                        "ht",
                                        "9",
                                        "buy the dip today, all of you"};
    rng random = {.seed = 20261127};
    size_t n_plain = 0;
    for (int turn = 0; turn < 20000; turn++) {
        char text[512];
        size_t size = 0;
        for (size_t n = rng_below(&random, 12); n > 0; n--) {
            const char *part = parts[rng_below(&random, sizeof parts / sizeof *parts)];
            memcpy(text + size, part, strlen(part));
            size += strlen(part);
        }
        for (size_t at = 0; at < size;) {
            clean_piece kind = CLEAN_OTHER;
            size_t end = clean_plain_end(text, size, at), piece = at;
            CHECK(end >= at && end <= size);
            for (; piece < end; n_plain++) {
                size_t next = clean_piece_next(text, size, piece, &kind);
                CHECK(kind == CLEAN_RUN || kind == CLEAN_OTHER ||
                      (kind == CLEAN_SPACE && next == piece + 1 && text[piece] == ' '));
                CHECK(kind != CLEAN_SPACE || (piece > at && next < end));
                piece = next;
            }
            CHECK(piece == end || kind == CLEAN_OTHER);
            at = end > at ? end : clean_piece_next(text, size, at, &kind);
        }
    }
    CHECK(n_plain > 10000);
}
