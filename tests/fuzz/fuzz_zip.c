/* The input is a ZIP archive that should hold one table; corpus: make_zip_corpus.py. Chance finds no CRC, so each input is read as it is and
 * once more with the size and the CRC of its table put right by an inflating of our own. What data/zip.h promises:
 * 1. What is unpacked is what that inflating gives, to the byte, and one that is right is read.
 * 2. With a size or a CRC that lies by one it is refused.
 * 3. No more is written than the directory says, and nothing where deflate can not make that of the input.
 * What came out is then opened as the readers open it, up to READ_BYTES_MAX: gzip in an archive may grow a second time. */
#include "base/file.h"
#include "base/mem.h"
#include "base/zip_directory.h"
#include "data/files.h"
#include "data/stream.h"
#include "data/zip.h"
#include "fuzz_file.h"

#include <string.h>
#include <zlib.h>

enum {
    DEFLATE_RATIO_MAX = 1032,
    PLAIN_BYTES_MAX = 1 << 20,
    READ_BYTES_MAX = 1 << 20,
    CENTRAL_NAME = 46,
    CENTRAL_CRC = 16,
    CENTRAL_SIZE = 24
};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void need(bool holds)
{
    if (!holds) abort();
}

/* ---- what came out, opened ---- */

static void read_on(const str *name, const data_spool *content)
{
    data_file file;
    data_stream *stream;
    bytes piece = {NULL, 1};
    if (data_file_inspect_unpacked("fuzz.zip", name->at, content->path, &file, NULL) != FINCH_OK) return;
    if (file.kind.format == DATA_PARQUET) return;
    need(data_stream_open(&file, &stream, NULL) == FINCH_OK);
    for (size_t n = 0; piece.size > 0 && n < READ_BYTES_MAX; n += piece.size)
        if (data_stream_next(stream, &piece, NULL) != FINCH_OK) break;
    data_stream_close(stream);
}

static bool holds(const data_spool *s, bytes wanted)
{
    file_map map;
    if (s->n_written != wanted.size) return false;
    if (wanted.size == 0) return true;
    need(file_map_open(s->path, &map, NULL) == FINCH_OK);
    bool same = memcmp(map.content.at, wanted.at, wanted.size) == 0;
    file_map_close(&map);
    return same;
}

static bool is_table(const zip_member *m)
{
    char name[256];
    data_kind kind;
    if (m->name.size >= sizeof name) return false;
    memcpy(name, m->name.at, m->name.size);
    name[m->name.size] = '\0';
    const char *slash = strrchr(name, '/'), *base = slash != NULL ? slash + 1 : name;
    return base[0] != '.' && strncmp(name, "__MACOSX/", 9) != 0 && data_kind_of_path(base, &kind);
}

/* The archive's only table, where all else about it is as it should be. */
static bool find_only_table(bytes archive, zip_member *out)
{
    zip_directory directory;
    zip_member m;
    size_t n = 0;
    if (zip_directory_find(archive, &directory) != NULL) return false;
    for (uint64_t i = 0; i < directory.n_members; i++) {
        if (zip_directory_next(&directory, &m) != NULL) return false;
        if (is_table(&m) && n++ == 0) *out = m;
    }
    return n == 1 && (out->flags & ZIP_ENCRYPTED) == 0 && (out->method == ZIP_STORED || out->method == ZIP_DEFLATED);
}

static void check_written(bytes archive, uint64_t n)
{
    zip_member m;
    need(n <= archive.size * DEFLATE_RATIO_MAX);
    if (n == 0 || !find_only_table(archive, &m)) return;
    need(n <= m.size_bytes && m.size_bytes <= archive.size * DEFLATE_RATIO_MAX);
}

/* wanted at NULL: not known. */
static finch_status unpack(bytes archive, bytes wanted)
{
    str name = {0};
    data_spool out = {0};
    finch_error err = {0};
    finch_status st = data_zip_unpack(archive, "fuzz.zip", NULL, &name, &out, &err);
    need(st == FINCH_OK || err.message[0] != '\0');
    check_written(archive, out.n_written + out.n_buffered);
    if (st == FINCH_OK && wanted.at != NULL) need(holds(&out, wanted));
    if (st == FINCH_OK) read_on(&name, &out);
    data_spool_close(&out);
    str_free(&name);
    return st;
}

/* ---- an archive put right ---- */

/* In one piece; false where the bytes are no whole stream, or one of more than there is room for. */
static bool inflate_at_once(bytes packed, unsigned char *room, size_t *size)
{
    z_stream z = {0};
    z.next_in = (Bytef *)(uintptr_t)packed.at;
    z.avail_in = (uInt)packed.size;
    z.next_out = room;
    z.avail_out = PLAIN_BYTES_MAX;
    need(inflateInit2(&z, -15) == Z_OK);
    int code = inflate(&z, Z_FINISH);
    *size = PLAIN_BYTES_MAX - z.avail_out;
    inflateEnd(&z);
    return code == Z_STREAM_END;
}

static void put_u32(unsigned char *at, uint32_t value)
{
    for (int i = 0; i < 4; i++) at[i] = (unsigned char)(value >> 8 * i);
}

static void try_put_right(bytes archive, unsigned char *copy, unsigned char *room)
{
    zip_member m;
    bytes packed;
    if (!find_only_table(archive, &m) || !zip_member_content(archive, &m, &packed)) return;
    size_t central = (size_t)(m.name.at - archive.at) - CENTRAL_NAME;
    bytes plain = packed;
    if (m.method == ZIP_DEFLATED) {
        plain.at = room;
        if (!inflate_at_once(packed, room, &plain.size)) return;
    }
    memcpy(copy, archive.at, archive.size);
    uint32_t crc = (uint32_t)crc32(0, plain.at, (uInt)plain.size), size = (uint32_t)plain.size;
    put_u32(copy + central + CENTRAL_CRC, crc);
    put_u32(copy + central + CENTRAL_SIZE, size);
    bytes mended = {copy, archive.size};
    zip_member again; /* what was written must be what the directory says, not lie under another record of it */
    if (!find_only_table(mended, &again) || again.crc != crc || again.size_bytes != size ||
        again.packed_bytes != m.packed_bytes || again.local_at != m.local_at)
        return;
    bytes moved;
    if (!zip_member_content(mended, &again, &moved)) return;
    if (m.method == ZIP_STORED) plain = moved; /* both lie in the copy now */
    if (memcmp(moved.at, packed.at, packed.size) != 0) return;
    need(unpack(mended, plain) == FINCH_OK);
    put_u32(copy + central + CENTRAL_CRC, crc ^ 1);
    need(unpack(mended, (bytes){0}) != FINCH_OK);
    put_u32(copy + central + CENTRAL_CRC, crc);
    for (int by = -1; by <= 1; by += 2) {
        put_u32(copy + central + CENTRAL_SIZE, size + (uint32_t)by);
        if (find_only_table(mended, &again)) need(again.size_bytes == size || unpack(mended, (bytes){0}) != FINCH_OK);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    int64_t live = mem_count().live;
    bytes archive = {data, size};
    unsigned char *copy, *room;
    if (size > 1 << 20) return 0;
    fuzz_write_file("unused", data, 0); /* names the folder for temporary files */
    need(mem_alloc(size + 1, 1, (void **)&copy, NULL) == FINCH_OK);
    need(mem_alloc(PLAIN_BYTES_MAX, 1, (void **)&room, NULL) == FINCH_OK);
    unpack(archive, (bytes){0});
    try_put_right(archive, copy, room);
    mem_free(copy);
    mem_free(room);
    need(mem_count().live == live);
    return 0;
}
