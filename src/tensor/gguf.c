#include "tensor/gguf.h"

#include "base/arena.h"
#include "base/file.h"
#include "tensor/gguf_blocks.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* The file's value types.  name  id  bytes of one value (0: it has no fixed size) */
#define KIND_LIST(X) \
    X(U8, 0, 1)      \
    X(I8, 1, 1)      \
    X(U16, 2, 2)     \
    X(I16, 3, 2)     \
    X(U32, 4, 4)     \
    X(I32, 5, 4)     \
    X(F32, 6, 4)     \
    X(BOOL, 7, 1)    \
    X(TEXT, 8, 0)    \
    X(ARRAY, 9, 0)   \
    X(U64, 10, 8)    \
    X(I64, 11, 8)    \
    X(F64, 12, 8)

typedef enum value_kind {
#define KIND_ENUM(name, id, size_bytes) KIND_##name = id,
    KIND_LIST(KIND_ENUM)
#undef KIND_ENUM
        KIND_COUNT
} value_kind;

static const size_t kind_bytes[KIND_COUNT] = {
#define KIND_BYTES(name, id, size_bytes) [KIND_##name] = (size_bytes),
    KIND_LIST(KIND_BYTES)
#undef KIND_BYTES
};

enum {
    VERSION_LEAST = 2,
    VERSION_MOST = 3,
    TENSORS_MAX = 1 << 20,
    NAME_BYTES_MAX = 4096,
    ALIGNMENT_PRESET = 32,
    ALIGNMENT_MAX = 1 << 20,
    KEY_BYTES_LEAST = 13,   /* an empty name, a type, a value of one byte */
    TENSOR_BYTES_LEAST = 24 /* an empty name, no dims, a type, an offset */
};

typedef struct entry {
    bytes key;
    value_kind kind;
    gguf_array value; /* of a single value n_left is 1 and kind its own */
} entry;

struct gguf {
    const char *path;
    file_map map;
    bytes file;
    arena memory; /* path, names */
    entry *entries;
    size_t n_entries;
    gguf_tensor *tensors;
    size_t n_tensors;
};

/* ---- pieces ---------------------------------------------------------------------------------------------------- */

typedef struct cursor {
    const gguf *g;
    bytes rest;
} cursor;

static finch_status fail_cut(const cursor *c, const char *what, finch_error *err)
{
    return finch_fail(err, FINCH_E_DATA, "%s ends inside %s, at byte %zu of %zu; get it again", c->g->path, what,
                      c->g->file.size - c->rest.size, c->g->file.size);
}

static int shown(bytes text) { return text.size < 200 ? (int)text.size : 200; }

static finch_status take_text(cursor *c, const char *what, bytes *out, finch_error *err)
{
    uint64_t size;
    if (!bytes_take_u64(&c->rest, &size) || !bytes_take(&c->rest, size, out)) return fail_cut(c, what, err);
    return FINCH_OK;
}

/* ---- metadata --------------------------------------------------------------------------------------------------- */

/* Moves over n values, so that walking them later needs no check. */
static finch_status take_values(cursor *c, bytes key, uint32_t kind, uint64_t n, gguf_array *out, finch_error *err)
{
    bytes begin = c->rest, skipped;
    if (kind >= KIND_COUNT || kind == KIND_ARRAY)
        return finch_fail(err, kind == KIND_ARRAY ? FINCH_E_UNSUPPORTED : FINCH_E_DATA,
                          kind == KIND_ARRAY ? "%s: the key %.*s is a list of lists (type %u), which finch does not read"
                                             : "%s: the key %.*s has the value type %u, which GGUF does not have",
                          c->g->path, shown(key), (const char *)key.at, kind);
    if (kind == KIND_TEXT) {
        for (uint64_t i = 0; i < n; i++) FINCH_TRY(take_text(c, "a list of texts", &skipped, err));
    } else if (n > c->rest.size / kind_bytes[kind] || !bytes_take(&c->rest, n * kind_bytes[kind], &skipped)) {
        return fail_cut(c, "a value", err);
    }
    *out = (gguf_array){kind, (size_t)n, {begin.at, begin.size - c->rest.size}};
    return FINCH_OK;
}

