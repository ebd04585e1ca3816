#include "text/clean_chars.h"

#include "text/unicode.h"
#include "text/utf8.h"
#include "text/windows1252.h"

#include <string.h>
#include <utf8proc.h>

enum { GROWTH = 3 }; /* U+FFFD for a byte; NFC's worst case in UTF-8 is 3, too */

static const unsigned char *bytes_of(finch_text text) { return (const unsigned char *)text.at; }

finch_status clean_utf8(finch_text in, str *out, uint32_t *n, finch_error *err)
{
    size_t most;
    str_clear(out);
    *n = 0;
    if (!size_mul(in.size_bytes, GROWTH, &most))
        return finch_fail(err, FINCH_E_MEMORY, "a text of %zu bytes is too long", in.size_bytes);
    FINCH_TRY(str_reserve(out, most, err));
    const unsigned char *at = bytes_of(in), *end = at + in.size_bytes;
    while (at < end) {
        utf8_char c = utf8_decode(at, end);
        if (!c.valid && *n < UINT32_MAX) ++*n;
        out->size += utf8_encode(c.code, (unsigned char *)out->at + out->size);
        at += c.size;
    }
    out->at[out->size] = '\0';
    return FINCH_OK;
}

typedef struct code_range {
    uint32_t first, last;
} code_range;

/* In order. tests/text/test_clean.c holds every code point against utf8proc. */
static const code_range nfc_ranges[] = {
    {0x20, 0x2FF},    {0x388, 0x482},   {0x48A, 0x52F},   {0x5D0, 0x5EA},   {0x620, 0x64A},   {0x660, 0x66F},
    {0xE01, 0xE30},   {0x2010, 0x2027}, {0x2030, 0x205E}, {0x20A0, 0x20C0}, {0x2100, 0x2125}, {0x212C, 0x218B},
    {0x2190, 0x2328}, {0x232B, 0x2ADB}, {0x2ADD, 0x2BFF}, {0x3000, 0x3029}, {0x3041, 0x3096}, {0x309B, 0x30FF},
    {0x4E00, 0x9FFF}, {0xAC00, 0xD7A3}, {0xFE00, 0xFE0F}, {0xFF01, 0xFFEE}, {0xFFFD, 0xFFFD}, {0x1F000, 0x1FAFF},
};

bool clean_code_is_nfc(uint32_t code)
{
    for (size_t i = 0; i < sizeof nfc_ranges / sizeof *nfc_ranges; i++)
        if (code <= nfc_ranges[i].last) return code >= nfc_ranges[i].first;
    return false;
}

/* What no text needs: docs/clean.md says why each. */
static bool is_removed(uint32_t code)
{
    if (code < 0x20) return code != '\t' && code != '\n' && code != '\r';
    if (code < 0xA0) return code >= 0x7F;
    if (code == 0xAD || code == 0x61C || code == 0x180E || code == 0x200B || code == 0xFEFF) return true;
    if (code == 0x200E || code == 0x200F || (code >= 0x202A && code <= 0x202E)) return true;
    if ((code >= 0x2060 && code <= 0x206F) || (code >= 0xFFF9 && code <= 0xFFFC)) return true;
    return (code >= 0xFDD0 && code <= 0xFDEF) || (code & 0xFFFE) == 0xFFFE;
}

/* Combining marks that wait behind a letter. The letter's own are counted, so that canonically equal texts count alike. */
typedef struct mark_run {
    uint32_t previous;
    size_t n;
} mark_run;

static bool mark_is_one_too_many(mark_run *run, uint32_t code)
{
    uint32_t parts[UNICODE_PARTS_MAX];
    if (code < 0x300 || unicode_combining_class(code) == 0) {
        run->previous = code;
        run->n = 0;
        return false;
    }
    if (run->n == 0) run->n = unicode_decompose(run->previous, parts) - 1;
    size_t more = unicode_decompose(code, parts);
    if (run->n + more > CLEAN_MARKS_MAX) return true;
    run->n += more;
    return false;
}

/* Whether the eight bytes at `at` are printable ASCII, of which everything stays: high bits, what 0x20 can not be taken from, and
 * 0x7F, which one more makes a high bit. A borrow comes only out of a byte that is none itself. */
