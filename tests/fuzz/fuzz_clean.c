/* The input's first bytes choose the options, the rest is a text: cleaned, cleaned again, searched for tickers, asked for its
 * language. What must hold for any text: valid UTF-8 comes out, no longer than promised; spans lie inside the text and in
 * order; entities decoded once and thoroughly give valid UTF-8 of valid UTF-8. */
#include "base/mem.h"
#include "text/clean.h"
#include "text/clean_chars.h"
#include "text/entity.h"
#include "text/language.h"
#include "text/mojibake.h"
#include "text/ticker.h"
#include "text/utf8.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { MAX_TICKERS = 16, OPTION_BYTES = 2 };

static text_clean_scratch scratch;
static str out, copy;

static void need(bool holds)
{
    if (!holds) abort();
}

static bool is_valid(const str *s) { return utf8_valid_size((const unsigned char *)s->at, s->size) == s->size; }

static void check_clean(finch_text text, unsigned choice)
{
    text_clean_options o = {.entities = choice & 1, .repair = choice & 2, .spaces = choice & 4};
    o.retweets = (text_clean_mark)(choice / 8 % 3);
    o.urls = (text_clean_mark)(choice / 32 % 3);
    o.users = (text_clean_mark)(choice / 128 % 3);
    text_clean_report report;
    need(text_clean(text, &o, &out, &report, &scratch, NULL) == FINCH_OK);
    need(is_valid(&out) && out.size <= TEXT_CLEAN_GROWTH * text.size_bytes && out.at[out.size] == '\0');
    need((report.changed == 0) == (out.size == text.size_bytes && memcmp(out.at, text.at, out.size) == 0));
}

static void check_tickers(finch_text text)
{
    text_ticker at[MAX_TICKERS];
    size_t n = text_tickers_find(text, at, MAX_TICKERS), end = 0;
    for (size_t i = 0; i < n && i < MAX_TICKERS; i++) {
        need(at[i].begin >= end && at[i].begin < at[i].end && at[i].end <= text.size_bytes);
        need(at[i].symbol[0] != '\0' && memchr(at[i].symbol, '\0', sizeof at[i].symbol) != NULL);
        need(at[i].listing == text_symbol_find(at[i].symbol, strlen(at[i].symbol)));
        end = at[i].end;
    }
}

static void check_language(finch_text text)
{
    text_language l = text_language_of(text);
    need(l.english >= 0 && l.english <= 1 && strlen(l.code) >= 2 && strlen(l.code) <= 3);
    need((l.answer == TEXT_LANGUAGE_ENGLISH) == (strcmp(l.code, "en") == 0) || l.answer == TEXT_LANGUAGE_OTHER);
}

static void check_entities(finch_text text, entity_mode mode)
{
    bool changed;
    finch_error err;
    uint32_t n;
    need(clean_utf8(text, &copy, &n, &err) == FINCH_OK && is_valid(&copy));
    need(mojibake_undo((finch_text){copy.at, copy.size}, &out, &changed, NULL) == FINCH_OK && (!changed || is_valid(&out)));
    need(entity_decode(copy.at, copy.size, mode, &out, &changed, NULL) == FINCH_OK && is_valid(&out));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < OPTION_BYTES) return 0;
    finch_text text = {(const char *)data + OPTION_BYTES, size - OPTION_BYTES};
    check_clean(text, data[0] | (unsigned)(data[1] & 3) << 8);
    check_tickers(text);
    check_language(text);
    check_entities(text, data[1] & 4 ? ENTITY_ALL : ENTITY_ONCE);
    return 0;
}
