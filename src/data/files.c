#include "data/files.h"

#include "base/file.h"

#include <errno.h>
#include <glob.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>

static bool ends_with(const char *path, size_t size, const char *ending)
{
    size_t n = strlen(ending);
    return size > n && strncasecmp(path + size - n, ending, n) == 0;
}

bool data_kind_of_path(const char *path, data_kind *out)
{
    static const struct {
        const char *ending;
        data_format format;
    } endings[] = {{".csv", DATA_CSV},      {".tsv", DATA_CSV},   {".txt", DATA_CSV},         {".jsonl", DATA_JSONL},
                   {".ndjson", DATA_JSONL}, {".json", DATA_JSON}, {".parquet", DATA_PARQUET}, {".pq", DATA_PARQUET}};
    size_t size = strlen(path);
    data_kind kind = {DATA_CSV, DATA_PLAIN};
    if (ends_with(path, size, ".gz")) kind.compression = DATA_GZIP;
    if (ends_with(path, size, ".zst")) kind.compression = DATA_ZSTD;
    size -= kind.compression == DATA_GZIP ? 3 : kind.compression == DATA_ZSTD ? 4 : 0;
    for (size_t i = 0; i < sizeof endings / sizeof endings[0]; i++) {
        if (!ends_with(path, size, endings[i].ending)) continue;
        kind.format = endings[i].format;
        *out = kind;
        return !(kind.format == DATA_PARQUET && kind.compression != DATA_PLAIN);
    }
    return false;
}

const char *data_format_name(data_format format)
{
    static const char *const names[] = {"CSV", "JSONL", "JSON", "Parquet"};
    return names[format];
}

static finch_status expand_one(const char *input, data_names *out, finch_error *err)
{
    struct stat info;
    glob_t found = {0};
    if (stat(input, &info) == 0 || strpbrk(input, "*?[") == NULL) return data_names_add(out, input, strlen(input), err);
    int code = glob(input, 0, NULL, &found);
    finch_status st = FINCH_OK;
    if (code == GLOB_NOSPACE) st = finch_fail(err, FINCH_E_MEMORY, "out of memory for the files of %s", input);
    else if (code != 0)
        st = finch_fail(err, FINCH_E_NOT_FOUND, "no file matches %s; check the folder and the ending", input);
    for (size_t i = 0; st == FINCH_OK && i < found.gl_pathc; i++)
        st = data_names_add(out, found.gl_pathv[i], strlen(found.gl_pathv[i]), err);
    globfree(&found);
    return st;
}

finch_status data_paths_expand(const char *const *inputs, size_t n_inputs, data_names *out, finch_error *err)
{
    finch_status st = FINCH_OK;
    *out = (data_names){0};
    if (n_inputs == 0) return finch_fail(err, FINCH_E_USAGE, "no input file is named");
    for (size_t i = 0; st == FINCH_OK && i < n_inputs; i++) st = expand_one(inputs[i], out, err);
    if (st != FINCH_OK) data_names_free(out);
    return st;
}

/* The length of the UTF-8 sequence at `at`, 0 where it is none; sequences past the end count as good (the head is cut). */
static size_t utf8_step(bytes text, size_t at)
{
    unsigned char c = text.at[at];
    if (c < 0x80) return 1;
    size_t n = c >= 0xC2 && c < 0xE0 ? 2 : c >= 0xE0 && c < 0xF0 ? 3 : c >= 0xF0 && c < 0xF5 ? 4 : 0;
    for (size_t i = 1; i < n && at + i < text.size; i++)
        if ((text.at[at + i] & 0xC0) != 0x80) return 0;
    return n;
}

enum { ENCODING_HEAD_BYTES = 1 << 20 };

static const char *encoding_of(bytes text)
{
    if (text.size >= 2 && ((text.at[0] == 0xFF && text.at[1] == 0xFE) || (text.at[0] == 0xFE && text.at[1] == 0xFF)))
        return "utf-16";
    size_t n_good = 0, n_bad = 0;
    if (text.size > ENCODING_HEAD_BYTES) text.size = ENCODING_HEAD_BYTES;
    for (size_t at = 0; at < text.size;) {
        size_t step = utf8_step(text, at);
        n_good += step > 1;
        n_bad += step == 0;
        at += step > 0 ? step : 1;
    }
    return n_bad > 0 && n_good == 0 ? "latin-1" : "utf-8";
}

static bool starts_with(bytes content, const char *magic, size_t size)
{
    return content.size >= size && memcmp(content.at, magic, size) == 0;
}