static bool all_printable(const unsigned char *at)
{
    const uint64_t ones = 0x0101010101010101u;
    uint64_t bytes;
    memcpy(&bytes, at, sizeof bytes);
    return ((bytes | (bytes - 0x20 * ones) | (bytes + ones)) & 0x80 * ones) == 0;
}

/* Writes what stays of in to out, which has room; true where NFC has to look at it. */
static bool filter(finch_text in, str *out)
{
    const unsigned char *at = bytes_of(in), *end = at + in.size_bytes;
    mark_run run = {' ', 0};
    bool check = false;
    while (at < end) {
        while (end - at >= 8 && all_printable(at)) {
            memcpy(out->at + out->size, at, 8);
            out->size += 8;
            at += 8;
            run = (mark_run){at[-1], 0};
        }
        if (at == end) break;
        utf8_char c = utf8_next(at);
        at += c.size;
        if (c.code >= 0x80 && c.code <= 0x9F && windows1252[c.code - 0x80] != 0) c.code = windows1252[c.code - 0x80];
        if (is_removed(c.code) || mark_is_one_too_many(&run, c.code)) continue;
        check = check || (c.code >= 0x300 && !clean_code_is_nfc(c.code));
        out->size += utf8_encode(c.code, (unsigned char *)out->at + out->size);
    }
    return check;
}

static finch_status reserve_codes(text_clean_scratch *s, size_t n, finch_error *err)
{
    if (n <= s->n_codes) return FINCH_OK;
    mem_free(s->codes);
    s->codes = NULL;
    s->n_codes = 0;
    FINCH_TRY(mem_alloc(n, sizeof *s->codes, (void **)&s->codes, err));
    s->n_codes = n;
    return FINCH_OK;
}

/* out in NFC. It is decomposed into at most 4 code points each (utf8proc's own bound is smaller), and has room for GROWTH. */
static finch_status compose(str *out, text_clean_scratch *s, finch_error *err)
{
    const utf8proc_option_t options = UTF8PROC_STABLE | UTF8PROC_COMPOSE;
    const utf8proc_uint8_t *bytes = (const utf8proc_uint8_t *)out->at;
    FINCH_TRY(reserve_codes(s, out->size + 1, err));
    utf8proc_ssize_t n = utf8proc_decompose(bytes, (utf8proc_ssize_t)out->size, s->codes, (utf8proc_ssize_t)s->n_codes,
                                            options);
    if (n > 0 && (size_t)n > s->n_codes) {
        FINCH_TRY(reserve_codes(s, (size_t)n + 1, err));
        n = utf8proc_decompose(bytes, (utf8proc_ssize_t)out->size, s->codes, (utf8proc_ssize_t)s->n_codes, options);
    }
    if (n >= 0) n = utf8proc_normalize_utf32(s->codes, n, options);
    if (n < 0) return finch_fail(err, FINCH_E_FAILED, "utf8proc can not compose a text: %s", utf8proc_errmsg(n));
    str_clear(out);
    for (utf8proc_ssize_t i = 0; i < n; i++) {
        FINCH_TRY(str_reserve(out, UTF8_MAX_BYTES, err));
        out->size += utf8_encode((uint32_t)s->codes[i], (unsigned char *)out->at + out->size);
    }
    return FINCH_OK;
}

finch_status clean_chars(finch_text in, str *out, bool *changed, text_clean_scratch *scratch, finch_error *err)
{
    size_t most;
    str_clear(out);
    /* A C1 control has two bytes and its Windows-1252 character at most three. */
    if (!size_mul(in.size_bytes, 2, &most))
        return finch_fail(err, FINCH_E_MEMORY, "a text of %zu bytes is too long", in.size_bytes);
    FINCH_TRY(str_reserve(out, most, err));
    if (filter(in, out)) FINCH_TRY(compose(out, scratch, err));
    out->at[out->size] = '\0';
    *changed = out->size != in.size_bytes || memcmp(out->at, in.at, in.size_bytes) != 0;
    return FINCH_OK;
}
