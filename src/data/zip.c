#include "data/zip.h"

#include "data/files.h"

#include <inttypes.h>
#include <string.h>
#include <zlib.h>

enum {
    STEP_BYTES = 1 << 16,
    END_BYTES = 22,
    COMMENT_MAX_BYTES = 65535,
    LOCATOR_BYTES = 20,
    STORED = 0,
    DEFLATED = 8,
    ZIP64_FIELD = 1
};
#define IN_ZIP64 UINT32_MAX /* the number stands in the extra field instead */

typedef struct member {
    bytes name;
    uint16_t flags, method;
    uint32_t crc;
    uint64_t packed, size, offset;
} member;

typedef struct archive {
    bytes content;
    const char *path;
} archive;

bool data_zip_is(bytes content) { return content.size >= 4 && memcmp(content.at, "PK\x03\x04", 4) == 0; }

static finch_status fail_broken(const archive *a, finch_error *err)
{
    return finch_fail(err, FINCH_E_DATA, "%s was cut or is no whole ZIP archive; copy or download it again", a->path);
}

static bool from(bytes whole, uint64_t begin, bytes *out) { return bytes_range(whole, begin, whole.size, out); }

static bool skip(bytes *rest, uint64_t n)
{
    bytes skipped;
    return bytes_take(rest, n, &skipped);
}

/* ---- the list of members ---- */

static bool find_end(bytes content, size_t *out)
{
    if (content.size < END_BYTES) return false;
    size_t last = content.size - END_BYTES, first = last > COMMENT_MAX_BYTES ? last - COMMENT_MAX_BYTES : 0;
    for (*out = last;; --*out) {
        if (memcmp(content.at + *out, "PK\x05\x06", 4) == 0) return true;
        if (*out == first) return false;
    }
}

/* Where the list is, from the record at the archive's end or from zip64's, which stands before. */
static bool find_list(bytes content, bytes *list, uint64_t *n)
{
    size_t end;
    bytes rest, wide;
    uint16_t n_short;
    uint32_t size, offset;
    uint64_t at, size_wide, offset_wide;
    if (!find_end(content, &end) || !from(content, end, &rest) || !skip(&rest, 10)) return false;
    if (!bytes_take_u16(&rest, &n_short) || !bytes_take_u32(&rest, &size) || !bytes_take_u32(&rest, &offset)) return false;
    *n = n_short;
    if (n_short != UINT16_MAX && size != IN_ZIP64 && offset != IN_ZIP64)
        return bytes_range(content, offset, (uint64_t)offset + size, list);
    if (end < LOCATOR_BYTES || !from(content, end - LOCATOR_BYTES, &rest) || memcmp(rest.at, "PK\x06\x07", 4) != 0)
        return false;
    if (!skip(&rest, 8) || !bytes_take_u64(&rest, &at) || !from(content, at, &wide)) return false;
    if (wide.size < 4 || memcmp(wide.at, "PK\x06\x06", 4) != 0 || !skip(&wide, 32)) return false;
    if (!bytes_take_u64(&wide, n) || !bytes_take_u64(&wide, &size_wide) || !bytes_take_u64(&wide, &offset_wide))
        return false;
    return size_wide <= content.size && bytes_range(content, offset_wide, offset_wide + size_wide, list);
}

static bool take_wide(bytes extra, uint64_t *const *numbers, size_t n)
{
    uint16_t kind, size;
    bytes field;
    while (bytes_take_u16(&extra, &kind) && bytes_take_u16(&extra, &size) && bytes_take(&extra, size, &field)) {
        if (kind != ZIP64_FIELD) continue;
        for (size_t i = 0; i < n; i++)
            if (!bytes_take_u64(&field, numbers[i])) return false;
        return true;
    }
    return n == 0;
}

static bool take_member(bytes *list, member *out)
{
    uint16_t name_size, extra_size, comment_size;
    uint32_t packed, size, offset;
    bytes extra;
    *out = (member){0};
    if (list->size < 4 || memcmp(list->at, "PK\x01\x02", 4) != 0 || !skip(list, 8)) return false;
    if (!bytes_take_u16(list, &out->flags) || !bytes_take_u16(list, &out->method) || !skip(list, 4)) return false;
    if (!bytes_take_u32(list, &out->crc) || !bytes_take_u32(list, &packed) || !bytes_take_u32(list, &size)) return false;
    if (!bytes_take_u16(list, &name_size) || !bytes_take_u16(list, &extra_size) || !bytes_take_u16(list, &comment_size))
        return false;
    if (!skip(list, 8) || !bytes_take_u32(list, &offset) || !bytes_take(list, name_size, &out->name)) return false;
    if (!bytes_take(list, extra_size, &extra) || !skip(list, comment_size)) return false;
    uint64_t *wide[3];
    size_t n = 0;
    out->packed = packed, out->size = size, out->offset = offset;
    if (size == IN_ZIP64) wide[n++] = &out->size;
    if (packed == IN_ZIP64) wide[n++] = &out->packed;
    if (offset == IN_ZIP64) wide[n++] = &out->offset;
    return take_wide(extra, wide, n);
}

/* A table by its name, and no file that an operating system leaves behind. */
static finch_status is_table(const member *m, bool *out, finch_error *err)
{
    data_kind kind;
    str name = {0};
    FINCH_TRY(str_add(&name, (const char *)m->name.at, m->name.size, err));
    const char *slash = name.at != NULL ? strrchr(name.at, '/') : NULL, *base = slash != NULL ? slash + 1 : name.at;
    *out = base != NULL && base[0] != '.' && strncmp(name.at, "__MACOSX/", 9) != 0 && data_kind_of_path(base, &kind);
    str_free(&name);
    return FINCH_OK;
}

