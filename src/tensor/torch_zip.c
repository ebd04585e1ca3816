#include "tensor/torch_zip.h"

#include "tensor/pickle.h"
#include "tensor/zip.h"

#include <stdlib.h>
#include <string.h>

/* PROTO 2, LONG1 of ten bytes (the magic number of the older format), STOP. */
static const char legacy_magic[] = "\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19.";
enum { LEGACY_MAGIC_BYTES = sizeof legacy_magic - 1, LEGACY_PROTOCOL = 1001 };

static bool begins_with(bytes file, const char *magic, size_t size)
{
    return file.size >= size && memcmp(file.at, magic, size) == 0;
}

static bool is_legacy(bytes file) { return begins_with(file, legacy_magic, LEGACY_MAGIC_BYTES); }

bool torch_zip_is(bytes file) { return begins_with(file, "PK\x03\x04", 4) || is_legacy(file); }

/* The storages are the entries of the archive named prefix followed by their key; in the older format, which is no zip,
 * the archive is made up and the prefix empty. */
typedef struct checkpoint {
    const char *path;
    arena *memory;
    zip_archive archive;
    bytes prefix;
} checkpoint;

static int shown(bytes text) { return text.size < 200 ? (int)text.size : 200; }

/* ---- tensors of a state dict ------------------------------------------------------------------------------------ */

static finch_status find_storage(const checkpoint *c, const pickle_storage *storage, bytes *out, finch_error *err)
{
    const zip_entry *entry = zip_find(&c->archive, c->prefix, storage->key);
    size_t size;
    if (entry == NULL)
        return finch_fail(err, FINCH_E_DATA, "%s: the storage %.*s is missing; the checkpoint is damaged", c->path,
                          shown(storage->key), (const char *)storage->key.at);
    if (!size_mul(storage->n_items, tensor_dtype_bytes(storage->dtype), &size) || size != entry->content.size)
        return finch_fail(err, FINCH_E_DATA,
                          "%s: the storage %.*s has %zu bytes and should have %zu items of %s; the checkpoint is damaged",
                          c->path, shown(storage->key), (const char *)storage->key.at, entry->content.size, storage->n_items,
                          tensor_dtype_name(storage->dtype));
    *out = entry->content;
    return FINCH_OK;
}

/* Row-major without gaps; a stride of a dimension of one item is of no meaning. */
static bool is_contiguous(const pickle_tensor *t, size_t n_items)
{
    size_t step = 1;
    if (n_items == 0) return true;
    for (size_t i = t->n_dims; i-- > 0;) {
        if (t->dims[i] != 1 && t->strides[i] != step) return false;
        step *= t->dims[i]; /* a part of n_items, which fits */
    }
    return true;
}

static finch_status add_tensor(const checkpoint *c, bytes name, const pickle_tensor *t, tensor_list *out, finch_error *err)
{
    bytes storage, range;
    tensor made = {.name = "", .dtype = t->storage->dtype, .n_dims = t->n_dims};
    memcpy(made.dims, t->dims, sizeof made.dims);
    FINCH_TRY(find_storage(c, t->storage, &storage, err));
    size_t begin, end;
    if (!tensor_shape_size(made.dtype, made.dims, made.n_dims, &made.n_items, &made.size_bytes) ||
        !size_mul(t->offset, tensor_dtype_bytes(made.dtype), &begin) || !size_add(begin, made.size_bytes, &end) ||
        !bytes_range(storage, begin, end, &range)) {
        char text[TENSOR_SHAPE_TEXT_BYTES];
        return finch_fail(err, FINCH_E_DATA,
                          "%s: the tensor %.*s with shape %s at item %zu reaches past its storage of %zu items", c->path,
                          shown(name), (const char *)name.at, tensor_shape_text(made.dims, made.n_dims, text), t->offset,
                          t->storage->n_items);
    }
    if (!is_contiguous(t, made.n_items))
        return finch_fail(err, FINCH_E_UNSUPPORTED,
                          "%s: the items of the tensor %.*s are not contiguous; save it with .contiguous()", c->path,
                          shown(name), (const char *)name.at);
    made.data = range.at;
    return tensor_list_add(out, c->path, (const char *)name.at, name.size, &made, err);
}

/* The dict under "state_dict", as training frameworks nest it; the dict itself where there is none. */
static const pickle_items *state_dict_of(const pickle_items *root)
{
    for (size_t i = 0; i + 1 < root->n; i += 2) {
        const pickle_value *key = &root->at[i], *value = &root->at[i + 1];
        if (key->kind == PICKLE_TEXT && bytes_equal(key->as.text, "state_dict") && value->kind == PICKLE_DICT)
            return value->as.items;
    }
    return root;
}

