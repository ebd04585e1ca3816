#include "tensor/weights.h"

#include "base/file.h"
#include "base/json.h"
#include "tensor/safetensors.h"
#include "tensor/tensor_list.h"
#include "tensor/torch_zip.h"

#include <stdlib.h>
#include <string.h>

enum { SHARDS_MAX = 1024 };

struct weights {
    char *path;
    file_map *maps; /* n_maps are open */
    size_t n_maps;
    tensor_list tensors;
};

/* ---- one file --------------------------------------------------------------------------------------------------- */

/* What people often have in place of a checkpoint, told apart by its first bytes. */
static finch_status refuse_impostor(bytes file, const char *path, finch_error *err)
{
    static const char lfs[] = "version https://git-lfs";
    if (file.size == 0) return finch_fail(err, FINCH_E_DATA, "%s is empty; get it again", path);
    if (file.size >= sizeof lfs - 1 && memcmp(file.at, lfs, sizeof lfs - 1) == 0)
        return finch_fail(err, FINCH_E_DATA, "%s is a Git LFS pointer, not the weights themselves; run: git lfs pull", path);
    if (file.size >= 4 && memcmp(file.at, "GGUF", 4) == 0)
        return finch_fail(err, FINCH_E_UNSUPPORTED, "%s is a GGUF file; safetensors or a PyTorch checkpoint is needed here",
                          path);
    return FINCH_OK;
}

static finch_status read_tensors(bytes file, const char *path, tensor_list *out, finch_error *err)
{
    FINCH_TRY(refuse_impostor(file, path, err));
    return torch_zip_is(file) ? torch_zip_read(file, path, out, err) : safetensors_read(file, path, out, err);
}

static finch_status add_file(weights *w, const char *path, tensor_list *out, finch_error *err)
{
    file_map *map = &w->maps[w->n_maps];
    FINCH_TRY(file_map_open(path, map, err));
    w->n_maps++;
    return read_tensors(map->content, path, out, err);
}

/* ---- an index and its shards ------------------------------------------------------------------------------------ */

/* A row of the index's weight_map: which shard holds which tensor. Both texts belong to the JSON. */
typedef struct placement {
    const char *name;
    const char *shard;
} placement;

static int by_shard(const void *a, const void *b)
{
    return strcmp(((const placement *)a)->shard, ((const placement *)b)->shard);
}

/* A shard is a plain name in the index's folder: an index can not reach out of it. */
static bool is_plain_name(const char *name)
{
    return name[0] != '\0' && strchr(name, '/') == NULL && strcmp(name, ".") != 0 && strcmp(name, "..") != 0 &&
           strlen(name) <= 255;
}

static finch_status read_weight_map(const char *path, const json_t *root, placement **out, size_t *n, finch_error *err)
{
    json_t *map = json_object_get(root, "weight_map");
    *out = NULL;
    *n = 0;
    if (json_object_size(map) == 0)
        return finch_fail(err, FINCH_E_DATA, "%s has no \"weight_map\" with tensors in it", path);
    FINCH_TRY(MEM_NEW(out, json_object_size(map), err));
    const char *name;
    json_t *shard;
    json_object_foreach(map, name, shard)
    {
        if (!json_is_string(shard) || strlen(json_string_value(shard)) != json_string_length(shard) ||
            !is_plain_name(json_string_value(shard)))
            return finch_fail(err, FINCH_E_DATA,
                              "%s: the tensor %s must lie in a file of the same folder, named without any /", path, name);
        (*out)[(*n)++] = (placement){name, json_string_value(shard)};
    }
    qsort(*out, *n, sizeof **out, by_shard);
    return FINCH_OK;
}

/* Takes from the shard the tensors that the index places there, and only those: the index says what the checkpoint is. */
static finch_status take_placed(const tensor_list *shard, const char *shard_path, const placement *placed, size_t n,
                                tensor_list *out, finch_error *err)
{
    for (size_t i = 0; i < n; i++) {
        const tensor *t = tensor_list_find(shard, placed[i].name);
        if (t == NULL)
            return finch_fail(err, FINCH_E_DATA,
                              "%s does not hold the tensor %s that the index places there; get both again", shard_path,
                              placed[i].name);
        FINCH_TRY(tensor_list_add(out, shard_path, t->name, strlen(t->name), t, err));
    }
    return FINCH_OK;
}

static finch_status add_shard(weights *w, const char *folder, const placement *placed, size_t n, finch_error *err)
{
    str path = {0};
    tensor_list shard;
    finch_status st;
    tensor_list_init(&shard);
    FINCH_GO(done, st, file_join(folder, placed[0].shard, &path, err));
    FINCH_GO(done, st, add_file(w, path.at, &shard, err));
    FINCH_GO(done, st, tensor_list_sort(&shard, path.at, err));
    st = take_placed(&shard, path.at, placed, n, &w->tensors, err);
done:
    tensor_list_free(&shard);
    str_free(&path);
    return st;
}

static size_t count_shards(const placement *placed, size_t n)
{
    size_t shards = 0;
    for (size_t i = 0; i < n; i++) shards += i == 0 || by_shard(&placed[i - 1], &placed[i]) != 0;
    return shards;
}

