/* Parts to one file. Text is put together byte by byte; the rows of Parquet parts are written anew as one process writes them. */
#include "base/file.h"
#include "data/digest.h"
#include "data/even.h"
#include "data/output.h"
#include "data/relation.h"
#include "data/shards.h"

#include <dirent.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

typedef struct join {
    const char *folder;
    size_t count;
    data_names parts; /* [count] paths */
    json_t *job; /* of the first */
    uint64_t n_all, n_rows, n_rejected;
} join;

/* ---- what there is ---- */

/* The number of shards that a manifest's name tells; 0: the name is none. */
static size_t shards_of(const char *name)
{
    size_t index, count;
    int end = 0;
    if (sscanf(name, "manifest-%5zu-of-%5zu.json%n", &index, &count, &end) != 2 || end == 0 || name[end] != '\0') return 0;
    return index < count ? count : 0;
}

/* *count: the shards of the manifests in the folder, 0 where it has none. Several jobs in one folder are an error. */
static finch_status count_shards(const char *folder, size_t *count, finch_error *err)
{
    DIR *dir = opendir(folder);
    finch_status st = FINCH_OK;
    *count = 0;
    if (dir == NULL) return finch_fail(err, FINCH_E_IO, "%s can not be listed", folder);
    for (struct dirent *entry; st == FINCH_OK && (entry = readdir(dir)) != NULL;) {
        size_t n = shards_of(entry->d_name);
        if (n == 0) continue;
        if (*count > 0 && *count != n)
            st = finch_fail(err, FINCH_E_DATA, "%s has parts of %zu and of %zu shards; remove those that are not wanted",
                            folder, *count, n);
        *count = n;
    }
    closedir(dir);
    return st;
}

bool data_shards_are(const char *path)
{
    size_t count = 0;
    return file_is_directory(path) && (count_shards(path, &count, NULL) != FINCH_OK || count > 0);
}

/* ---- whether they belong together ---- */

static finch_status check_rows(join *j, const json_t *manifest, const char *path, finch_error *err)
{
    const json_t *rows = json_object_get(manifest, "rows");
    size_t all, first, count, rejected;
    FINCH_TRY(json_get_size(rows, path, "all", &all, err));
    FINCH_TRY(json_get_size(rows, path, "first", &first, err));
    FINCH_TRY(json_get_size(rows, path, "count", &count, err));
    FINCH_TRY(json_get_size(manifest, path, "rejected", &rejected, err));
    if (j->parts.n == 0) j->n_all = all;
    if (first != j->n_rows || all != j->n_all)
        return finch_fail(err, FINCH_E_DATA, "%s: its rows do not follow those of the part before; score that shard again",
                          path);
    j->n_rows += count;
    j->n_rejected = rejected;
    return FINCH_OK;
}

static finch_status check_part(join *j, const json_t *manifest, const char *path, finch_error *err)
{
    const json_t *part = json_object_get(manifest, "part");
    const char *name, *wanted;
    data_digest found;
    str place = {0};
    FINCH_TRY(json_get_text(part, path, "file", &name, err));
    FINCH_TRY(json_get_text(part, path, "sha256", &wanted, err));
    if (strchr(name, '/') != NULL) return finch_fail(err, FINCH_E_DATA, "%s: \"file\" is no name of a part", path);
    finch_status st = file_join(j->folder, name, &place, err);
    if (st == FINCH_OK) st = data_digest_file(place.at, &found, err);
    if (st == FINCH_OK && strcmp(found.hex, wanted) != 0)
        st = finch_fail(err, FINCH_E_DATA, "%s is not what %s says; score that shard again", place.at, path);
    if (st == FINCH_OK) st = data_names_add(&j->parts, place.at, place.size, err);
    str_free(&place);
    return st;
}

