/* A folder that appears whole or not at all: begun beside its place, filled by the caller, put there by one rename. */
#ifndef FINCH_TENSOR_NEW_FOLDER_H
#define FINCH_TENSOR_NEW_FOLDER_H

#include "base/str.h"

typedef struct new_folder {
    str place;  /* without a slash at its end */
    str beside; /* where its files go meanwhile */
} new_folder;

/* Makes the folder beside `to`, which must not exist yet or be an empty folder. Errors: FINCH_E_USAGE, FINCH_E_IO,
 * FINCH_E_MEMORY; nothing is left then, and new_folder_end is legal. */
finch_status new_folder_begin(const char *to, new_folder *out, finch_error *err);
/* Ends it: in its place where st is FINCH_OK, else removed. Returns st, or what went wrong in putting it there. */
finch_status new_folder_end(new_folder *f, finch_status st, finch_error *err);

/* Copies the plain files of a model's folder but its weights (in any framework's form), their indices, hidden files, config.json,
 * which is written anew, and those called as in but (ended by NULL; NULL: none). Errors: FINCH_E_IO, FINCH_E_MEMORY. */
finch_status new_folder_copy_others(const char *from, const char *to, const char *const *but, finch_error *err);

#endif