static finch_status check_parquet(bytes content, const char *path, finch_error *err)
{
    enum { PARQUET_LEAST_BYTES = 12 };
    if (!starts_with(content, "PAR1", 4))
        return finch_fail(err, FINCH_E_DATA, "%s is not a Parquet file; if it is another kind, give it that kind's ending",
                          path);
    if (content.size < PARQUET_LEAST_BYTES || memcmp(content.at + content.size - 4, "PAR1", 4) != 0)
        return finch_fail(err, FINCH_E_DATA,
                          "%s was cut: a Parquet file ends with its index and this one does not; copy or download it again",
                          path);
    return FINCH_OK;
}

/* What the content says where the path's ending says nothing. */
static data_kind kind_of_content(bytes content)
{
    size_t at = starts_with(content, "\xEF\xBB\xBF", 3) ? 3 : 0;
    if (starts_with(content, "PAR1", 4)) return (data_kind){DATA_PARQUET, DATA_PLAIN};
    if (starts_with(content, "\x1F\x8B", 2)) return (data_kind){DATA_CSV, DATA_GZIP};
    if (starts_with(content, "\x28\xB5\x2F\xFD", 4)) return (data_kind){DATA_CSV, DATA_ZSTD};
    while (at < content.size && strchr(" \t\r\n", content.at[at]) != NULL && content.at[at] != '\0') at++;
    if (at < content.size && content.at[at] == '{') return (data_kind){DATA_JSONL, DATA_PLAIN};
    if (at < content.size && content.at[at] == '[') return (data_kind){DATA_JSON, DATA_PLAIN};
    return (data_kind){DATA_CSV, DATA_PLAIN};
}

static finch_status check_content(bytes content, const char *name, data_file *out, finch_error *err)
{
    const char *path = out->path;
    if (starts_with(content, "PK\x03\x04", 4))
        return finch_fail(err, FINCH_E_UNSUPPORTED,
                          "%s is a ZIP archive, which this command does not unpack; unpack it first", path);
    if (!data_kind_of_path(name, &out->kind)) out->kind = kind_of_content(content);
    if (content.size == 0) return finch_fail(err, FINCH_E_DATA, "%s is empty", path);
    if (out->kind.format == DATA_PARQUET) return check_parquet(content, path, err);
    if (out->kind.compression == DATA_GZIP && !starts_with(content, "\x1F\x8B", 2))
        return finch_fail(err, FINCH_E_DATA, "%s is not a gzip file; take the .gz off its name", path);
    if (out->kind.compression == DATA_ZSTD && !starts_with(content, "\x28\xB5\x2F\xFD", 4))
        return finch_fail(err, FINCH_E_DATA, "%s is not a zstd file; take the .zst off its name", path);
    if (out->kind.compression != DATA_PLAIN) return FINCH_OK; /* data/stream.h reads it to its end */
    if (starts_with(content, "PAR1", 4))
        return finch_fail(err, FINCH_E_DATA, "%s is a Parquet file; give it the ending .parquet", path);
    if (starts_with(content, "\x1F\x8B", 2) || starts_with(content, "\x28\xB5\x2F\xFD", 4))
        return finch_fail(err, FINCH_E_DATA, "%s is compressed; add .gz or .zst to its name", path);
    out->encoding = encoding_of(content);
    return FINCH_OK;
}

finch_status data_file_inspect(const char *path, data_file *out, finch_error *err)
{
    struct stat info;
    file_map map;
    *out = (data_file){.path = path, .encoding = "utf-8", .max_line_bytes = DATA_LINE_MAX_BYTES};
    if (stat(path, &info) != 0 && errno == ENOENT)
        return finch_fail(err, FINCH_E_NOT_FOUND, "%s: there is no such file; check the path", path);
    if (file_is_directory(path))
        return finch_fail(err, FINCH_E_DATA, "%s is a folder; name its files, for example %s/*.csv", path, path);
    if (stat(path, &info) == 0 && !S_ISREG(info.st_mode))
        return finch_fail(
            err, FINCH_E_DATA,
            "%s is a pipe or a device, and tables are read more than once; save it to a file first, or give it on "
            "standard input (--input -) to a command that takes that",
            path);
    FINCH_TRY(file_map_open(path, &map, err));
    finch_status st = check_content(map.content, path, out, err);
    file_map_close(&map);
    return st;
}

finch_status data_file_inspect_unpacked(const char *path, const char *name, const char *content, data_file *out,
                                        finch_error *err)
{
    file_map map;
    *out = (data_file){.path = path, .content = content, .encoding = "utf-8", .max_line_bytes = DATA_LINE_MAX_BYTES};
    FINCH_TRY(file_map_open(content, &map, err));
    finch_status st = check_content(map.content, name, out, err);
    file_map_close(&map);
    return st;
}

const char *data_file_content(const data_file *file) { return file->content != NULL ? file->content : file->path; }
