#define _GNU_SOURCE 1 /* sync_file_range */
#include "data/hub_blob.h"

#include "base/fault.h"
#include "base/file.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define MAGIC "finchpt1"

enum {
    MAGIC_BYTES = 8,
    PARTS_MOST = 1 << 16,
    PIECE_BYTES = 1 << 18,
    STATELESS_BYTES = 64 << 10,
    STATE_EVERY_BYTES = 1 << 20,
    FLUSH_EVERY_BYTES = 8 << 20
};

static finch_status fail_errno(const hub_blob *blob, const char *doing, finch_error *err)
{
    int code = errno;
    char text[128];
    const char *remedy = "";
    if (code == ENOSPC || code == EDQUOT)
        remedy =
            "; free some space or set HF_HUB_CACHE to a folder on another disk, and run the command again: it goes on there";
    if (code == EACCES || code == EPERM || code == EROFS)
        remedy = "; check the folder's permissions or set HF_HUB_CACHE to one of your own";
    if (strerror_r(code, text, sizeof text) != 0) text[0] = '\0';
    return finch_fail(err, FINCH_E_IO, "%s: %s failed: %s%s", blob->path.at, doing, text, remedy);
}

/* ---- the unfinished file ---- */

/* Small contents keep no state: they are fetched again sooner than asked about. */
static bool keeps_state(const hub_blob *blob) { return blob->file->size > STATELESS_BYTES; }

static uint64_t state_at(const hub_blob *blob, size_t part)
{
    return blob->file->size + MAGIC_BYTES + 8 + (uint64_t)part * 8;
}

static finch_status put(hub_blob *blob, const void *data, size_t size, uint64_t at, finch_error *err)
{
    for (size_t done = 0; done < size;) {
        ssize_t n = fault_hit(FAULT_WRITE)
                        ? (errno = ENOSPC, -1)
                        : pwrite(blob->descriptor, (const char *)data + done, size - done, (off_t)(at + done));
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) return fail_errno(blob, "writing", err);
        done += (size_t)n;
    }
    return FINCH_OK;
}

/* Fewer bytes than size only at the file's end. */
static finch_status get(hub_blob *blob, void *data, size_t size, uint64_t at, size_t *got, finch_error *err)
{
    for (*got = 0; *got < size;) {
        ssize_t n = fault_hit(FAULT_READ) ? (errno = EIO, -1)
                                          : pread(blob->descriptor, (char *)data + *got, size - *got, (off_t)(at + *got));
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) return fail_errno(blob, "reading", err);
        if (n == 0) break;
        *got += (size_t)n;
    }
    return FINCH_OK;
}

static finch_status make_parts(hub_blob *blob, uint64_t part_bytes, finch_error *err)
{
    uint64_t size = blob->file->size;
    if (part_bytes == 0) part_bytes = 1;
    if (size / part_bytes >= PARTS_MOST) part_bytes = size / PARTS_MOST + 1;
    size_t n = size == 0 ? 1 : (size_t)((size - 1) / part_bytes + 1);
    mem_free(blob->parts);
    blob->parts = NULL;
    blob->n_parts = 0;
    FINCH_TRY(MEM_NEW(&blob->parts, n, err));
    for (size_t i = 0; i < n; i++) {
        uint64_t begin = (uint64_t)i * part_bytes, left = size - begin;
        blob->parts[i] = (hub_part){.begin = begin, .end = begin + (left < part_bytes ? left : part_bytes)};
    }
    blob->n_parts = n;
    blob->part_bytes = part_bytes;
    return FINCH_OK;
}

static finch_status write_state(hub_blob *blob, finch_error *err)
{
    if (!keeps_state(blob)) return FINCH_OK;
    unsigned char head[MAGIC_BYTES + 8];
    memcpy(head, MAGIC, MAGIC_BYTES);
    memcpy(head + MAGIC_BYTES, &blob->part_bytes, 8);
    for (size_t i = 0; i < blob->n_parts; i++) FINCH_TRY(put(blob, &blob->parts[i].done, 8, state_at(blob, i), err));
    return put(blob, head, sizeof head, blob->file->size, err); /* last: without it nothing counts */
}

/* What an earlier run reached; *taken is false where the file holds nothing that can be gone on with. */
static finch_status read_state(hub_blob *blob, uint64_t file_size, bool *taken, finch_error *err)
{
    unsigned char head[MAGIC_BYTES + 8];
    uint64_t part_bytes;
    size_t got;
    *taken = false;
    if (file_size == blob->file->size && file_size > 0) {
        for (size_t i = 0; i < blob->n_parts; i++) blob->parts[i].done = blob->parts[i].end - blob->parts[i].begin;
        *taken = true;
        return FINCH_OK;
    }
    if (!keeps_state(blob)) return FINCH_OK;
    FINCH_TRY(get(blob, head, sizeof head, blob->file->size, &got, err));
    if (got < sizeof head || memcmp(head, MAGIC, MAGIC_BYTES) != 0) return FINCH_OK;
    memcpy(&part_bytes, head + MAGIC_BYTES, 8);
    if (part_bytes == 0 || blob->file->size / part_bytes >= PARTS_MOST) return FINCH_OK;
    FINCH_TRY(make_parts(blob, part_bytes, err));
    for (size_t i = 0; i < blob->n_parts; i++) {
        hub_part *part = &blob->parts[i];
        FINCH_TRY(get(blob, &part->done, 8, state_at(blob, i), &got, err));
        if (got < 8 || part->done > part->end - part->begin) part->done = 0;
    }
    *taken = true;
    return FINCH_OK;
}

