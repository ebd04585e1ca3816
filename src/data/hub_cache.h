/* The cache of the Hub, tree for tree as huggingface_hub keeps it:
 *
 *   CACHE/CACHEDIR.TAG                                says to back-up tools what this is
 *   CACHE/models--OWNER--NAME/blobs/ID                contents; ID is the sha256 (LFS) or the git blob id
 *   CACHE/models--OWNER--NAME/snapshots/COMMIT/PATH   a relative link to its blob
 *   CACHE/models--OWNER--NAME/refs/REVISION           the commit that a branch, tag or refs/pr/N was last seen at
 *   CACHE/models--OWNER--NAME/trees/COMMIT.json       the list of files (hub_list.h)
 *   CACHE/.locks/models--OWNER--NAME/ID.lock          held with flock while the blob is made; stays, empty
 *
 * Invariants
 * 1. blobs/ID exists only with its whole, checked content: it is made beside and renamed.
 * 2. A ref is written after the snapshot it names is complete (huggingface_hub writes it before), so that reading a name
 *    without network never leads from a whole snapshot to half of one.
 * 3. A file written beside has one fixed name and is held with flock: what a kill leaves is taken over by the next run. */
#ifndef FINCH_DATA_HUB_CACHE_H
#define FINCH_DATA_HUB_CACHE_H

#include "data/hub_list.h"

typedef struct hub_cache {
    str root;   /* CACHE */
    str folder; /* CACHE/models--OWNER--NAME */
    str locks;  /* CACHE/.locks/models--OWNER--NAME */
} hub_cache;

finch_status hub_cache_open(const char *root, hub_kind kind, const char *repo, hub_cache *out, finch_error *err);
void hub_cache_close(hub_cache *cache);

/* The folders a download writes into, and CACHEDIR.TAG. */
finch_status hub_cache_prepare(const hub_cache *cache, const char *commit, finch_error *err);

/* The commit of a revision without network; *found is false where there is none. A commit names itself. */
finch_status hub_cache_read_ref(const hub_cache *cache, const char *revision, char out[HUB_COMMIT_DIGITS + 1], bool *found,
                                finch_error *err);
finch_status hub_cache_write_ref(const hub_cache *cache, const char *revision, const char *commit, finch_error *err);

/* trees/COMMIT.json; *found is false where there is none that is good. */
finch_status hub_cache_read_tree(const hub_cache *cache, const char *commit, hub_list *out, bool *found, finch_error *err);
finch_status hub_cache_write_tree(const hub_cache *cache, const char *commit, const hub_list *list, finch_error *err);

/* Paths into *out (cleared first). */
finch_status hub_cache_snapshot(const hub_cache *cache, const char *commit, str *out, finch_error *err);
finch_status hub_cache_pointer(const hub_cache *cache, const char *commit, const char *path, str *out, finch_error *err);
finch_status hub_cache_blob(const hub_cache *cache, const char *id, str *out, finch_error *err);

/* Whether the file is there: its name in the snapshot leads to a regular file of its size. path must be safe. */
finch_status hub_cache_has(const hub_cache *cache, const char *commit, const hub_file *file, bool *out, finch_error *err);
/* Links the file's name to its blob; what stands there otherwise is replaced. */
finch_status hub_cache_link(const hub_cache *cache, const char *commit, const hub_file *file, finch_error *err);

/* The lock of a blob; *descriptor is -1 where another process has it. Closing the descriptor gives it back. */
finch_status hub_cache_lock(const hub_cache *cache, const char *id, int *descriptor, finch_error *err);

#endif
