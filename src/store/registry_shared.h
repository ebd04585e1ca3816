/* The registry's files in a store that several machines share (PostgreSQL): each blob in parts, so that a machine that has no copy
 * yet makes one, into its own folder, when it is asked for the version. A SQLite store has them beside it and none in it.
 * Internal to the room. */
#ifndef FINCH_STORE_REGISTRY_SHARED_H
#define FINCH_STORE_REGISTRY_SHARED_H

#include "store/registry_files.h"

/* The parts that the store lacks; before the version's row is written. Nothing where the store is not shared. */
finch_status registry_shared_put(store *s, const registry_root *root, const registry_files *files, finch_error *err);
/* Blobs and folder of a version, as far as this machine lacks them. Errors: FINCH_E_NOT_FOUND where the store lacks them too (it
 * was registered by an older finch). */
finch_status registry_shared_get(store *s, const char *name, int64_t number, const registry_files *files, finch_error *err);
/* Blobs of no version leave the store. */
finch_status registry_shared_sweep(store *s, finch_error *err);

#endif
