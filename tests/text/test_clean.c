/* What cleaning does to a text, stage by stage, and what holds for any text. */
#include "harness.h"

#include "base/rng.h"
#include "text/clean.h"
#include "text/clean_chars.h"
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
    check_example(&mark, "RT @a: RT @b: twice", 19, "RT twice");
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