static finch_status take_entry(cursor *c, entry *out, finch_error *err)
{
    uint32_t kind;
    uint64_t n = 1;
    FINCH_TRY(take_text(c, "the name of a key", &out->key, err));
    if (!bytes_take_u32(&c->rest, &kind)) return fail_cut(c, "the type of a key", err);
    if (kind == KIND_ARRAY) {
        out->kind = KIND_ARRAY;
        if (!bytes_take_u32(&c->rest, &kind) || !bytes_take_u64(&c->rest, &n)) return fail_cut(c, "the head of a list", err);
        return take_values(c, out->key, kind, n, &out->value, err);
    }
    FINCH_TRY(take_values(c, out->key, kind, n, &out->value, err));
    out->kind = (value_kind)kind;
    return FINCH_OK;
}

static int by_key(const void *a, const void *b) { return bytes_compare(((const entry *)a)->key, ((const entry *)b)->key); }

static finch_status take_entries(gguf *g, cursor *c, uint64_t n, finch_error *err)
{
    if (n > GGUF_KEYS_MAX || n > c->rest.size / KEY_BYTES_LEAST)
        return finch_fail(err, FINCH_E_DATA, "%s says it has %llu keys, more than it can hold; it is damaged", g->path,
                          (unsigned long long)n);
    FINCH_TRY(MEM_NEW(&g->entries, (size_t)n, err));
    for (; g->n_entries < n; g->n_entries++) FINCH_TRY(take_entry(c, &g->entries[g->n_entries], err));
    if (n > 1) qsort(g->entries, g->n_entries, sizeof *g->entries, by_key);
    for (size_t i = 1; i < g->n_entries; i++)
        if (by_key(&g->entries[i - 1], &g->entries[i]) == 0)
            return finch_fail(err, FINCH_E_DATA, "%s has the key %.*s twice; it is damaged", g->path,
                              shown(g->entries[i].key), (const char *)g->entries[i].key.at);
    return FINCH_OK;
}

static const entry *find_entry(const gguf *g, const char *key)
{
    const entry wanted = {.key = {(const unsigned char *)key, strlen(key)}};
    return g->n_entries == 0 ? NULL : bsearch(&wanted, g->entries, g->n_entries, sizeof wanted, by_key);
}

bool gguf_has(const gguf *g, const char *key) { return find_entry(g, key) != NULL; }

static finch_status fail_kind(const gguf *g, const char *key, const char *what, finch_error *err)
{
    return finch_fail(err, FINCH_E_DATA, gguf_has(g, key) ? "%s: the key %s is not %s" : "%s has no key %s (%s)", g->path,
                      key, what);
}

finch_status gguf_get_text(const gguf *g, const char *key, finch_text *out, finch_error *err)
{
    const entry *found = find_entry(g, key);
    if (found == NULL || found->kind != KIND_TEXT) return fail_kind(g, key, "a text", err);
    gguf_array value = found->value;
    return gguf_next_text(&value, out) ? FINCH_OK : fail_kind(g, key, "a text", err);
}

static bool is_number(uint32_t kind) { return kind != KIND_TEXT && kind != KIND_ARRAY && kind != KIND_BOOL; }

static double number_of(uint32_t kind, const unsigned char *at)
{
    union {
        int8_t i8;
        uint16_t u16;
        int16_t i16;
        uint32_t u32;
        int32_t i32;
        uint64_t u64;
        int64_t i64;
        float f32;
        double f64;
    } v;
    memcpy(&v, at, kind_bytes[kind]);
    switch (kind) {
    case KIND_I8: return v.i8;
    case KIND_U16: return v.u16;
    case KIND_I16: return v.i16;
    case KIND_U32: return v.u32;
    case KIND_I32: return v.i32;
    case KIND_U64: return (double)v.u64;
    case KIND_I64: return (double)v.i64;
    case KIND_F32: return (double)v.f32;
    case KIND_F64: return v.f64;
    default: return at[0];
    }
}

finch_status gguf_get_number(const gguf *g, const char *key, double *out, finch_error *err)
{
    const entry *found = find_entry(g, key);
    if (found == NULL || !is_number(found->kind)) return fail_kind(g, key, "a number", err);
    double value = number_of(found->kind, found->value.rest.at);
    if (!isfinite(value)) return fail_kind(g, key, "a finite number", err);
    *out = value;
    return FINCH_OK;
}

