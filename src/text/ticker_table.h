/* The table of symbols and company names, made once from the files inside the program. For ticker.c and the tests. */
#ifndef FINCH_TEXT_TICKER_TABLE_H
#define FINCH_TEXT_TICKER_TABLE_H

#include "text/ticker.h"

#include <stdbool.h>
#include <stdint.h>

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

/* Words that may begin a name, by a mark: few others share one. A word that begins with a small letter begins only names that
 * need no capital, and these have marks of their own. */
enum { TICKER_MARKS = 1 << 16 };

typedef struct ticker_marks {
    uint64_t any[TICKER_MARKS / 64], small[TICKER_MARKS / 64]; /* a bit a mark */
} ticker_marks;

/* Of the table: constant. */
const ticker_marks *ticker_marks_all(void);

/* Of a word in any case, not empty: five of its letters and its size. */
static inline size_t ticker_mark(const char *word, size_t size)
{
    const char *last = word + size - 1;
    uint32_t letters = (uint32_t)(word[0] & 31) | (uint32_t)(word[size > 1] & 31) << 5 |
                       (uint32_t)(word[size > 2 ? 2 : 0] & 31) << 10 | (uint32_t)(*last & 31) << 15 |
                       (uint32_t)(last[size > 1 ? -1 : 0] & 31) << 20;
    return (letters | (uint32_t)size << 25) * 2654435761u >> 16; /* Fibonacci hashing: Knuth, TAOCP 6.4 */
}

/* Whether a name may begin with this word (in any case, not empty): false for nearly all that do not. */
static inline bool ticker_name_may_begin(const ticker_marks *marks, const char *word, size_t size)
{
    size_t mark = ticker_mark(word, size);
    const uint64_t *bits = word[0] >= 'a' && word[0] <= 'z' ? marks->small : marks->any;
    return bits[mark / 64] >> mark % 64 & 1;
}

/* The listing of a symbol as the table writes it, filled up with NUL bytes; NULL where there is none. */
const text_symbol *ticker_symbol_of(const char symbol[TEXT_SYMBOL_BYTES]);

/* Words inside a name that may be small where others begin with a capital: "of", "the". In lower case. */
bool ticker_word_is_filler(const char *word, size_t size);

size_t ticker_name_count(void);
const ticker_name *ticker_name_at(size_t index);

#endif
