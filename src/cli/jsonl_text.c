#include "cli/jsonl_text.h"

#include <string.h>

enum { DEPTH_MAX = 64, REPLACEMENT = 0xFFFD };

typedef struct parser {
    const unsigned char *begin, *at, *end;
    finch_error *err;
} parser;

static finch_status fail_at(const parser *p, const char *what)
{
    return finch_fail(p->err, FINCH_E_DATA, "not valid JSON at byte %zu: %s", (size_t)(p->at - p->begin) + 1, what);
}

static void skip_space(parser *p)
{
    while (p->at < p->end && (*p->at == ' ' || *p->at == '\t' || *p->at == '\r' || *p->at == '\n')) p->at++;
}

/* The next character that is not a space; 0 at the end. */
static unsigned char peek(parser *p)
{
    skip_space(p);
    return p->at < p->end ? *p->at : 0;
}

static bool take(parser *p, unsigned char wanted)
{
    if (peek(p) != wanted) return false;
    p->at++;
    return true;
}

/* ---- strings ---- */

static size_t encode_utf8(uint32_t c, char out[4])
{
    if (c < 0x80) {
        out[0] = (char)c;
        return 1;
    }
    size_t n = c < 0x800 ? 2 : c < 0x10000 ? 3 : 4;
    for (size_t i = n; i-- > 1; c >>= 6) out[i] = (char)(0x80u | (c & 0x3Fu));
    static const unsigned char lead[5] = {0, 0, 0xC0, 0xE0, 0xF0};
    out[0] = (char)(lead[n] | c);
    return n;
}

/* Four hexadecimal digits at p->at + skip. */
static bool read_hex(const parser *p, size_t skip, uint32_t *out)
{
    static const char digits[] = "0123456789abcdefABCDEF";
    uint32_t value = 0;
    if ((size_t)(p->end - p->at) < skip + 4) return false;
    for (size_t i = 0; i < 4; i++) {
        const char *digit = p->at[skip + i] != 0 ? strchr(digits, p->at[skip + i]) : NULL;
        if (digit == NULL) return false;
        size_t index = (size_t)(digit - digits);
        value = value << 4 | (uint32_t)(index < 16 ? index : index - 6); /* the capital letters stand behind */
    }
    *out = value;
    return true;
}

/* Behind "\u". */
static finch_status read_unicode(parser *p, str *out)
{
    uint32_t c, low;
    char text[4];
    if (!read_hex(p, 0, &c)) return fail_at(p, "\\u needs four hexadecimal digits");
    p->at += 4;
    bool high = c >= 0xD800 && c < 0xDC00;
    bool paired = high && p->end - p->at >= 6 && p->at[0] == '\\' && p->at[1] == 'u' && read_hex(p, 2, &low) &&
                  low >= 0xDC00 && low < 0xE000;
    if (paired) {
        c = 0x10000 + ((c - 0xD800) << 10) + (low - 0xDC00);
        p->at += 6;
    } else if (c >= 0xD800 && c < 0xE000) {
        c = REPLACEMENT;
    }
    return out == NULL ? FINCH_OK : str_add(out, text, encode_utf8(c, text), p->err);
}

static finch_status read_escape(parser *p, str *out)
{
    static const char from[] = "\"\\/bfnrt", to[] = "\"\\/\b\f\n\r\t";
    unsigned char c = p->at < p->end ? *p->at : 0;
    const char *known = c != 0 ? strchr(from, c) : NULL;
    if (c == 'u') {
        p->at++;
        return read_unicode(p, out);
    }
    if (known == NULL) return fail_at(p, "an unknown escape");
    p->at++;
    return out == NULL ? FINCH_OK : str_add(out, to + (known - from), 1, p->err);
}

/* From the opening quote to behind the closing one; out may be NULL. */
static finch_status read_string(parser *p, str *out)
{
    p->at++;
    for (;;) {
        const unsigned char *plain = p->at;
        while (p->at < p->end && *p->at != '"' && *p->at != '\\') p->at++;
        if (out != NULL) FINCH_TRY(str_add(out, (const char *)plain, (size_t)(p->at - plain), p->err));
        if (p->at == p->end) return fail_at(p, "the string is not closed");
        if (*p->at++ == '"') return FINCH_OK;
        FINCH_TRY(read_escape(p, out));
    }
}

/* ---- values that are passed over ---- */

static finch_status skip_value(parser *p, size_t depth);

