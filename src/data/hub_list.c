#include "data/hub_list.h"

#include "base/json.h"
#include "data/hub_header.h"

#include <stdlib.h>
#include <string.h>

enum { FILES_MOST = 1000000 };

void hub_list_free(hub_list *list)
{
    for (size_t i = 0; i < list->n; i++) mem_free(list->files[i].path);
    mem_free(list->files);
    *list = (hub_list){0};
}

const char *hub_file_id(const hub_file *file) { return file->sha256[0] != '\0' ? file->sha256 : file->oid; }

const char *hub_name_shown(const char *name, char out[128])
{
    size_t n = 0;
    for (; n < 100 && name[n] != '\0'; n++) out[n] = (unsigned char)name[n] < ' ' || name[n] == 0x7F ? '?' : name[n];
    while (name[n] != '\0' && n > 0 && ((unsigned char)name[n] & 0xC0u) == 0x80u) n--; /* not inside a character */
    memcpy(out + n, name[n] != '\0' ? "..." : "", name[n] != '\0' ? 4 : 1);
    return out;
}

/* ---- one entry ---- */

static finch_status fail_entry(finch_error *err, size_t index, const char *what)
{
    return finch_fail(err, FINCH_E_REMOTE, "the list of files is not one: entry %zu %s", index + 1, what);
}

static bool get_hex(const json_t *object, const char *key, size_t n, char *out)
{
    const json_t *value = json_object_get(object, key);
    if (!json_is_string(value)) return false;
    bytes text = {(const unsigned char *)json_string_value(value), json_string_length(value)};
    if (!hub_header_is_hex(text, n)) return false;
    memcpy(out, text.at, n);
    out[n] = '\0';
    return true;
}

static bool get_bytes(const json_t *object, const char *key, uint64_t *out)
{
    const json_t *value = json_object_get(object, key);
    if (!json_is_integer(value) || json_integer_value(value) < 0) return false;
    *out = (uint64_t)json_integer_value(value);
    return true;
}

static finch_status room(hub_list *list, finch_error *err)
{
    if (list->n >= FILES_MOST)
        return finch_fail(err, FINCH_E_REMOTE, "the list of files has more than %d entries", FILES_MOST);
    if (list->n < list->capacity) return FINCH_OK;
    size_t capacity = list->capacity == 0 ? 64 : list->capacity * 2;
    FINCH_TRY(mem_grow((void **)&list->files, list->capacity * sizeof *list->files, capacity, sizeof *list->files, err));
    list->capacity = capacity;
    return FINCH_OK;
}

static finch_status keep(hub_list *list, const hub_file *file, const char *path, finch_error *err)
{
    FINCH_TRY(room(list, err));
    list->files[list->n] = *file;
    FINCH_TRY(mem_text(path, strlen(path), &list->files[list->n].path, err));
    list->n++;
    return FINCH_OK;
}

static const char *get_path(const json_t *value)
{
    if (!json_is_string(value) || json_string_length(value) == 0) return NULL;
    const char *path = json_string_value(value);
    return strlen(path) == json_string_length(value) ? path : NULL;
}

static void get_xet(hub_list *list, const json_t *entry, const char *key, hub_file *file)
{
    if (json_has(entry, key) && !get_hex(entry, key, HUB_SHA256_DIGITS, file->xet)) list->odd_xet = true;
}

