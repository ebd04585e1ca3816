/* The registry's files: where they lie, and how they come in and leave. Internal to the room. */
#ifndef FINCH_STORE_REGISTRY_FILES_H
#define FINCH_STORE_REGISTRY_FILES_H

#include "store/registry.h"
#include "store/values.h"

/* One file of a model, by its path inside the folder. */
typedef struct registry_file {
    char *path; /* owned */
    char sha256[VALUES_SHA256_BYTES];
    int64_t size;
} registry_file;

typedef struct registry_files {
    registry_file *at;
    size_t n, n_room;
    int64_t size_bytes;
} registry_files;

void registry_files_free(registry_files *files);
finch_status registry_files_add(registry_files *files, const char *path, size_t path_bytes, const char *sha256, int64_t size,
                                finch_error *err);

/* The registry's folder of a store, made where it is not there, and a lock on it until registry_close: one at a time puts files
 * in or takes them out. Errors: FINCH_E_DATA where the folder is another store's. */
typedef struct registry_root {
    str path;
    int lock; /* a descriptor */
} registry_root;

finch_status registry_root_path(const store *s, str *out, finch_error *err);
finch_status registry_root_open(store *s, registry_root *out, finch_error *err);
void registry_root_close(registry_root *root);

/* The files of a model's folder, hashed and in the order of their paths. */
finch_status registry_files_read(const char *folder, const progress *p, registry_files *out, finch_error *err);
/* Copies those that the blobs lack. */
finch_status registry_files_keep(const registry_root *root, const char *folder, const registry_files *files,
                                 finch_error *err);
/* The place of a blob; of a file that is to become it, beside its place. */
finch_status registry_blob_path(const registry_root *root, const char *sha256, str *out, finch_error *err);
finch_status registry_blob_loose(const registry_root *root, const registry_file *file, str *out, finch_error *err);
bool registry_blob_is_there(const registry_root *root, const registry_file *file);
/* A loose file is put in its place once it is what the list says. Errors: FINCH_E_DATA where it is not. */
finch_status registry_blob_settle(const registry_root *root, const char *loose, const registry_file *file, finch_error *err);

/* The digest of a list of files. */
finch_status registry_files_digest(const registry_files *files, char out[VALUES_SHA256_BYTES], finch_error *err);

/* versions/NAME@NUMBER as links into the blobs, in place of what may be there. */
finch_status registry_folder_make(const registry_root *root, const char *name, int64_t number, const registry_files *files,
                                  finch_error *err);
finch_status registry_folder_remove(const registry_root *root, const char *name, int64_t number, finch_error *err);
finch_status registry_folder_path(const store *s, const char *name, int64_t number, str *out, finch_error *err);

/* Blobs that wanted does not name leave. */
typedef finch_status (*registry_wanted_fn)(void *context, const char *sha256, bool *wanted, finch_error *err);
finch_status registry_blobs_sweep(const registry_root *root, registry_wanted_fn wanted, void *context, finch_error *err);

/* Appends to damaged what is missing in folder or differs from the list. */
finch_status registry_files_verify(const char *folder, const registry_files *files, str *damaged, finch_error *err);

#endif