static finch_status begin_digest(hub_blob *blob, finch_error *err)
{
    const EVP_MD *kind = blob->file->sha256[0] != '\0' ? EVP_sha256() : EVP_sha1();
    char head[64];
    int size = snprintf(head, sizeof head, "blob %llu", (unsigned long long)blob->file->size) + 1; /* git's, with its NUL */
    if (blob->digest == NULL) blob->digest = EVP_MD_CTX_new();
    bool good = blob->digest != NULL && EVP_DigestInit_ex(blob->digest, kind, NULL) == 1;
    if (good && blob->file->sha256[0] == '\0') good = EVP_DigestUpdate(blob->digest, head, (size_t)size) == 1;
    blob->hashed = 0;
    return good ? FINCH_OK : finch_fail(err, FINCH_E_FAILED, "OpenSSL does not start a checksum");
}

static finch_status open_file(hub_blob *blob, uint64_t part_bytes, finch_error *err)
{
    struct stat info;
    bool taken = false;
    if (fault_hit(FAULT_OPEN)) errno = EIO;
    else blob->descriptor = open(blob->path.at, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0666);
    if (blob->descriptor < 0) return fail_errno(blob, "opening", err);
    if (fstat(blob->descriptor, &info) != 0) return fail_errno(blob, "looking at the file", err);
    FINCH_TRY(make_parts(blob, part_bytes, err));
    FINCH_TRY(begin_digest(blob, err));
    FINCH_TRY(read_state(blob, (uint64_t)info.st_size, &taken, err));
    return taken || info.st_size == 0 ? (taken ? FINCH_OK : write_state(blob, err)) : hub_blob_restart(blob, false, err);
}

finch_status hub_blob_open(const hub_cache *cache, const hub_file *file, int lock, uint64_t part_bytes, hub_blob *out,
                           finch_error *err)
{
    *out = (hub_blob){.file = file, .descriptor = -1, .lock = lock};
    finch_status st = hub_cache_blob(cache, hub_file_id(file), &out->path, err);
    if (st == FINCH_OK) st = str_add_text(&out->path, HUB_BLOB_ENDING, err);
    if (st == FINCH_OK) st = open_file(out, part_bytes, err);
    if (st != FINCH_OK) hub_blob_close(out);
    return st;
}

/* Nobody is told where it fails: then a little more comes twice. */
static void save_parts(hub_blob *blob)
{
    if (blob->parts == NULL) return;
    for (size_t i = 0; blob->unsaved && i < blob->n_parts; i++)
        if (blob->parts[i].done > 0) blob->unsaved = put(blob, &blob->parts[i].done, 8, state_at(blob, i), NULL) == FINCH_OK;
}

void hub_blob_close(hub_blob *blob)
{
    save_parts(blob);
    if (blob->descriptor >= 0) close(blob->descriptor);
    if (blob->lock >= 0) close(blob->lock);
    EVP_MD_CTX_free(blob->digest);
    mem_free(blob->parts);
    str_free(&blob->path);
    *blob = (hub_blob){.descriptor = -1, .lock = -1};
}

uint64_t hub_blob_done(const hub_blob *blob)
{
    uint64_t done = 0;
    for (size_t i = 0; i < blob->n_parts; i++) done += blob->parts[i].done;
    return done;
}

bool hub_blob_complete(const hub_blob *blob)
{
    for (size_t i = 0; i < blob->n_parts; i++)
        if (blob->parts[i].done != blob->parts[i].end - blob->parts[i].begin) return false;
    return true;
}

/* Lets the disk begin with what came, so that the flush at the end has little left to wait for. */
static void begin_flush(const hub_blob *blob, const hub_part *part, uint64_t before)
{
#if defined(SYNC_FILE_RANGE_WRITE)
    uint64_t from = before / FLUSH_EVERY_BYTES, to = part->done / FLUSH_EVERY_BYTES;
    if (from == to && part->begin + part->done < part->end) return;
    uint64_t begin = part->begin + from * FLUSH_EVERY_BYTES;
    sync_file_range(blob->descriptor, (off_t)begin, (off_t)(part->begin + part->done - begin), SYNC_FILE_RANGE_WRITE);
#else
    (void)blob, (void)part, (void)before;
#endif
}

