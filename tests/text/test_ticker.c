/* Which tickers a text names, and what the table holds. */
#include "harness.h"

#include "base/rng.h"
#include "text/clean.h"
#include "text/ticker.h"
#include "text/ticker_table.h"

enum { MAX = 8 };

/* The tickers of a text as "AAPL$ XYZZ? MSFT": '$' a cashtag of the table, '?' one that is not, nothing for a name. */
static const char *found(const char *text)
{
    static char line[256];
    text_ticker at[MAX];
    size_t n = text_tickers_find((finch_text){text, strlen(text)}, at, MAX), used = 0;
    CHECK(n <= MAX);
    line[0] = '\0';
    for (size_t i = 0; i < n; i++) {
        const char *mark = at[i].found == TEXT_TICKER_NAME ? "" : at[i].listing != NULL ? "$" : "?";
        CHECK(at[i].begin < at[i].end && at[i].end <= strlen(text) && (i == 0 || at[i].begin >= at[i - 1].end));
        CHECK(at[i].listing == NULL || strcmp(at[i].listing->symbol, at[i].symbol) == 0);
        used += (size_t)snprintf(line + used, sizeof line - used, "%s%s%s", i > 0 ? " " : "", at[i].symbol, mark);
    }
    return line;
}

TEST(cashtags_are_found_in_any_case_and_checked)
{
    CHECK_TEXT("AAPL$ MSFT$", found("$AAPL and $msft rise"));
    CHECK_TEXT("BRK.B$ BRK.B$ BRK.A$", found("$BRK.B $brk-b ($BRK.A)"));
    CHECK_TEXT("QZZQ?", found("$QZZQ to the moon"));
    CHECK_TEXT("AAPL$", found("$AAPL.We like it"));
    CHECK_TEXT("A$ ALL$ ON$", found("$A, $ALL: $ON"));
    CHECK_TEXT("FB$ YHOO$ TWTR$ SPY$", found("$FB $YHOO $TWTR $SPY"));
}

TEST(money_and_glued_signs_are_no_cashtags)
{
    CHECK_TEXT("", found("$5 $100M $1.2B US$AAPL BE$T CA$H $ $$ $AAPL5 $AAPL_X $TOOLONG $A$B"));
}

TEST(companies_are_found_by_name)
{
    CHECK_TEXT("AAPL GS GOOGL", found("Apple, Goldman Sachs and Google"));
    CHECK_TEXT("JNJ T MCD KO", found("Johnson & Johnson, AT&T, McDonald\u2019s, Coca-Cola"));
    CHECK_TEXT("BAC", found("bank of america upgraded"));
    CHECK_TEXT("MSFT META", found("#microsoft facebook"));
    CHECK_TEXT("AAPL$ AAPL", found("$AAPL: Apple's day"));
}

TEST(words_that_are_also_names_need_what_their_rule_says)
{
    CHECK_TEXT("", found("an apple a day, a target price, the gap, my visa, all on it, a ford, ups and downs"));
    CHECK_TEXT("", found("Price Target Raised; Gap Up; Visa rules; APPLE PIE"));
    CHECK_TEXT("TGT V AAPL", found("Target shares, Visa's earnings, APPLE STOCK"));
    CHECK_TEXT("", found("IT ALL A ON ARE GO SO NOW"));
}

TEST(links_names_and_addresses_are_passed_over)
{
    CHECK_TEXT("", found("http://finance.yahoo.com/q?s=$AAPL @Microsoft me@microsoft.com finance.yahoo.com"));
    /* The run goes on behind the name: what it is, its beginning says. */
    CHECK_TEXT("BAC AAPL", found("bank of america.--www.x&Apple"));
}

TEST(more_tickers_than_room_are_counted)
{
    text_ticker one[1];
    CHECK_EQUAL(3, text_tickers_find((finch_text){"$A $B $C", 8}, one, 1));
    CHECK_TEXT("A", one[0].symbol);
    CHECK_EQUAL(3, text_tickers_find((finch_text){"$A $B $C", 8}, NULL, 0));
}

/* Of parts that tickers, links and names are made of, glued at random. */
static size_t random_text(rng *r, char *out, size_t room)
{
    static const char *const parts[] = {"$",
                                        "$",
                                        "$AAPL",
                                        "$brk-b",
                                        "$GM.F",
                                        "Apple",
                                        "apple",
                                        "APPLE",
                                        " shares",
                                        "bank of america",
                                        "Bank",
                                        " of ",
                                        "the ",
                                        "Home Depot",
                                        "the home depot",
                                        "'s ",
                                        "&",
                                        "-",
                                        ".",
                                        "..",
                                        "@",
                                        "@user",
                                        "@bob_",
                                        "http",
                                        "http://t.co/ab",
                                        "www.",
                                        "x.com/",
                                        "RT @a: ",
                                        " ",
                                        " ",
                                        "  ",
                                        "7",
                                        "3M",
                                        "3m",
                                        "IBM",
                                        "ibm",
                                        "_",
                                        "Microsoft",
                                        "caf\303\251",
                                        "\342\200\231",
                                        "\342\200\246",
                                        "\360\237\232\200",
                                        "goldmansachsisonewordofmorethanthirtyoneletters",
                                        "AT&T",
                                        "at&t",
                                        "General Electric",
                                        "general "};
    size_t size = 0;
    for (size_t n = rng_below(r, 40); n > 0; n--) {
        const char *part = parts[rng_below(r, sizeof parts / sizeof *parts)];
        if (size + strlen(part) > room) break;
        memcpy(out + size, part, strlen(part));
        size += strlen(part);
    }
    return size;
}