finch_status gguf_get_size(const gguf *g, const char *key, size_t *out, finch_error *err)
{
    static const double exact_max = 9007199254740992.0; /* 2^53: every whole number below it is a double */
    double value = 0;
    FINCH_TRY(gguf_get_number(g, key, &value, err));
    if (!(value >= 0 && value < exact_max) || value != floor(value)) return fail_kind(g, key, "a whole number from 0", err);
    *out = (size_t)value;
    return FINCH_OK;
}

finch_status gguf_get_bool(const gguf *g, const char *key, bool *out, finch_error *err)
{
    const entry *found = find_entry(g, key);
    if (found == NULL || found->kind != KIND_BOOL) return fail_kind(g, key, "true or false", err);
    *out = found->value.rest.at[0] != 0;
    return FINCH_OK;
}

finch_status gguf_get_texts(const gguf *g, const char *key, gguf_array *out, finch_error *err)
{
    const entry *found = find_entry(g, key);
    if (found == NULL || found->kind != KIND_ARRAY || found->value.kind != KIND_TEXT)
        return fail_kind(g, key, "a list of texts", err);
    *out = found->value;
    return FINCH_OK;
}

finch_status gguf_get_numbers(const gguf *g, const char *key, gguf_array *out, finch_error *err)
{
    const entry *found = find_entry(g, key);
    if (found == NULL || found->kind != KIND_ARRAY || !is_number(found->value.kind))
        return fail_kind(g, key, "a list of numbers", err);
    *out = found->value;
    return FINCH_OK;
}

bool gguf_next_text(gguf_array *list, finch_text *out)
{
    uint64_t size;
    bytes text;
    if (list->n_left == 0 || !bytes_take_u64(&list->rest, &size) || !bytes_take(&list->rest, size, &text)) return false;
    list->n_left--;
    *out = (finch_text){(const char *)text.at, text.size};
    return true;
}

bool gguf_next_number(gguf_array *list, double *out)
{
    bytes value;
    if (list->n_left == 0 || !bytes_take(&list->rest, kind_bytes[list->kind], &value)) return false;
    list->n_left--;
    *out = number_of(list->kind, value.at);
    return true;
}

/* ---- tensors ---------------------------------------------------------------------------------------------------- */

static finch_status fail_tensor(const gguf *g, const gguf_tensor *t, const char *what, finch_error *err)
{
    return finch_fail(err, FINCH_E_DATA, "%s: the tensor %.200s %s; the file is cut or damaged: get it again", g->path,
                      t->name, what);
}

static finch_status take_name(gguf *g, cursor *c, gguf_tensor *out, finch_error *err)
{
    bytes name;
    char *copy;
    FINCH_TRY(take_text(c, "the name of a tensor", &name, err));
    if (name.size == 0 || name.size > NAME_BYTES_MAX || memchr(name.at, '\0', name.size) != NULL)
        return finch_fail(err, FINCH_E_DATA, "%s: a tensor's name is empty, longer than %d bytes or holds a NUL byte",
                          g->path, NAME_BYTES_MAX);
    FINCH_TRY(arena_alloc(&g->memory, name.size + 1, 1, (void **)&copy, err));
    memcpy(copy, name.at, name.size);
    copy[name.size] = '\0';
    out->name = copy;
    return FINCH_OK;
}

static finch_status take_shape(const gguf *g, cursor *c, gguf_tensor *out, finch_error *err)
{
    uint32_t n_dims;
    uint64_t dim;
    if (!bytes_take_u32(&c->rest, &n_dims)) return fail_cut(c, "the shape of a tensor", err);
    if (n_dims > GGUF_DIMS_MAX)
        return finch_fail(err, FINCH_E_DATA, "%s: the tensor %.200s has %u dimensions; GGUF has up to %d", g->path,
                          out->name, n_dims, GGUF_DIMS_MAX);
    out->n_dims = n_dims;
    out->n_items = 1;
    for (size_t i = n_dims; i-- > 0;) {
        if (!bytes_take_u64(&c->rest, &dim)) return fail_cut(c, "the shape of a tensor", err);
        if (dim > SIZE_MAX || !size_mul(out->n_items, (size_t)dim, &out->n_items))
            return fail_tensor(g, out, "has a shape that no memory can address", err);
        out->dims[i] = (size_t)dim;
    }
    return FINCH_OK;
}