static finch_status find_table(const archive *a, member *out, finch_error *err)
{
    bytes list;
    uint64_t n, n_tables = 0;
    if (!find_list(a->content, &list, &n)) return fail_broken(a, err);
    for (uint64_t i = 0; i < n; i++) {
        member m;
        bool table;
        if (!take_member(&list, &m)) return fail_broken(a, err);
        FINCH_TRY(is_table(&m, &table, err));
        if (table && n_tables++ > 0)
            return finch_fail(err, FINCH_E_DATA,
                              "%s holds several tables, %.*s and %.*s among them; unpack it and name the files", a->path,
                              (int)out->name.size, (const char *)out->name.at, (int)m.name.size, (const char *)m.name.at);
        if (table) *out = m;
    }
    if (n_tables > 0) return FINCH_OK;
    return finch_fail(err, FINCH_E_DATA, "%s holds no table: no member of it ends in .csv, .tsv, .jsonl, .json or .parquet",
                      a->path);
}

/* ---- one member ---- */

static finch_status find_content(const archive *a, const member *m, bytes *out, finch_error *err)
{
    uint16_t name_size, extra_size;
    bytes rest;
    bool there = from(a->content, m->offset, &rest) && data_zip_is(rest) && skip(&rest, 26) &&
                 bytes_take_u16(&rest, &name_size) && bytes_take_u16(&rest, &extra_size) &&
                 skip(&rest, (uint64_t)name_size + extra_size) && bytes_take(&rest, m->packed, out);
    return there ? FINCH_OK : fail_broken(a, err);
}

typedef struct unpacking {
    const archive *a;
    const member *m;
    data_spool *out;
    const progress *watch;
    uint64_t n;
    uLong crc;
} unpacking;

static finch_status put(unpacking *u, const unsigned char *at, size_t size, finch_error *err)
{
    if (size > u->m->size - u->n) return fail_broken(u->a, err); /* more than it says */
    u->n += size;
    u->crc = crc32(u->crc, at, (uInt)size);
    if (!progress_report(u->watch, 0, 0, NULL)) return finch_fail(err, FINCH_E_CANCELLED, "interrupted");
    return data_spool_add(u->out, (const char *)at, size, err);
}

static finch_status copy_stored(unpacking *u, bytes packed, finch_error *err)
{
    while (packed.size > 0) {
        size_t n = size_least(packed.size, STEP_BYTES);
        FINCH_TRY(put(u, packed.at, n, err));
        packed = (bytes){packed.at + n, packed.size - n};
    }
    return FINCH_OK;
}

static finch_status inflate_all(unpacking *u, z_stream *z, bytes packed, unsigned char *plain, finch_error *err)
{
    int code = Z_OK;
    while (code != Z_STREAM_END) {
        size_t n = size_least(packed.size, STEP_BYTES);
        z->next_in = (Bytef *)(uintptr_t)packed.at;
        z->avail_in = (uInt)n;
        z->next_out = plain;
        z->avail_out = STEP_BYTES;
        code = inflate(z, Z_NO_FLUSH);
        n -= z->avail_in;
        packed = (bytes){packed.at + n, packed.size - n};
        if (code == Z_MEM_ERROR) return finch_fail(err, FINCH_E_MEMORY, "%s: out of memory for inflating", u->a->path);
        if (code != Z_OK && code != Z_STREAM_END) return fail_broken(u->a, err);
        FINCH_TRY(put(u, plain, STEP_BYTES - z->avail_out, err));
    }
    return FINCH_OK;
}

static finch_status inflate_packed(unpacking *u, bytes packed, finch_error *err)
{
    z_stream z = {0};
    unsigned char *plain;
    FINCH_TRY(mem_alloc(STEP_BYTES, 1, (void **)&plain, err));
    finch_status st = inflateInit2(&z, -15) == Z_OK /* no header of its own */
                          ? FINCH_OK
                          : finch_fail(err, FINCH_E_MEMORY, "%s: out of memory for inflating", u->a->path);
    if (st == FINCH_OK) {
        st = inflate_all(u, &z, packed, plain, err);
        inflateEnd(&z);
    }
    mem_free(plain);
    return st;
}

finch_status data_zip_unpack(bytes content, const char *path, const progress *watch, str *name, data_spool *out,
                             finch_error *err)
{
    archive a = {content, path};
    member m;
    bytes packed;
    FINCH_TRY(find_table(&a, &m, err));
    FINCH_TRY(str_add(name, (const char *)m.name.at, m.name.size, err));
    if ((m.flags & 1) != 0 || (m.method != STORED && m.method != DEFLATED))
        return finch_fail(err, FINCH_E_UNSUPPORTED, "%s: %s is %s; unpack it first", path, name->at,
                          (m.flags & 1) != 0 ? "encrypted" : "packed in another way than zip's usual one");
    FINCH_TRY(find_content(&a, &m, &packed, err));
    unpacking u = {&a, &m, out, watch, 0, crc32(0, NULL, 0)};
    FINCH_TRY(data_spool_open(out, err));
    FINCH_TRY(m.method == STORED ? copy_stored(&u, packed, err) : inflate_packed(&u, packed, err));
    if (u.n != m.size || u.crc != m.crc) return fail_broken(&a, err);
    return data_spool_flush(out, err);
}