static size_t n_compared;

static void compare_finders(const char *text, size_t size)
{
    text_ticker a[64], b[64];
    finch_text t = {text, size};
    size_t n = text_tickers_find(t, a, 64);
    bool same = n <= 64 && n == text_tickers_find_linkless(t, b, 64);
    for (size_t i = 0; same && i < n; i++)
        same = strcmp(a[i].symbol, b[i].symbol) == 0 && a[i].listing == b[i].listing && a[i].found == b[i].found &&
               a[i].begin == b[i].begin && a[i].end == b[i].end;
    if (!same) print_message("<%.*s>\n", (int)size, text);
    CHECK(same);
    n_compared += n;
}

/* The text in a block of exactly its size, so that the address sanitizer sees a read past it. */
TEST(clean_texts_have_the_same_tickers_without_a_look_at_links)
{
    rng r = {.seed = 3};
    str clean = {0};
    text_clean_scratch scratch = {0};
    finch_error err;
    for (int i = 0; i < 60000; i++) {
        char text[400], *block;
        text_clean_options options = TEXT_CLEAN_DEFAULT;
        options.urls = i % 2 == 0 ? TEXT_CLEAN_TOKEN : TEXT_CLEAN_REMOVE;
        options.users = (text_clean_mark)rng_below(&r, 3);
        options.spaces = i % 5 > 0;
        size_t size = random_text(&r, text, sizeof text);
        CHECK_OK(text_clean((finch_text){text, size}, &options, &clean, NULL, &scratch, &err), &err);
        CHECK_OK(mem_alloc(clean.size, 1, (void **)&block, &err), &err);
        if (clean.size > 0) memcpy(block, clean.at, clean.size);
        compare_finders(block, clean.size);
        mem_free(block);
    }
    CHECK(n_compared > 60000);
    text_clean_scratch_free(&scratch);
    str_free(&clean);
}

/* Each name as it stands in the table and in other cases, at each place of a block. */
TEST(every_name_is_found_either_way)
{
    for (size_t i = 0; i < ticker_name_count(); i++) {
        char text[200];
        const char *alias = ticker_name_at(i)->alias;
        int before = (int)(i % 66);
        int size = snprintf(text, sizeof text, "%*s%s shares", before, "", alias);
        CHECK(size > 0 && size < (int)sizeof text);
        compare_finders(text, (size_t)size);
        for (int k = before; k < size; k++)
            if ((k == before || text[k - 1] == ' ') && text[k] >= 'a' && text[k] <= 'z')
                text[k] = (char)(text[k] - 'a' + 'A');
        compare_finders(text, (size_t)size);
        for (int k = before; k < size; k++)
            if (text[k] >= 'a' && text[k] <= 'z') text[k] = (char)(text[k] - 'a' + 'A');
        compare_finders(text, (size_t)size);
    }
}

TEST(the_table_is_in_order_and_whole)
{
    CHECK(text_symbol_count() > 10000);
    for (size_t i = 0; i < text_symbol_count(); i++) {
        const text_symbol *s = text_symbol_at(i);
        CHECK(s->name[0] != '\0' && s->exchange[0] != '\0');
        CHECK(i == 0 || strcmp(text_symbol_at(i - 1)->symbol, s->symbol) < 0);
        CHECK(text_symbol_find(s->symbol, strlen(s->symbol)) == s);
    }
    CHECK(text_symbol_at(text_symbol_count()) == NULL && text_symbol_find("", 0) == NULL);
    CHECK(text_symbol_find("AAPLAAPLAAPLAAPL", 16) == NULL);
    CHECK_TEXT("NASDAQ", text_symbol_find("aapl", 4)->exchange);
}

TEST(every_name_finds_its_own_company)
{
    CHECK(ticker_name_count() > 1500);
    for (size_t i = 0; i < ticker_name_count(); i++) {
        const ticker_name *name = ticker_name_at(i);
        size_t n, first = strcspn(name->alias, " ");
        const ticker_name *group = ticker_names_of(name->alias, first, &n);
        CHECK(group != NULL && group <= name && name < group + n);
        CHECK(i == 0 || strcmp(ticker_name_at(i - 1)->alias, name->alias) < 0);
    }
    size_t n;
    CHECK(ticker_names_of("nosuchname", 10, &n) == NULL && n == 0);
}

TEST(a_megabyte_of_one_thing_takes_linear_time)
{
    static const char *const parts[] = {"$", "$A", "$A.",  "Apple-", "Apple ",      "bank of ",
                                        "a", "@",  "http", "&",      "\xE2\x80\x99"};
    static char text[1 << 20];
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
        size_t size = strlen(parts[i]);
        for (size_t k = 0; k < sizeof text; k++) text[k] = parts[i][k % size];
        /* a quadratic walk would outlast the timeout */
        (void)text_tickers_find((finch_text){text, sizeof text}, NULL, 0);
        (void)text_tickers_find_linkless((finch_text){text, sizeof text}, NULL, 0);
    }
}