static finch_status add_tensors(const checkpoint *c, const pickle_value *root, tensor_list *out, finch_error *err)
{
    if (root->kind != PICKLE_DICT)
        return finch_fail(err, FINCH_E_DATA, "%s holds %s, not a state dict; save model.state_dict()", c->path,
                          pickle_kind_text(root->kind));
    const pickle_items *dict = state_dict_of(root->as.items);
    for (size_t i = 0; i + 1 < dict->n; i += 2) {
        const pickle_value *key = &dict->at[i], *value = &dict->at[i + 1];
        if (key->kind != PICKLE_TEXT)
            return finch_fail(err, FINCH_E_DATA, "%s: a key of the state dict is %s, not a text", c->path,
                              pickle_kind_text(key->kind));
        if (value->kind != PICKLE_TENSOR)
            return finch_fail(err, FINCH_E_UNSUPPORTED,
                              "%s: the entry %.*s of the state dict is %s, not a tensor; save model.state_dict() alone",
                              c->path, shown(key->as.text), (const char *)key->as.text.at, pickle_kind_text(value->kind));
        FINCH_TRY(add_tensor(c, key->as.text, value->as.tensor, out, err));
    }
    return FINCH_OK;
}

/* ---- the zip format --------------------------------------------------------------------------------------------- */

static bool ends_with(bytes name, const char *end)
{
    size_t size = strlen(end);
    return name.size >= size && memcmp(name.at + name.size - size, end, size) == 0;
}

/* The folder every entry lies in, told by the one data.pkl directly inside it. */
static finch_status find_pickle(checkpoint *c, bytes *folder, bytes *out, finch_error *err)
{
    static const char pickle_name[] = "/data.pkl";
    const zip_entry *found = NULL;
    for (size_t i = 0; i < c->archive.n; i++) {
        const zip_entry *entry = &c->archive.at[i];
        if (!ends_with(entry->name, pickle_name)) continue;
        if (found != NULL)
            return finch_fail(err, FINCH_E_DATA, "%s holds two data.pkl; it is no PyTorch checkpoint", c->path);
        found = entry;
    }
    if (found == NULL)
        return finch_fail(err, FINCH_E_DATA, "%s is a zip archive without data.pkl; it is no PyTorch checkpoint", c->path);
    *folder = (bytes){found->name.at, found->name.size - (sizeof pickle_name - 1)};
    *out = found->content;
    return FINCH_OK;
}

static const zip_entry *find_in(const checkpoint *c, bytes folder, const char *name)
{
    return zip_find(&c->archive, folder, (bytes){(const unsigned char *)name, strlen(name)});
}

/* The prefix of the storages' names: folder/data/. */
static finch_status make_prefix(checkpoint *c, bytes folder, finch_error *err)
{
    static const char rest[] = "/data/";
    unsigned char *joined = NULL;
    FINCH_TRY(arena_alloc(c->memory, folder.size + sizeof rest, 1, (void **)&joined, err));
    if (folder.size > 0) memcpy(joined, folder.at, folder.size);
    memcpy(joined + folder.size, rest, sizeof rest);
    c->prefix = (bytes){joined, folder.size + sizeof rest - 1};
    return FINCH_OK;
}

static finch_status read_zip(checkpoint *c, bytes file, tensor_list *out, finch_error *err)
{
    bytes folder = {0}, stream = {0};
    pickle_result state;
    FINCH_TRY(zip_open(file, c->path, c->memory, &c->archive, err));
    FINCH_TRY(find_pickle(c, &folder, &stream, err));
    const zip_entry *order = find_in(c, folder, "/byteorder");
    if (order != NULL && !bytes_equal(order->content, "little"))
        return finch_fail(err, FINCH_E_UNSUPPORTED, "%s was written on a big-endian machine; save it again on another",
                          c->path);
    if (find_in(c, folder, "/constants.pkl") != NULL)
        return finch_fail(err, FINCH_E_UNSUPPORTED, "%s is a TorchScript program, not a checkpoint; save model.state_dict()",
                          c->path);
    FINCH_TRY(make_prefix(c, folder, err));
    FINCH_TRY(pickle_load(stream, c->path, (size_t)(stream.at - file.at), c->memory, &state, err));
    return add_tensors(c, &state.root, out, err);
}

/* ---- the older format ------------------------------------------------------------------------------------------- */

