#include "data/reader.h"

#include "base/file.h"
#include "base/json.h"
#include "data/csv_regular.h"
#include "data/zip.h"

#include <inttypes.h>
#include <string.h>
#include <sys/stat.h>

enum { HEAD_BYTES = 1 << 20, OBJECT_LEAST_BYTES = 16 << 20 };

/* A path as DuckDB's readers take it: they expand globs themselves, so what looks like one is put in brackets; and ~. */
static finch_status add_path(str *sql, const char *path, finch_error *err)
{
    str literal = {0};
    finch_status st = path[0] == '~' ? str_add_text(&literal, "./", err) : FINCH_OK;
    for (const char *at = path; st == FINCH_OK && *at != '\0'; at++) {
        bool special = *at == '*' || *at == '?' || *at == '[';
        st = special ? str_add_format(&literal, err, "[%c]", *at) : str_add(&literal, at, 1, err);
    }
    if (st == FINCH_OK) st = data_sql_text(sql, literal.at, literal.size, err);
    str_free(&literal);
    return st;
}

static finch_status add_paths(str *sql, const data_reader *readers, size_t n, finch_error *err)
{
    FINCH_TRY(str_add_text(sql, "[", err));
    for (size_t i = 0; i < n; i++) {
        if (i > 0) FINCH_TRY(str_add_text(sql, ", ", err));
        FINCH_TRY(
            add_path(sql, readers[i].good.buffer != NULL ? readers[i].good.path : data_file_content(&readers[i].file), err));
    }
    return str_add_text(sql, "]", err);
}

static const char *compression_word(data_compression compression)
{
    return compression == DATA_GZIP ? "gzip" : compression == DATA_ZSTD ? "zstd" : "uncompressed";
}

static finch_status add_character(str *sql, const char *option, char value, finch_error *err)
{
    FINCH_TRY(str_add_format(sql, err, ", %s=", option));
    return data_sql_text(sql, &value, 1, err);
}

/* What DuckDB must take: the longest record and its end. In the copy every quote is doubled and fields that had none are
 * quoted. */
static size_t longest_line(const data_reader *r)
{
    return r->good.buffer != NULL ? 2 * (r->file.max_line_bytes + r->columns.n) + 2 : r->file.max_line_bytes + 2;
}

/* In parallel DuckDB begins in the middle of a file and guesses there whether it is inside quotes. Where texts hold line ends it
 * guesses wrong now and then (seen with 1.4.4), and a good file ends in an error. */
static bool may_begin_anywhere(const data_reader *readers, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (readers[i].scan.lines_in_quotes) return false;
    return true;
}

static finch_status csv_sql(const data_reader *readers, size_t n, str *sql, finch_error *err)
{
    const data_reader *r = &readers[0];
    FINCH_TRY(str_add_text(sql, "read_csv(", err));
    FINCH_TRY(add_paths(sql, readers, n, err));
    FINCH_TRY(str_add_format(sql, err,
                             ", auto_detect=false, header=true, strict_mode=true, null_padding=false, parallel=%s,"
                             " comment='', quote='\"', hive_partitioning=false, max_line_size=%zu, buffer_size=%zu, "
                             "encoding='%s', compression='%s'",
                             may_begin_anywhere(readers, n) ? "true" : "false", longest_line(r), 2 * longest_line(r),
                             r->file.encoding, compression_word(r->file.kind.compression)));
    FINCH_TRY(add_character(sql, "delim", r->dialect.separator, err));
    FINCH_TRY(add_character(sql, "escape", r->dialect.escape, err));
    FINCH_TRY(str_add_text(sql, ", columns={", err));
    for (size_t i = 0; i < r->columns.n; i++) {
        if (i > 0) FINCH_TRY(str_add_text(sql, ", ", err));
        FINCH_TRY(data_sql_text(sql, r->columns.at[i], strlen(r->columns.at[i]), err));
        FINCH_TRY(str_add_text(sql, ": 'VARCHAR'", err));
    }
    return str_add_text(sql, "})", err);
}

/* DuckDB's preset is the least: its buffers are made for it. */
static size_t longest_object(const data_reader *r)
{
    size_t most = r->file.max_line_bytes + 2;
    return most > OBJECT_LEAST_BYTES ? most : OBJECT_LEAST_BYTES;
}

