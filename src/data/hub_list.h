/* The files of a repository at one commit, as the Hub lists them, and the form in which huggingface_hub keeps that list in
 * a cache (trees/COMMIT.json), which is read and written here byte for byte. All of it is outside input. */
#ifndef FINCH_DATA_HUB_LIST_H
#define FINCH_DATA_HUB_LIST_H

#include "data/hub_url.h"

typedef struct hub_file {
    char *path;                          /* as the server wrote it: hub_path_safe before it is used as one */
    uint64_t size;                       /* of the content */
    uint64_t listed_size;                /* the listing's own "size", kept for the cache's form */
    char oid[HUB_COMMIT_DIGITS + 1];     /* git's blob id: of the content, or of the LFS pointer */
    char sha256[HUB_SHA256_DIGITS + 1];  /* of the content; empty: not in LFS */
    char xet[HUB_SHA256_DIGITS + 1];     /* empty: none */
} hub_file;

typedef struct hub_list {
    hub_file *files;
    size_t n, capacity;
    bool odd_xet; /* a Xet hash that is none was seen: huggingface_hub does not keep such a list */
} hub_list;

void hub_list_free(hub_list *list);

/* Adds a page of /api/.../tree (a JSON array). n_added may be NULL. Errors: FINCH_E_REMOTE saying which entry and field. */
finch_status hub_list_add_page(hub_list *list, const char *json, size_t size, size_t *n_added, finch_error *err);
/* Sorts by path and refuses names that can not all exist: one twice, one that is also a folder. */
finch_status hub_list_finish(hub_list *list, finch_error *err);

/* trees/COMMIT.json. Reading checks as finish does; FINCH_E_DATA where it is not such a file. */
finch_status hub_list_write(const hub_list *list, str *out, finch_error *err);
finch_status hub_list_read(hub_list *list, const char *json, size_t size, const char *name, finch_error *err);

/* The name of the file's content in the cache: its sha256 in LFS, else its git blob id. */
const char *hub_file_id(const hub_file *file);

/* A name from the server for a message: control characters replaced, cut at 100 bytes. */
const char *hub_name_shown(const char *name, char out[128]);

#endif
