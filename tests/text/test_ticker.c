/* Which tickers a text names, and what the table holds. */
#include "harness.h"

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
}

TEST(more_tickers_than_room_are_counted)
{
    text_ticker one[1];
    CHECK_EQUAL(3, text_tickers_find((finch_text){"$A $B $C", 8}, one, 1));
    CHECK_TEXT("A", one[0].symbol);
    CHECK_EQUAL(3, text_tickers_find((finch_text){"$A $B $C", 8}, NULL, 0));
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
        (void)text_tickers_find((finch_text){text, sizeof text}, NULL, 0); /* a quadratic walk would outlast the timeout */
    }
}
