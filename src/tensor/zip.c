#include "tensor/zip.h"

#include <stdlib.h>
#include <string.h>

enum {
    SIGNATURE_LOCAL = 0x04034b50,
    SIGNATURE_CENTRAL = 0x02014b50,
    SIGNATURE_END = 0x06054b50,
    SIGNATURE_END64 = 0x06064b50,
    SIGNATURE_LOCATOR64 = 0x07064b50,
    END_BYTES = 22,
    LOCATOR64_BYTES = 20,
    COMMENT_BYTES_MAX = 0xffff,
    EXTRA_ZIP64 = 1,
    FLAG_ENCRYPTED = 1,
    FLAG_DEFLATED_NAMES = 1 << 13
};

static const uint32_t in_zip64_32 = 0xffffffffu;
static const uint16_t in_zip64_16 = 0xffffu;

typedef struct directory {
    uint64_t begin;
    uint64_t size_bytes;
    uint64_t n_entries;
} directory;

static finch_status damaged(const char *path, const char *what, finch_error *err)
{
    return finch_fail(err, FINCH_E_DATA, "%s: %s; the zip archive is cut or damaged: get it again", path, what);
}

static bool take_signature(bytes *rest, uint32_t wanted)
{
    uint32_t found;
    return bytes_take_u32(rest, &found) && found == wanted;
}

static bool skip(bytes *rest, uint64_t size)
{
    bytes taken;
    return bytes_take(rest, size, &taken);
}

/* ---- where the directory is ------------------------------------------------------------------------------------- */

/* The end record is the last thing in the file but for a comment whose length it holds. */
static bool find_end(bytes file, size_t *at)
{
    if (file.size < END_BYTES) return false;
    size_t last = file.size - END_BYTES;
    size_t first = last > COMMENT_BYTES_MAX ? last - COMMENT_BYTES_MAX : 0;
    for (size_t i = last + 1; i-- > first;) {
        bytes rest = {file.at + i, file.size - i};
        uint16_t comment;
        if (take_signature(&rest, SIGNATURE_END) && skip(&rest, 16) && bytes_take_u16(&rest, &comment) &&
            comment == rest.size) {
            *at = i;
            return true;
        }
    }
    return false;
}

/* The zip64 end record, which a locator right before the end record points to. */
static finch_status read_end64(bytes file, const char *path, size_t end_at, directory *out, finch_error *err)
{
    bytes rest;
    uint64_t at;
    if (end_at < LOCATOR64_BYTES) return damaged(path, "its zip64 locator is missing", err);
    if (!bytes_range(file, end_at - LOCATOR64_BYTES, end_at, &rest) || !take_signature(&rest, SIGNATURE_LOCATOR64) ||
        !skip(&rest, 4) || !bytes_take_u64(&rest, &at))
        return damaged(path, "its zip64 locator is missing", err);
    if (!bytes_range(file, at, end_at, &rest) || !take_signature(&rest, SIGNATURE_END64) || !skip(&rest, 28) ||
        !bytes_take_u64(&rest, &out->n_entries) || !bytes_take_u64(&rest, &out->size_bytes) ||
        !bytes_take_u64(&rest, &out->begin))
        return damaged(path, "its zip64 end record is not where the locator says", err);
    return FINCH_OK;
}

static finch_status find_directory(bytes file, const char *path, directory *out, finch_error *err)
{
    size_t end_at = 0;
    uint16_t n_entries = 0;
    uint32_t size = 0, begin = 0;
    if (!find_end(file, &end_at)) return damaged(path, "it has no end record", err);
    bytes rest = {file.at + end_at, file.size - end_at};
    if (!skip(&rest, 10) || !bytes_take_u16(&rest, &n_entries) || !bytes_take_u32(&rest, &size) ||
        !bytes_take_u32(&rest, &begin))
        return damaged(path, "its end record is cut", err);
    *out = (directory){.begin = begin, .size_bytes = size, .n_entries = n_entries};
    if (n_entries == in_zip64_16 || size == in_zip64_32 || begin == in_zip64_32)
        return read_end64(file, path, end_at, out, err);
    return FINCH_OK;
}

/* ---- one entry -------------------------------------------------------------------------------------------------- */

typedef struct central {
    uint16_t flags, method;
    uint64_t packed_bytes, size_bytes, local_at;
    bytes name;
} central;

