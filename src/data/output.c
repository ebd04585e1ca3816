#include "data/output.h"

#include "base/file.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

static finch_status choose_kind(const char *path, data_kind *out, finch_error *err)
{
    if (strcmp(path, "-") == 0) {
        *out = (data_kind){DATA_JSONL, DATA_PLAIN};
        return FINCH_OK;
    }
    if (file_is_directory(path))
        return finch_fail(err, FINCH_E_USAGE, "%s is a folder; name a file in it, for example %s/scored.parquet", path,
                          path);
    if (data_kind_of_path(path, out)) return FINCH_OK;
    return finch_fail(err, FINCH_E_USAGE,
                      "%s: the output's ending says its format; use .parquet, .csv, .tsv, .jsonl or .json, the text ones "
                      "also with .gz or .zst",
                      path);
}

static finch_status make_beside(data_output *o, finch_error *err)
{
    FINCH_TRY(str_add_format(&o->beside, err, "%s.part-%ld", o->path, (long)getpid()));
    int fd = open(o->beside.at, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    if (fd >= 0) {
        close(fd);
        return FINCH_OK;
    }
    char reason[128];
    int code = errno;
    str_free(&o->beside); /* nothing to remove */
    if (strerror_r(code, reason, sizeof reason) != 0) reason[0] = '\0';
    return finch_fail(err, FINCH_E_IO, "%s can not be written: %s; check that its folder exists and is yours to write",
                      o->path, reason);
}

/* DuckDB opens its outputs by name, and /dev/stdout opened again is a file cut to nothing where stdout is one: what
 * stands in it already would be lost. */
static finch_status open_stdout(data_output *o, finch_error *err)
{
    struct stat info;
    if (fstat(STDOUT_FILENO, &info) != 0 || !S_ISREG(info.st_mode)) return FINCH_OK;
    return data_spool_open(&o->spool, err);
}

static finch_status fail_stdout(finch_error *err)
{
    char reason[128];
    int code = errno;
    if (strerror_r(code, reason, sizeof reason) != 0) reason[0] = '\0';
    return finch_fail(err, FINCH_E_IO, "writing to the standard output failed: %s", reason);
}

static finch_status spool_to_stdout(const data_output *o, finch_error *err)
{
    char part[1 << 16];
    off_t at = 0;
    for (;;) {
        ssize_t got = pread(o->spool.descriptor, part, sizeof part, at);
        if (got < 0 && errno == EINTR) continue;
        if (got < 0) return fail_stdout(err);
        if (got == 0) return FINCH_OK;
        for (ssize_t done = 0, put; done < got; done += put) {
            put = write(STDOUT_FILENO, part + done, (size_t)(got - done));
            if (put < 0 && errno != EINTR) return fail_stdout(err);
            if (put < 0) put = 0;
        }
        at += got;
    }
}

finch_status data_output_open(const char *path, data_output *out, finch_error *err)
{
    *out = (data_output){.path = path};
    FINCH_TRY(choose_kind(path, &out->kind, err));
    return strcmp(path, "-") == 0 ? open_stdout(out, err) : make_beside(out, err);
}

void data_output_close(data_output *o)
{
    if (o->beside.size > 0) unlink(o->beside.at);
    str_free(&o->beside);
    data_spool_close(&o->spool);
}

bool data_output_is_tsv(const data_output *o)
{
    if (o->beside.size == 0) return false;
    size_t ending = o->kind.compression == DATA_GZIP ? 3 : o->kind.compression == DATA_ZSTD ? 4 : 0;
    size_t size = strlen(o->path) - ending;
    return strncasecmp(o->path + size - 4, ".tsv", 4) == 0; /* the kind was found, so there are four bytes */
}

static finch_status add_format(const data_output *o, str *sql, finch_error *err)
{
    static const char *const compressions[] = {"none", "gzip", "zstd"};
    const char *compression = compressions[o->kind.compression];
    switch (o->kind.format) {
    case DATA_PARQUET:
        return str_add_format(
            sql, err, "(USE_TMP_FILE false, FORMAT parquet, COMPRESSION zstd, COMPRESSION_LEVEL 1, ROW_GROUP_SIZE %zu)",
            o->row_group_rows > 0 ? o->row_group_rows : (size_t)DATA_ROW_GROUP_ROWS);
    case DATA_CSV:
        return str_add_format(sql, err, "(USE_TMP_FILE false, FORMAT csv, HEADER true, DELIMITER '%s', COMPRESSION '%s')",
                              data_output_is_tsv(o) ? "\t" : ",", compression);
    default:
        return str_add_format(sql, err, "(USE_TMP_FILE false, FORMAT json, ARRAY %s, COMPRESSION '%s')",
                              o->kind.format == DATA_JSON ? "true" : "false", compression);
    }
}

finch_status data_output_sql(const data_output *o, const char *query, str *sql, finch_error *err)
{
    const char *to = o->beside.size > 0 ? o->beside.at : o->spool.buffer != NULL ? o->spool.path : "/dev/stdout";
    FINCH_TRY(str_add_format(sql, err, "COPY (%s) TO ", query));
    FINCH_TRY(data_sql_text(sql, to, strlen(to), err));
    FINCH_TRY(str_add_text(sql, " ", err));
    return add_format(o, sql, err);
}

static finch_status fail_unwritten(const data_output *o, finch_status st, finch_error *err)
{
    return st != FINCH_E_IO ? st : finch_fail_prefix(err, "%s could not be written whole, so nothing was", o->path);
}

finch_status data_output_copy(data_database *db, const data_output *o, const char *query, uint64_t *n_rows, finch_error *err)
{
    str sql = {0};
    finch_status st = data_output_sql(o, query, &sql, err);
    if (st == FINCH_OK) st = data_query_count(db, sql.at, n_rows, err);
    str_free(&sql);
    return fail_unwritten(o, st, err);
}

finch_status data_output_copy_watched(data_database *db, const data_output *o, const char *query, const data_query_watch *w,
                                      uint64_t *n_rows, finch_error *err)
{
    str sql = {0};
    finch_status st = data_output_sql(o, query, &sql, err);
    if (st == FINCH_OK) st = data_query_count_watched(db, sql.at, w, n_rows, err);
    str_free(&sql);
    return fail_unwritten(o, st, err);
}

finch_status data_output_commit(data_output *o, finch_error *err)
{
    if (o->spool.buffer != NULL) return spool_to_stdout(o, err);
    if (o->beside.size == 0) return FINCH_OK;
    FINCH_TRY(file_sync(o->beside.at, err));
    FINCH_TRY(file_replace(o->beside.at, o->path, err));
    str_free(&o->beside);
    return FINCH_OK;
}