static finch_status add_entry(hub_list *list, const json_t *entry, size_t index, finch_error *err)
{
    const char *type = json_string_value(json_object_get(entry, "type"));
    if (!json_is_object(entry) || type == NULL) return fail_entry(err, index, "has no \"type\"");
    if (strcmp(type, "file") != 0) return FINCH_OK;
    hub_file file = {0};
    const char *path = get_path(json_object_get(entry, "path"));
    if (path == NULL) return fail_entry(err, index, "has no \"path\", or one with a NUL inside");
    if (!get_bytes(entry, "size", &file.listed_size)) return fail_entry(err, index, "has no \"size\" of 0 bytes or more");
    if (!get_hex(entry, "oid", HUB_COMMIT_DIGITS, file.oid)) return fail_entry(err, index, "has no \"oid\" of 40 digits");
    file.size = file.listed_size;
    const json_t *lfs = json_object_get(entry, "lfs");
    if (lfs != NULL && !json_is_null(lfs)) {
        if (!get_hex(lfs, "oid", HUB_SHA256_DIGITS, file.sha256))
            return fail_entry(err, index, "has no \"lfs.oid\" of 64 digits");
        if (!get_bytes(lfs, "size", &file.size)) return fail_entry(err, index, "has no \"lfs.size\" of 0 bytes or more");
    }
    get_xet(list, entry, "xetHash", &file);
    return keep(list, &file, path, err);
}

finch_status hub_list_add_page(hub_list *list, const char *json, size_t size, size_t *n_added, finch_error *err)
{
    json_t *page = NULL;
    finch_status st = json_parse(json, size, "the list of files", &page, err);
    if (st == FINCH_E_DATA) st = err != NULL ? (err->status = FINCH_E_REMOTE) : FINCH_E_REMOTE;
    if (st == FINCH_OK && !json_is_array(page)) st = finch_fail(err, FINCH_E_REMOTE, "the list of files is no JSON array");
    size_t before = list->n;
    for (size_t i = 0; st == FINCH_OK && i < json_array_size(page); i++)
        st = add_entry(list, json_array_get(page, i), i, err);
    if (n_added != NULL) *n_added = list->n - before;
    json_decref(page);
    return st;
}

/* ---- the list as a whole ---- */

static int compare_files(const void *a, const void *b)
{
    return strcmp(((const hub_file *)a)->path, ((const hub_file *)b)->path);
}

/* Whether the first size bytes of path are a file of the list. */
static bool has_prefix(const hub_list *list, const char *path, size_t size)
{
    size_t low = 0, high = list->n;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        const char *at = list->files[middle].path;
        int order = strncmp(at, path, size);
        if (order == 0 && at[size] != '\0') order = 1;
        if (order == 0) return true;
        if (order < 0) low = middle + 1;
        else high = middle;
    }
    return false;
}

finch_status hub_list_finish(hub_list *list, finch_error *err)
{
    char shown[128];
    if (list->n > 0) qsort(list->files, list->n, sizeof *list->files, compare_files);
    for (size_t i = 0; i < list->n; i++) {
        const char *path = list->files[i].path;
        if (i > 0 && strcmp(list->files[i - 1].path, path) == 0)
            return finch_fail(err, FINCH_E_REMOTE, "the list of files names %s twice", hub_name_shown(path, shown));
        for (const char *slash = strchr(path, '/'); slash != NULL; slash = strchr(slash + 1, '/'))
            if (has_prefix(list, path, (size_t)(slash - path)))
                return finch_fail(err, FINCH_E_REMOTE,
                                  "the list of files names a file below %s, which needs a folder where a file is",
                                  hub_name_shown(path, shown));
    }
    return FINCH_OK;
}

/* ---- trees/COMMIT.json ---- */

static finch_status add_unit(str *out, uint32_t unit, finch_error *err) { return str_add_format(out, err, "\\u%04x", unit); }

