/* RFC 4180: a field is quoted where its first byte is a quote; behind the closing quote comes a separator or the record's
 * end. Outside quotes \n, \r\n and a lone \r end a record. Blank lines are no records. */
#include "data/scan.h"

#include "data/utf8.h"

#include <inttypes.h>
#include <string.h>

typedef enum state { FIELD_START, UNQUOTED, QUOTED, ESCAPED, QUOTE_CLOSED } state;

typedef struct scanner {
    const data_file *file;
    const data_dialect *dialect;
    data_rejects *rejects; /* may be NULL */
    data_spool *good;      /* may be NULL */
    data_scan *scan;
    state at;
    bool after_return;   /* the last byte was \r: a \n belongs to it */
    size_t n_newlines, n_returns, n_pairs; /* outside quotes: \n and \r of any kind, \r\n */
    bool header_seen;
    bool junk;           /* something stood behind a closing quote */
    bool field_junk;     /* in the field at hand */
    uint64_t line;       /* of the byte at hand */
    uint64_t record_line, quote_line;
    size_t n_fields;     /* separators of the record + 1 */
    str record;          /* its bytes, up to max_line_bytes */
    uint64_t record_bytes;
    bool plain_byte[256];  /* neither quote, escape, separator nor line end */
    str plain;           /* the record rewritten, for good */
} scanner;

static finch_status reject(scanner *s, finch_error *err)
{
    const char *text = s->record.at, *path = s->file->path;
    size_t size = s->record.size, n = s->dialect->columns.n;
    uint64_t line = s->record_line;
    if (s->rejects == NULL) return FINCH_OK;
    if (s->record_bytes > s->file->max_line_bytes)
        return data_rejects_add(s->rejects, path, line, text, size, err, DATA_TOO_LONG, "row", s->record_bytes,
                                s->file->max_line_bytes);
    if (s->junk) return data_rejects_add(s->rejects, path, line, text, size, err, "text follows a closing quote");
    if (s->n_fields != n)
        return data_rejects_add(s->rejects, path, line, text, size, err, "%zu fields where the first line has %zu",
                                s->n_fields, n);
    return data_rejects_add(s->rejects, path, line, text, size, err, "the text is not UTF-8");
}

static bool record_is_good(const scanner *s)
{
    if (s->junk || s->n_fields != s->dialect->columns.n || s->record_bytes > s->file->max_line_bytes) return false;
    return strcmp(s->file->encoding, "latin-1") == 0 || data_utf8_valid(s->record.at, s->record.size);
}

static finch_status keep(scanner *s, finch_error *err)
{
    if (s->good == NULL) return FINCH_OK;
    str_clear(&s->plain);
    FINCH_TRY(data_dialect_rewrite(s->dialect, s->record.at, s->record.size, &s->plain, err));
    return data_spool_add(s->good, s->plain.at, s->plain.size, err);
}

static finch_status end_record(scanner *s, finch_error *err)
{
    finch_status st = FINCH_OK;
    bool blank = s->record_bytes == 0;
    if (blank && (!s->header_seen || s->dialect->columns.n == 1)) s->scan->irregular = true;
    if (!s->header_seen && s->record_bytes > s->file->max_line_bytes)
        return finch_fail_row(err, FINCH_E_DATA, s->record_line, "%s line %" PRIu64 ": " DATA_TOO_LONG, s->file->path,
                              s->record_line, "first row, the columns' names,", s->record_bytes, s->file->max_line_bytes);
    if (!blank && !s->header_seen) {
        s->header_seen = true;
        st = keep(s, err);
    } else if (!blank && record_is_good(s)) {
        s->scan->n_rows++;
        st = keep(s, err);
    } else if (!blank) {
        st = reject(s, err);
    }
    str_clear(&s->record);
    s->record_bytes = 0;
    s->n_fields = 1;
    s->junk = s->field_junk = false;
    s->at = FIELD_START;
    s->record_line = s->line;
    return st;
}

/* The state behind byte c, inside a record. */
static state step(scanner *s, char c)
{
    char separator = s->dialect->separator, escape = s->dialect->escape;
    switch (s->at) {
    case ESCAPED: return QUOTED;
    case QUOTED:
        if (c == '"') return QUOTE_CLOSED;
        return c == escape ? ESCAPED : QUOTED; /* with "" the second quote opens again, below */
    case QUOTE_CLOSED:
        if (c == '"' && escape == '"' && !s->field_junk) return QUOTED;
        if (c != separator) s->junk = s->field_junk = true;
        break;
    case FIELD_START:
        if (c != '"') break;
        s->quote_line = s->line;
        return QUOTED;
    case UNQUOTED: s->scan->irregular |= c == '"'; break;
    }
    if (c != separator) return s->at == QUOTE_CLOSED ? QUOTE_CLOSED : UNQUOTED;
    s->n_fields++;
    s->field_junk = false;
    return FIELD_START;
}

