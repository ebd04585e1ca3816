/* Tickers in a tweet: cashtags ($AAPL, $brk.b), and company names of the symbol table that ships (data/symbols).
 *
 * A cashtag is '$' and 1 to 6 letters, with at most one class of 1 or 2 letters behind a dot or a dash, where neither a
 * word goes on before it nor a letter or digit behind it: $5, $100M and US$AAPL are none. Both are checked against the table: an
 * unknown cashtag is found all the same, and marked so. Company names count where the table's rules say that the name is
 * the company: docs/clean.md. Links and user names are passed over. No allocation, no state, linear time. */
#ifndef FINCH_TEXT_TICKER_H
#define FINCH_TEXT_TICKER_H

#include "base/status.h"

enum { TEXT_SYMBOL_BYTES = 12 };

/* A listing. Borrowed from the table, constant for the life of the process. */
typedef struct text_symbol {
    char symbol[TEXT_SYMBOL_BYTES]; /* AAPL, BRK.B */
    const char *name;               /* Apple Inc. */
    const char *exchange;           /* NASDAQ, NYSE, NYSE American, ... */
} text_symbol;

typedef enum text_ticker_found { TEXT_TICKER_CASHTAG, TEXT_TICKER_NAME } text_ticker_found;

typedef struct text_ticker {
    char symbol[TEXT_SYMBOL_BYTES]; /* upper case, a class behind a dot; NUL bytes to its end */
    const text_symbol *listing;     /* NULL: a cashtag that is not in the table */
    text_ticker_found found;
    size_t begin, end; /* bytes of the text, the '$' included */
} text_ticker;

/* The tickers of a text in their order, a symbol as often as it stands there. Writes at most max of them to out and
 * returns how many there are. Ill-formed UTF-8 is legal. */
size_t text_tickers_find(finch_text text, text_ticker *out, size_t max);

/* The same of a text without links, in half the time: such is what text_clean writes where options.urls is not
 * TEXT_CLEAN_KEEP. In a link it would find names and cashtags. */
size_t text_tickers_find_linkless(finch_text text, text_ticker *out, size_t max);

/* The table in order of symbols. */
size_t text_symbol_count(void);
const text_symbol *text_symbol_at(size_t index);

/* NULL where the table has no such symbol; letter case does not count, "BRK-B" is "BRK.B". */
const text_symbol *text_symbol_find(const char *symbol, size_t size);

#endif