/* A JSON text in ASCII as Python's json.dumps writes it. path is valid UTF-8: it came through jansson. */
static finch_status add_json_text(str *out, const char *path, finch_error *err)
{
    static const char plain[] = "\"\\\b\f\n\r\t", letters[] = "\"\\bfnrt";
    FINCH_TRY(str_add_text(out, "\"", err));
    for (const unsigned char *s = (const unsigned char *)path; *s != '\0';) {
        const char *found = strchr(plain, *s);
        if (found != NULL) {
            const char pair[2] = {'\\', letters[found - plain]};
            FINCH_TRY(str_add(out, pair, 2, err));
            s++;
        } else if (*s >= ' ' && *s < 0x80) {
            FINCH_TRY(str_add(out, (const char *)s++, 1, err));
        } else {
            size_t n = *s >= 0xF0 ? 4 : *s >= 0xE0 ? 3 : *s >= 0xC0 ? 2 : 1;
            uint32_t c = n == 1 ? *s : *s & (0xFFu >> (n + 1));
            for (size_t i = 1; i < n && s[i] != '\0'; i++) c = c << 6 | (s[i] & 0x3Fu);
            if (c >= 0x10000) FINCH_TRY(add_unit(out, 0xD800 + ((c - 0x10000) >> 10), err));
            FINCH_TRY(add_unit(out, c >= 0x10000 ? 0xDC00 + ((c - 0x10000) & 0x3FF) : c, err));
            s += strnlen((const char *)s, n);
        }
    }
    return str_add_text(out, "\"", err);
}

static finch_status add_json_file(str *out, const hub_file *file, finch_error *err)
{
    FINCH_TRY(str_add_text(out, "  ", err));
    FINCH_TRY(add_json_text(out, file->path, err));
    FINCH_TRY(str_add_format(out, err, ": {\n   \"size\": %llu,\n   \"blob_id\": \"%s\"",
                             (unsigned long long)file->listed_size, file->oid));
    if (file->sha256[0] != '\0')
        FINCH_TRY(str_add_format(out, err, ",\n   \"lfs_sha256\": \"%s\",\n   \"lfs_size\": %llu", file->sha256,
                                 (unsigned long long)file->size));
    if (file->xet[0] != '\0') FINCH_TRY(str_add_format(out, err, ",\n   \"xet_hash\": \"%s\"", file->xet));
    return str_add_text(out, "\n  }", err);
}

finch_status hub_list_write(const hub_list *list, str *out, finch_error *err)
{
    FINCH_TRY(str_add_text(out, "{\n \"format_version\": 1,\n \"files\": {", err));
    for (size_t i = 0; i < list->n; i++) {
        FINCH_TRY(str_add_text(out, i == 0 ? "\n" : ",\n", err));
        FINCH_TRY(add_json_file(out, &list->files[i], err));
    }
    return str_add_text(out, list->n > 0 ? "\n }\n}" : "}\n}", err);
}

static finch_status read_kept(hub_list *list, const char *path, const json_t *info, const char *name, finch_error *err)
{
    hub_file file = {0};
    bool good = path[0] != '\0' && get_bytes(info, "size", &file.listed_size) &&
                get_hex(info, "blob_id", HUB_COMMIT_DIGITS, file.oid);
    file.size = file.listed_size;
    if (good && json_has(info, "lfs_sha256"))
        good = get_hex(info, "lfs_sha256", HUB_SHA256_DIGITS, file.sha256) && get_bytes(info, "lfs_size", &file.size);
    if (!good) return finch_fail(err, FINCH_E_DATA, "%s: a file's entry is not complete", name);
    get_xet(list, info, "xet_hash", &file);
    return keep(list, &file, path, err);
}

finch_status hub_list_read(hub_list *list, const char *json, size_t size, const char *name, finch_error *err)
{
    json_t *root = NULL;
    size_t version = 0;
    finch_status st = json_parse(json, size, name, &root, err);
    if (st == FINCH_OK) st = json_get_size(root, name, "format_version", &version, err);
    json_t *files = json_object_get(root, "files");
    if (st == FINCH_OK && (version != 1 || !json_is_object(files)))
        st = finch_fail(err, FINCH_E_DATA, "%s is not a list of files of version 1", name);
    const char *path;
    json_t *info;
    if (st == FINCH_OK)
        json_object_foreach(files, path, info) if (st == FINCH_OK) st = read_kept(list, path, info, name, err);
    json_decref(root);
    if (st == FINCH_OK && list->odd_xet) st = finch_fail(err, FINCH_E_DATA, "%s holds a Xet hash that is none", name);
    return st == FINCH_OK ? hub_list_finish(list, err) : st;
}
