/* A float checkpoint folder written again with int8 weights, tensor by tensor. The file's order puts scales before the
 * items they belong to (safetensors.h), so each matrix is quantised twice: memory stays that of one, and the work is
 * small beside reading and writing it. */
#include "tensor/compressed.h"

#include "base/arena.h"
#include "base/fault.h"
#include "base/file.h"
#include "tensor/safetensors.h"

#include <dirent.h>
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

typedef enum part { PART_WHOLE, PART_ITEMS, PART_SCALE } part;

/* Where an entry of the new file comes from. */
typedef struct source {
    const tensor *from;
    part what;
} source;

typedef struct job {
    const weights *w;
    arena memory; /* entries, sources, names and the buffers below */
    safetensors_entry *entries;
    source *sources;
    size_t n_entries;
    float *row;    /* the longest row */
    float *scales; /* of the matrix with the most rows */
    int8_t *items; /* the largest matrix */
    const progress *listener;
    compressed_report report;
    uint64_t done_bytes;
} job;

/* ---- plan ------------------------------------------------------------------------------------------------------- */

static void add_entry(job *j, const tensor *from, part what, const char *name, tensor_dtype dtype, size_t columns)
{
    safetensors_entry *entry = &j->entries[j->n_entries];
    *entry = (safetensors_entry){.name = name, .dtype = dtype, .n_dims = from->n_dims};
    memcpy(entry->dims, from->dims, sizeof entry->dims);
    if (what == PART_SCALE) entry->dims[1] = columns;
    j->sources[j->n_entries++] = (source){from, what};
}

static finch_status plan_tensor(job *j, const tensor *t, finch_error *err)
{
    j->report.n_tensors++;
    j->report.bytes_before += t->size_bytes;
    if (compressed_role_of(t) == COMPRESSED_KEPT) {
        add_entry(j, t, PART_WHOLE, t->name, t->dtype, 0);
        j->report.bytes_after += t->size_bytes;
        return FINCH_OK;
    }
    char *scale_name = NULL;
    size_t size = strlen(t->name) + sizeof "_scale";
    FINCH_TRY(arena_alloc(&j->memory, size, 1, (void **)&scale_name, err));
    snprintf(scale_name, size, "%s_scale", t->name);
    add_entry(j, t, PART_ITEMS, t->name, TENSOR_I8, 0);
    add_entry(j, t, PART_SCALE, scale_name, TENSOR_F32, 1);
    j->report.n_quantized++;
    j->report.bytes_after += t->n_items + t->dims[0] * sizeof(float);
    return FINCH_OK;
}

static finch_status plan(job *j, finch_error *err)
{
    size_t n = weights_count(j->w), columns = 0, rows = 0, items = 0;
    FINCH_TRY(ARENA_NEW(&j->memory, &j->entries, 2 * n, err));
    FINCH_TRY(ARENA_NEW(&j->memory, &j->sources, 2 * n, err));
    for (size_t i = 0; i < n; i++) {
        const tensor *t = weights_at(j->w, i);
        FINCH_TRY(plan_tensor(j, t, err));
        if (compressed_role_of(t) == COMPRESSED_KEPT) continue;
        if (t->dims[0] > rows) rows = t->dims[0];
        if (t->dims[1] > columns) columns = t->dims[1];
        if (t->n_items > items) items = t->n_items;
    }
    if (j->report.n_quantized == 0)
        return finch_fail(err, FINCH_E_DATA, "%s holds no floating-point matrix to quantise", weights_path(j->w));
    FINCH_TRY(ARENA_NEW(&j->memory, &j->row, columns, err));
    FINCH_TRY(ARENA_NEW(&j->memory, &j->scales, rows, err));
    return ARENA_NEW(&j->memory, &j->items, items, err);
}

/* ---- quantise --------------------------------------------------------------------------------------------------- */

static void note_error(job *j, const float *row, const int8_t *q, float scale, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        /* The row's largest magnitude is 127 scales. */
        double error = fabs((double)row[i] - (double)q[i] * (double)scale) / (127.0 * (double)scale);
        if (error > j->report.largest_error) j->report.largest_error = error;
    }
}

