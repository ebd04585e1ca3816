#include "data/stream.h"

#include "base/file.h"

#include <errno.h>
#include <iconv.h>
#include <string.h>
#include <zlib.h>
#include <zstd.h>

enum { STEP_BYTES = 1 << 16, DECODED_MAX_BYTES = STEP_BYTES * 2, FORGET_BYTES = 8 << 20 };

struct data_stream {
    const data_file *file;
    file_map map;
    bytes rest;           /* of the file */
    z_stream inflater;
    bool inflating;       /* inflater is to be ended */
    ZSTD_DStream *zstd;
    bool whole;           /* the compressed data read so far end where a member or frame ends */
    iconv_t decoder;
    bool decoding;        /* decoder is to be closed */
    bool begun;           /* a piece was given: no byte order mark any more */
    unsigned char *plain;   /* [STEP_BYTES] inflated */
    unsigned char *decoded; /* [DECODED_MAX_BYTES] */
    unsigned char carry[4]; /* the bytes of a character that the last piece cut */
    size_t n_carry;
};

static void *zlib_alloc(void *context, unsigned n, unsigned size)
{
    void *block;
    (void)context;
    return mem_alloc(n, size, &block, NULL) == FINCH_OK ? block : NULL;
}

static void zlib_free(void *context, void *block)
{
    (void)context;
    mem_free(block);
}

static void rewind_decoders(data_stream *s)
{
    s->rest = s->map.content;
    s->whole = s->file->kind.compression == DATA_PLAIN;
    s->begun = false;
    s->n_carry = 0;
    if (s->inflating) inflateReset(&s->inflater);
    if (s->zstd != NULL) ZSTD_initDStream(s->zstd);
    if (s->decoding) iconv(s->decoder, NULL, NULL, NULL, NULL);
}

static finch_status open_decoders(data_stream *s, finch_error *err)
{
    const char *path = s->file->path;
    if (s->file->kind.compression == DATA_GZIP) {
        s->inflater = (z_stream){.zalloc = zlib_alloc, .zfree = zlib_free};
        s->inflating = inflateInit2(&s->inflater, 15 + 16) == Z_OK; /* 16: gzip's header and trailer */
        if (!s->inflating) return finch_fail(err, FINCH_E_MEMORY, "%s: out of memory for inflating", path);
    }
    if (s->file->kind.compression == DATA_ZSTD) {
        s->zstd = ZSTD_createDStream();
        if (s->zstd == NULL) return finch_fail(err, FINCH_E_MEMORY, "%s: out of memory for decompressing", path);
    }
    if (strcmp(s->file->encoding, "utf-16") == 0) {
        s->decoder = iconv_open("UTF-8", "UTF-16");
        s->decoding = s->decoder != (iconv_t)-1; /* NOLINT: the standard's own failure value */
        if (!s->decoding)
            return finch_fail(err, FINCH_E_UNSUPPORTED, "%s is UTF-16, which this system can not decode; save it as UTF-8",
                              path);
    }
    return FINCH_OK;
}

finch_status data_stream_open(const data_file *file, data_stream **out, finch_error *err)
{
    data_stream *s = NULL;
    finch_status st = FINCH_OK;
    *out = NULL;
    FINCH_GO(done, st, MEM_NEW(&s, 1, err));
    s->file = file;
    FINCH_GO(done, st, file_map_open(data_file_content(file), &s->map, err));
    FINCH_GO(done, st, mem_alloc(STEP_BYTES, 1, (void **)&s->plain, err));
    FINCH_GO(done, st, mem_alloc(DECODED_MAX_BYTES, 1, (void **)&s->decoded, err));
    FINCH_GO(done, st, open_decoders(s, err));
    rewind_decoders(s);
done:
    if (st == FINCH_OK) *out = s;
    else data_stream_close(s);
    return st;
}

void data_stream_close(data_stream *s)
{
    if (s == NULL) return;
    if (s->inflating) inflateEnd(&s->inflater);
    ZSTD_freeDStream(s->zstd);
    if (s->decoding) iconv_close(s->decoder);
    file_map_close(&s->map);
    mem_free(s->plain);
    mem_free(s->decoded);
    mem_free(s);
}

static finch_status fail_cut(const data_stream *s, finch_error *err)
{
    return finch_fail(err, FINCH_E_DATA, "%s was cut: its compressed data end too early; copy or download it again",
                      s->file->path);
}

static finch_status fail_broken(const data_stream *s, const char *kind, finch_error *err)
{
    return finch_fail(err, FINCH_E_DATA,
                      "%s: its compressed data are broken (or no %s) near byte %zu; copy or download it again",
                      s->file->path, kind, s->map.content.size - s->rest.size);
}

static bytes step_of(bytes rest) { return (bytes){rest.at, rest.size < STEP_BYTES ? rest.size : STEP_BYTES}; }

static void advance(data_stream *s, size_t n)
{
    size_t before = s->map.content.size - s->rest.size;
    s->rest = (bytes){s->rest.at + n, s->rest.size - n};
    if (before / FORGET_BYTES != (before + n) / FORGET_BYTES) file_map_forget(&s->map, before); /* the piece at hand stays */
}

