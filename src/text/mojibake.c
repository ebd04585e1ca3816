/* A sequence is a run of 2 to 4 characters whose Windows-1252 bytes are the UTF-8 of one character. What makes it certain:
 *
 *  - it stands for a character of a plausible block, and is a run that no language writes: "â€™", "ðŸ˜€", "Ã©" in "cafÃ©".
 *    An upper-case letter with a quotation mark or a dash behind it is none by itself: "PARÃ…", "“MAÇÃ”";
 *  - for Cyrillic, Greek, Arabic and Hebrew (Ð, Î, Ø, ×): a neighbour that stands for the same script;
 *  - the other sequences are undone with it where all that is not ASCII in the text is sequences, one of them certain.
 *
 * Undoing is repeated, because texts pass through several hands. Each pass shortens the text. */
#include "text/mojibake.h"

#include "text/utf8.h"
#include "text/windows1252.h"

#include <string.h>
#include <utf8proc.h>

typedef struct sequence {
    uint32_t code; /* what it stands for */
    uint32_t size; /* bytes of text; 0: there is none */
    uint32_t n;    /* characters */
    uint32_t lead;
    bool typographic; /* all behind the lead is what often stands behind letters */
    bool invisible;   /* a C1 control or a soft hyphen is behind it: no one wrote that */
} sequence;

typedef struct view {
    const unsigned char *begin, *end;
} view;

/* The Windows-1252 byte of a character, or of a C1 control itself; 0 where there is none. */
static uint32_t byte_of(uint32_t code)
{
    if (code < 0x80) return 0;
    if (code < 0x100) return code;
    if (code > 0x2122 || (code > 0x2DC && code < 0x2013)) return 0;
    for (uint32_t i = 0; i < 32; i++)
        if (windows1252[i] == code) return 0x80 + i;
    return 0;
}

/* ‘ ’ “ ” … – — • « » and a no-break space; behind one letter also ™ › ‹. */
static bool is_typographic(uint32_t byte, uint32_t n)
{
    if (n == 2 && (byte == 0x99 || byte == 0x9B || byte == 0x8B)) return true;
    return byte == 0x85 || (byte >= 0x91 && byte <= 0x97) || byte == 0xAB || byte == 0xBB || byte == 0xA0;
}

static sequence sequence_at(view t, const unsigned char *at)
{
    unsigned char bytes[UTF8_MAX_BYTES] = {0};
    utf8_char c = utf8_next(at);
    const unsigned char *p = at + c.size;
    bytes[0] = (unsigned char)(c.code >= 0xC2 && c.code <= 0xF4 ? c.code : 0);
    if (bytes[0] == 0) return (sequence){0};
    sequence s = {.n = bytes[0] < 0xE0 ? 2 : bytes[0] < 0xF0 ? 3 : 4, .lead = bytes[0], .typographic = true};
    for (uint32_t i = 1; i < s.n; i++) {
        if (p == t.end) return (sequence){0};
        c = utf8_next(p);
        p += c.size;
        bytes[i] = (unsigned char)byte_of(c.code);
        if ((bytes[i] & 0xC0) != 0x80) return (sequence){0};
        s.invisible = s.invisible || c.code < 0xA0 || c.code == 0xAD;
        s.typographic = s.typographic && is_typographic(bytes[i], s.n);
    }
    c = utf8_decode(bytes, bytes + s.n);
    if (!c.valid || c.size != s.n) return (sequence){0};
    s.code = c.code;
    s.size = (uint32_t)(p - at);
    return s;
}

static bool is_lower(uint32_t c) { return utf8proc_toupper((utf8proc_int32_t)c) != (utf8proc_int32_t)c; }
static bool is_upper(uint32_t c) { return utf8proc_tolower((utf8proc_int32_t)c) != (utf8proc_int32_t)c; }

/* The scripts whose letters have two bytes in UTF-8; 0 for none of them. */
static int script_of(uint32_t code)
{
    if (code >= 0x370 && code <= 0x3FF) return 1;
    if (code >= 0x400 && code <= 0x52F) return 2;
    if (code >= 0x5D0 && code <= 0x5EA) return 3;
    return code >= 0x600 && code <= 0x6FF ? 4 : 0;
}

