#include "data/zip.h"

#include "base/zip_directory.h"
#include "data/files.h"

#include <inttypes.h>
#include <string.h>
#include <zlib.h>

enum {
    STEP_BYTES = 1 << 16,
    DEFLATE_RATIO_MAX = 1032, /* 258 bytes of two bits: zlib's technical details, "Maximum Compression Factor" */
};

typedef struct archive {
    bytes content;
    const char *path;
} archive;

bool data_zip_is(bytes content) { return content.size >= 4 && memcmp(content.at, "PK\x03\x04", 4) == 0; }

static finch_status fail_broken(const archive *a, finch_error *err)
{
    return finch_fail(err, FINCH_E_DATA, "%s was cut or is no whole ZIP archive; copy or download it again", a->path);
}

/* A table by its name, and no file that an operating system leaves behind. */
static finch_status is_table(const zip_member *m, bool *out, finch_error *err)
{
    data_kind kind;
    str name = {0};
    FINCH_TRY(str_add(&name, (const char *)m->name.at, m->name.size, err));
    const char *slash = name.at != NULL ? strrchr(name.at, '/') : NULL, *base = slash != NULL ? slash + 1 : name.at;
    *out = base != NULL && base[0] != '.' && strncmp(name.at, "__MACOSX/", 9) != 0 && data_kind_of_path(base, &kind);
    str_free(&name);
    return FINCH_OK;
}

static finch_status find_table(const archive *a, zip_member *out, finch_error *err)
{
    zip_directory directory;
    uint64_t n_tables = 0;
    if (zip_directory_find(a->content, &directory) != NULL) return fail_broken(a, err);
    for (uint64_t i = 0; i < directory.n_members; i++) {
        zip_member m;
        bool table;
        if (zip_directory_next(&directory, &m) != NULL) return fail_broken(a, err);
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

typedef struct unpacking {
    const archive *a;
    const zip_member *m;
    data_spool *out;
    const progress *watch;
    uint64_t n;
    uLong crc;
} unpacking;

static finch_status put(unpacking *u, const unsigned char *at, size_t size, finch_error *err)
{
    if (size > u->m->size_bytes - u->n) return fail_broken(u->a, err); /* more than it says */
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

/* Before the first byte is written: a size that the packed bytes can not have, and one for which the disk has no room. */
static finch_status check_size(const archive *a, const zip_member *m, bytes packed, const data_spool *out, finch_error *err)
{
    bool possible = m->method == ZIP_STORED ? m->size_bytes == packed.size
                                            : m->size_bytes / DEFLATE_RATIO_MAX <= packed.size;
    return possible ? data_spool_need(out, m->size_bytes, a->path, err) : fail_broken(a, err);
}

finch_status data_zip_unpack(bytes content, const char *path, const progress *watch, str *name, data_spool *out,
                             finch_error *err)
{
    archive a = {content, path};
    zip_member m;
    bytes packed;
    FINCH_TRY(find_table(&a, &m, err));
    FINCH_TRY(str_add(name, (const char *)m.name.at, m.name.size, err));
    if ((m.flags & ZIP_ENCRYPTED) != 0 || (m.method != ZIP_STORED && m.method != ZIP_DEFLATED))
        return finch_fail(err, FINCH_E_UNSUPPORTED, "%s: %s is %s; unpack it first", path, name->at,
                          (m.flags & ZIP_ENCRYPTED) != 0 ? "encrypted" : "packed in another way than zip's usual one");
    if (!zip_member_content(content, &m, &packed)) return fail_broken(&a, err);
    unpacking u = {&a, &m, out, watch, 0, crc32(0, NULL, 0)};
    FINCH_TRY(data_spool_open(out, err));
    FINCH_TRY(check_size(&a, &m, packed, out, err));
    FINCH_TRY(m.method == ZIP_STORED ? copy_stored(&u, packed, err) : inflate_packed(&u, packed, err));
    if (u.n != m.size_bytes || u.crc != m.crc) return fail_broken(&a, err);
    return data_spool_flush(out, err);
}