static finch_status quantize_tensor(job *j, const tensor *t, finch_error *err)
{
    size_t rows = t->dims[0], columns = t->dims[1];
    const compressed_matrix matrix = {.weight = t, .rows = rows, .columns = columns};
    for (size_t r = 0; r < rows; r++) {
        int8_t *q = j->items + r * columns;
        FINCH_TRY(compressed_rows_to_f32(&matrix, r, 1, j->row, err));
        if (compressed_quantize_rows(j->row, 1, columns, q, &j->scales[r], err) != FINCH_OK)
            return finch_fail(err, FINCH_E_DATA,
                              "%s: the tensor %s holds an item in row %zu that is not finite; the weights are damaged",
                              weights_path(j->w), t->name, r);
        note_error(j, j->row, q, j->scales[r], columns);
    }
    return FINCH_OK;
}

/* safetensors_fill: the data of one entry of the new file. */
static finch_status fill(void *context, size_t index, const void **data, finch_error *err)
{
    job *j = context;
    const source *from = &j->sources[index];
    if (from->what == PART_WHOLE) *data = from->from->data;
    else {
        FINCH_TRY(quantize_tensor(j, from->from, err));
        *data = from->what == PART_ITEMS ? (const void *)j->items : (const void *)j->scales;
    }
    if (from->what != PART_SCALE) j->done_bytes += from->from->size_bytes;
    if (progress_report(j->listener, j->done_bytes, j->report.bytes_before, from->from->name)) return FINCH_OK;
    return finch_fail(err, FINCH_E_CANCELLED, "quantising was interrupted");
}

static finch_status write_weights(job *j, const char *folder, finch_error *err)
{
    str path = {0};
    finch_status st;
    arena_init(&j->memory);
    FINCH_GO(done, st, plan(j, err));
    FINCH_GO(done, st, file_join(folder, "model.safetensors", &path, err));
    st = safetensors_stream(path.at, j->entries, j->n_entries, fill, j, err);
done:
    str_free(&path);
    arena_free(&j->memory);
    return st;
}

/* ---- the other files -------------------------------------------------------------------------------------------- */

static bool ends_with(const char *name, const char *end)
{
    size_t size = strlen(name), end_size = strlen(end);
    return size >= end_size && strcmp(name + size - end_size, end) == 0;
}

/* Weights in any framework's form, their indices, hidden files, and config.json, which is written anew. */
static bool is_left_out(const char *name)
{
    static const char *const ends[] = {".safetensors", ".bin",     ".index.json", ".pt",   ".pth",
                                       ".h5",          ".msgpack", ".ot",         ".onnx", ".gguf"};
    if (name[0] == '.' || strcmp(name, "config.json") == 0) return true;
    for (size_t i = 0; i < sizeof ends / sizeof ends[0]; i++) {
        if (ends_with(name, ends[i])) return true;
    }
    return false;
}

static finch_status copy_file(const char *from, const char *to, finch_error *err)
{
    file_map map;
    FINCH_TRY(file_map_open(from, &map, err));
    finch_status st = file_write(to, map.content.at, map.content.size, err);
    file_map_close(&map);
    return st;
}

static finch_status copy_named(const char *from, const char *to, const char *name, finch_error *err)
{
    str source_path = {0}, target_path = {0};
    finch_status st;
    FINCH_GO(done, st, file_join(from, name, &source_path, err));
    if (file_is_directory(source_path.at)) goto done;
    FINCH_GO(done, st, file_join(to, name, &target_path, err));
    st = copy_file(source_path.at, target_path.at, err);
done:
    str_free(&source_path);
    str_free(&target_path);
    return st;
}

static finch_status copy_others(const char *from, const char *to, finch_error *err)
{
    DIR *dir = fault_hit(FAULT_OPEN) ? (errno = EIO, NULL) : opendir(from);
    if (dir == NULL) return finch_fail(err, FINCH_E_IO, "%s: the folder could not be opened; check its permissions", from);
    finch_status st = FINCH_OK;
    for (struct dirent *entry; st == FINCH_OK && (entry = readdir(dir)) != NULL;) {
        if (!is_left_out(entry->d_name)) st = copy_named(from, to, entry->d_name, err);
    }
    closedir(dir);
    return st;
}