static finch_status take_type(const gguf *g, cursor *c, gguf_tensor *out, finch_error *err)
{
    uint32_t id;
    const gguf_block *block;
    if (!bytes_take_u32(&c->rest, &id)) return fail_cut(c, "the type of a tensor", err);
    block = gguf_block_find(id);
    if (block == NULL)
        return finch_fail(err, FINCH_E_UNSUPPORTED,
                          "%s: the tensor %.200s has the type %s (%u), which finch does not read; it reads %s", g->path,
                          out->name, gguf_block_foreign_name(id), id, gguf_block_names());
    out->type = (gguf_type)id;
    size_t row = out->n_dims > 0 ? out->dims[out->n_dims - 1] : 1;
    if (row % block->n_items != 0) return fail_tensor(g, out, "has rows that are no whole number of blocks", err);
    if (!size_mul(out->n_items / block->n_items, block->size_bytes, &out->size_bytes))
        return fail_tensor(g, out, "has a shape that no memory can address", err);
    return FINCH_OK;
}

/* The range is held against the data when it is known where they begin; until then data points at the offset's bytes. */
static finch_status take_tensor(gguf *g, cursor *c, gguf_tensor *out, uint64_t *offset, finch_error *err)
{
    FINCH_TRY(take_name(g, c, out, err));
    FINCH_TRY(take_shape(g, c, out, err));
    FINCH_TRY(take_type(g, c, out, err));
    return bytes_take_u64(&c->rest, offset) ? FINCH_OK : fail_cut(c, "the offset of a tensor", err);
}

static int by_place(const void *a, const void *b)
{
    const gguf_tensor *x = a, *y = b;
    if (x->data != y->data) return x->data < y->data ? -1 : 1;
    return (x->size_bytes > y->size_bytes) - (x->size_bytes < y->size_bytes);
}

static int by_name(const void *a, const void *b)
{
    return strcmp(((const gguf_tensor *)a)->name, ((const gguf_tensor *)b)->name);
}

static finch_status check_tensors(gguf *g, finch_error *err)
{
    if (g->n_tensors < 2) return FINCH_OK;
    qsort(g->tensors, g->n_tensors, sizeof *g->tensors, by_place);
    for (size_t i = 1; i < g->n_tensors; i++)
        if (g->tensors[i].data < g->tensors[i - 1].data + g->tensors[i - 1].size_bytes)
            return fail_tensor(g, &g->tensors[i], "overlaps another", err);
    qsort(g->tensors, g->n_tensors, sizeof *g->tensors, by_name);
    for (size_t i = 1; i < g->n_tensors; i++)
        if (by_name(&g->tensors[i - 1], &g->tensors[i]) == 0) return fail_tensor(g, &g->tensors[i], "comes twice", err);
    return FINCH_OK;
}

static finch_status read_alignment(const gguf *g, size_t *out, finch_error *err)
{
    static const char key[] = "general.alignment";
    *out = ALIGNMENT_PRESET;
    if (!gguf_has(g, key)) return FINCH_OK;
    FINCH_TRY(gguf_get_size(g, key, out, err));
    if (*out == 0 || *out > ALIGNMENT_MAX || (*out & (*out - 1)) != 0)
        return finch_fail(err, FINCH_E_DATA, "%s: %s is %zu and should be a power of two up to %d", g->path, key, *out,
                          ALIGNMENT_MAX);
    return FINCH_OK;
}

/* Puts every tensor at its place in the data, which begin at the first multiple of the alignment behind the cursor. */
static finch_status place_tensors(gguf *g, const cursor *c, const uint64_t *offsets, finch_error *err)
{
    size_t alignment, begin;
    bytes data;
    FINCH_TRY(read_alignment(g, &alignment, err));
    begin = (g->file.size - c->rest.size + alignment - 1) / alignment * alignment;
    if (!bytes_range(g->file, begin, g->file.size, &data)) data = (bytes){c->rest.at, 0};
    for (size_t i = 0; i < g->n_tensors; i++) {
        gguf_tensor *t = &g->tensors[i];
        if (offsets[i] % alignment != 0) return fail_tensor(g, t, "does not begin on the file's alignment", err);
        if (offsets[i] > data.size || t->size_bytes > data.size - offsets[i])
            return fail_tensor(g, t, "reaches past the end of the file", err);
        t->data = data.at + offsets[i];
    }
    return check_tensors(g, err);
}

