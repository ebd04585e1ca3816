#include "data/scan.h"

#include "data/utf8.h"

#include <jansson.h>
#include <string.h>

/* Lines and an array's items alike. */
typedef struct line_scan {
    const data_file *file;
    data_rejects *rejects; /* may be NULL */
    data_spool *good;      /* may be NULL */
    data_scan *scan;
    str line;              /* up to max_line_bytes */
    uint64_t line_bytes;
    bool has_text;         /* the line is not blank */
    const char *what;      /* "line" or "item" */
    uint64_t begin;        /* physical line where it begins */
} line_scan;

static bool has_text(const unsigned char *at, size_t size)
{
    for (size_t i = 0; i < size; i++)
        if (at[i] != ' ' && at[i] != '\t' && at[i] != '\r') return true;
    return false;
}

/* What is wrong with the line, empty where nothing is. */
static void judge(line_scan *s, char *reason, size_t size)
{
    json_error_t where;
    reason[0] = '\0';
    if (s->line_bytes > s->file->max_line_bytes) {
        snprintf(reason, size, DATA_TOO_LONG, s->what, s->line_bytes, s->file->max_line_bytes);
        return;
    }
    if (!data_utf8_valid(s->line.at, s->line.size)) {
        snprintf(reason, size, "the text is not UTF-8");
        return;
    }
    /* Integers past 64 bits are legal JSON and DuckDB reads them; jansson does so as reals. */
    json_t *value = json_loadb(s->line.at, s->line.size, JSON_DECODE_ANY | JSON_ALLOW_NUL | JSON_DECODE_INT_AS_REAL, &where);
    if (value == NULL && json_error_code(&where) == json_error_numeric_overflow) return; /* 1e999: legal, infinite */
    if (value == NULL) snprintf(reason, size, "no valid JSON: %.80s (column %d)", where.text, where.column);
    else if (!json_is_object(value)) snprintf(reason, size, "the %s is no JSON object {...}", s->what);
    const char *key = s->file->text_key;
    const json_t *text = key != NULL ? json_object_get(value, key) : NULL;
    if (text != NULL && !json_is_string(text) && !json_is_null(text))
        snprintf(reason, size, "the value of \"%.60s\" is no text", key);
    json_decref(value);
}

static finch_status keep(line_scan *s, finch_error *err)
{
    s->scan->n_rows++;
    if (s->good == NULL) return FINCH_OK;
    FINCH_TRY(data_spool_add(s->good, s->line.at, s->line.size, err));
    return data_spool_add(s->good, "\n", 1, err);
}

/* The line or item at hand is whole. */
static finch_status end_row(line_scan *s, finch_error *err)
{
    char reason[REJECT_REASON_BYTES];
    finch_status st = FINCH_OK;
    if (s->has_text) {
        judge(s, reason, sizeof reason);
        if (reason[0] == '\0') st = keep(s, err);
        else if (s->rejects != NULL)
            st = data_rejects_add(s->rejects, s->file->path, s->begin, s->line.at, s->line.size, err, "%s", reason);
    }
    str_clear(&s->line);
    s->line_bytes = 0;
    s->has_text = false;
    return st;
}

static finch_status end_line(line_scan *s, finch_error *err)
{
    s->begin = ++s->scan->n_lines;
    return end_row(s, err);
}

static finch_status take_piece(line_scan *s, bytes piece, finch_error *err)
{
    while (piece.size > 0) {
        const unsigned char *newline = memchr(piece.at, '\n', piece.size);
        size_t n = newline != NULL ? (size_t)(newline - piece.at) : piece.size;
        size_t room = s->file->max_line_bytes - s->line.size;
        s->line_bytes += n;
        s->has_text = s->has_text || has_text(piece.at, n);
        FINCH_TRY(str_add(&s->line, (const char *)piece.at, n < room ? n : room, err));
        if (newline != NULL) {
            FINCH_TRY(end_line(s, err));
            n++;
        }
        piece = (bytes){piece.at + n, piece.size - n};
    }
    return FINCH_OK;
}

static finch_status scan_lines(line_scan *s, data_stream *stream, const progress *watch, finch_error *err)
{
    bytes piece = {NULL, 1};
    while (piece.size > 0) {
        FINCH_TRY(data_stream_next(stream, &piece, err));
        FINCH_TRY(take_piece(s, piece, err));
        if (!progress_report(watch, s->scan->n_rows, 0, NULL)) return finch_fail(err, FINCH_E_CANCELLED, "interrupted");
    }
    return s->line_bytes > 0 ? end_line(s, err) : FINCH_OK;
}

/* ---- an array's items ---- */

typedef enum array_state { BEFORE, INSIDE, BEHIND } array_state;

/* Where the array stands: brackets open inside of it, and whether the byte at hand is in a string. */
typedef struct array_scan {
    line_scan items;
    array_state at;
    size_t depth;
    bool in_string, escaped;
    uint64_t line;
} array_scan;