finch_status hub_blob_write(hub_blob *blob, size_t index, const void *data, size_t size, finch_error *err)
{
    hub_part *part = &blob->parts[index];
    assert(size <= part->end - part->begin - part->done);
    FINCH_TRY(put(blob, data, size, part->begin + part->done, err));
    uint64_t before = part->done;
    part->done += size;
    bool due = part->begin + part->done == part->end || before / STATE_EVERY_BYTES != part->done / STATE_EVERY_BYTES;
    blob->unsaved = keeps_state(blob);
    begin_flush(blob, part, before);
    return due && keeps_state(blob) ? put(blob, &part->done, 8, state_at(blob, index), err) : FINCH_OK;
}

finch_status hub_blob_restart(hub_blob *blob, bool whole, finch_error *err)
{
    blob->unsaved = false;
    if (ftruncate(blob->descriptor, 0) != 0) return fail_errno(blob, "emptying", err);
    FINCH_TRY(make_parts(blob, whole && blob->file->size > 0 ? blob->file->size : blob->part_bytes, err));
    FINCH_TRY(begin_digest(blob, err));
    return write_state(blob, err);
}

/* ---- the check ---- */

uint64_t hub_blob_solid(const hub_blob *blob)
{
    for (size_t i = 0; i < blob->n_parts; i++) {
        const hub_part *part = &blob->parts[i];
        if (part->begin + part->done < part->end) return part->begin + part->done;
    }
    return blob->file->size;
}

finch_status hub_blob_digest(hub_blob *blob, uint64_t end, finch_error *err)
{
    unsigned char *piece;
    if (blob->hashed >= end) return FINCH_OK;
    FINCH_TRY(mem_alloc(PIECE_BYTES, 1, (void **)&piece, err));
    finch_status st = FINCH_OK;
    while (st == FINCH_OK && blob->hashed < end) {
        uint64_t want = end - blob->hashed < PIECE_BYTES ? end - blob->hashed : PIECE_BYTES;
        size_t got = 0;
        st = get(blob, piece, (size_t)want, blob->hashed, &got, err);
        if (st == FINCH_OK && got < want)
            st = finch_fail(err, FINCH_E_IO, "%s became shorter while it was fetched; run the command again", blob->path.at);
        if (st == FINCH_OK && EVP_DigestUpdate(blob->digest, piece, got) != 1)
            st = finch_fail(err, FINCH_E_FAILED, "OpenSSL fails on a checksum");
        blob->hashed += got;
    }
    mem_free(piece);
    return st;
}

bool hub_blob_good(hub_blob *blob)
{
    unsigned char sum[EVP_MAX_MD_SIZE];
    unsigned size = 0;
    char text[2 * EVP_MAX_MD_SIZE + 1] = "";
    if (EVP_DigestFinal_ex(blob->digest, sum, &size) != 1) return false;
    for (unsigned i = 0; i < size; i++) snprintf(text + 2 * (size_t)i, 3, "%02x", sum[i]);
    return strcmp(text, hub_file_id(blob->file)) == 0;
}

finch_status hub_blob_commit(hub_blob *blob, const hub_cache *cache, finch_error *err)
{
    str path = {0};
    finch_status st = hub_cache_blob(cache, hub_file_id(blob->file), &path, err);
    blob->unsaved = false; /* no number may come behind the content any more */
    if (st == FINCH_OK && ftruncate(blob->descriptor, (off_t)blob->file->size) != 0)
        st = fail_errno(blob, "cutting to size", err);
    if (st == FINCH_OK && (fault_hit(FAULT_FSYNC) || fsync(blob->descriptor) != 0))
        st = fail_errno(blob, "flushing to disk", err);
    if (st == FINCH_OK && (fault_hit(FAULT_RENAME) || rename(blob->path.at, path.at) != 0))
        st = fail_errno(blob, "renaming into place", err);
    str_free(&path);
    return st;
}

finch_status hub_blob_check(const char *path, const hub_file *file, bool check_hash, bool *good, finch_error *err)
{
    struct stat info;
    *good = stat(path, &info) == 0 && S_ISREG(info.st_mode) && (uint64_t)info.st_size == file->size;
    if (!*good || !check_hash) return FINCH_OK;
    hub_part whole = {.begin = 0, .end = file->size, .done = file->size};
    hub_blob blob = {.file = file, .lock = -1, .parts = &whole, .n_parts = 1};
    blob.descriptor = open(path, O_RDONLY | O_CLOEXEC);
    finch_status st = str_add_text(&blob.path, path, err);
    if (st == FINCH_OK && blob.descriptor < 0) st = fail_errno(&blob, "opening", err);
    if (st == FINCH_OK) st = begin_digest(&blob, err);
    if (st == FINCH_OK) st = hub_blob_digest(&blob, file->size, err);
    if (st == FINCH_OK) *good = hub_blob_good(&blob);
    blob.parts = NULL;
    hub_blob_close(&blob);
    return st;
}