/* The good objects of JSON files, as one column named json. */
static finch_status objects_sql(const data_reader *readers, size_t n, str *sql, finch_error *err)
{
    FINCH_TRY(str_add_text(sql, "(SELECT json FROM read_json_objects(", err));
    FINCH_TRY(add_paths(sql, readers, n, err));
    FINCH_TRY(str_add_format(sql, err,
                             ", format='%s', ignore_errors=%s, hive_partitioning=false, compression='%s', "
                             "maximum_object_size=%zu)",
                             readers[0].array ? "array" : "newline_delimited", readers[0].array ? "false" : "true",
                             compression_word(readers[0].file.kind.compression), longest_object(&readers[0])));
    return str_add_text(sql, readers[0].array ? ")" : " WHERE json_valid(json) AND json_type(json) = 'OBJECT')", err);
}

static finch_status json_sql(const data_reader *readers, size_t n, str *sql, finch_error *err)
{
    const data_reader *r = &readers[0];
    FINCH_TRY(str_add_text(sql, "(SELECT ", err));
    for (size_t i = 0; i < r->columns.n; i++) {
        FINCH_TRY(str_add_text(sql, i > 0 ? ", j." : "j.", err));
        FINCH_TRY(data_sql_name(sql, r->columns.at[i], err));
    }
    FINCH_TRY(str_add_text(sql, " FROM (SELECT from_json(json, ", err));
    FINCH_TRY(data_sql_text(sql, r->structure, strlen(r->structure), err));
    FINCH_TRY(str_add_text(sql, ") AS j FROM ", err));
    FINCH_TRY(objects_sql(readers, n, sql, err));
    return str_add_text(sql, "))", err);
}

static finch_status parquet_sql(const data_reader *readers, size_t n, str *sql, finch_error *err)
{
    FINCH_TRY(str_add_text(sql, "read_parquet(", err));
    FINCH_TRY(add_paths(sql, readers, n, err));
    return str_add_text(sql, ", hive_partitioning=false)", err);
}

finch_status data_reader_numbered_sql(const data_reader *reader, str *sql, finch_error *err)
{
    FINCH_TRY(str_add_text(sql, "read_parquet(", err));
    FINCH_TRY(add_paths(sql, reader, 1, err));
    return str_add_text(sql, ", hive_partitioning=false, file_row_number=true)", err);
}

finch_status data_reader_sql(const data_reader *readers, size_t n, str *sql, finch_error *err)
{
    switch (readers[0].file.kind.format) {
    case DATA_CSV: return csv_sql(readers, n, sql, err);
    case DATA_PARQUET: return parquet_sql(readers, n, sql, err);
    default: return json_sql(readers, n, sql, err);
    }
}

/* Counts the rows; what DuckDB could not read as they are meant gets a copy of the good ones, which is plain and, where
 * it was UTF-16, UTF-8. */
static finch_status scan_csv(data_reader *r, const progress *watch, data_rejects *rejects, finch_error *err)
{
    uint64_t n_before = rejects->n;
    bool utf16 = strcmp(r->file.encoding, "utf-16") == 0, regular = false;
    if (!utf16 && r->file.kind.compression == DATA_PLAIN && r->dialect.escape == '"') {
        FINCH_TRY(MEM_NEW(&r->narrow, r->columns.n, err));
        FINCH_TRY(data_csv_scan_regular(&r->file, &r->dialect, watch, &r->scan, r->narrow, &regular, err));
        if (regular) return FINCH_OK;
        mem_free(r->narrow);
        r->narrow = NULL;
    }
    FINCH_TRY(data_csv_scan(&r->file, &r->dialect, watch, rejects, NULL, &r->scan, err));
    if (rejects->n == n_before && !utf16 && !r->scan.irregular) return FINCH_OK;
    FINCH_TRY(data_spool_open(&r->good, err));
    FINCH_TRY(data_csv_scan(&r->file, &r->dialect, watch, NULL, &r->good, &r->scan, err));
    r->file.kind.compression = DATA_PLAIN;
    r->dialect.separator = ',';
    r->dialect.escape = '"';
    if (utf16) r->file.encoding = "utf-8";
    return FINCH_OK;
}

static finch_status read_head(const data_file *file, size_t limit_bytes, str *out, finch_error *err)
{
    data_stream *stream;
    FINCH_TRY(data_stream_open(file, &stream, err));
    finch_status st = data_stream_head(stream, limit_bytes, out, err);
    data_stream_close(stream);
    return st;
}