/* Sizes and the offset that do not fit 32 bits stand in an extra field, those and only those, in this order. */
static bool read_zip64_extra(bytes extra, central *entry)
{
    uint16_t id, size;
    bytes field;
    uint64_t *wanted[] = {&entry->size_bytes, &entry->packed_bytes, &entry->local_at};
    while (bytes_take_u16(&extra, &id) && bytes_take_u16(&extra, &size) && bytes_take(&extra, size, &field)) {
        if (id != EXTRA_ZIP64) continue;
        for (size_t i = 0; i < 3; i++) {
            if (*wanted[i] == in_zip64_32 && !bytes_take_u64(&field, wanted[i])) return false;
        }
        return true;
    }
    return false;
}

static bool read_central(bytes *rest, central *out)
{
    uint16_t name_size, extra_size, comment_size;
    uint32_t packed, size, local;
    bytes extra;
    if (!take_signature(rest, SIGNATURE_CENTRAL) || !skip(rest, 4) || !bytes_take_u16(rest, &out->flags) ||
        !bytes_take_u16(rest, &out->method) || !skip(rest, 8) || !bytes_take_u32(rest, &packed) ||
        !bytes_take_u32(rest, &size) || !bytes_take_u16(rest, &name_size) || !bytes_take_u16(rest, &extra_size) ||
        !bytes_take_u16(rest, &comment_size) || !skip(rest, 8) || !bytes_take_u32(rest, &local) ||
        !bytes_take(rest, name_size, &out->name) || !bytes_take(rest, extra_size, &extra) || !skip(rest, comment_size))
        return false;
    out->packed_bytes = packed;
    out->size_bytes = size;
    out->local_at = local;
    bool large = packed == in_zip64_32 || size == in_zip64_32 || local == in_zip64_32;
    return !large || read_zip64_extra(extra, out);
}

/* The content begins behind the local header, whose name must be the directory's. */
static bool find_content(bytes file, const central *entry, bytes *out)
{
    bytes rest, name;
    uint16_t name_size, extra_size;
    return bytes_range(file, entry->local_at, file.size, &rest) && take_signature(&rest, SIGNATURE_LOCAL) &&
           skip(&rest, 22) && bytes_take_u16(&rest, &name_size) && bytes_take_u16(&rest, &extra_size) &&
           bytes_take(&rest, name_size, &name) && name.size == entry->name.size &&
           (name.size == 0 || memcmp(name.at, entry->name.at, name.size) == 0) && skip(&rest, extra_size) &&
           bytes_take(&rest, entry->size_bytes, out);
}

static int shown(bytes name) { return name.size < 200 ? (int)name.size : 200; }

static finch_status read_entry(bytes file, const char *path, bytes *rest, zip_entry *out, finch_error *err)
{
    central entry = {0};
    if (!read_central(rest, &entry)) return damaged(path, "its directory is cut", err);
    if ((entry.flags & (FLAG_ENCRYPTED | FLAG_DEFLATED_NAMES)) != 0)
        return finch_fail(err, FINCH_E_UNSUPPORTED, "%s: the entry %.*s is encrypted; save the checkpoint again without",
                          path, shown(entry.name), (const char *)entry.name.at);
    if (entry.method != 0)
        return finch_fail(err, FINCH_E_UNSUPPORTED,
                          "%s: the entry %.*s is compressed (method %u); PyTorch stores entries as they are, so zip it "
                          "again without compression",
                          path, shown(entry.name), (const char *)entry.name.at, entry.method);
    out->name = entry.name;
    if (entry.packed_bytes != entry.size_bytes || !find_content(file, &entry, &out->content))
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
    directory where = {0};
    bytes rest, behind;
    zip_entry *entries;
    *out = (zip_archive){0};
    FINCH_TRY(find_directory(file, path, &where, err));
    if (!bytes_range(file, where.begin, file.size, &rest) || !bytes_range(rest, 0, where.size_bytes, &behind))
        return damaged(path, "its directory lies past the end", err);
    if (where.n_entries > ZIP_ENTRIES_MAX) return damaged(path, "its directory has too many entries", err);
    rest = behind;
    FINCH_TRY(ARENA_NEW(memory, &entries, (size_t)where.n_entries, err));
    for (size_t i = 0; i < where.n_entries; i++) FINCH_TRY(read_entry(file, path, &rest, &entries[i], err));
    return zip_index(entries, (size_t)where.n_entries, path, out, err);
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