static finch_status take_manifest(join *j, const json_t *manifest, const char *path, finch_error *err)
{
    json_t *job = json_object_get(manifest, "job");
    if (job == NULL) return finch_fail(err, FINCH_E_DATA, "%s has no \"job\"", path);
    if (j->job == NULL) j->job = json_incref(job);
    if (!json_equal(job, j->job))
        return finch_fail(err, FINCH_E_DATA,
                          "%s is of another job than part 0 (other inputs, model, options or version); score that shard "
                          "again",
                          path);
    FINCH_TRY(check_rows(j, manifest, path, err));
    return check_part(j, manifest, path, err);
}

static finch_status tell_missing(const join *j, size_t first, finch_error *err)
{
    str path = {0};
    size_t n = 0;
    finch_status st = FINCH_OK;
    for (size_t i = first; st == FINCH_OK && i < j->count; i++) {
        str_clear(&path);
        st = str_add_format(&path, err, "%s/manifest-%05zu-of-%05zu.json", j->folder, i, j->count);
        if (st == FINCH_OK) n += !file_exists(path.at);
    }
    str_free(&path);
    if (st != FINCH_OK) return st;
    return finch_fail(err, FINCH_E_DATA, "%s: %zu of %zu parts are missing, the first is that of --shard %zu", j->folder, n,
                      j->count, first);
}

static finch_status take_all(join *j, finch_error *err)
{
    str path = {0};
    finch_status st = count_shards(j->folder, &j->count, err);
    for (size_t i = 0; st == FINCH_OK && i < j->count; i++) {
        json_t *manifest = NULL;
        str_clear(&path);
        FINCH_GO(done, st, str_add_format(&path, err, "%s/manifest-%05zu-of-%05zu.json", j->folder, i, j->count));
        if (!file_exists(path.at)) FINCH_GO(done, st, tell_missing(j, i, err));
        FINCH_GO(done, st, json_parse_file(path.at, &manifest, err));
        st = take_manifest(j, manifest, path.at, err);
        json_decref(manifest);
    }
    if (st == FINCH_OK && j->n_rows != j->n_all)
        st = finch_fail(err, FINCH_E_DATA, "%s: the parts have %" PRIu64 " rows and the inputs %" PRIu64, j->folder,
                        j->n_rows, j->n_all);
done:
    str_free(&path);
    return st;
}

/* ---- text ---- */

/* The bytes of the first record of a CSV that DuckDB wrote: its quotes are doubled inside quotes. */
static size_t header_size(bytes content)
{
    bool quoted = false;
    for (size_t i = 0; i < content.size; i++) {
        if (content.at[i] == '"') quoted = !quoted;
        if (content.at[i] == '\n' && !quoted) return i + 1;
    }
    return content.size;
}

/* What stands around the rows: what is before them in every part, between two parts that have some, and behind. */
typedef struct frame {
    size_t begin, end;
    const char *between;
} frame;

static const char json_begin[] = "[\n\t", json_end[] = "\n]\n";

static finch_status frame_of(data_format format, bytes content, const char *path, frame *out, finch_error *err)
{
    *out = (frame){0, 0, ""};
    if (format == DATA_CSV) out->begin = header_size(content);
    if (format != DATA_JSON) return FINCH_OK;
    *out = (frame){strlen(json_begin), strlen(json_end), ",\n\t"};
    if (content.size >= out->begin + out->end && memcmp(content.at, json_begin, out->begin) == 0 &&
        memcmp(content.at + content.size - out->end, json_end, out->end) == 0)
        return FINCH_OK;
    return finch_fail(err, FINCH_E_DATA, "%s is no array as finch writes them", path);
}

static finch_status add_part(const join *j, data_format format, size_t i, bool *any, file_writer *to, finch_error *err)
{
    file_map map;
    frame f;
    FINCH_TRY(file_map_open(j->parts.at[i], &map, err));
    const char *at = (const char *)map.content.at;
    finch_status st = frame_of(format, map.content, j->parts.at[i], &f, err);
    if (st == FINCH_OK && i == 0) st = file_writer_write(to, at, f.begin, err);
    size_t n = st == FINCH_OK ? map.content.size - f.begin - f.end : 0;
    if (st == FINCH_OK && *any && n > 0) st = file_writer_write(to, f.between, strlen(f.between), err);
    if (st == FINCH_OK) st = file_writer_write(to, at + f.begin, n, err);
    if (st == FINCH_OK && i + 1 == j->count) st = file_writer_write(to, at + map.content.size - f.end, f.end, err);
    *any = *any || n > 0;
    file_map_close(&map);
    return st;
}