static finch_status add_shards(weights *w, const char *path, const char *folder, const placement *placed, size_t n,
                               finch_error *err)
{
    size_t n_shards = count_shards(placed, n);
    if (n_shards > SHARDS_MAX)
        return finch_fail(err, FINCH_E_DATA, "%s names %zu shards, more than %d", path, n_shards, SHARDS_MAX);
    FINCH_TRY(MEM_NEW(&w->maps, n_shards, err));
    for (size_t from = 0, to; from < n; from = to) {
        for (to = from + 1; to < n && by_shard(&placed[from], &placed[to]) == 0;) to++;
        FINCH_TRY(add_shard(w, folder, placed + from, to - from, err));
    }
    return FINCH_OK;
}

static finch_status folder_of(const char *path, char **out, finch_error *err)
{
    const char *slash = strrchr(path, '/');
    if (slash == NULL) return mem_text(".", 1, out, err);
    return mem_text(path, slash == path ? 1 : (size_t)(slash - path), out, err);
}

static finch_status open_index(weights *w, const char *path, finch_error *err)
{
    json_t *root = NULL;
    placement *placed = NULL;
    char *folder = NULL;
    size_t n = 0;
    finch_status st;
    FINCH_GO(done, st, json_parse_file(path, &root, err));
    FINCH_GO(done, st, read_weight_map(path, root, &placed, &n, err));
    FINCH_GO(done, st, folder_of(path, &folder, err));
    st = add_shards(w, path, folder, placed, n, err);
done:
    mem_free(folder);
    mem_free(placed);
    json_decref(root);
    return st;
}

/* ---- the whole -------------------------------------------------------------------------------------------------- */

static bool is_index(const char *path)
{
    size_t size = strlen(path);
    return size > 5 && strcmp(path + size - 5, ".json") == 0;
}

static finch_status open_file(weights *w, const char *path, finch_error *err)
{
    if (is_index(path)) return open_index(w, path, err);
    FINCH_TRY(MEM_NEW(&w->maps, 1, err));
    return add_file(w, path, &w->tensors, err);
}

static finch_status open_folder(weights *w, const char *folder, finch_error *err)
{
    static const char *const names[] = {"model.safetensors",         "model.safetensors.index.json",
                                        "pytorch_model.bin",         "pytorch_model.bin.index.json",
                                        "adapter_model.safetensors", "adapter_model.bin"};
    str path = {0};
    finch_status st = FINCH_OK;
    bool found = false;
    for (size_t i = 0; i < sizeof names / sizeof names[0] && st == FINCH_OK && !found; i++) {
        st = file_join(folder, names[i], &path, err);
        if (st != FINCH_OK || !file_exists(path.at)) continue;
        found = true;
        st = open_file(w, path.at, err);
    }
    str_free(&path);
    if (st == FINCH_OK && !found)
        st = finch_fail(err, FINCH_E_NOT_FOUND,
                        "%s holds no weights (model.safetensors, pytorch_model.bin or an adapter_model)", folder);
    return st;
}

finch_status weights_open(const char *path, weights **out, finch_error *err)
{
    weights *w = NULL;
    finch_status st;
    *out = NULL;
    FINCH_TRY(MEM_NEW(&w, 1, err));
    tensor_list_init(&w->tensors);
    FINCH_GO(failed, st, mem_text(path, strlen(path), &w->path, err));
    FINCH_GO(failed, st, file_is_directory(path) ? open_folder(w, path, err) : open_file(w, path, err));
    FINCH_GO(failed, st, tensor_list_sort(&w->tensors, path, err));
    *out = w;
    return FINCH_OK;
failed:
    weights_close(w);
    return st;
}

void weights_close(weights *w)
{
    if (w == NULL) return;
    for (size_t i = 0; i < w->n_maps; i++) file_map_close(&w->maps[i]);
    mem_free(w->maps);
    tensor_list_free(&w->tensors);
    mem_free(w->path);
    mem_free(w);
}

const char *weights_path(const weights *w) { return w->path; }

size_t weights_count(const weights *w) { return w->tensors.n; }

const tensor *weights_at(const weights *w, size_t index) { return &w->tensors.at[index]; }

const tensor *weights_find(const weights *w, const char *name) { return tensor_list_find(&w->tensors, name); }

finch_status weights_require(const weights *w, const char *name, size_t n_dims, const size_t *dims, const tensor **out,
                             finch_error *err)
{
    const tensor *t = weights_find(w, name);
    *out = NULL;
    if (t == NULL) return finch_fail(err, FINCH_E_DATA, "%s: the tensor %s is missing", w->path, name);
    if (!tensor_dtype_is_float(t->dtype))
        return finch_fail(err, FINCH_E_DATA, "%s: the tensor %s holds %s items where floating-point ones are needed",
                          w->path, name, tensor_dtype_name(t->dtype));
    if (t->n_dims != n_dims || (n_dims > 0 && memcmp(t->dims, dims, n_dims * sizeof *dims) != 0)) {
        char found[TENSOR_SHAPE_TEXT_BYTES], wanted[TENSOR_SHAPE_TEXT_BYTES];
        return finch_fail(err, FINCH_E_DATA, "%s: the tensor %s has the shape %s; the configuration needs %s", w->path, name,
                          tensor_shape_text(t->dims, t->n_dims, found), tensor_shape_text(dims, n_dims, wanted));
    }
    *out = t;
    return FINCH_OK;
}
