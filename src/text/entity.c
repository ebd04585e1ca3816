/* Decoding writes to out and reads on. With ENTITY_ALL, what was decoded may be a part of a reference that begins before it
 * ("&am" + "p;"): then the end of out, from its last '&', is put back into the input, where there is room for it, because
 * decoding ASCII only shortens. A reference is short (ENTITY_BACK_BYTES), so each decoding puts back a bounded number of
 * bytes, and each takes at least two ASCII characters away: time stays linear. */
#include "text/entity.h"

#include "text/entity_table.h"
#include "text/utf8.h"
#include "text/windows1252.h"

#include <string.h>

enum { ENTITY_TEXT_BYTES = 8, ENTITY_BACK_BYTES = ENTITY_LONGEST + 2 };

typedef struct entity_found {
    size_t size; /* bytes of the reference; 0: none here */
    char text[ENTITY_TEXT_BYTES];
    size_t text_size;
} entity_found;

static bool is_digit(char c) { return c >= '0' && c <= '9'; }
static bool is_letter(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); }

static int hex_value(char c)
{
    if (is_digit(c)) return c - '0';
    if (c >= 'a' && c <= 'f') return c - 'a' + 10;
    if (c >= 'A' && c <= 'F') return c - 'A' + 10;
    return -1;
}

static const entity_name *name_find(const char *name, size_t size)
{
    size_t low = 0, high = ENTITY_COUNT;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        const char *at = entity_names[middle].name;
        int order = strncmp(at, name, size);
        if (order == 0 && at[size] == '\0') return &entity_names[middle];
        if (order < 0) low = middle + 1;
        else high = middle;
    }
    return NULL;
}

static entity_found found_name(const entity_name *name, size_t size)
{
    entity_found f = {.size = size, .text_size = strlen(name->text)};
    memcpy(f.text, name->text, f.text_size);
    return f;
}

static bool is_no_character(uint32_t code)
{
    return (code >= 0x1 && code <= 0x8) || code == 0xB || (code >= 0xE && code <= 0x1F) || (code >= 0x7F && code <= 0x9F) ||
           (code >= 0xFDD0 && code <= 0xFDEF) || (code & 0xFFFE) == 0xFFFE;
}

static entity_found found_number(uint32_t code, size_t size)
{
    entity_found f = {.size = size};
    if (code == 0 || (code >= 0xD800 && code <= 0xDFFF) || code > 0x10FFFF) code = UTF8_REPLACEMENT;
    else if (code >= 0x80 && code <= 0x9F) code = windows1252[code - 0x80] != 0 ? windows1252[code - 0x80] : code;
    else if (is_no_character(code)) return f;
    f.text_size = utf8_encode(code, (unsigned char *)f.text);
    return f;
}

/* at[0] is '&', at[1] is '#'. */
static entity_found find_number(const char *at, const char *end)
{
    const char *p = at + 2;
    int base = 10;
    if (p < end && (*p == 'x' || *p == 'X')) {
        base = 16;
        p++;
    }
    const char *digits = p;
    uint32_t code = 0;
    for (; p < end; p++) {
        int digit = hex_value(*p);
        if (digit < 0 || digit >= base) break;
        if (code <= 0x10FFFF) code = code * (uint32_t)base + (uint32_t)digit;
    }
    if (p == digits) return (entity_found){0};
    if (p < end && *p == ';') p++;
    return found_number(code, (size_t)(p - at));
}

static entity_found find_reference(const char *at, const char *end)
{
    if (end - at > 1 && at[1] == '#') return find_number(at, end);
    const char *name = at + 1;
    size_t size = 0;
    while (name + size < end && size <= ENTITY_LONGEST && (is_letter(name[size]) || is_digit(name[size]))) size++;
    if (size <= ENTITY_LONGEST && name + size < end && name[size] == ';') {
        const entity_name *whole = name_find(name, size);
        if (whole != NULL) return found_name(whole, size + 2);
    }
    for (size_t n = size < ENTITY_LEGACY_LONGEST ? size : ENTITY_LEGACY_LONGEST; n >= 2; n--) {
        const entity_name *prefix = name_find(name, n);
        if (prefix != NULL && prefix->legacy) return found_name(prefix, n + 1);
    }
    return (entity_found){0};
}

/* What stands at the end of out and may yet become a reference: its bytes, the '&' included; 0 where nothing does. */
static size_t open_reference(const str *out)
{
    size_t most = out->size < ENTITY_BACK_BYTES ? out->size : ENTITY_BACK_BYTES;
    for (size_t n = 1; n <= most; n++) {
        char c = out->at[out->size - n];
        if (c == '&') return n;
        if (!is_letter(c) && !is_digit(c) && c != '#' && c != ';') return 0;
    }
    return 0;
}

/* The next '&' in text [from, size), or size. */
static size_t next_ampersand(const char *text, size_t from, size_t size)
{
    const char *next = memchr(text + from, '&', size - from);
    return next != NULL ? (size_t)(next - text) : size;
}

/* out has room: a reference becomes at most 6 bytes and has at least 4 (nGt; has 5 with its '&'). */
static void add(str *out, const char *text, size_t size)
{
    memcpy(out->at + out->size, text, size);
    out->size += size;
}

finch_status entity_decode(char *text, size_t size, entity_mode mode, str *out, bool *changed, finch_error *err)
{
    *changed = false;
    str_clear(out);
    FINCH_TRY(str_reserve(out, size + size / 4 + ENTITY_TEXT_BYTES, err));
    for (size_t at = 0; at < size;) {
        size_t next = next_ampersand(text, at, size);
        add(out, text + at, next - at);
        at = next;
        if (at == size) break;
        entity_found f = find_reference(text + at, text + size);
        if (f.size == 0) {
            add(out, text + at++, 1);
            continue;
        }
        *changed = true;
        add(out, f.text, f.text_size);
        at += f.size;
        size_t back = mode == ENTITY_ALL ? open_reference(out) : 0;
        out->size -= back;
        at -= back;
        memcpy(text + at, out->at + out->size, back);
    }
    out->at[out->size] = '\0';
    return FINCH_OK;
}
