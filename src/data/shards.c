#include "data/shards.h"

#include "base/file.h"
#include "data/digest.h"
#include "data/files.h"
#include "finch.h"

#include <dirent.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

enum { MANIFEST_VERSION = 1 };

/* ---- what belongs to a job ---- */

static const char *base_name(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash != NULL ? slash + 1 : path;
}

static finch_status add_file(json_t *list, const char *path, finch_error *err)
{
    data_digest sample;
    FINCH_TRY(data_digest_sample(path, &sample, err));
    json_t *entry = json_pack("{s:s, s:s}", "file", base_name(path), "sample_sha256", sample.hex);
    return json_array_append_new(list, entry) == 0 ? FINCH_OK : finch_fail(err, FINCH_E_MEMORY, "out of memory for a job");
}

static finch_status add_inputs(const data_source *source, json_t *files, json_t *modified, finch_error *err)
{
    data_names paths = {0};
    struct stat info;
    finch_status st = data_paths_expand(source->inputs, source->n_inputs, &paths, err);
    for (size_t i = 0; st == FINCH_OK && i < paths.n; i++) {
        st = add_file(files, paths.at[i], err);
        if (st != FINCH_OK) break;
        json_int_t when = 0; /* nanoseconds since 1970 */
        if (stat(paths.at[i], &info) == 0)
            when = (json_int_t)info.st_mtim.tv_sec * 1000000000 + (json_int_t)info.st_mtim.tv_nsec;
        if (json_array_append_new(modified, json_integer(when)) != 0)
            st = finch_fail(err, FINCH_E_MEMORY, "out of memory for a job");
    }
    data_names_free(&paths);
    return st;
}

static int is_shown(const struct dirent *entry) { return entry->d_name[0] != '.'; }

/* The regular files of the model's folder, in the order of their names. */
static finch_status add_model(const char *folder, json_t *files, finch_error *err)
{
    struct dirent **entries;
    str path = {0};
    struct stat info;
    int n = scandir(folder, &entries, is_shown, alphasort);
    if (n < 0) return finch_fail(err, FINCH_E_IO, "%s can not be listed", folder);
    finch_status st = FINCH_OK;
    for (int i = 0; i < n; i++) {
        if (st == FINCH_OK) st = file_join(folder, entries[i]->d_name, &path, err);
        if (st == FINCH_OK && stat(path.at, &info) == 0 && S_ISREG(info.st_mode)) st = add_file(files, path.at, err);
        free(entries[i]); /* scandir's own malloc */
    }
    free(entries);
    str_free(&path);
    return st;
}

static finch_status describe(data_shard *s, const data_source *inputs, const char *model_folder, json_t *options,
                             finch_error *err)
{
    json_t *files = json_array(), *model_files = json_array();
    s->modified = json_array();
    s->job = json_pack("{s:i, s:s, s:I, s:o, s:o, s:o}", "manifest", MANIFEST_VERSION, "finch", finch_version(), "shards",
                       (json_int_t)s->count, "inputs", files, "model", model_files, "options", options);
    if (s->job == NULL || s->modified == NULL) return finch_fail(err, FINCH_E_MEMORY, "out of memory for a job");
    FINCH_TRY(add_inputs(inputs, files, s->modified, err));
    struct stat info;
    return stat(model_folder, &info) == 0 && S_ISREG(info.st_mode) ? add_file(model_files, model_folder, err)
                                                                   : add_model(model_folder, model_files, err);
}

/* ---- a shard ---- */

static const char *ending_of(const char *path)
{
    const char *dot = strrchr(base_name(path), '.');
    return dot != NULL ? dot : "";
}

