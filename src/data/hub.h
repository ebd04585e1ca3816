/* A snapshot of a repository on the Hugging Face Hub, in the cache that huggingface_hub shares.
 * Read in this order: hub_env (settings), hub_url and hub_glob (names), hub_http (requests), hub_api and hub_list (what is
 * there), hub_cache (the tree on disk), hub_blob and hub_download (contents), hub.c (all of it in order). */
#ifndef FINCH_DATA_HUB_H
#define FINCH_DATA_HUB_H

#include "base/progress.h"
#include "data/hub_url.h"

typedef struct hub_options {
    hub_kind kind;
    const char *repo;     /* "owner/name" */
    const char *revision; /* NULL: main */
    const char *const *include; /* patterns (hub_glob.h) of the files to fetch; none: all */
    size_t n_include;
    const char *const *exclude;
    size_t n_exclude;
    size_t n_connections; /* at once, 1 to 64 */
    uint64_t part_bytes;  /* larger files are fetched in parts of this size at once */
    size_t n_retries;
    double retry_seconds;
    bool verify; /* check the hashes of what is there already */
} hub_options;

typedef struct hub_result {
    char commit[HUB_COMMIT_DIGITS + 1];
    str snapshot; /* the folder */
    size_t n_files, n_cached; /* asked for; of these already there */
    uint64_t bytes;           /* of the files */
    uint64_t bytes_received;  /* over the network, kept */
    bool offline;             /* HF_HUB_OFFLINE: the Hub was not asked */
    str unreached; /* where the Hub could not be asked and the cache served: why; else empty */
} hub_result;

/* Errors: FINCH_E_USAGE (a name or setting), FINCH_E_REMOTE (the Hub or what it sends), FINCH_E_NOT_FOUND (offline and not in
 * the cache; no file matches), FINCH_E_IO, FINCH_E_CANCELLED. What was fetched stays, and the next call goes on. The result
 * is to be freed in every case. */
finch_status hub_fetch(const hub_options *options, const progress *watch, hub_result *out, finch_error *err);
void hub_result_free(hub_result *result);

/* The snapshot folder of a repository in the cache, without network. *found is false where the cache has none. */
finch_status hub_find(hub_kind kind, const char *repo, const char *revision, str *folder, bool *found, finch_error *err);

#endif
