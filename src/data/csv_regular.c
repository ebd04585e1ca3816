#include "data/csv_regular.h"

#include "base/file.h"
#include "data/utf8.h"

#include <string.h>
#if defined(__SSE2__)
#include <emmintrin.h>
#endif

enum { BLOCK = 64, REPORT_BYTES = 8 << 20 };

/* Bit i is of byte i. */
typedef struct masks {
    uint64_t quote, separator, newline, carriage, high;
} masks;

#if defined(__SSE2__)
static masks masks_of(const unsigned char *at, char separator)
{
    masks m = {0};
    for (int part = 0; part < 4; part++) {
        __m128i v = _mm_loadu_si128((const __m128i *)(const void *)(at + 16 * part));
        int shift = 16 * part;
        m.quote |= (uint64_t)(unsigned)_mm_movemask_epi8(_mm_cmpeq_epi8(v, _mm_set1_epi8('"'))) << shift;
        m.separator |= (uint64_t)(unsigned)_mm_movemask_epi8(_mm_cmpeq_epi8(v, _mm_set1_epi8(separator))) << shift;
        m.newline |= (uint64_t)(unsigned)_mm_movemask_epi8(_mm_cmpeq_epi8(v, _mm_set1_epi8('\n'))) << shift;
        m.carriage |= (uint64_t)(unsigned)_mm_movemask_epi8(_mm_cmpeq_epi8(v, _mm_set1_epi8('\r'))) << shift;
        m.high |= (uint64_t)(unsigned)_mm_movemask_epi8(v) << shift;
    }
    return m;
}
#else
static masks masks_of(const unsigned char *at, char separator)
{
    masks m = {0};
    for (int i = 0; i < BLOCK; i++) {
        m.quote |= (uint64_t)(at[i] == '"') << i;
        m.separator |= (uint64_t)(at[i] == (unsigned char)separator) << i;
        m.newline |= (uint64_t)(at[i] == '\n') << i;
        m.carriage |= (uint64_t)(at[i] == '\r') << i;
        m.high |= (uint64_t)(at[i] >> 7) << i;
    }
    return m;
}
#endif

/* Bit i: whether an odd number of bits is set up to i. */
static uint64_t prefix_xor(uint64_t x)
{
    for (int shift = 1; shift < BLOCK; shift *= 2) x ^= x << shift;
    return x;
}

typedef struct scanner {
    bytes text;
    size_t n_columns;
    narrow_set *types;
    bool utf8;
    uint64_t inside;         /* all ones where the last byte lies in quotes */
    uint64_t may_open;       /* 1 where a quote may open at the next byte */
    uint64_t closed;         /* 1 where the last byte closed a quote */
    uint64_t returned;       /* 1 where the last byte was \r outside quotes */
    uint64_t n_newlines, n_returns;
    size_t valid_to;         /* the text is valid UTF-8 up to here */
    size_t field, record;    /* where they begin */
    size_t n_fields;         /* ended ones of the record */
    bool header_seen;
    uint64_t n_rows;
    size_t max_record_bytes;
} scanner;

static bool valid_block(scanner *s, size_t begin, size_t end)
{
    size_t at = s->valid_to > begin ? s->valid_to : begin;
    while (at < end) {
        size_t step = data_utf8_length((const char *)s->text.at + at, s->text.size - at);
        if (step == 0) return false;
        at += step;
    }
    s->valid_to = at;
    return true;
}

static void take_value(narrow_set *type, const char *at, size_t size)
{
    if (size >= 2 && at[0] == '"') {
        at++;
        size -= 2;
    }
    if (size == 0) return;
    narrow_set found = narrow_of(at, size, *type & NARROW_ALL);
    if (found & NARROW_UNSURE) *type |= NARROW_UNSURE;
    else *type &= found | ~(narrow_set)NARROW_ALL;
    *type |= NARROW_SEEN;
}

/* The field that ends before byte `at`. */
static bool end_field(scanner *s, size_t at)
{
    if (s->n_fields == s->n_columns) return false;
    narrow_set *type = &s->types[s->n_fields++];
    if (s->header_seen && (*type & NARROW_ALL) != 0) take_value(type, (const char *)s->text.at + s->field, at - s->field);
    s->field = at + 1;
    return true;
}