static bool is_plausible(uint32_t code)
{
    static const uint32_t blocks[][2] = {
        {0x0900, 0x0EFF},   {0x1E00, 0x1EFF},   {0x200B, 0x205E},   {0x2060, 0x2064},   {0x20A0, 0x20C0},
        {0x2100, 0x2BFF},   {0x3000, 0x30FF},   {0x3400, 0x9FFF},   {0xAC00, 0xD7A3},   {0xE000, 0xF8FF},
        {0xFE000, 0xFEFFF}, {0xFE00, 0xFE0F},   {0xFEFF, 0xFEFF},   {0xFF01, 0xFFEE},   {0xFFFD, 0xFFFD},
        {0x1D400, 0x1D7FF}, {0x1F000, 0x1FAFF}, {0x20000, 0x2FA1F}, {0xE0020, 0xE007F},
    };
    for (size_t i = 0; i < sizeof blocks / sizeof *blocks; i++)
        if (code >= blocks[i][0] && code <= blocks[i][1]) return true;
    return false;
}

/* Ã and Â, Ä and Å: the second half of Latin-1, and letters of Central Europe and Turkey. */
static bool latin_is_certain(sequence s, uint32_t before, uint32_t behind)
{
    if (s.lead > 0xC5) return false;
    if (is_lower(before) || s.code == 0xA0 || s.invisible) return true;
    if (s.lead == 0xC2) return s.code > 0xA0 && !s.typographic ? true : !is_upper(before);
    if (s.code == 0xE0) return !is_upper(before);
    if (s.lead == 0xC3 && !s.typographic && !is_upper(behind)) return true;
    return is_upper(before) || s.typographic ? is_lower(behind) : true;
}

static bool is_certain(view t, const unsigned char *at, sequence s, uint32_t before, int script_before)
{
    const unsigned char *p = at + s.size;
    uint32_t behind = p < t.end ? utf8_next(p).code : 0;
    if (s.n >= 3) return is_plausible(s.code) && (!s.typographic || s.invisible);
    int script = script_of(s.code);
    if (script == 0) return latin_is_certain(s, before, behind);
    if (script == script_before) return true;
    sequence next = p < t.end ? sequence_at(t, p) : (sequence){0};
    return next.size > 0 && script_of(next.code) == script;
}

typedef struct survey {
    size_t n_certain, n_sequences, n_others; /* others: characters past ASCII outside of sequences */
} survey;

/* One walk over the text: counts what there is, and where out is given, writes the text undone (all sequences, or the
 * certain ones). */
static survey walk(view t, bool all, str *out)
{
    survey found = {0};
    uint32_t before = 0;
    int script_before = 0;
    for (const unsigned char *at = t.begin; at < t.end;) {
        utf8_char c = utf8_next(at);
        sequence s = c.code >= 0x80 ? sequence_at(t, at) : (sequence){0};
        bool certain = s.size > 0 && is_certain(t, at, s, before, script_before);
        bool undone = certain || (all && s.size > 0);
        found.n_sequences += s.size > 0;
        found.n_certain += certain;
        found.n_others += s.size == 0 && c.code >= 0x80;
        size_t size = s.size > 0 ? s.size : c.size;
        if (out != NULL && undone) out->size += utf8_encode(s.code, (unsigned char *)out->at + out->size);
        else if (out != NULL) {
            memmove(out->at + out->size, at, size);
            out->size += size;
        }
        script_before = s.size > 0 ? script_of(s.code) : 0;
        before = s.size > 0 ? s.code : c.code;
        at += size;
    }
    return found;
}

finch_status mojibake_undo(finch_text text, str *out, bool *changed, finch_error *err)
{
    *changed = false;
    /* Every sequence begins with a letter of U+00C2 to U+00F4. */
    if (text.size_bytes == 0 || memchr(text.at, 0xC3, text.size_bytes) == NULL) return FINCH_OK;
    view t = {(const unsigned char *)text.at, (const unsigned char *)text.at + text.size_bytes};
    survey found = walk(t, false, NULL);
    if (found.n_certain == 0) return FINCH_OK;
    str_clear(out);
    FINCH_TRY(str_reserve(out, text.size_bytes, err));
    *changed = true;
    for (int depth = 1;; depth++) {
        walk(t, found.n_others == 0, out);
        out->at[out->size] = '\0';
        if (depth == MOJIBAKE_DEPTH) return FINCH_OK;
        t = (view){(const unsigned char *)out->at, (const unsigned char *)out->at + out->size};
        found = walk(t, false, NULL);
        if (found.n_certain == 0) return FINCH_OK;
        out->size = 0; /* a pass only shortens: it writes behind where it reads */
    }
}
