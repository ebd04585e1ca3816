/* Contents into the cache: many at once, large ones in parts at once, each checked against its id before it gets its name.
 *
 * One thread turns one wheel: start requests up to n_connections, let libcurl work, take what ended, give what is there to
 * the threads that hash it and put finished contents in place (hub_worker.h). Work comes from the list in order: parts of an open content first, then the
 * next content whose lock is free; one that another process holds is asked about again and again, and is often simply there
 * in the end.
 *
 *     waiting --lock--> open --all parts--> digested --good--> in place, linked
 *        ^   (held)       |  ^                  |
 *        '----------------'  '---- bad, once ---'
 */
#ifndef FINCH_DATA_HUB_DOWNLOAD_H
#define FINCH_DATA_HUB_DOWNLOAD_H

#include "data/hub_blob.h"
#include "data/hub_http.h"

enum { HUB_CONNECTIONS_MOST = 64, HUB_PART_BYTES_LEAST = 64 << 10 };

typedef struct hub_download {
    hub_client *client;
    const hub_cache *cache;
    const char *commit;
    const hub_file *const *files; /* those to fetch; of several with one content each gets its link */
    size_t n_files;
    size_t n_connections; /* from 1 to HUB_CONNECTIONS_MOST */
    uint64_t part_bytes;
    bool verify; /* a content that is there is hashed before it is taken */
    uint64_t bytes_before; /* already there, for the progress; total is of the whole snapshot */
    uint64_t bytes_total;
} hub_download;

/* *received: bytes that came over the network and were kept. Errors: FINCH_E_REMOTE (also a content that is not what its id
 * says, twice), FINCH_E_IO, FINCH_E_CANCELLED, FINCH_E_MEMORY. After each a further call goes on where this one stopped. */
finch_status hub_download_run(const hub_download *job, uint64_t *received, finch_error *err);

#endif
