#include "base/zip_directory.h"

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
    EXTRA_ZIP64 = 1
};

static const uint32_t in_zip64_32 = 0xffffffffu;
static const uint16_t in_zip64_16 = 0xffffu;

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

/* Where the list lies by its own account. */
typedef struct place {
    uint64_t begin, size_bytes, n_members;
} place;

/* The zip64 end record, which a locator right before the end record points to. */
static const char *read_end64(bytes file, size_t end_at, place *out)
{
    bytes rest;
    uint64_t at;
    if (end_at < LOCATOR64_BYTES) return "its zip64 locator is missing";
    if (!bytes_range(file, end_at - LOCATOR64_BYTES, end_at, &rest) || !take_signature(&rest, SIGNATURE_LOCATOR64) ||
        !skip(&rest, 4) || !bytes_take_u64(&rest, &at))
        return "its zip64 locator is missing";
    if (!bytes_range(file, at, end_at, &rest) || !take_signature(&rest, SIGNATURE_END64) || !skip(&rest, 28) ||
        !bytes_take_u64(&rest, &out->n_members) || !bytes_take_u64(&rest, &out->size_bytes) ||
        !bytes_take_u64(&rest, &out->begin))
        return "its zip64 end record is not where the locator says";
    return NULL;
}

static const char *read_end(bytes file, place *out)
{
    size_t end_at = 0;
    uint16_t n_members = 0;
    uint32_t size = 0, begin = 0;
    if (!find_end(file, &end_at)) return "it has no end record";
    bytes rest = {file.at + end_at, file.size - end_at};
    if (!skip(&rest, 10) || !bytes_take_u16(&rest, &n_members) || !bytes_take_u32(&rest, &size) ||
        !bytes_take_u32(&rest, &begin))
        return "its end record is cut";
    *out = (place){.begin = begin, .size_bytes = size, .n_members = n_members};
    bool wide = n_members == in_zip64_16 || size == in_zip64_32 || begin == in_zip64_32;
    return wide ? read_end64(file, end_at, out) : NULL;
}

const char *zip_directory_find(bytes file, zip_directory *out)
{
    place where = {0};
    bytes rest;
    *out = (zip_directory){0};
    const char *wrong = read_end(file, &where);
    if (wrong != NULL) return wrong;
    if (!bytes_range(file, where.begin, file.size, &rest) || !bytes_range(rest, 0, where.size_bytes, &out->rest))
        return "its directory lies past the end";
    out->n_members = where.n_members;
    return NULL;
}

/* ---- one member ------------------------------------------------------------------------------------------------- */

/* Sizes and the offset that do not fit 32 bits stand in an extra field, those and only those, in this order. */
static bool read_zip64_extra(bytes extra, zip_member *entry)
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

static bool read_central(bytes *rest, zip_member *out)
{
    uint16_t name_size, extra_size, comment_size;
    uint32_t packed, size, local;
    bytes extra;
    if (!take_signature(rest, SIGNATURE_CENTRAL) || !skip(rest, 4) || !bytes_take_u16(rest, &out->flags) ||
        !bytes_take_u16(rest, &out->method) || !skip(rest, 4) || !bytes_take_u32(rest, &out->crc) ||
        !bytes_take_u32(rest, &packed) || !bytes_take_u32(rest, &size) || !bytes_take_u16(rest, &name_size) ||
        !bytes_take_u16(rest, &extra_size) || !bytes_take_u16(rest, &comment_size) || !skip(rest, 8) ||
        !bytes_take_u32(rest, &local) || !bytes_take(rest, name_size, &out->name) || !bytes_take(rest, extra_size, &extra) ||
        !skip(rest, comment_size))
        return false;
    out->packed_bytes = packed;
    out->size_bytes = size;
    out->local_at = local;
    bool large = packed == in_zip64_32 || size == in_zip64_32 || local == in_zip64_32;
    return !large || read_zip64_extra(extra, out);
}

const char *zip_directory_next(zip_directory *d, zip_member *out)
{
    *out = (zip_member){0};
    return read_central(&d->rest, out) ? NULL : "its directory is cut";
}

bool zip_member_content(bytes file, const zip_member *member, bytes *out)
{
    bytes rest, name;
    uint16_t name_size, extra_size;
    return bytes_range(file, member->local_at, file.size, &rest) && take_signature(&rest, SIGNATURE_LOCAL) &&
           skip(&rest, 22) && bytes_take_u16(&rest, &name_size) && bytes_take_u16(&rest, &extra_size) &&
           bytes_take(&rest, name_size, &name) && name.size == member->name.size &&
           (name.size == 0 || memcmp(name.at, member->name.at, name.size) == 0) && skip(&rest, extra_size) &&
           bytes_take(&rest, member->packed_bytes, out);
}
