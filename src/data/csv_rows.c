/* A file is read in order into the caller's buffer until that holds enough record ends; what was read behind the last one
 * waits for the next piece. Line ends in quotes are no record's end: the quotes are counted from the record's beginning.
 *
 * The files were scanned before, but may have changed since: nothing is taken for granted that would not be an error. */
#include "data/csv_rows.h"

#include "data/csv_mask.h"
#include "data/reader.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

enum { READ_BYTES = 256 << 10, PIECE_BYTES = 1 << 20 };

struct data_csv_rows {
    const data_reader *readers;
    size_t n_readers, next; /* the next to open */
    const narrow *types;
    size_t n_columns;
    char separator;
    int descriptor; /* of the file before the next, -1: none is open */
    bool names_seen; /* its first record was passed over */
    str rest;       /* of it, read and not given */
};

finch_status data_csv_rows_open(const struct data_reader *readers, size_t n_readers, const narrow *types,
                                data_csv_rows **out, finch_error *err)
{
    FINCH_TRY(MEM_NEW(out, 1, err));
    **out = (data_csv_rows){.readers = readers,
                            .n_readers = n_readers,
                            .types = types,
                            .n_columns = readers[0].columns.n,
                            .separator = readers[0].dialect.separator,
                            .descriptor = -1};
    return FINCH_OK;
}

static void close_file(data_csv_rows *r)
{
    if (r->descriptor >= 0) close(r->descriptor);
    r->descriptor = -1;
}

void data_csv_rows_close(data_csv_rows *r)
{
    if (r == NULL) return;
    close_file(r);
    str_free(&r->rest);
    mem_free(r);
}

data_column_kind data_csv_rows_kind(const data_csv_rows *r, size_t column)
{
    static const data_column_kind kinds[NARROW_COUNT] = {
        [NARROW_TEXT] = DATA_COLUMN_TEXT,       [NARROW_INTEGER] = DATA_COLUMN_INTEGER, [NARROW_REAL] = DATA_COLUMN_REAL,
        [NARROW_BOOLEAN] = DATA_COLUMN_BOOLEAN, [NARROW_DATE] = DATA_COLUMN_DATE,       [NARROW_TIME] = DATA_COLUMN_TIME,
    };
    return kinds[r->types[column]];
}

/* ---- cutting ---- */

static const data_file *file_of(const data_csv_rows *r) { return &r->readers[r->next - 1].file; }

static finch_status fail_read(const data_csv_rows *r, int code, finch_error *err)
{
    char reason[128];
    if (strerror_r(code, reason, sizeof reason) != 0) reason[0] = '\0';
    return finch_fail(err, FINCH_E_IO, "%s can not be read: %s", file_of(r)->path, reason);
}

static finch_status fail_changed(finch_error *err)
{
    return finch_fail(err, FINCH_E_DATA,
                      "a CSV file changed while it was read; run it again when nothing writes to the input any more");
}

static finch_status open_next(data_csv_rows *r, finch_error *err)
{
    const char *path = data_file_content(&r->readers[r->next++].file);
    r->descriptor = open(path, O_RDONLY | O_CLOEXEC);
    r->names_seen = false;
    return r->descriptor >= 0 ? FINCH_OK : fail_read(r, errno, err);
}

/* *ended is set at the file's end. */
static finch_status read_more(const data_csv_rows *r, str *records, bool *ended, finch_error *err)
{
    FINCH_TRY(str_reserve(records, READ_BYTES, err));
    ssize_t got;
    do got = read(r->descriptor, records->at + records->size, READ_BYTES);
    while (got < 0 && errno == EINTR);
    if (got < 0) return fail_read(r, errno, err);
    records->size += (size_t)got;
    records->at[records->size] = '\0';
    *ended = got == 0;
    return FINCH_OK;
}

/* What lies before `at` was looked at. */
typedef struct cut {
    size_t at;
    uint64_t inside; /* all ones where the last byte lies in quotes */
    size_t n_rows;   /* ended */
} cut;

static int nth_bit(uint64_t bits, size_t n)
{
    for (; n > 0; n--) bits &= bits - 1;
    return __builtin_ctzll(bits);
}

/* Goes on to behind the record that makes them `most`, or to the end of what there is: then false. */
static bool cut_to(cut *c, const str *records, size_t most)
{
    while (c->at < records->size) {
        csv_block b = csv_block_of((const unsigned char *)records->at, records->size, c->at, '\n', &c->inside);
        uint64_t ends = b.bits.newline & ~b.quoted & b.known;
        size_t n_ends = (size_t)__builtin_popcountll(ends), needed = c->at < PIECE_BYTES ? most - c->n_rows : 1;
        if (n_ends >= needed) {
            c->at += (size_t)nth_bit(ends, needed - 1) + 1;
            c->n_rows += needed;
            c->inside = 0;
            return true;
        }
        c->n_rows += n_ends;
        c->at += b.n;
    }
    return false;
}

/* Reads on until there are `most` records, or the file ends: then *ended is true. */
static finch_status cut_records(const data_csv_rows *r, str *records, size_t most, cut *c, bool *ended, finch_error *err)
{
    size_t bytes_most = PIECE_BYTES + 2 * READ_BYTES + file_of(r)->max_line_bytes;
    while (!*ended && !cut_to(c, records, most)) {
        if (records->size > bytes_most) return fail_changed(err);
        FINCH_TRY(read_more(r, records, ended, err));
    }
    if (*ended && c->inside != 0) return fail_changed(err);
    c->n_rows += *ended && records->size > 0 && records->at[records->size - 1] != '\n'; /* the last line has no end */
    return FINCH_OK;
}

