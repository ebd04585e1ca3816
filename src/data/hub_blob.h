/* One content on its way into the cache: blobs/ID.finch.incomplete, filled in parts that arrive in any order, checked
 * against its id, and renamed to blobs/ID.
 *
 * The unfinished file is the content (with holes) and behind it, from byte size_bytes on, what was reached:
 *
 *   "finchpt1"  part_bytes u64  done u64 [n_parts]      (the machine's byte order; the file never leaves it)
 *
 * Content is written before the number that counts it, once a MiB, so after SIGKILL the numbers are true or a little low. After a power cut they may
 * not be; the check against the id finds that, and the content is fetched anew. A file of exactly size_bytes was about to be
 * renamed: all of it counts as done, and is checked.
 * The name is not huggingface_hub's own ID.incomplete: its older versions would go on at that file's end, and count a file
 * with holes as whole. Whoever holds the blob's lock (hub_cache_lock) may open it, nobody else. */
#ifndef FINCH_DATA_HUB_BLOB_H
#define FINCH_DATA_HUB_BLOB_H

#include "data/hub_cache.h"

#define HUB_BLOB_ENDING ".finch.incomplete"

typedef struct hub_part {
    uint64_t begin, end; /* in the content, end is behind it */
    uint64_t done;       /* bytes from begin on that are there */
    bool busy;           /* a request is bringing more */
    size_t n_failures;   /* requests that brought nothing, one after another */
    double not_before;   /* when to ask again, of clock_seconds */
} hub_part;

typedef struct hub_blob {
    const hub_file *file; /* borrowed */
    str path;             /* of the unfinished file */
    int descriptor;
    int lock; /* owned: given back by hub_blob_close */
    uint64_t part_bytes;
    hub_part *parts;
    size_t n_parts;
    void *digest; /* EVP_MD_CTX over the content's first `hashed` bytes */
    uint64_t hashed;
    bool unsaved; /* a part is further than its number in the file says */
} hub_blob;

/* Opens or makes the unfinished file and takes up what it holds. The lock becomes the blob's, also on failure. */
finch_status hub_blob_open(const hub_cache *cache, const hub_file *file, int lock, uint64_t part_bytes, hub_blob *out,
                           finch_error *err);
/* The unfinished file stays for the next run, with all that came. */
void hub_blob_close(hub_blob *blob);

uint64_t hub_blob_done(const hub_blob *blob);
bool hub_blob_complete(const hub_blob *blob);

/* The next bytes of parts[index]. More than it has room for is a bug of the caller (assert). */
finch_status hub_blob_write(hub_blob *blob, size_t index, const void *data, size_t size, finch_error *err);

/* Forgets everything; afterwards the content is one part where whole, else parts as before. */
finch_status hub_blob_restart(hub_blob *blob, bool whole, finch_error *err);

/* How far the content is there without a hole. */
uint64_t hub_blob_solid(const hub_blob *blob);
/* Takes the content up to byte `end`, which is there, into the digest. Touches neither the parts nor what counts them, so these may grow
 * meanwhile on another thread (hub_worker.h). */
finch_status hub_blob_digest(hub_blob *blob, uint64_t end, finch_error *err);
/* After the whole content was digested, once: whether the content is the one its id names. */
bool hub_blob_good(hub_blob *blob);

/* Puts the content in place: cut to its size, flushed to disk, renamed. */
finch_status hub_blob_commit(hub_blob *blob, const hub_cache *cache, finch_error *err);

/* Whether the regular file at path is what file names: its size, and its hash where check_hash. A file that is not there is
 * not good. */
finch_status hub_blob_check(const char *path, const hub_file *file, bool check_hash, bool *good, finch_error *err);

#endif
