#include "tensor/new_folder.h"

#include "base/file.h"

#include <dirent.h>
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
