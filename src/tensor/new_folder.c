#include "tensor/new_folder.h"

#include "base/fault.h"
#include "base/file.h"

#include <dirent.h>
#include <errno.h>
#include <string.h>
#include <unistd.h>

/* An empty folder is as good as none: rename replaces it. */
static bool is_taken(const char *path)
{
    if (!file_exists(path)) return false;
    DIR *dir = opendir(path);
    if (dir == NULL) return true;
    size_t n = 0;
    while (readdir(dir) != NULL) n++;
    closedir(dir);
    return n > 2; /* . and .. */
}

static finch_status begin(const char *to, new_folder *f, finch_error *err)
{
    size_t size = strlen(to);
    while (size > 1 && to[size - 1] == '/') size--;
    if (size == 0) return finch_fail(err, FINCH_E_USAGE, "the folder to write has no name");
    FINCH_TRY(str_add(&f->place, to, size, err));
    if (is_taken(f->place.at))
        return finch_fail(err, FINCH_E_USAGE, "%s exists already; remove it or choose another folder", f->place.at);
    FINCH_TRY(str_add_format(&f->beside, err, "%s.part-%ld", f->place.at, (long)getpid()));
    return file_make_directories(f->beside.at, err);
}

static void forget(new_folder *f)
{
    str_free(&f->place);
    str_free(&f->beside);
}

finch_status new_folder_begin(const char *to, new_folder *out, finch_error *err)
{
    *out = (new_folder){0};
    finch_status st = begin(to, out, err);
    if (st != FINCH_OK) forget(out);
    return st;
}

finch_status new_folder_end(new_folder *f, finch_status st, finch_error *err)
{
    if (f->beside.size == 0) return st;
    if (st == FINCH_OK) st = file_sync(f->beside.at, err);
    if (st == FINCH_OK) st = file_replace(f->beside.at, f->place.at, err);
    if (st != FINCH_OK) (void)file_remove_tree(f->beside.at, NULL); /* the first failure is the one to tell */
    forget(f);
    return st;
}

/* ---- what goes along -------------------------------------------------------------------------------------------- */

static bool ends_with(const char *name, const char *end)
{
    size_t size = strlen(name), end_size = strlen(end);
    return size >= end_size && strcmp(name + size - end_size, end) == 0;
}

/* Weights in any framework's form, their indices, hidden files, and config.json, which is written anew. */
static bool is_left_out(const char *name, const char *const *but)
{
    static const char *const ends[] = {".safetensors", ".bin",     ".index.json", ".pt",   ".pth",
                                       ".h5",          ".msgpack", ".ot",         ".onnx", ".gguf"};
    if (name[0] == '.' || strcmp(name, "config.json") == 0) return true;
    for (size_t i = 0; but != NULL && but[i] != NULL; i++)
        if (strcmp(name, but[i]) == 0) return true;
    for (size_t i = 0; i < sizeof ends / sizeof ends[0]; i++) {
        if (ends_with(name, ends[i])) return true;
    }
    return false;
}

static finch_status copy_file(const char *from, const char *to, finch_error *err)
{
    file_map map;
    FINCH_TRY(file_map_open(from, &map, err));
    finch_status st = file_write(to, map.content.at, map.content.size, err);
    file_map_close(&map);
    return st;
}

static finch_status copy_named(const char *from, const char *to, const char *name, finch_error *err)
{
    str source_path = {0}, target_path = {0};
    finch_status st;
    FINCH_GO(done, st, file_join(from, name, &source_path, err));
    if (file_is_directory(source_path.at)) goto done;
    FINCH_GO(done, st, file_join(to, name, &target_path, err));
    st = copy_file(source_path.at, target_path.at, err);
done:
    str_free(&source_path);
    str_free(&target_path);
    return st;
}

finch_status new_folder_copy_others(const char *from, const char *to, const char *const *but, finch_error *err)
{
    DIR *dir = fault_hit(FAULT_OPEN) ? (errno = EIO, NULL) : opendir(from);
    if (dir == NULL) return finch_fail(err, FINCH_E_IO, "%s: the folder could not be opened; check its permissions", from);
    finch_status st = FINCH_OK;
    for (struct dirent *entry; st == FINCH_OK && (entry = readdir(dir)) != NULL;) {
        if (!is_left_out(entry->d_name, but)) st = copy_named(from, to, entry->d_name, err);
    }
    closedir(dir);
    return st;
}
