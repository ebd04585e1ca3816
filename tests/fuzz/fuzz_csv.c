/* The input is a CSV file; its first byte says how it is encoded and whether a separator is given. What the dialect and
 * the scan promise: rows and rejects are those of a plain reading of the grammar, whether or not the good ones are copied,
 * and the copy reads as exactly those rows, all of them good. */
#include "base/mem.h"
#include "data/scan.h"
#include "data/utf8.h"
#include "fuzz_file.h"

#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void need(bool holds)
{
    if (!holds) abort();
}

static data_file file_of(uint8_t how, const char *path)
{
    static const char *const encodings[] = {"utf-8", "utf-8", "latin-1", "utf-16"};
    size_t most = (how & 4) != 0 ? 48 : DATA_LINE_MAX_BYTES; /* so that records past the limit are met */
    return (data_file){.path = path, .kind = {DATA_CSV, DATA_PLAIN}, .encoding = encodings[how & 3], .max_line_bytes = most};
}

/* Rows of the copy, which has commas and doubled quotes and nothing that is broken. */
static void check_copy(const data_file *file, const data_dialect *dialect, const data_spool *good, const data_scan *first)
{
    data_file copy = {.path = good->path,
                      .kind = {DATA_CSV, DATA_PLAIN},
                      .encoding = file->encoding,
                      .max_line_bytes = DATA_LINE_MAX_BYTES};
    if (strcmp(file->encoding, "utf-16") == 0) copy.encoding = "utf-8"; /* the scan has decoded it */
    data_dialect plain = {.separator = ',', .escape = '"', .columns = dialect->columns};
    data_rejects rejects = {0};
    data_scan again;
    need(data_csv_scan(&copy, &plain, NULL, &rejects, NULL, &again, NULL) == FINCH_OK);
    need(rejects.n == 0 && again.n_rows == first->n_rows && !again.irregular);
    data_rejects_free(&rejects);
}

/* The same grammar, written as one reads it: what the scan's states must agree with. For UTF-8 with doubled quotes. */
typedef struct counts {
    size_t good, bad;
    bool refused; /* a quote is never closed, or the names are longer than a record may be */
} counts;

static bool at_end(const uint8_t *at, const uint8_t *end) { return at == end || *at == '\n' || *at == '\r'; }

static const uint8_t *plain_field(const uint8_t *at, const uint8_t *end, char separator, bool *junk, bool *cut)
{
    bool quoted = at < end && *at == '"';
    if (quoted) {
        for (at++; at < end && (*at != '"' || (end - at > 1 && at[1] == '"')); at++) at += *at == '"';
        *cut = at == end;
        if (at < end) at++;
    }
    for (; !at_end(at, end) && *at != (uint8_t)separator; at++) *junk = *junk || quoted;
    return at;
}

static counts count_plainly(const uint8_t *at, size_t size, const data_dialect *dialect, size_t max_bytes)
{
    const uint8_t *end = at + size;
    counts c = {0};
    bool header = true;
    if (size >= 3 && memcmp(at, "\xEF\xBB\xBF", 3) == 0) at += 3;
    while (at < end && !c.refused) {
        const uint8_t *begin = at;
        bool junk = false;
        size_t n = 1;
        for (; at = plain_field(at, end, dialect->separator, &junk, &c.refused), !at_end(at, end); at++) n++;
        size_t n_bytes = (size_t)(at - begin);
        bool too_long = n_bytes > max_bytes;
        bool good = !junk && !too_long && n == dialect->columns.n && data_utf8_valid((const char *)begin, n_bytes);
        c.refused = c.refused || (header && too_long);
        if (at > begin && !header && !c.refused) *(good ? &c.good : &c.bad) += 1;
        if (at > begin) header = false;
        if (at < end) at++; /* of \r\n the \n ends a blank record, which is none */
    }
    return c;
}

static void scan(const data_file *file, const data_dialect *dialect)
{
    data_rejects rejects = {0}, with_copy = {0};
    data_scan counted, copied;
    data_spool good = {0};
    finch_error err = {0};
    finch_status st = data_csv_scan(file, dialect, NULL, &rejects, NULL, &counted, &err);
    need(st == FINCH_OK || (st == FINCH_E_DATA && err.message[0] != '\0'));
    need(data_spool_open(&good, NULL) == FINCH_OK);
    need(data_csv_scan(file, dialect, NULL, &with_copy, &good, &copied, NULL) == st);
    need(rejects.n == with_copy.n && counted.n_rows == copied.n_rows && counted.n_lines == copied.n_lines);
    for (size_t i = 0; i < rejects.n; i++) need(rejects.at[i].line >= 1 && rejects.at[i].line <= counted.n_lines);
    if (st == FINCH_OK) check_copy(file, dialect, &good, &counted);
    data_spool_close(&good);
    data_rejects_free(&rejects);
    data_rejects_free(&with_copy);
}

static void check_plainly(const data_file *file, const data_dialect *dialect, const uint8_t *data, size_t size)
{
    data_rejects rejects = {0};
    data_scan scanned;
    counts plain = count_plainly(data, size, dialect, file->max_line_bytes);
    finch_status st = data_csv_scan(file, dialect, NULL, &rejects, NULL, &scanned, NULL);
    need((st == FINCH_OK) == !plain.refused);
    need(plain.refused || (scanned.n_rows == plain.good && rejects.n == plain.bad));
    data_rejects_free(&rejects);
}

static void read_file(const data_file *file, char separator, const uint8_t *data, size_t size)
{
    enum { HEAD_BYTES = 512 };
    data_stream *stream;
    data_dialect dialect;
    str head = {0};
    need(data_stream_open(file, &stream, NULL) == FINCH_OK);
    if (data_stream_head(stream, HEAD_BYTES, &head, NULL) == FINCH_OK &&
        data_dialect_detect(head.at, head.size, separator, &dialect, NULL) == FINCH_OK) {
        need(dialect.columns.n >= 1);
        scan(file, &dialect);
        if (strcmp(file->encoding, "utf-8") == 0 && dialect.escape == '"') check_plainly(file, &dialect, data, size);
        data_dialect_free(&dialect);
    }
    str_free(&head);
    data_stream_close(stream);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char separators[] = {'\0', ',', ';', '\t'};
    int64_t live = mem_count().live;
    if (size < 2) return 0;
    fuzz_write_file("fuzz.csv", data + 1, size - 1);
    data_file file = file_of(data[0], fuzz_path);
    read_file(&file, separators[data[0] >> 2 & 3], data + 1, size - 1);
    need(mem_count().live == live);
    return 0;
}