/* The dialect and the columns, from the file's beginning. */
static finch_status name_csv_columns(data_reader *r, finch_error *err)
{
    str head = {0};
    finch_status st = read_head(&r->file, HEAD_BYTES, &head, err);
    if (st == FINCH_OK && head.size > 0 && strcspn(head.at, "\r\n") == head.size)
        st = finch_fail_row(err, FINCH_E_DATA, 1,
                            "%s line 1: the columns' names should stand here, and it has no end within %d bytes; is it CSV?",
                            r->file.path, HEAD_BYTES);
    if (st == FINCH_OK) {
        st = data_dialect_detect(head.at, head.size, '\0', &r->dialect, err);
        if (st != FINCH_OK) st = finch_fail_prefix(err, "%s", r->file.path);
    }
    str_free(&head);
    for (size_t i = 0; st == FINCH_OK && i < r->dialect.columns.n; i++)
        st = data_names_add(&r->columns, r->dialect.columns.at[i], strlen(r->dialect.columns.at[i]), err);
    return st;
}

static finch_status open_csv(data_reader *r, const progress *watch, data_rejects *rejects, finch_error *err)
{
    FINCH_TRY(name_csv_columns(r, err));
    return scan_csv(r, watch, rejects, err);
}

static finch_status name_parquet_columns(data_database *db, data_reader *r, finch_error *err)
{
    str sql = {0};
    finch_status st = str_add_text(&sql, "SELECT * FROM ", err);
    if (st == FINCH_OK) st = parquet_sql(r, 1, &sql, err);
    if (st == FINCH_OK) st = data_describe(db, sql.at, &r->columns, &r->types, err);
    str_free(&sql);
    return st;
}

static finch_status open_parquet(data_database *db, data_reader *r, finch_error *err)
{
    str sql = {0};
    finch_status st = name_parquet_columns(db, r, err);
    if (st == FINCH_OK) st = str_add_text(&sql, "SELECT count(*) FROM ", err);
    if (st == FINCH_OK) st = parquet_sql(r, 1, &sql, err);
    if (st == FINCH_OK) st = data_query_count(db, sql.at, &r->scan.n_rows, err);
    str_free(&sql);
    if (st == FINCH_OK || st == FINCH_E_MEMORY || st == FINCH_E_CANCELLED) return st;
    if (err == NULL) return FINCH_E_DATA;
    err->status = FINCH_E_DATA; /* it opened and began as Parquet: what fails now is its content */
    return finch_fail_prefix(err, "%s can not be read as Parquet", r->file.path);
}

typedef finch_status (*json_scan)(const data_file *, const progress *, data_rejects *, data_spool *, data_scan *,
                                  finch_error *);

static finch_status scan_json(data_reader *r, const progress *watch, data_rejects *rejects, finch_error *err)
{
    json_scan scan = r->array ? data_json_array_scan : data_jsonl_scan;
    uint64_t n_before = rejects->n;
    FINCH_TRY(scan(&r->file, watch, rejects, NULL, &r->scan, err));
    if (rejects->n == n_before) return FINCH_OK;
    FINCH_TRY(data_spool_open(&r->good, err));
    FINCH_TRY(scan(&r->file, watch, NULL, &r->good, &r->scan, err));
    r->file.kind.compression = DATA_PLAIN;
    r->array = false; /* the copy has lines */
    return FINCH_OK;
}

static finch_status open_json(data_database *db, data_reader *r, const progress *watch, data_rejects *rejects,
                              finch_error *err)
{
    str head = {0}, objects = {0};
    if (strcmp(r->file.encoding, "utf-16") == 0)
        return finch_fail(err, FINCH_E_UNSUPPORTED, "%s is JSON in UTF-16; save it as UTF-8", r->file.path);
    r->file.encoding = "utf-8"; /* what is no UTF-8 is a broken line, never latin-1: RFC 8259 */
    finch_status st = read_head(&r->file, 4096, &head, err);
    r->array = st == FINCH_OK && head.size > 0 && head.at[strspn(head.at, " \t\r\n")] == '[';
    str_free(&head);
    if (st == FINCH_OK) st = scan_json(r, watch, rejects, err);
    if (st == FINCH_OK) st = objects_sql(r, 1, &objects, err);
    if (st == FINCH_OK && r->scan.n_rows > 0) st = data_reader_json_structure(db, r, objects.at, err);
    str_free(&objects);
    return st;
}

