#include "data/csv_regular.h"

#include "base/file.h"
#include "data/csv_mask.h"
#include "data/utf8.h"

#include <string.h>

#ifdef _OPENMP
#include <omp.h>

static int threads_most(void) { return omp_get_max_threads(); }
#else
static int threads_most(void) { return 1; }
#endif

/* A window is of several pieces a thread, so that its threads seldom wait for each other; it comes into memory as a whole, which the
 * 64 MiB of finch label have to have room for. */
enum { PIECE_BYTES = 1 << 18, PIECES_A_THREAD = 8, PIECES_MAX = 64 };

/* From a piece's types to the next one's: they are written all the time, and two threads that write to one line of the cache wait
 * for each other. */
static size_t types_stride(size_t n_columns) { return n_columns + 64 / sizeof(narrow_set); }

typedef struct scanner {
    bytes text;
    size_t n_columns;
    narrow_set *types;
    bool utf8;
    uint64_t inside; /* all ones where the last byte lies in quotes */
    uint64_t may_open; /* 1 where a quote may open at the next byte */
    uint64_t closed; /* 1 where the last byte closed a quote */
    uint64_t returned; /* 1 where the last byte was \r outside quotes */
    uint64_t n_newlines, n_returns;
    size_t valid_to; /* the text is valid UTF-8 up to here */
    size_t field, record; /* where they begin */
    size_t n_fields; /* ended ones of the record */
    bool header_seen, lines_in_quotes;
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

/* The block at `begin`, before `end`. */
static bool take_block(scanner *s, size_t begin, size_t end, char separator)
{
    const csv_block b = csv_block_of(s->text.at, end, begin, separator, &s->inside);
    const csv_masks m = b.bits;
    const uint64_t known = b.known, quoted = b.quoted;
    uint64_t separators = m.separator & ~quoted, newlines = m.newline & ~quoted, returns = m.carriage & ~quoted;
    uint64_t ends = separators | newlines, opening = m.quote & quoted, closing = m.quote & ~quoted;
    uint64_t bad = opening & ~((ends | m.quote) << 1 | s->may_open);
    bad |= (closing << 1 | s->closed) & ~(ends | returns | m.quote);
    bad |= (returns << 1 | s->returned) & ~newlines;
    if ((bad & known) != 0) return false;
    if (s->utf8 && m.high != 0 && !valid_block(s, begin, begin + b.n)) return false;
    s->lines_in_quotes = s->lines_in_quotes || ((m.newline | m.carriage) & quoted & known) != 0;
    if (returns != 0) s->n_returns += (uint64_t)__builtin_popcountll(returns & known);
    for (uint64_t left = ends & known; left != 0; left &= left - 1) {
        size_t place = (size_t)__builtin_ctzll(left);
        bool line = newlines >> place & 1;
        s->n_newlines += line;
        if (line ? !end_record(s, begin + place) : !end_field(s, begin + place)) return false;
    }
    size_t last = b.n - 1;
    s->may_open = (ends | m.quote) >> last & 1;
    s->closed = closing >> last & 1;
    s->returned = returns >> last & 1;
    return true;
}

/* ---- pieces ----
 * Where a piece of the file begins, the quotes before it say whether it begins inside of some: where their number is odd. The
 * first line end outside of quotes from there on begins its first record, and there the piece before ends. So each is scanned
 * as it would be behind the others, if all of those are regular; and if not, one of those says so. */

typedef struct piece {
    size_t begin, end; /* of its records */
    bool odd; /* the number of its quotes */
    bool regular;
    scanner s;
} piece;

static bool odd_quotes(bytes text, size_t begin, size_t end)
{
    uint64_t n = 0;
    for (size_t at = begin; at < end; at++) n += text.at[at] == '"';
    return n % 2 == 1;
}

/* Behind the first line end from `at` on that is not in quotes, the text's end where none follows; false where a record would have
 * to be longer than most_bytes for it: no more is looked at, since what is looked at comes into memory. */
static bool next_record(bytes text, size_t at, bool inside, size_t most_bytes, size_t *out)
{
    for (size_t left = most_bytes; at < text.size && left > 0; at++, left--) {
        if (text.at[at] == '"') inside = !inside;
        *out = at + 1;
        if (text.at[at] == '\n' && !inside) return true;
    }
    *out = at;
    return at == text.size;
}

static void scan_piece(piece *p, char separator)
{
    scanner own = p->s, *s = &own; /* on this thread's stack: its neighbour in the pieces is another thread's */
    bool regular = true;
    for (size_t at = p->begin; regular && at < p->end; at += CSV_BLOCK)
        regular = take_block(s, at, p->end, separator) && (s->record > at || at - s->record <= s->max_record_bytes);
    regular = regular && s->inside == 0 && s->returned == 0;
    if (regular && s->record < p->end) regular = end_record(s, p->end); /* the file's last line has no end */
    p->s = own;
    p->regular = regular;
}

/* Adds what the piece found to the whole. */
static void add_piece(scanner *whole, const piece *p)
{
    const scanner *s = &p->s;
    for (size_t i = 0; i < whole->n_columns; i++)
        whole->types[i] = (whole->types[i] & s->types[i] & NARROW_ALL) |
                          ((whole->types[i] | s->types[i]) & ~(narrow_set)NARROW_ALL);
    whole->n_rows += s->n_rows;
    whole->n_newlines += s->n_newlines;
    whole->n_returns += s->n_returns;
    whole->header_seen = whole->header_seen || s->header_seen;
    whole->lines_in_quotes = whole->lines_in_quotes || s->lines_in_quotes;
}

/* The next n_pieces of the file, all at once. */
static void scan_window(scanner *whole, piece *pieces, narrow_set *types, int n_pieces, char separator, bool *regular)
{
    bytes text = whole->text;
    size_t begin = whole->record, n_columns = whole->n_columns;
    bool inside = false;
#pragma omp parallel for schedule(dynamic) if (n_pieces > 1)
    for (int i = 0; i < n_pieces; i++) {
        size_t from = size_least(begin + (size_t)i * PIECE_BYTES, text.size);
        pieces[i].odd = odd_quotes(text, from, size_least(from + PIECE_BYTES, text.size));
    }
    *regular = true;
    for (int i = 0; *regular && i < n_pieces; i++) {
        size_t to = size_least(begin + (size_t)(i + 1) * PIECE_BYTES, text.size);
        inside ^= pieces[i].odd;
        pieces[i].begin = i == 0 ? begin : pieces[i - 1].end;
        *regular = next_record(text, to, inside, whole->max_record_bytes + 2, &pieces[i].end); /* with its \r\n */
    }
    if (!*regular) return;
#pragma omp parallel for schedule(dynamic) if (n_pieces > 1)
    for (int i = 0; i < n_pieces; i++) {
        piece *p = &pieces[i];
        p->s = (scanner){.text = text,
                         .n_columns = n_columns,
                         .types = types + (size_t)i * types_stride(n_columns),
                         .utf8 = whole->utf8,
                         .may_open = 1,
                         .field = p->begin,
                         .record = p->begin,
                         .max_record_bytes = whole->max_record_bytes,
                         .header_seen = whole->header_seen || i > 0};
        for (size_t c = 0; c < n_columns; c++) p->s.types[c] = whole->types[c];
        scan_piece(p, separator);
    }
    for (int i = 0; i < n_pieces; i++) {
        *regular = *regular && pieces[i].regular;
        add_piece(whole, &pieces[i]);
    }
    whole->record = pieces[n_pieces - 1].end;
}

static finch_status scan_all(scanner *s, const file_map *map, char separator, const progress *watch, bool *regular,
                             finch_error *err)
{
    piece *pieces = NULL;
    narrow_set *types = NULL;
    int most = PIECES_A_THREAD * threads_most(), n_pieces = most < PIECES_MAX ? most : PIECES_MAX;
    finch_status st;
    FINCH_GO(done, st, MEM_NEW(&pieces, (size_t)n_pieces, err));
    FINCH_GO(done, st, MEM_NEW(&types, (size_t)n_pieces * types_stride(s->n_columns), err));
    *regular = true;
    while (*regular && s->record < s->text.size) {
        size_t n_left = (s->text.size - s->record + PIECE_BYTES - 1) / PIECE_BYTES;
        scan_window(s, pieces, types, (int)size_least(n_left, (size_t)n_pieces), separator, regular);
        file_map_forget(map, s->record); /* what lies before is not looked at again: it need not stay in memory */
        if (!progress_report(watch, s->n_rows, 0, NULL))
            FINCH_GO(done, st, finch_fail(err, FINCH_E_CANCELLED, "interrupted"));
    }
    *regular = *regular && s->header_seen && (s->n_returns == 0 || s->n_returns == s->n_newlines);
done:
    mem_free(pieces);
    mem_free(types);
    return st;
}

finch_status data_csv_scan_regular(const data_file *file, const data_dialect *dialect, const progress *watch, data_scan *out,
                                   narrow_set *types, bool *regular, finch_error *err)
{
    file_map map;
    *out = (data_scan){0};
    *regular = false;
    FINCH_TRY(file_map_open(data_file_content(file), &map, err));
    bytes text = map.content;
    if (text.size >= 3 && memcmp(text.at, "\xEF\xBB\xBF", 3) == 0) text = (bytes){text.at + 3, text.size - 3};
    scanner s = {.text = text,
                 .n_columns = dialect->columns.n,
                 .types = types,
                 .utf8 = strcmp(file->encoding, "utf-8") == 0,
                 .max_record_bytes = file->max_line_bytes};
    for (size_t i = 0; i < s.n_columns; i++) types[i] = NARROW_ALL;
    finch_status st = scan_all(&s, &map, dialect->separator, watch, regular, err);
    file_map_close(&map);
    out->n_rows = s.n_rows;
    out->n_lines = s.n_newlines;
    out->lines_in_quotes = s.lines_in_quotes;
    return st;
}
