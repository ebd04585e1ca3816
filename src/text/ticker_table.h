/* The table of symbols and company names, made once from the files inside the program. For ticker.c and the tests. */
#ifndef FINCH_TEXT_TICKER_TABLE_H
#define FINCH_TEXT_TICKER_TABLE_H

#include "text/ticker.h"

/* When a name counts as the company (data/symbols/names.tsv):
 *   any      however it is written            capital  where each word begins with a capital
 *   upper    in capitals only                 context  with capitals, and a word like "shares" or "earnings" behind it */
typedef enum ticker_rule { TICKER_ANY, TICKER_CAPITAL, TICKER_UPPER, TICKER_CONTEXT } ticker_rule;

typedef struct ticker_name {
    const char *alias; /* words in lower case with one space between */
    const text_symbol *listing;
    ticker_rule rule;
} ticker_name;

/* The names that begin with this word (lower case): those from *first on, *n of them, shorter ones before longer ones. */
const ticker_name *ticker_names_of(const char *word, size_t size, size_t *n);

/* Whether a name may begin with this word (in any case, not empty): false for nearly all that do not. */
bool ticker_name_may_begin(const char *word, size_t size);

size_t ticker_name_count(void);
const ticker_name *ticker_name_at(size_t index);

#endif