/* What a file is; what is in an archive is unpacked for it. */
static finch_status inspect(data_reader *r, const char *path, const progress *watch, finch_error *err)
{
    file_map map;
    str name = {0};
    struct stat info;
    if (stat(path, &info) != 0 || !S_ISREG(info.st_mode)) return data_file_inspect(path, &r->file, err); /* says why not */
    FINCH_TRY(file_map_open(path, &map, err));
    bool zip = data_zip_is(map.content);
    finch_status st = zip ? data_zip_unpack(map.content, path, watch, &name, &r->unpacked, err) : FINCH_OK;
    file_map_close(&map);
    if (st == FINCH_OK)
        st = zip ? data_file_inspect_unpacked(path, name.at, r->unpacked.path, &r->file, err)
                 : data_file_inspect(path, &r->file, err);
    str_free(&name);
    return st;
}

finch_status data_reader_open(data_database *db, const char *path, size_t max_line_bytes, const char *text_key,
                              const progress *watch, data_rejects *rejects, data_reader *out, finch_error *err)
{
    *out = (data_reader){0};
    finch_status st = inspect(out, path, watch, err);
    if (max_line_bytes > 0) out->file.max_line_bytes = max_line_bytes;
    out->file.text_key = text_key;
    if (st == FINCH_OK) {
        switch (out->file.kind.format) {
        case DATA_CSV: st = open_csv(out, watch, rejects, err); break;
        case DATA_PARQUET: st = open_parquet(db, out, err); break;
        default: st = open_json(db, out, watch, rejects, err); break;
        }
    }
    if (st != FINCH_OK) data_reader_close(out);
    return st;
}

/* The keys of the first object, of lines or of an array. */
static finch_status name_first_keys(data_reader *r, finch_error *err)
{
    str head = {0};
    const char *key;
    json_t *value;
    FINCH_TRY(read_head(&r->file, HEAD_BYTES, &head, err));
    size_t skip = head.size > 0 ? strspn(head.at, " \t\r\n[") : 0;
    json_t *object = head.size > 0
                         ? json_loadb(head.at + skip, head.size - skip, JSON_DISABLE_EOF_CHECK | JSON_ALLOW_NUL, NULL)
                         : NULL;
    finch_status st = json_is_object(object)
                          ? FINCH_OK
                          : finch_fail(err, FINCH_E_DATA, "%s does not begin with an object", r->file.path);
    json_object_foreach(object, key, value) if (st == FINCH_OK) st = data_names_add(&r->columns, key, strlen(key), err);
    json_decref(object);
    str_free(&head);
    return st;
}

finch_status data_reader_names(const char *path, data_names *out, finch_error *err)
{
    data_reader r = {0};
    data_database db = {0};
    finch_status st = inspect(&r, path, NULL, err);
    if (st == FINCH_OK && r.file.kind.format == DATA_CSV) st = name_csv_columns(&r, err);
    else if (st == FINCH_OK && r.file.kind.format != DATA_PARQUET) st = name_first_keys(&r, err);
    else if (st == FINCH_OK && (st = data_database_open(&db, err)) == FINCH_OK) st = name_parquet_columns(&db, &r, err);
    *out = st == FINCH_OK ? r.columns : (data_names){0};
    if (st == FINCH_OK) r.columns = (data_names){0};
    data_database_close(&db);
    data_reader_close(&r);
    return st;
}

void data_reader_close(data_reader *r)
{
    data_dialect_free(&r->dialect);
    data_names_free(&r->columns);
    data_names_free(&r->types);
    mem_free(r->structure);
    mem_free(r->narrow);
    data_spool_close(&r->good);
    data_spool_close(&r->unpacked);
    *r = (data_reader){0};
}

bool data_reader_same(const data_reader *a, const data_reader *b)
{
    if (a->file.kind.format != b->file.kind.format || a->file.kind.compression != b->file.kind.compression) return false;
    if (strcmp(a->file.encoding, b->file.encoding) != 0 || a->array != b->array) return false;
    if (a->dialect.separator != b->dialect.separator || a->dialect.escape != b->dialect.escape) return false;
    if (a->structure != NULL && (b->structure == NULL || strcmp(a->structure, b->structure) != 0)) return false;
    return data_names_equal(&a->columns, &b->columns) && data_names_equal(&a->types, &b->types);
}
