#include "data/scan.h"

#include "data/utf8.h"

#include <jansson.h>
#include <string.h>

typedef struct line_scan {
    const data_file *file;
    data_rejects *rejects;
    data_scan *scan;
    str line; /* up to DATA_LINE_MAX_BYTES + 1 */
} line_scan;

static bool is_blank(const str *line)
{
    for (size_t i = 0; i < line->size; i++)
        if (memchr(" \t\r", line->at[i], 3) == NULL) return false;
    return true;
}

/* What is wrong with the line, empty where nothing is. */
static void judge(line_scan *s, char *reason, size_t size)
{
    json_error_t where;
    reason[0] = '\0';
    if (s->line.size > DATA_LINE_MAX_BYTES) {
        snprintf(reason, size, "the line has more than %d bytes", DATA_LINE_MAX_BYTES);
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
    else if (!json_is_object(value)) snprintf(reason, size, "the line is no JSON object {...}");
    json_decref(value);
}

static finch_status end_line(line_scan *s, finch_error *err)
{
    char reason[REJECT_REASON_BYTES];
    s->scan->n_lines++;
    finch_status st = FINCH_OK;
    if (!is_blank(&s->line)) {
        judge(s, reason, sizeof reason);
        if (reason[0] == '\0') s->scan->n_rows++;
        else st = data_rejects_add(s->rejects, s->file->path, s->scan->n_lines, s->line.at, s->line.size, err, "%s", reason);
    }
    str_clear(&s->line);
    return st;
}

static finch_status take_piece(line_scan *s, bytes piece, finch_error *err)
{
    while (piece.size > 0) {
        const unsigned char *newline = memchr(piece.at, '\n', piece.size);
        size_t n = newline != NULL ? (size_t)(newline - piece.at) : piece.size;
        size_t room = DATA_LINE_MAX_BYTES + 1 - s->line.size;
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
    return s->line.size > 0 ? end_line(s, err) : FINCH_OK;
}

finch_status data_jsonl_scan(const data_file *file, const progress *watch, data_rejects *rejects, data_scan *out,
                             finch_error *err)
{
    data_stream *stream;
    *out = (data_scan){0};
    line_scan s = {.file = file, .rejects = rejects, .scan = out};
    FINCH_TRY(data_stream_open(file, &stream, err));
    finch_status st = scan_lines(&s, stream, watch, err);
    str_free(&s.line);
    data_stream_close(stream);
    return st;
}