/* Drops the first record, which names the columns. */
static finch_status pass_names(data_csv_rows *r, str *records, bool *ended, finch_error *err)
{
    cut c = {0};
    FINCH_TRY(cut_records(r, records, 1, &c, ended, err));
    memmove(records->at, records->at + c.at, records->size - c.at);
    records->size -= c.at;
    r->names_seen = true;
    return FINCH_OK;
}

finch_status data_csv_rows_next(data_csv_rows *r, str *records, size_t *n_rows, finch_error *err)
{
    cut c = {0};
    while (c.n_rows == 0 && (r->descriptor >= 0 || r->next < r->n_readers)) {
        bool ended = false;
        if (r->descriptor < 0) FINCH_TRY(open_next(r, err));
        str_clear(records);
        c = (cut){0};
        FINCH_TRY(str_add(records, r->rest.at, r->rest.size, err));
        str_clear(&r->rest);
        if (!r->names_seen) FINCH_TRY(pass_names(r, records, &ended, err));
        FINCH_TRY(cut_records(r, records, DATA_CSV_PIECE_ROWS, &c, &ended, err));
        FINCH_TRY(str_add(&r->rest, records->at + c.at, records->size - c.at, err));
        records->size = c.at;
        if (ended) close_file(r);
    }
    *n_rows = c.n_rows;
    return FINCH_OK;
}

/* ---- parsing ---- */

/* A text between quotes that has "" for each ". */
static finch_status add_unquoted(data_column *c, finch_text text, finch_error *err)
{
    FINCH_TRY(str_reserve(&c->text, text.size_bytes, err));
    char *out = c->text.at + c->text.size;
    const char *at = text.at, *end = text.at + text.size_bytes;
    for (const char *quote; (quote = memchr(at, '"', (size_t)(end - at))) != NULL; at = quote + 2) {
        size_t n = (size_t)(quote + 1 - at);
        memcpy(out, at, n);
        out += n;
        if (end - quote < 2) return fail_changed(err);
    }
    memcpy(out, at, (size_t)(end - at));
    c->text.size = (size_t)(out + (end - at) - c->text.at);
    c->text.at[c->text.size] = '\0';
    ((int64_t *)c->values)[++c->n] = (int64_t)c->text.size;
    return FINCH_OK;
}

static bool add_narrow(data_column *c, finch_text value)
{
    const char *at = value.at;
    size_t size = value.size_bytes, row = c->n++;
    bool truth = false;
    switch (c->kind) {
    case DATA_COLUMN_INTEGER: return narrow_integer(at, size, (int64_t *)c->values + row);
    case DATA_COLUMN_REAL: return narrow_real(at, size, (double *)c->values + row);
    case DATA_COLUMN_DATE: return narrow_days(at, size, (int32_t *)c->values + row);
    case DATA_COLUMN_TIME: return narrow_microseconds(at, size, (int64_t *)c->values + row);
    default:
        if (!narrow_boolean(at, size, &truth)) return false;
        if (truth) ((uint8_t *)c->values)[row / 8] |= (uint8_t)(1u << row % 8);
        return true;
    }
}

static finch_status add_field(data_column *c, finch_text field, finch_error *err)
{
    bool quoted = field.size_bytes >= 2 && field.at[0] == '"';
    if (quoted) field = (finch_text){field.at + 1, field.size_bytes - 2};
    if (field.size_bytes == 0) data_column_add_null(c);
    else if (c->kind != DATA_COLUMN_TEXT) return add_narrow(c, field) ? FINCH_OK : fail_changed(err);
    else return quoted ? add_unquoted(c, field, err) : data_column_add_text(c, field, err);
    return FINCH_OK;
}

typedef struct parser {
    const data_csv_rows *rows;
    data_block *block;
    const char *text;
    size_t field, column; /* where the field begins, and which it is of the record */
    size_t n_rows;
} parser;

/* The field that ends before byte `at`, there the record too where `line` is true. */
static finch_status end_field(parser *p, size_t at, bool line, finch_error *err)
{
    size_t end = line && at > p->field && p->text[at - 1] == '\r' ? at - 1 : at;
    bool last = p->column + 1 == p->rows->n_columns;
    if (last != line || p->n_rows == DATA_CSV_PIECE_ROWS) return fail_changed(err);
    FINCH_TRY(add_field(&p->block->columns[p->column], (finch_text){p->text + p->field, end - p->field}, err));
    p->field = at + 1;
    p->column = line ? 0 : p->column + 1;
    p->n_rows += line;
    return FINCH_OK;
}

finch_status data_csv_rows_parse(const data_csv_rows *r, const str *records, data_block *block, finch_error *err)
{
    parser p = {.rows = r, .block = block, .text = records->at};
    uint64_t inside = 0;
    for (size_t begin = 0; begin < records->size; begin += CSV_BLOCK) {
        csv_block b = csv_block_of((const unsigned char *)records->at, records->size, begin, r->separator, &inside);
        for (uint64_t ends = (b.bits.separator | b.bits.newline) & ~b.quoted & b.known; ends != 0; ends &= ends - 1) {
            int place = __builtin_ctzll(ends);
            FINCH_TRY(end_field(&p, begin + (size_t)place, b.bits.newline >> place & 1, err));
        }
    }
    if (p.field < records->size) FINCH_TRY(end_field(&p, records->size, true, err)); /* the last line has no end */
    return p.column == 0 ? FINCH_OK : fail_changed(err);
}
