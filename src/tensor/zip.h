/* The part of the zip format that PyTorch checkpoints use: entries stored without compression, zip64 included.
 * Source: APPNOTE.TXT 6.3.10, sections 4.3 and 4.5. For this room only.
 * Left out: compression and encryption (refused by name of the entry), archives over several disks, check sums (a wrong
 * one is not noticed: reading every byte of a checkpoint to open it would undo the mapping). */
#ifndef FINCH_TENSOR_ZIP_H
#define FINCH_TENSOR_ZIP_H

#include "base/arena.h"
#include "base/bytes.h"

enum { ZIP_ENTRIES_MAX = 1 << 20 };

typedef struct zip_entry {
    bytes name;    /* a view into the archive */
    bytes content; /* likewise */
} zip_entry;

typedef struct zip_archive {
    const zip_entry *at; /* sorted by name */
    size_t n;
} zip_archive;

/* The entries of the archive; the table lives in memory. path is for messages.
 * Errors: FINCH_E_DATA (damaged, a name twice), FINCH_E_UNSUPPORTED (compressed or encrypted entry), FINCH_E_MEMORY. */
finch_status zip_open(bytes file, const char *path, arena *memory, zip_archive *out, finch_error *err);

/* Sorts n entries in place into an archive. Errors: FINCH_E_DATA where a name comes twice. */
finch_status zip_index(zip_entry *entries, size_t n, const char *path, zip_archive *out, finch_error *err);

/* The entry named prefix followed by name; NULL where there is none. */
const zip_entry *zip_find(const zip_archive *archive, bytes prefix, bytes name);

#endif
