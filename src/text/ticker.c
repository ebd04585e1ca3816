#include "text/ticker.h"

#include "text/clean_words.h"

#include <string.h>

enum { ROOT_MAX = 6, CLASS_MAX = 2 };

static bool is_letter(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); }
static bool is_digit(char c) { return c >= '0' && c <= '9'; }
static char upper(char c) { return c >= 'a' && c <= 'z' ? (char)(c - 'a' + 'A') : c; }

static size_t letters_at(finch_text t, size_t at)
{
    size_t n = 0;
    while (at + n < t.size_bytes && is_letter(t.at[at + n])) n++;
    return n;
}

static bool goes_on(finch_text t, size_t at)
{
    return at < t.size_bytes && (is_letter(t.at[at]) || is_digit(t.at[at]) || t.at[at] == '_' || t.at[at] == '$');
}

/* The cashtag whose '$' is at begin; false where none is. */
static bool cashtag_at(finch_text t, size_t begin, text_ticker *out)
{
    if (begin > 0 && goes_on(t, begin - 1)) return false;
    size_t root = letters_at(t, begin + 1), end = begin + 1 + root;
    if (root == 0 || root > ROOT_MAX || goes_on(t, end)) return false;
    size_t class = end < t.size_bytes && (t.at[end] == '.' || t.at[end] == '-') ? letters_at(t, end + 1) : 0;
    if (class > CLASS_MAX || goes_on(t, end + 1 + class)) class = 0;
    *out = (text_ticker){.found = TEXT_TICKER_CASHTAG, .begin = begin, .end = class > 0 ? end + 1 + class : end};
    for (size_t i = 0; begin + 1 + i < out->end; i++) out->symbol[i] = i == root ? '.' : upper(t.at[begin + 1 + i]);
    out->listing = text_symbol_find(out->symbol, strlen(out->symbol));
    return true;
}

size_t text_tickers_find(finch_text text, text_ticker *out, size_t max)
{
    size_t n = 0;
    for (size_t at = 0; at < text.size_bytes;) {
        clean_piece kind;
        size_t end = clean_piece_next(text.at, text.size_bytes, at, &kind);
        for (size_t i = at; kind == CLEAN_OTHER && i < end; i++) {
            text_ticker found;
            if (text.at[i] != '$' || !cashtag_at(text, i, &found)) continue;
            if (n < max) out[n] = found;
            n++;
        }
        at = end;
    }
    return n;
}

size_t text_symbol_count(void) { return 0; }
const text_symbol *text_symbol_at(size_t index)
{
    (void)index;
    return NULL;
}
const text_symbol *text_symbol_find(const char *symbol, size_t size)
{
    (void)symbol;
    (void)size;
    return NULL;
}
