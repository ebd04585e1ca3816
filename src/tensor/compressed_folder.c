/* A float checkpoint folder written again with int8 weights, some rows at a time. The file's order puts scales before the
 * items they belong to (safetensors.h), so each matrix is quantised twice: memory stays that of a few rows, and the work
 * is small beside reading and writing it. */
#include "tensor/compressed.h"

#include "base/arena.h"
#include "base/file.h"
#include "tensor/new_folder.h"
#include "tensor/safetensors.h"
#include "tensor/stored.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

enum { PANEL_ITEMS = 1 << 20, WHOLE_BYTES = 8 << 20 };

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
    float *rows;   /* [PANEL_ITEMS], or one row where that is longer */
    float *scales; /* of these rows */
    int8_t *items;
    size_t shard_bytes;
    bool words_stay; /* see has_tied_words */
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

static compressed_role role_of(const job *j, const tensor *t)
{
    compressed_role role = compressed_role_of(t);
    return role == COMPRESSED_EMBEDDING && j->words_stay ? COMPRESSED_KEPT : role;
}

static finch_status plan_tensor(job *j, const tensor *t, finch_error *err)
{
    j->report.n_tensors++;
    j->report.bytes_before += t->size_bytes;
    if (role_of(j, t) == COMPRESSED_KEPT) {
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
    size_t n = weights_count(j->w), items = PANEL_ITEMS;
    FINCH_TRY(ARENA_NEW(&j->memory, &j->entries, 2 * n, err));
    FINCH_TRY(ARENA_NEW(&j->memory, &j->sources, 2 * n, err));
    for (size_t i = 0; i < n; i++) {
        const tensor *t = weights_at(j->w, i);
        FINCH_TRY(plan_tensor(j, t, err));
        if (role_of(j, t) != COMPRESSED_KEPT && t->dims[1] > items) items = t->dims[1];
    }
    if (j->report.n_quantized == 0)
        return finch_fail(err, FINCH_E_DATA, "%s holds no floating-point matrix to quantise", weights_path(j->w));
    FINCH_TRY(ARENA_NEW(&j->memory, &j->rows, items, err));
    FINCH_TRY(ARENA_NEW(&j->memory, &j->scales, items, err));
    FINCH_TRY(ARENA_NEW(&j->memory, &j->items, items, err));
    j->report.working_bytes = j->memory.peak_bytes;
    return FINCH_OK;
}

/* ---- quantise --------------------------------------------------------------------------------------------------- */

static void note_errors(job *j, size_t n_rows, size_t columns)
{
    for (size_t i = 0; i < n_rows * columns; i++) {
        /* The row's largest magnitude is 127 scales. */
        double scale = (double)j->scales[i / columns];
        double error = fabs((double)j->rows[i] - (double)j->items[i] * scale) / (127.0 * scale);
        if (error > j->report.largest_error) j->report.largest_error = error;
    }
}

/* Quantises rows from `first` on, as many as there is room for; returns their number in *n. */
static finch_status quantize_rows(job *j, const tensor *t, size_t first, size_t *n, finch_error *err)
{
    size_t rows = t->dims[0], columns = t->dims[1], panel = columns < PANEL_ITEMS ? PANEL_ITEMS / columns : 1;
    const compressed_matrix matrix = {.weight = t, .rows = rows, .columns = columns};
    finch_error inner = {0};
    *n = rows - first < panel ? rows - first : panel;
    FINCH_TRY(compressed_rows_to_f32(&matrix, first, *n, j->rows, err));
    if (compressed_quantize_rows(j->rows, *n, columns, j->items, j->scales, &inner) == FINCH_OK) return FINCH_OK;
    return finch_fail(err, FINCH_E_DATA,
                      "%s: the tensor %s holds an item in row %zu that is not finite; the weights are damaged",
                      weights_path(j->w), t->name, first + (size_t)inner.row - 1);
}

/* The tensor's pages that were read leave memory; a later read finds the file. */
static void forget(const tensor *t) { stored_forget(&(stored_matrix){.plain = {.weight = t}}); }

/* A quantised tensor's items or scales from offset on. */
static finch_status fill_rows(job *j, const source *from, size_t offset, const void **data, size_t *size, finch_error *err)
{
    const tensor *t = from->from;
    bool scale = from->what == PART_SCALE;
    size_t row_bytes = scale ? sizeof *j->scales : t->dims[1], n = 0;
    FINCH_TRY(quantize_rows(j, t, offset / row_bytes, &n, err));
    forget(t);
    *data = scale ? (const void *)j->scales : (const void *)j->items;
    *size = n * row_bytes;
    if (scale) return FINCH_OK;
    note_errors(j, n, t->dims[1]);
    j->done_bytes += n * t->dims[1] * tensor_dtype_bytes(t->dtype);
    return FINCH_OK;
}

/* safetensors_fill: data of one entry of the new file. */
static finch_status fill(void *context, size_t index, size_t offset, const void **data, size_t *size, finch_error *err)
{
    job *j = context;
    const source *from = &j->sources[index];
    if (from->what == PART_WHOLE) {
        size_t left = from->from->size_bytes - offset;
        forget(from->from); /* what was written before */
        *data = (const unsigned char *)from->from->data + offset;
        *size = left < WHOLE_BYTES ? left : WHOLE_BYTES;
        j->done_bytes += *size;
    } else {
        FINCH_TRY(fill_rows(j, from, offset, data, size, err));
    }
    if (progress_report(j->listener, j->done_bytes, j->report.bytes_before, from->from->name)) return FINCH_OK;
    return finch_fail(err, FINCH_E_CANCELLED, "quantising was interrupted");
}

static finch_status write_weights(job *j, const char *folder, finch_error *err)
{
    finch_status st;
    arena_init(&j->memory);
    FINCH_GO(done, st, plan(j, err));
    st = safetensors_write_shards(folder, j->entries, j->n_entries, j->shard_bytes, fill, j, &j->report.n_files, err);
done:
    arena_free(&j->memory);
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

/* A decoder's output is its embedding where the checkpoint has no other. transformers multiplies by that table as it stands,
 * so it stays floating-point: int8 items would be taken for the weights themselves. */
static bool has_tied_words(const json_t *config, const weights *w)
{
    const char *type = json_string_value(json_object_get(config, "model_type"));
    return type != NULL && strncmp(type, "gemma", 5) == 0 && weights_find(w, "lm_head.weight") == NULL;
}

static finch_status write_config(const char *folder, json_t *config, bool words_stay, finch_error *err)
{
    str path = {0};
    finch_status st;
    json_t *quantization = compressed_config_json(), *ignore = json_object_get(quantization, "ignore");
    int failed = words_stay && json_array_append_new(ignore, json_string("re:(.*[.])?embed_tokens$")) != 0;
    if (quantization == NULL || json_object_set_new(config, "quantization_config", quantization) != 0 || failed)
        return finch_fail(err, FINCH_E_MEMORY, "%s: out of memory for the configuration", folder);
    FINCH_GO(done, st, file_join(folder, "config.json", &path, err));
    st = json_write_file(path.at, config, err);
done:
    str_free(&path);
    return st;
}

/* ---- the folder ------------------------------------------------------------------------------------------------- */

static finch_status write_folder(const char *from, const char *beside, json_t *config, job *j, finch_error *err)
{
    FINCH_TRY(new_folder_copy_others(from, beside, NULL, err));
    FINCH_TRY(write_weights(j, beside, err));
    return write_config(beside, config, j->words_stay, err);
}

finch_status compressed_quantize_folder(const char *from, const char *to, size_t shard_bytes, const progress *p,
                                        compressed_report *report, finch_error *err)
{
    json_t *config = NULL;
    weights *w = NULL;
    new_folder folder = {0};
    job j = {.listener = p, .shard_bytes = shard_bytes};
    finch_status st;
    if (report != NULL) *report = (compressed_report){0};
    if (!file_is_directory(from))
        return finch_fail(err, FINCH_E_NOT_FOUND, "%s is not a folder; a model folder with config.json is needed", from);
    FINCH_GO(done, st, read_config(from, &config, err));
    FINCH_GO(done, st, weights_open(from, &w, err));
    j.w = w;
    j.words_stay = has_tied_words(config, w);
    FINCH_GO(done, st, new_folder_begin(to, &folder, err));
    st = new_folder_end(&folder, write_folder(from, folder.beside.at, config, &j, err), err);
    if (st == FINCH_OK && report != NULL) *report = j.report;
done:
    weights_close(w);
    json_decref(config);
    return st;
}