static finch_status take_tensors(gguf *g, cursor *c, uint64_t n, finch_error *err)
{
    uint64_t *offsets = NULL;
    finch_status st = FINCH_OK;
    if (n > TENSORS_MAX || n > c->rest.size / TENSOR_BYTES_LEAST)
        return finch_fail(err, FINCH_E_DATA, "%s says it has %llu tensors, more than it can hold; it is damaged", g->path,
                          (unsigned long long)n);
    FINCH_GO(done, st, MEM_NEW(&g->tensors, (size_t)n, err));
    FINCH_GO(done, st, MEM_NEW(&offsets, (size_t)n, err));
    for (; g->n_tensors < n; g->n_tensors++)
        FINCH_GO(done, st, take_tensor(g, c, &g->tensors[g->n_tensors], &offsets[g->n_tensors], err));
    st = place_tensors(g, c, offsets, err);
done:
    mem_free(offsets);
    return st;
}

/* ---- the whole -------------------------------------------------------------------------------------------------- */

static finch_status read_head(const cursor *start, cursor *c, uint64_t *n_tensors, uint64_t *n_keys, finch_error *err)
{
    bytes magic;
    uint32_t version;
    *c = *start;
    if (!bytes_take(&c->rest, 4, &magic) || !bytes_equal(magic, "GGUF"))
        return finch_fail(err, FINCH_E_DATA, "%s does not begin with GGUF: it is no GGUF file", c->g->path);
    if (!bytes_take_u32(&c->rest, &version)) return fail_cut(c, "its version", err);
    if ((version & 0xffffu) == 0 && version != 0)
        return finch_fail(err, FINCH_E_UNSUPPORTED, "%s was written for big-endian machines; convert it again on another",
                          c->g->path);
    if (version < VERSION_LEAST || version > VERSION_MOST)
        return finch_fail(err, FINCH_E_UNSUPPORTED, "%s is GGUF version %u; finch reads %d and %d", c->g->path, version,
                          VERSION_LEAST, VERSION_MOST);
    if (!bytes_take_u64(&c->rest, n_tensors) || !bytes_take_u64(&c->rest, n_keys)) return fail_cut(c, "its head", err);
    return FINCH_OK;
}

static finch_status read_all(gguf *g, const char *path, finch_error *err)
{
    cursor c, start = {g, g->file};
    uint64_t n_tensors, n_keys;
    char *copy;
    size_t size = strlen(path) + 1;
    g->path = path;
    FINCH_TRY(arena_alloc(&g->memory, size, 1, (void **)&copy, err));
    memcpy(copy, path, size);
    g->path = copy;
    FINCH_TRY(read_head(&start, &c, &n_tensors, &n_keys, err));
    FINCH_TRY(take_entries(g, &c, n_keys, err));
    return take_tensors(g, &c, n_tensors, err);
}

static finch_status create(gguf **out, finch_error *err)
{
    FINCH_TRY(MEM_NEW(out, 1, err));
    arena_init(&(*out)->memory);
    return FINCH_OK;
}

finch_status gguf_read(bytes file, const char *path, gguf **out, finch_error *err)
{
    gguf *g = NULL;
    *out = NULL;
    FINCH_TRY(create(&g, err));
    g->file = file;
    finch_status st = read_all(g, path, err);
    if (st == FINCH_OK) *out = g;
    else gguf_close(g);
    return st;
}

finch_status gguf_open(const char *path, gguf **out, finch_error *err)
{
    gguf *g = NULL;
    *out = NULL;
    FINCH_TRY(create(&g, err));
    finch_status st = file_map_open(path, &g->map, err);
    if (st == FINCH_OK) {
        g->file = g->map.content;
        st = read_all(g, path, err);
    }
    if (st == FINCH_OK) *out = g;
    else gguf_close(g);
    return st;
}

void gguf_close(gguf *g)
{
    if (g == NULL) return;
    file_map_close(&g->map);
    arena_free(&g->memory);
    mem_free(g->entries);
    mem_free(g->tensors);
    mem_free(g);
}

size_t gguf_count(const gguf *g) { return g->n_tensors; }

const gguf_tensor *gguf_at(const gguf *g, size_t index) { return &g->tensors[index]; }

const gguf_tensor *gguf_find(const gguf *g, const char *name)
{
    const gguf_tensor wanted = {.name = name};
    return g->n_tensors == 0 ? NULL : bsearch(&wanted, g->tensors, g->n_tensors, sizeof wanted, by_name);
}