static bool skip_digits(parser *p)
{
    const unsigned char *begin = p->at;
    while (p->at < p->end && *p->at >= '0' && *p->at <= '9') p->at++;
    return p->at > begin;
}

static bool skip_number(parser *p)
{
    if (p->at < p->end && *p->at == '-') p->at++;
    bool zero = p->at < p->end && *p->at == '0';
    const unsigned char *digits = p->at;
    if (!skip_digits(p) || (zero && p->at - digits > 1)) return false;
    if (p->at < p->end && *p->at == '.') {
        p->at++;
        if (!skip_digits(p)) return false;
    }
    if (p->at < p->end && (*p->at | 0x20) == 'e') {
        p->at++;
        if (p->at < p->end && (*p->at == '+' || *p->at == '-')) p->at++;
        return skip_digits(p);
    }
    return true;
}

static bool skip_word(parser *p, const char *word)
{
    size_t size = strlen(word);
    if ((size_t)(p->end - p->at) < size || memcmp(p->at, word, size) != 0) return false;
    p->at += size;
    return true;
}

static finch_status skip_key(parser *p)
{
    if (peek(p) != '"') return fail_at(p, "a key in quotes is missing");
    FINCH_TRY(read_string(p, NULL));
    return take(p, ':') ? FINCH_OK : fail_at(p, "a colon is missing behind the key");
}

static finch_status skip_container(parser *p, size_t depth)
{
    bool object = *p->at++ == '{';
    unsigned char closing = object ? '}' : ']';
    if (depth == 0) return fail_at(p, "nested too deep");
    if (take(p, closing)) return FINCH_OK;
    do {
        if (object) FINCH_TRY(skip_key(p));
        FINCH_TRY(skip_value(p, depth - 1));
    } while (take(p, ','));
    return take(p, closing) ? FINCH_OK : fail_at(p, object ? "a comma or } is missing" : "a comma or ] is missing");
}

static finch_status skip_value(parser *p, size_t depth)
{
    unsigned char c = peek(p);
    if (c == '"') return read_string(p, NULL);
    if (c == '{' || c == '[') return skip_container(p, depth);
    if (skip_word(p, "true") || skip_word(p, "false") || skip_word(p, "null") || skip_number(p)) return FINCH_OK;
    return fail_at(p, "a value is missing");
}

/* ---- the object ---- */

static finch_status read_wanted(parser *p, str *out, size_t out_size, jsonl_found *found)
{
    out->size = out_size; /* of equal keys the last one counts */
    unsigned char c = peek(p);
    *found = c == '"' ? JSONL_TEXT : JSONL_NULL;
    if (c == '"') return read_string(p, out);
    return skip_word(p, "null") ? FINCH_OK : fail_at(p, "the text is neither a string nor null");
}

static finch_status read_member(parser *p, const char *key, str *out, size_t out_size, str *name, jsonl_found *found)
{
    if (peek(p) != '"') return fail_at(p, "a key in quotes is missing");
    str_clear(name);
    FINCH_TRY(read_string(p, name));
    if (!take(p, ':')) return fail_at(p, "a colon is missing behind the key");
    bool wanted = name->size == strlen(key) && memcmp(name->at, key, name->size) == 0;
    return wanted ? read_wanted(p, out, out_size, found) : skip_value(p, DEPTH_MAX);
}

static finch_status read_object(parser *p, const char *key, str *out, size_t out_size, str *name, jsonl_found *found)
{
    if (!take(p, '{')) return fail_at(p, "a line must be one object { ... }");
    if (!take(p, '}')) {
        do FINCH_TRY(read_member(p, key, out, out_size, name, found));
        while (take(p, ','));
        if (!take(p, '}')) return fail_at(p, "a comma or } is missing");
    }
    skip_space(p);
    return p->at == p->end ? FINCH_OK : fail_at(p, "something stands behind the object");
}

finch_status jsonl_text(bytes line, const char *key, str *out, str *key_scratch, jsonl_found *found, finch_error *err)
{
    parser p = {.begin = line.at, .at = line.at, .end = line.at + line.size, .err = err};
    size_t out_size = out->size;
    *found = JSONL_ABSENT;
    /* Reserving keeps .at valid for empty texts, and name->at for the empty key. */
    FINCH_TRY(str_reserve(out, 1, err));
    FINCH_TRY(str_reserve(key_scratch, 1, err));
    finch_status st = read_object(&p, key, out, out_size, key_scratch, found);
    if (st != FINCH_OK) out->size = out_size;
    out->at[out->size] = '\0';
    return st;
}