static finch_status name_files(const char *output, data_shard *s, finch_error *err)
{
    data_kind kind;
    if (strcmp(output, "-") == 0)
        return finch_fail(err, FINCH_E_USAGE, "shards write parts beside a file; --output names it");
    if (!data_kind_of_path(output, &kind) || kind.compression != DATA_PLAIN)
        return finch_fail(
            err, FINCH_E_USAGE,
            "%s: shards write .parquet, .csv, .tsv, .jsonl or .json; compress the text when it is put together", output);
    str folder = {0};
    finch_status st = str_add_format(&folder, err, "%s.parts", output);
    if (st == FINCH_OK) st = file_make_directories(folder.at, err);
    if (st == FINCH_OK)
        st = str_add_format(&s->part, err, "%s/part-%05zu-of-%05zu%s", folder.at, s->index, s->count, ending_of(output));
    if (st == FINCH_OK)
        st = str_add_format(&s->manifest, err, "%s/manifest-%05zu-of-%05zu.json", folder.at, s->index, s->count);
    if (st == FINCH_OK) st = str_add_format(&s->rejects, err, "%s/rejects-of-%05zu.csv", folder.at, s->count);
    str_free(&folder);
    return st;
}

finch_status data_shard_open(const char *output, size_t index, size_t count, const data_source *inputs,
                             const char *model_folder, json_t *options, data_shard *out, finch_error *err)
{
    *out = (data_shard){.index = index, .count = count};
    finch_status st = name_files(output, out, err);
    if (st == FINCH_OK) st = describe(out, inputs, model_folder, options, err);
    else json_decref(options);
    if (st != FINCH_OK) data_shard_close(out);
    return st;
}

void data_shard_close(data_shard *s)
{
    str_free(&s->part);
    str_free(&s->manifest);
    str_free(&s->rejects);
    json_decref(s->job);
    json_decref(s->modified);
    *s = (data_shard){0};
}

/* Whether the part is the one that the manifest names. */
static finch_status part_is_whole(const json_t *manifest, const char *path, bool *out, finch_error *err)
{
    const char *wanted = json_string_value(json_object_get(json_object_get(manifest, "part"), "sha256"));
    data_digest found;
    *out = false;
    if (wanted == NULL || !file_exists(path)) return FINCH_OK;
    FINCH_TRY(data_digest_file(path, &found, err));
    *out = strcmp(found.hex, wanted) == 0;
    return FINCH_OK;
}

finch_status data_shard_finished(const data_shard *s, json_t **manifest, finch_error *err)
{
    json_t *read = NULL;
    bool whole = false;
    *manifest = NULL;
    if (!file_exists(s->manifest.at)) return FINCH_OK;
    FINCH_TRY(json_parse_file(s->manifest.at, &read, err));
    finch_status st = FINCH_OK;
    if (json_equal(json_object_get(read, "job"), s->job) && json_equal(json_object_get(read, "modified"), s->modified))
        st = part_is_whole(read, s->part.at, &whole, err);
    if (st == FINCH_OK && whole) *manifest = json_incref(read);
    json_decref(read);
    return st;
}

finch_status data_shard_commit(const data_shard *s, const data_score_result *result, const data_scoring_counts *counts,
                               finch_error *err)
{
    data_digest digest;
    FINCH_TRY(data_digest_file(s->part.at, &digest, err));
    json_t *manifest = json_pack(
        "{s:I, s:{s:I, s:I, s:I}, s:{s:s, s:s}, s:{s:I, s:I, s:I, s:I}, s:I, s:O, s:O}", "shard", (json_int_t)s->index,
        "rows", "all", (json_int_t)result->n_all, "first", (json_int_t)result->first, "count", (json_int_t)counts->rows,
        "part", "file", base_name(s->part.at), "sha256", digest.hex, "counts", "scored", (json_int_t)counts->scored,
        "skipped", (json_int_t)counts->skipped, "truncated", (json_int_t)counts->truncated, "tokens",
        (json_int_t)counts->tokens, "rejected", (json_int_t)result->n_rejected, "modified", s->modified, "job", s->job);
    if (manifest == NULL) return finch_fail(err, FINCH_E_MEMORY, "out of memory for %s", s->manifest.at);
    finch_status st = json_write_file(s->manifest.at, manifest, err);
    json_decref(manifest);
    return st;
}