static finch_status fail_behind(const array_scan *a, const char *what, finch_error *err)
{
    return finch_fail_row(err, FINCH_E_DATA, a->line, "%s line %" PRIu64 ": %s", a->items.file->path, a->line, what);
}

/* A byte of an item; what makes it longer than any may be is counted only. In the copy an item has one line: outside of strings line
 * ends mean nothing, and inside they are not allowed. */
static finch_status add_byte(array_scan *a, char c, finch_error *err)
{
    line_scan *s = &a->items;
    bool blank = c == ' ' || c == '\t' || c == '\r' || c == '\n';
    if (blank && !s->has_text) return FINCH_OK;
    if (!s->has_text) s->begin = a->line;
    s->has_text = true;
    if (s->line_bytes++ >= s->file->max_line_bytes) return FINCH_OK;
    char kept = (c == '\n' || c == '\r') && !a->in_string ? ' ' : c;
    return str_add(&s->line, &kept, 1, err);
}

/* [1,] and [,1] have an item that is none. */
static finch_status end_item(array_scan *a, bool last, finch_error *err)
{
    line_scan *s = &a->items;
    bool empty = !s->has_text && !(last && s->scan->n_lines == 0);
    if (empty) s->begin = a->line;
    s->scan->n_lines++;
    if (!empty) return end_row(s, err);
    if (s->rejects == NULL) return FINCH_OK;
    return data_rejects_add(s->rejects, s->file->path, s->begin, "", 0, err, "an item is missing at a comma");
}

static finch_status take_inside(array_scan *a, char c, finch_error *err)
{
    if (a->in_string) {
        bool ends = c == '"' && !a->escaped;
        a->escaped = c == '\\' && !a->escaped;
        FINCH_TRY(add_byte(a, c, err));
        a->in_string = !ends;
        return FINCH_OK;
    }
    if (c == ',' && a->depth == 0) return end_item(a, false, err);
    if (c == ']' && a->depth == 0) {
        a->at = BEHIND;
        return end_item(a, true, err);
    }
    if (c == '[' || c == '{') a->depth++;
    if ((c == ']' || c == '}') && a->depth > 0) a->depth--;
    a->in_string = c == '"';
    return add_byte(a, c, err);
}

static finch_status take_byte(array_scan *a, char c, finch_error *err)
{
    bool blank = c == ' ' || c == '\t' || c == '\r' || c == '\n';
    finch_status st = FINCH_OK;
    if (a->at == INSIDE) st = take_inside(a, c, err);
    else if (a->at == BEFORE && c == '[') a->at = INSIDE;
    else if (!blank) st = fail_behind(a, "text follows the array; is it several files in one?", err);
    a->line += c == '\n';
    return st;
}

static finch_status scan_items(array_scan *a, data_stream *stream, const progress *watch, finch_error *err)
{
    bytes piece = {NULL, 1};
    while (piece.size > 0) {
        FINCH_TRY(data_stream_next(stream, &piece, err));
        for (size_t i = 0; i < piece.size; i++) FINCH_TRY(take_byte(a, (char)piece.at[i], err));
        if (!progress_report(watch, a->items.scan->n_rows, 0, NULL))
            return finch_fail(err, FINCH_E_CANCELLED, "interrupted");
    }
    if (a->at == BEHIND) return FINCH_OK;
    a->line = a->items.has_text ? a->items.begin : a->line;
    return fail_behind(
        a, "the array does not end: the file was cut, or the item that begins here has a bracket or quote too many", err);
}

finch_status data_json_array_scan(const data_file *file, const progress *watch, data_rejects *rejects, data_spool *good,
                                  data_scan *out, finch_error *err)
{
    data_stream *stream;
    *out = (data_scan){0};
    array_scan a = {.items = {.file = file, .rejects = rejects, .good = good, .scan = out, .what = "item"}, .line = 1};
    FINCH_TRY(data_stream_open(file, &stream, err));
    finch_status st = scan_items(&a, stream, watch, err);
    if (st == FINCH_OK && good != NULL) st = data_spool_flush(good, err);
    out->n_lines = a.line;
    str_free(&a.items.line);
    data_stream_close(stream);
    return st;
}

finch_status data_jsonl_scan(const data_file *file, const progress *watch, data_rejects *rejects, data_spool *good,
                             data_scan *out, finch_error *err)
{
    data_stream *stream;
    *out = (data_scan){0};
    line_scan s = {.file = file, .rejects = rejects, .good = good, .scan = out, .what = "line"};
    FINCH_TRY(data_stream_open(file, &stream, err));
    finch_status st = scan_lines(&s, stream, watch, err);
    if (st == FINCH_OK && good != NULL) st = data_spool_flush(good, err);
    str_free(&s.line);
    data_stream_close(stream);
    return st;
}