static finch_status join_text(const join *j, data_format format, const char *output, finch_error *err)
{
    file_writer to;
    bool any = false;
    FINCH_TRY(file_writer_open(output, &to, err));
    finch_status st = FINCH_OK;
    for (size_t i = 0; st == FINCH_OK && i < j->count; i++) st = add_part(j, format, i, &any, &to, err);
    if (st == FINCH_OK) return file_writer_commit(&to, err);
    file_writer_abort(&to);
    return st;
}

/* ---- Parquet ---- */

static finch_status write_rows(const join *j, data_database *db, data_output *to, finch_error *err)
{
    const data_source source = {.inputs = (const char *const *)j->parts.at, .n_inputs = j->parts.n};
    data_relation *parts;
    data_even *even = NULL;
    uint64_t n_written = 0;
    FINCH_TRY(data_relation_open(db, &source, &(data_relation_options){.typed = true}, &parts, err));
    finch_status st = data_even_open(db, data_relation_sql(parts), &even, err);
    if (st == FINCH_OK) st = data_output_copy(db, to, DATA_EVEN_QUERY, &n_written, err);
    if (st == FINCH_OK) st = data_relation_check_rows(parts, n_written, err);
    if (st == FINCH_OK) st = data_output_commit(to, err);
    data_even_close(even);
    data_relation_close(parts);
    return st;
}

static finch_status join_parquet(const join *j, const char *output, finch_error *err)
{
    data_output to;
    data_database db = {0};
    FINCH_TRY(data_output_open(output, &to, err));
    finch_status st = data_database_open(&db, err);
    if (st == FINCH_OK) st = write_rows(j, &db, &to, err);
    data_database_close(&db);
    data_output_close(&to);
    return st;
}

/* ---- the whole ---- */

static finch_status check_format(const join *j, const char *output, data_format *out, finch_error *err)
{
    const char *dot = strrchr(j->parts.at[0], '.'), *own = strrchr(output, '.');
    data_kind kind;
    if (dot == NULL || own == NULL || strcmp(dot, own) != 0 || !data_kind_of_path(output, &kind))
        return finch_fail(err, FINCH_E_USAGE,
                          "%s: its ending must be that of the parts, %s; convert it afterwards with finch data convert",
                          output, dot != NULL ? dot : "which have none");
    *out = kind.format;
    return FINCH_OK;
}

static finch_status join_rejects(const join *j, const char *rejects, finch_error *err)
{
    file_map map;
    str path = {0};
    if (j->n_rejected == 0) return FINCH_OK;
    finch_status st = str_add_format(&path, err, "%s/rejects-of-%05zu.csv", j->folder, j->count);
    if (st == FINCH_OK) st = file_map_open(path.at, &map, err);
    str_free(&path);
    if (st != FINCH_OK) return st;
    st = file_write(rejects, map.content.at, map.content.size, err);
    file_map_close(&map);
    return st;
}

finch_status data_shards_join(const char *folder, const char *output, const char *rejects, data_joined *out,
                              finch_error *err)
{
    join j = {.folder = folder};
    data_format format = DATA_CSV;
    *out = (data_joined){0};
    finch_status st = file_check_output(output, err);
    if (st == FINCH_OK) st = take_all(&j, err);
    if (st == FINCH_OK) st = check_format(&j, output, &format, err);
    if (st == FINCH_OK) st = format == DATA_PARQUET ? join_parquet(&j, output, err) : join_text(&j, format, output, err);
    if (st == FINCH_OK) st = join_rejects(&j, rejects, err);
    if (st == FINCH_OK) *out = (data_joined){j.count, j.n_rows, j.n_rejected};
    data_names_free(&j.parts);
    json_decref(j.job);
    return st;
}
