#include "text/language.h"

#include "text/clean_words.h"
#include "text/utf8.h"

enum { LETTERS_MIN = 12 };

/* Letters of scripts that English is not written in, and Latin ones, outside of links and names. */
typedef struct letters {
    size_t latin, foreign;
} letters;

static bool is_foreign(uint32_t c)
{
    return (c >= 0x370 && c <= 0x1CFF) || (c >= 0x3041 && c <= 0xD7A3) || (c >= 0xFB50 && c <= 0xFDFF) ||
           (c >= 0xFE70 && c <= 0xFEFC);
}

static void count(const unsigned char *at, const unsigned char *end, letters *n)
{
    while (at < end) {
        utf8_char c = utf8_decode(at, end);
        n->foreign += is_foreign(c.code);
        n->latin += (c.code | 0x20) >= 'a' && (c.code | 0x20) <= 'z';
        at += c.size;
    }
}

text_language text_language_of(finch_text text)
{
    letters n = {0};
    for (size_t at = 0; at < text.size_bytes && n.latin + n.foreign < TEXT_LANGUAGE_BYTES;) {
        clean_piece kind;
        size_t end = clean_piece_next(text.at, text.size_bytes, at, &kind);
        if (kind == CLEAN_RUN || kind == CLEAN_OTHER)
            count((const unsigned char *)text.at + at, (const unsigned char *)text.at + end, &n);
        at = end;
    }
    if (n.foreign > n.latin) return (text_language){TEXT_LANGUAGE_OTHER, 0.0f, "und"};
    if (n.latin < LETTERS_MIN) return (text_language){TEXT_LANGUAGE_TOO_SHORT, 0.5f, "und"};
    return (text_language){TEXT_LANGUAGE_ENGLISH, 0.9f, "en"};
}