static finch_status next_gzip(data_stream *s, bytes *out, finch_error *err)
{
    *out = (bytes){s->plain, 0};
    while (out->size == 0 && !(s->whole && s->rest.size == 0)) {
        if (s->whole) inflateReset(&s->inflater); /* another member follows */
        bytes step = step_of(s->rest);
        s->inflater.next_in = (Bytef *)(uintptr_t)step.at;
        s->inflater.avail_in = (uInt)step.size;
        s->inflater.next_out = s->plain;
        s->inflater.avail_out = STEP_BYTES;
        int code = inflate(&s->inflater, Z_NO_FLUSH);
        advance(s, step.size - s->inflater.avail_in);
        out->size = STEP_BYTES - s->inflater.avail_out;
        s->whole = code == Z_STREAM_END;
        if (code == Z_MEM_ERROR) return finch_fail(err, FINCH_E_MEMORY, "%s: out of memory for inflating", s->file->path);
        if (code == Z_BUF_ERROR) return fail_cut(s, err); /* no progress: nothing is left to read */
        if (code != Z_OK && code != Z_STREAM_END) return fail_broken(s, "gzip file", err);
    }
    return FINCH_OK;
}

static finch_status next_zstd(data_stream *s, bytes *out, finch_error *err)
{
    *out = (bytes){s->plain, 0};
    while (out->size == 0 && !(s->whole && s->rest.size == 0)) {
        bytes step = step_of(s->rest);
        ZSTD_inBuffer input = {step.at, step.size, 0};
        ZSTD_outBuffer output = {s->plain, STEP_BYTES, 0};
        size_t code = ZSTD_decompressStream(s->zstd, &output, &input);
        if (ZSTD_isError(code)) return fail_broken(s, "zstd file", err);
        advance(s, input.pos);
        out->size = output.pos;
        s->whole = code == 0;
        if (output.pos == 0 && input.pos == 0 && !s->whole) return fail_cut(s, err);
    }
    return FINCH_OK;
}

static finch_status next_plain(data_stream *s, bytes *out, finch_error *err)
{
    if (s->file->kind.compression == DATA_GZIP) return next_gzip(s, out, err);
    if (s->file->kind.compression == DATA_ZSTD) return next_zstd(s, out, err);
    *out = step_of(s->rest);
    advance(s, out->size);
    return FINCH_OK;
}

/* UTF-16 to UTF-8: two bytes become at most three. What is left of a cut character waits in carry. */
static finch_status decode(data_stream *s, bytes piece, bytes *out, finch_error *err)
{
    char joined[STEP_BYTES + sizeof s->carry];
    memcpy(joined, s->carry, s->n_carry);
    memcpy(joined + s->n_carry, piece.at, piece.size);
    char *from = joined, *to = (char *)s->decoded;
    size_t left = s->n_carry + piece.size, room = DECODED_MAX_BYTES;
    size_t code = iconv(s->decoder, &from, &left, &to, &room);
    bool cut = code == (size_t)-1 && errno == EINVAL && left <= sizeof s->carry && s->rest.size > 0;
    if (code == (size_t)-1 && !cut)
        return finch_fail(err, FINCH_E_DATA, "%s begins as UTF-16 but is none near byte %zu; save it as UTF-8",
                          s->file->path, s->map.content.size - s->rest.size - left);
    memcpy(s->carry, from, left);
    s->n_carry = left;
    *out = (bytes){s->decoded, DECODED_MAX_BYTES - room};
    return FINCH_OK;
}

finch_status data_stream_next(data_stream *s, bytes *out, finch_error *err)
{
    FINCH_TRY(next_plain(s, out, err));
    if (s->decoding && out->size > 0) FINCH_TRY(decode(s, *out, out, err));
    if (!s->begun && out->size >= 3 && memcmp(out->at, "\xEF\xBB\xBF", 3) == 0) *out = (bytes){out->at + 3, out->size - 3};
    s->begun = true;
    return FINCH_OK;
}

finch_status data_stream_head(data_stream *s, size_t limit_bytes, str *out, finch_error *err)
{
    bytes piece = {NULL, 1};
    size_t begin = out->size;
    finch_status st = FINCH_OK;
    while (st == FINCH_OK && piece.size > 0 && out->size - begin < limit_bytes) {
        st = data_stream_next(s, &piece, err);
        if (st == FINCH_OK) st = str_add(out, (const char *)piece.at, piece.size, err);
    }
    rewind_decoders(s);
    if (st != FINCH_OK) return st;
    if (piece.size == 0) return out->size > begin && out->at[out->size - 1] != '\n' ? str_add(out, "\n", 1, err) : FINCH_OK;
    size_t end = out->size; /* back to the last whole line, where there is one */
    while (end > begin && out->at[end - 1] != '\n') end--;
    if (end > begin) out->size = end;
    return FINCH_OK;
}
