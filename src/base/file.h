/* Files: read-only mappings, whole reads, and outputs that appear whole or not at all. Paths are NUL-terminated. */
#ifndef FINCH_BASE_FILE_H
#define FINCH_BASE_FILE_H

#include "base/bytes.h"
#include "base/mem.h"
#include "base/str.h"

/* A read-only mapping. The file must not shrink while it is mapped (a shrink raises SIGBUS: replace files by rename). */
typedef struct file_map {
    bytes content;
} file_map;

finch_status file_map_open(const char *path, file_map *out, finch_error *err);
void file_map_close(file_map *map);
/* The first size bytes are not needed soon: they leave memory, and come back from the file where they are read again. */
void file_map_forget(const file_map *map, size_t size);

/* The whole file, NUL-terminated behind *size; refuses files over limit_bytes. Free with mem_free. */
finch_status file_read(const char *path, size_t limit_bytes, char **out, size_t *size, finch_error *err);

bool file_exists(const char *path);
bool file_is_directory(const char *path);
/* dir/name into *out (cleared first). */
finch_status file_join(const char *dir, const char *name, str *out, finch_error *err);
/* Makes path and its parents; an existing directory is no failure. */
finch_status file_make_directories(const char *path, finch_error *err);
finch_status file_remove_tree(const char *path, finch_error *err);

/* Whether an output may be put at path: nothing is there yet, or a regular file. A device, a pipe or a folder is
 * FINCH_E_USAGE: renaming over it would destroy it or fail after the work. Called by all that put outputs in place; long
 * commands call it before they begin. */
finch_status file_check_output(const char *path, finch_error *err);

/* An output written beside its path: open, write..., then commit (fsync, rename, fsync of the directory) or abort
 * (nothing is left). commit and abort both end the writer; abort after commit is a no-op. */
typedef struct file_writer {
    int descriptor;
    uint64_t size_bytes;
    str path;
    str beside;
} file_writer;

finch_status file_writer_open(const char *path, file_writer *out, finch_error *err);
finch_status file_writer_write(file_writer *writer, const void *data, size_t size, finch_error *err);
finch_status file_writer_commit(file_writer *writer, finch_error *err);
void file_writer_abort(file_writer *writer);

/* Writes a whole file through a file_writer. */
finch_status file_write(const char *path, const void *data, size_t size, finch_error *err);

/* fsync of a file or directory by path, for outputs that another library wrote. */
finch_status file_sync(const char *path, finch_error *err);
/* rename and fsync of the directory: puts beside in the place of path. */
finch_status file_replace(const char *beside, const char *path, finch_error *err);
/* The same for folders, where path may be one with something in it: the two change places at once, so that path is never missing,
 * and what was there is removed. A file system that can not swap has a moment without one. */
finch_status file_replace_folder(const char *beside, const char *path, finch_error *err);

#endif