/* ---- the configuration ------------------------------------------------------------------------------------------ */

static finch_status read_config(const char *folder, json_t **out, finch_error *err)
{
    str path = {0};
    bool quantized = false;
    *out = NULL;
    finch_status st;
    FINCH_GO(done, st, file_join(folder, "config.json", &path, err));
    FINCH_GO(done, st, json_parse_file(path.at, out, err));
    if (!json_is_object(*out)) FINCH_GO(done, st, finch_fail(err, FINCH_E_DATA, "%s is no JSON object", path.at));
    FINCH_GO(done, st, compressed_config_check(*out, path.at, &quantized, err));
    if (quantized) st = finch_fail(err, FINCH_E_USAGE, "%s: its weights are int8 already; there is nothing to do", folder);
done:
    str_free(&path);
    return st;
}

static finch_status write_config(const char *folder, json_t *config, finch_error *err)
{
    str path = {0};
    finch_status st;
    json_t *quantization = compressed_config_json();
    if (quantization == NULL || json_object_set_new(config, "quantization_config", quantization) != 0)
        return finch_fail(err, FINCH_E_MEMORY, "%s: out of memory for the configuration", folder);
    FINCH_GO(done, st, file_join(folder, "config.json", &path, err));
    st = json_write_file(path.at, config, err);
done:
    str_free(&path);
    return st;
}

/* ---- the folder ------------------------------------------------------------------------------------------------- */

/* An empty folder is as good as none: rename replaces it. */
static bool is_taken(const char *path)
{
    if (!file_exists(path)) return false;
    DIR *dir = opendir(path);
    if (dir == NULL) return true;
    size_t n = 0;
    while (readdir(dir) != NULL) n++;
    closedir(dir);
    return n > 2; /* . and .. */
}

static finch_status write_folder(const char *from, const char *beside, json_t *config, job *j, finch_error *err)
{
    FINCH_TRY(file_make_directories(beside, err));
    FINCH_TRY(copy_others(from, beside, err));
    FINCH_TRY(write_weights(j, beside, err));
    FINCH_TRY(write_config(beside, config, err));
    return file_sync(beside, err);
}

/* The place's name without a slash at its end, and the name beside it. */
static finch_status name_places(const char *to, str *place, str *beside, finch_error *err)
{
    size_t size = strlen(to);
    while (size > 1 && to[size - 1] == '/') size--;
    if (size == 0) return finch_fail(err, FINCH_E_USAGE, "the folder to write has no name");
    FINCH_TRY(str_add(place, to, size, err));
    if (is_taken(place->at))
        return finch_fail(err, FINCH_E_USAGE, "%s exists already; remove it or choose another folder", place->at);
    return str_add_format(beside, err, "%s.part-%ld", place->at, (long)getpid());
}

static finch_status quantize_opened(const char *from, const char *to, json_t *config, job *j, finch_error *err)
{
    str place = {0}, beside = {0};
    finch_status st;
    FINCH_GO(done, st, name_places(to, &place, &beside, err));
    st = write_folder(from, beside.at, config, j, err);
    if (st == FINCH_OK) st = file_replace(beside.at, place.at, err);
    if (st != FINCH_OK) (void)file_remove_tree(beside.at, NULL); /* the first failure is the one to tell */
done:
    str_free(&place);
    str_free(&beside);
    return st;
}

finch_status compressed_quantize_folder(const char *from, const char *to, const progress *p, compressed_report *report,
                                        finch_error *err)
{
    json_t *config = NULL;
    weights *w = NULL;
    job j = {.listener = p};
    finch_status st;
    if (report != NULL) *report = (compressed_report){0};
    if (!file_is_directory(from))
        return finch_fail(err, FINCH_E_NOT_FOUND, "%s is not a folder; a model folder with config.json is needed", from);
    FINCH_GO(done, st, read_config(from, &config, err));
    FINCH_GO(done, st, weights_open(from, &w, err));
    j.w = w;
    FINCH_GO(done, st, quantize_opened(from, to, config, &j, err));
    if (report != NULL) *report = j.report;
done:
    weights_close(w);
    json_decref(config);
    return st;
}
