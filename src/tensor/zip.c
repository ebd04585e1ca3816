#include "tensor/zip.h"

#include "base/zip_directory.h"

#include <stdlib.h>

static finch_status damaged(const char *path, const char *what, finch_error *err)
{
    return finch_fail(err, FINCH_E_DATA, "%s: %s; the zip archive is cut or damaged: get it again", path, what);
}

static int shown(bytes name) { return name.size < 200 ? (int)name.size : 200; }

static finch_status read_entry(bytes file, const char *path, zip_directory *directory, zip_entry *out, finch_error *err)
{
    zip_member entry;
    const char *wrong = zip_directory_next(directory, &entry);
    if (wrong != NULL) return damaged(path, wrong, err);
    if ((entry.flags & (ZIP_ENCRYPTED | ZIP_ENCRYPTED_NAMES)) != 0)
        return finch_fail(err, FINCH_E_UNSUPPORTED, "%s: the entry %.*s is encrypted; save the checkpoint again without",
                          path, shown(entry.name), (const char *)entry.name.at);
    if (entry.method != ZIP_STORED)
        return finch_fail(err, FINCH_E_UNSUPPORTED,
                          "%s: the entry %.*s is compressed (method %u); PyTorch stores entries as they are, so zip it "
                          "again without compression",
                          path, shown(entry.name), (const char *)entry.name.at, entry.method);
    out->name = entry.name;
    if (entry.packed_bytes != entry.size_bytes || !zip_member_content(file, &entry, &out->content))
        return finch_fail(err, FINCH_E_DATA,
                          "%s: the entry %.*s is not where the zip directory says; the file is cut or damaged: get it again",
                          path, shown(entry.name), (const char *)entry.name.at);
    return FINCH_OK;
}

/* ---- the archive ------------------------------------------------------------------------------------------------ */

static int by_name(const void *a, const void *b)
{
    return bytes_compare(((const zip_entry *)a)->name, ((const zip_entry *)b)->name);
}

finch_status zip_index(zip_entry *entries, size_t n, const char *path, zip_archive *out, finch_error *err)
{
    if (n > 0) qsort(entries, n, sizeof *entries, by_name);
    for (size_t i = 1; i < n; i++) {
        if (by_name(&entries[i - 1], &entries[i]) == 0)
            return finch_fail(err, FINCH_E_DATA, "%s holds the entry %.*s twice", path, shown(entries[i].name),
                              (const char *)entries[i].name.at);
    }
    *out = (zip_archive){entries, n};
    return FINCH_OK;
}

finch_status zip_open(bytes file, const char *path, arena *memory, zip_archive *out, finch_error *err)
{
    zip_directory directory;
    zip_entry *entries;
    *out = (zip_archive){0};
    const char *wrong = zip_directory_find(file, &directory);
    if (wrong != NULL) return damaged(path, wrong, err);
    if (directory.n_members > ZIP_ENTRIES_MAX) return damaged(path, "its directory has too many entries", err);
    size_t n = (size_t)directory.n_members;
    FINCH_TRY(ARENA_NEW(memory, &entries, n, err));
    for (size_t i = 0; i < n; i++) FINCH_TRY(read_entry(file, path, &directory, &entries[i], err));
    return zip_index(entries, n, path, out, err);
}

/* Compares a name to prefix followed by rest, without joining them. */
static int compare_joined(bytes name, bytes prefix, bytes rest)
{
    bytes front = {name.at, name.size < prefix.size ? name.size : prefix.size};
    int order = bytes_compare(front, prefix);
    if (order != 0 || name.size < prefix.size) return order;
    return bytes_compare((bytes){name.at + prefix.size, name.size - prefix.size}, rest);
}

const zip_entry *zip_find(const zip_archive *archive, bytes prefix, bytes name)
{
    size_t low = 0, high = archive->n;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        int order = compare_joined(archive->at[middle].name, prefix, name);
        if (order == 0) return &archive->at[middle];
        if (order < 0) low = middle + 1;
        else high = middle;
    }
    return NULL;
}