/* The next pickle of the file; *rest moves behind it. */
static finch_status next_pickle(const checkpoint *c, bytes file, bytes *rest, pickle_result *out, finch_error *err)
{
    FINCH_TRY(pickle_load(*rest, c->path, (size_t)(rest->at - file.at), c->memory, out, err));
    *rest = (bytes){rest->at + out->used_bytes, rest->size - out->used_bytes};
    return FINCH_OK;
}

static finch_status check_legacy_front(const checkpoint *c, const pickle_value *protocol, const pickle_value *sizes,
                                       finch_error *err)
{
    if (protocol->kind != PICKLE_INT || protocol->as.whole != LEGACY_PROTOCOL || sizes->kind != PICKLE_DICT)
        return finch_fail(err, FINCH_E_DATA, "%s does not go on as a PyTorch checkpoint after its magic number", c->path);
    const pickle_items *items = sizes->as.items;
    for (size_t i = 0; i + 1 < items->n; i += 2) {
        const pickle_value *key = &items->at[i], *value = &items->at[i + 1];
        if (key->kind == PICKLE_TEXT && bytes_equal(key->as.text, "little_endian") && value->kind == PICKLE_BOOL &&
            !value->as.truth)
            return finch_fail(err, FINCH_E_UNSUPPORTED, "%s was written on a big-endian machine; save it again on another",
                              c->path);
    }
    return FINCH_OK;
}

static int by_key(const void *a, const void *b)
{
    return bytes_compare(((const pickle_value *)a)->as.storage->key, ((const pickle_value *)b)->as.storage->key);
}

/* One blob: a u64 number of items, then the items, whose type only the state dict knows. */
static finch_status take_blob(const checkpoint *c, const pickle_items *storages, const pickle_value *key, bytes *rest,
                              zip_entry *out, finch_error *err)
{
    if (key->kind != PICKLE_TEXT) return finch_fail(err, FINCH_E_DATA, "%s: the key of a storage is no text", c->path);
    const pickle_storage wanted = {.key = key->as.text};
    const pickle_value probe = {.kind = PICKLE_STORAGE, .as.storage = &wanted};
    const pickle_value *found = storages->n == 0 ? NULL
                                                 : bsearch(&probe, storages->at, storages->n, sizeof *storages->at, by_key);
    uint64_t n_items = 0;
    size_t size = 0;
    out->name = key->as.text;
    if (found == NULL || !bytes_take_u64(rest, &n_items) ||
        !size_mul(n_items, tensor_dtype_bytes(found->as.storage->dtype), &size) || !bytes_take(rest, size, &out->content))
        return finch_fail(err, FINCH_E_DATA, "%s: the storage %.*s is unknown or cut; get the file again", c->path,
                          shown(key->as.text), (const char *)key->as.text.at);
    return FINCH_OK;
}

static finch_status read_legacy(checkpoint *c, bytes file, tensor_list *out, finch_error *err)
{
    pickle_result protocol, sizes, state, keys;
    zip_entry *blobs = NULL;
    bytes rest = {file.at + LEGACY_MAGIC_BYTES, file.size - LEGACY_MAGIC_BYTES};
    FINCH_TRY(next_pickle(c, file, &rest, &protocol, err));
    FINCH_TRY(next_pickle(c, file, &rest, &sizes, err));
    FINCH_TRY(check_legacy_front(c, &protocol.root, &sizes.root, err));
    FINCH_TRY(next_pickle(c, file, &rest, &state, err));
    FINCH_TRY(next_pickle(c, file, &rest, &keys, err));
    if (keys.root.kind != PICKLE_LIST) return finch_fail(err, FINCH_E_DATA, "%s has no list of its storages", c->path);
    const pickle_items *names = keys.root.as.items;
    if (state.storages.n > 0) qsort(state.storages.at, state.storages.n, sizeof *state.storages.at, by_key);
    FINCH_TRY(ARENA_NEW(c->memory, &blobs, names->n, err));
    for (size_t i = 0; i < names->n; i++) FINCH_TRY(take_blob(c, &state.storages, &names->at[i], &rest, &blobs[i], err));
    if (rest.size != 0)
        return finch_fail(err, FINCH_E_DATA, "%s goes on for %zu bytes behind its last storage", c->path, rest.size);
    FINCH_TRY(zip_index(blobs, names->n, c->path, &c->archive, err));
    return add_tensors(c, &state.root, out, err);
}

finch_status torch_zip_read(bytes file, const char *path, tensor_list *out, finch_error *err)
{
    arena memory;
    arena_init(&memory);
    checkpoint c = {.path = path, .memory = &memory};
    finch_status st = is_legacy(file) ? read_legacy(&c, file, out, err) : read_zip(&c, file, out, err);
    arena_free(&memory);
    return st;
}