static finch_status add_bytes(scanner *s, const char *at, size_t size, finch_error *err)
{
    size_t room = s->file->max_line_bytes - s->record.size;
    s->record_bytes += size;
    return str_add(&s->record, at, size < room ? size : room, err);
}

static finch_status take(scanner *s, char c, finch_error *err)
{
    bool newline = c == '\n' || c == '\r';
    bool pair = c == '\n' && s->after_return;
    bool inside = s->at == QUOTED || s->at == ESCAPED;
    s->after_return = c == '\r';
    if (newline && !pair) s->line++;
    s->scan->lines_in_quotes |= newline && inside;
    if (newline && !inside) {
        s->n_newlines += c == '\n';
        s->n_returns += c == '\r';
        s->n_pairs += pair;
    }
    if (newline && pair && !inside) {
        s->record_line = s->line;
        return FINCH_OK;
    }
    if (newline && !inside) return end_record(s, err);
    s->at = step(s, c);
    return add_bytes(s, &c, 1, err);
}

/* As many bytes as stand before one that means something, inside or outside of quotes. */
static finch_status take_run(scanner *s, const unsigned char *at, size_t size, size_t *n, finch_error *err)
{
    size_t end = 0;
    if (s->at == UNQUOTED || s->at == QUOTED)
        while (end < size && s->plain_byte[at[end]]) end++;
    *n = end;
    if (end == 0) return FINCH_OK;
    s->after_return = false;
    return add_bytes(s, (const char *)at, end, err);
}

static finch_status take_piece(scanner *s, bytes piece, finch_error *err)
{
    for (size_t i = 0, n; i < piece.size; i += n) {
        FINCH_TRY(take_run(s, piece.at + i, piece.size - i, &n, err));
        if (n > 0) continue;
        FINCH_TRY(take(s, (char)piece.at[i], err));
        n = 1;
    }
    return FINCH_OK;
}

static finch_status scan_all(scanner *s, data_stream *stream, const progress *watch, finch_error *err)
{
    bytes piece = {NULL, 1};
    while (piece.size > 0) {
        FINCH_TRY(data_stream_next(stream, &piece, err));
        FINCH_TRY(take_piece(s, piece, err));
        if (!progress_report(watch, s->scan->n_rows, 0, NULL)) return finch_fail(err, FINCH_E_CANCELLED, "interrupted");
    }
    if (s->at == QUOTED || s->at == ESCAPED)
        return finch_fail_row(err, FINCH_E_DATA, s->quote_line,
                              "%s line %" PRIu64
                              ": a quote is opened here and never closed; the file was cut, or the quote should be doubled",
                              s->file->path, s->quote_line);
    return s->record_bytes > 0 ? end_record(s, err) : FINCH_OK;
}

finch_status data_csv_scan(const data_file *file, const data_dialect *dialect, const progress *watch, data_rejects *rejects,
                           data_spool *good, data_scan *out, finch_error *err)
{
    data_stream *stream;
    *out = (data_scan){0};
    scanner s = {.file = file,
                 .dialect = dialect,
                 .rejects = rejects,
                 .good = good,
                 .scan = out,
                 .line = 1,
                 .record_line = 1,
                 .n_fields = 1};
    for (size_t c = 0; c < sizeof s.plain_byte; c++) s.plain_byte[c] = c != '"' && c != '\n' && c != '\r';
    s.plain_byte[(unsigned char)dialect->separator] = s.plain_byte[(unsigned char)dialect->escape] = false;
    FINCH_TRY(data_stream_open(file, &stream, err));
    finch_status st = scan_all(&s, stream, watch, err);
    if (st == FINCH_OK && good != NULL) st = data_spool_flush(good, err);
    out->n_lines = s.line;
    out->irregular |= dialect->escape != '"';
    if (s.n_returns > 0 && (s.n_returns != s.n_pairs || s.n_newlines != s.n_pairs)) out->irregular = true;
    str_free(&s.record);
    str_free(&s.plain);
    data_stream_close(stream);
    return st;
}