static bool end_record(scanner *s, size_t at)
{
    size_t end = at > s->record && s->text.at[at - 1] == '\r' ? at - 1 : at;
    if (end == s->record || end - s->record > s->max_record_bytes) return false;
    if (!end_field(s, end) || s->n_fields != s->n_columns) return false;
    s->n_rows += s->header_seen;
    s->header_seen = true;
    s->n_fields = 0;
    s->record = s->field = at + 1;
    return true;
}

/* n bytes, of which `at` has BLOCK. */
static bool take_block(scanner *s, const unsigned char *at, size_t begin, size_t n, char separator)
{
    masks m = masks_of(at, separator);
    uint64_t known = n < BLOCK ? (1ull << n) - 1 : ~0ull;
    uint64_t quoted = prefix_xor(m.quote) ^ s->inside; /* from the opening quote to before the closing one */
    uint64_t separators = m.separator & ~quoted, newlines = m.newline & ~quoted, returns = m.carriage & ~quoted;
    uint64_t ends = separators | newlines, opening = m.quote & quoted, closing = m.quote & ~quoted;
    uint64_t bad = opening & ~((ends | m.quote) << 1 | s->may_open);
    bad |= (closing << 1 | s->closed) & ~(ends | returns | m.quote);
    bad |= (returns << 1 | s->returned) & ~newlines;
    if ((bad & known) != 0) return false;
    if (s->utf8 && m.high != 0 && !valid_block(s, begin, begin + n)) return false;
    s->n_newlines += (uint64_t)__builtin_popcountll(newlines);
    s->n_returns += (uint64_t)__builtin_popcountll(returns);
    for (uint64_t left = ends & known; left != 0; left &= left - 1) {
        size_t place = (size_t)__builtin_ctzll(left);
        bool good = newlines >> place & 1 ? end_record(s, begin + place) : end_field(s, begin + place);
        if (!good) return false;
    }
    size_t last = n - 1;
    s->inside = (quoted >> last & 1) != 0 ? ~0ull : 0;
    s->may_open = (ends | m.quote) >> last & 1;
    s->closed = closing >> last & 1;
    s->returned = returns >> last & 1;
    return true;
}

static finch_status scan_blocks(scanner *s, const file_map *map, char separator, const progress *watch, bool *regular,
                                finch_error *err)
{
    unsigned char tail[BLOCK] = {0};
    const unsigned char *text = s->text.at;
    size_t size = s->text.size, at = 0, dropped = 0;
    *regular = true;
    for (; *regular && at < size; at += BLOCK) {
        size_t n = size - at < BLOCK ? size - at : BLOCK;
        if (n < BLOCK) memcpy(tail, text + at, n);
        *regular = take_block(s, n < BLOCK ? tail : text + at, at, n, separator) &&
                   (s->record > at || at - s->record <= s->max_record_bytes);
        if (s->record - dropped < REPORT_BYTES) continue;
        dropped = s->record; /* what lies before is not looked at again: it need not stay in memory */
        file_map_forget(map, dropped);
        if (!progress_report(watch, s->n_rows, 0, NULL)) return finch_fail(err, FINCH_E_CANCELLED, "interrupted");
    }
    *regular = *regular && s->inside == 0 && s->returned == 0;
    if (*regular && s->record < size) *regular = end_record(s, size);
    *regular = *regular && s->header_seen && (s->n_returns == 0 || s->n_returns == s->n_newlines);
    return FINCH_OK;
}

finch_status data_csv_scan_regular(const data_file *file, const data_dialect *dialect, const progress *watch, data_scan *out,
                                   narrow_set *types, bool *regular, finch_error *err)
{
    file_map map;
    *out = (data_scan){0};
    *regular = false;
    FINCH_TRY(file_map_open(file->path, &map, err));
    bytes text = map.content;
    if (text.size >= 3 && memcmp(text.at, "\xEF\xBB\xBF", 3) == 0) text = (bytes){text.at + 3, text.size - 3};
    scanner s = {.text = text,
                 .n_columns = dialect->columns.n,
                 .types = types,
                 .utf8 = strcmp(file->encoding, "utf-8") == 0,
                 .may_open = 1,
                 .max_record_bytes = file->max_line_bytes};
    for (size_t i = 0; i < s.n_columns; i++) types[i] = NARROW_ALL;
    finch_status st = scan_blocks(&s, &map, dialect->separator, watch, regular, err);
    file_map_close(&map);
    out->n_rows = s.n_rows;
    out->n_lines = s.n_newlines;
    return st;
}
