/* A checkpoint in several safetensors files with their index, named and filled as huggingface_hub splits them: tensors in the
 * order given go into a file until the next one would make it too large; one tensor is never split. */
#include "tensor/safetensors.h"

#include "base/file.h"
#include "base/json.h"

#include <string.h>

/* The entries [first, first + n) of one file. */
typedef struct shard {
    size_t first, n;
} shard;

/* safetensors_fill of one file among several. */
typedef struct part_of {
    safetensors_fill fill;
    void *context;
    size_t first;
} part_of;

static finch_status fill_part(void *context, size_t index, size_t offset, const void **data, size_t *size, finch_error *err)
{
    const part_of *part = context;
    return part->fill(part->context, part->first + index, offset, data, size, err);
}

static finch_status entry_bytes(const safetensors_entry *entry, const char *folder, size_t *out, finch_error *err)
{
    size_t n_items;
    if (entry->n_dims <= TENSOR_DIMS_MAX && tensor_shape_size(entry->dtype, entry->dims, entry->n_dims, &n_items, out))
        return FINCH_OK;
    return finch_fail(err, FINCH_E_USAGE, "%s: the tensor %s has an impossible shape", folder, entry->name);
}

/* Cuts the entries into files; shards has room for as many as there are entries, and one. */
static finch_status cut(const char *folder, const safetensors_entry *entries, size_t n, size_t shard_bytes, shard *shards,
                        size_t *n_shards, uint64_t *total, finch_error *err)
{
    size_t filled = 0, size = 0;
    *n_shards = 1;
    *total = 0;
    shards[0] = (shard){0, 0};
    for (size_t i = 0; i < n; i++) {
        FINCH_TRY(entry_bytes(&entries[i], folder, &size, err));
        if (shards[*n_shards - 1].n > 0 && (size > shard_bytes || filled > shard_bytes - size)) {
            shards[(*n_shards)++] = (shard){i, 0};
            filled = 0;
        }
        shards[*n_shards - 1].n++;
        filled += size;
        *total += size;
    }
    return FINCH_OK;
}

static finch_status shard_name(size_t index, size_t n, str *out, finch_error *err)
{
    str_clear(out);
    if (n == 1) return str_add_text(out, "model.safetensors", err);
    return str_add_format(out, err, "model-%05zu-of-%05zu.safetensors", index + 1, n);
}

static finch_status write_index(const char *folder, const safetensors_entry *entries, const shard *shards, size_t n,
                                uint64_t total, finch_error *err)
{
    json_t *root = json_pack("{s:{s:I}, s:{}}", "metadata", "total_size", (json_int_t)total, "weight_map");
    json_t *map = json_object_get(root, "weight_map");
    str name = {0}, path = {0};
    finch_status st = map == NULL ? finch_fail(err, FINCH_E_MEMORY, "%s: out of memory for the index", folder) : FINCH_OK;
    for (size_t i = 0; st == FINCH_OK && i < n; i++) {
        st = shard_name(i, n, &name, err);
        for (size_t j = shards[i].first; st == FINCH_OK && j < shards[i].first + shards[i].n; j++)
            if (json_object_set_new(map, entries[j].name, json_string(name.at)) != 0)
                st = finch_fail(err, FINCH_E_MEMORY, "%s: out of memory for the index", folder);
    }
    if (st == FINCH_OK) st = file_join(folder, "model.safetensors.index.json", &path, err);
    if (st == FINCH_OK) st = json_write_file(path.at, root, err);
    json_decref(root);
    str_free(&name);
    str_free(&path);
    return st;
}

static finch_status write_all(const char *folder, const safetensors_entry *entries, const shard *shards, size_t n,
                              safetensors_fill fill, void *context, finch_error *err)
{
    str name = {0}, path = {0};
    finch_status st = FINCH_OK;
    for (size_t i = 0; st == FINCH_OK && i < n; i++) {
        part_of part = {fill, context, shards[i].first};
        st = shard_name(i, n, &name, err);
        if (st == FINCH_OK) st = file_join(folder, name.at, &path, err);
        if (st == FINCH_OK) st = safetensors_stream(path.at, entries + shards[i].first, shards[i].n, fill_part, &part, err);
    }
    str_free(&name);
    str_free(&path);
    return st;
}

finch_status safetensors_write_shards(const char *folder, const safetensors_entry *entries, size_t n_entries,
                                      size_t shard_bytes, safetensors_fill fill, void *context, size_t *n_files,
                                      finch_error *err)
{
    shard *shards = NULL;
    uint64_t total = 0;
    finch_status st;
    *n_files = 0;
    FINCH_GO(done, st, MEM_NEW(&shards, n_entries + 1, err));
    FINCH_GO(done, st, cut(folder, entries, n_entries, shard_bytes, shards, n_files, &total, err));
    FINCH_GO(done, st, write_all(folder, entries, shards, *n_files, fill, context, err));
    if (*n_files > 1) st = write_index(folder, entries, shards, *n_files, total, err);
done:
    mem_free(shards);
    return st;
}
