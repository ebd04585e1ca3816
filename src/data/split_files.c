#include "data/split_write.h"

#include "base/file.h"
#include "data/split_plan.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* ---- which files there are ---- */

static split_file *add_file(split_files *files, size_t first, size_t last)
{
    split_file *f = &files->at[files->n++];
    *f = (split_file){.first = first, .last = last, .without = SIZE_MAX, .is_checked = true};
    return f;
}

static finch_status add_path(split_files *files, const char *path, size_t part, finch_error *err)
{
    return str_add_text(&add_file(files, part, part)->path, path, err);
}

static finch_status add_fold(split_files *files, const data_split_options *o, size_t first, size_t fold, finch_error *err)
{
    split_file *train = add_file(files, first, first + o->n_folds - 1);
    train->without = first + fold;
    train->is_checked = false; /* its rows are those of the other folds' valid files */
    FINCH_TRY(str_add_format(&train->path, err, "%s/fold-%zu", files->folder_beside.at, fold));
    FINCH_TRY(file_make_directories(train->path.at, err));
    FINCH_TRY(str_add_format(&train->path, err, "/train.%s", o->fold_ending));
    split_file *valid = add_file(files, first + fold, first + fold);
    return str_add_format(&valid->path, err, "%s/fold-%zu/valid.%s", files->folder_beside.at, fold, o->fold_ending);
}

static finch_status add_folder(split_files *files, const data_split_options *o, size_t first, finch_error *err)
{
    size_t size = strlen(o->folds);
    while (size > 1 && o->folds[size - 1] == '/') size--;
    FINCH_TRY(str_add(&files->folder, o->folds, size, err));
    if (access(files->folder.at, F_OK) == 0)
        return finch_fail(err, FINCH_E_USAGE, "%s is there already; name a folder that finch can make, or remove it",
                          files->folder.at);
    FINCH_TRY(str_add_format(&files->folder_beside, err, "%s.part-%ld", files->folder.at, (long)getpid()));
    for (size_t fold = 0; fold < o->n_folds; fold++) FINCH_TRY(add_fold(files, o, first, fold, err));
    return FINCH_OK;
}

/* The plan's parts in their order: train, valid, test, then folds. */
static finch_status list_files(split_files *files, const data_split_options *o, size_t n_parts, finch_error *err)
{
    size_t part = 0;
    data_kind kind;
    if (o->train != NULL) {
        FINCH_TRY(add_path(files, o->train, part++, err));
        files->at[0].is_train = true;
    }
    if (o->valid != NULL) FINCH_TRY(add_path(files, o->valid, part++, err));
    if (o->test != NULL) FINCH_TRY(add_path(files, o->test, part++, err));
    if (o->n_folds > 0 && data_kind_of_path(o->folds, &kind)) {
        split_file *f = add_file(files, part, n_parts - 1);
        f->with_fold = true;
        FINCH_TRY(str_add_text(&f->path, o->folds, err));
    } else if (o->n_folds > 0) FINCH_TRY(add_folder(files, o, part, err));
    if (o->dropped == NULL) return FINCH_OK;
    FINCH_TRY(add_path(files, o->dropped, SPLIT_LATE, err));
    files->at[files->n - 1].is_checked = false;
    return FINCH_OK;
}

/* ---- whether they may be ---- */

/* Device and inode, or for a file that is not there yet those of its folder, whose names differ by text. */
static bool same_place(const char *a, const char *b)
{
    struct stat x, y;
    if (strcmp(a, b) == 0) return true;
    bool there = stat(a, &x) == 0;
    if (there != (stat(b, &y) == 0)) return false;
    if (there) return x.st_dev == y.st_dev && x.st_ino == y.st_ino;
    const char *slash_a = strrchr(a, '/'), *slash_b = strrchr(b, '/');
    if (strcmp(slash_a != NULL ? slash_a + 1 : a, slash_b != NULL ? slash_b + 1 : b) != 0) return false;
    char folder[2][4096];
    for (int i = 0; i < 2; i++) {
        const char *path = i == 0 ? a : b, *slash = i == 0 ? slash_a : slash_b;
        if (slash == NULL) snprintf(folder[i], sizeof folder[i], ".");
        else snprintf(folder[i], sizeof folder[i], "%.*s/", (int)(slash - path), path);
    }
    return stat(folder[0], &x) == 0 && stat(folder[1], &y) == 0 && x.st_dev == y.st_dev && x.st_ino == y.st_ino;
}

static finch_status check_places(const split_files *files, const data_names *inputs, finch_error *err)
{
    for (size_t i = 0; i < files->n; i++) {
        const char *path = files->at[i].path.at;
        if (strcmp(path, "-") == 0)
            return finch_fail(err, FINCH_E_USAGE, "a split's parts are files; - stands for none of them");
        for (size_t j = 0; j < inputs->n; j++)
            if (same_place(path, inputs->at[j]))
                return finch_fail(err, FINCH_E_USAGE,
                                  "%s is an input and an output; its rows would be lost to the other parts: name another "
                                  "output",
                                  path);
        for (size_t j = 0; j < i && files->folder.size == 0; j++)
            if (same_place(path, files->at[j].path.at))
                return finch_fail(err, FINCH_E_USAGE, "%s is named for two outputs; each part needs a file of its own",
                                  path);
    }
    return FINCH_OK;
}

finch_status split_files_open(const data_split_options *options, const data_names *inputs, size_t n_parts, split_files *out,
                              finch_error *err)
{
    enum { NAMED_FILES = 5 };
    finch_status st;
    *out = (split_files){0};
    FINCH_GO(done, st, MEM_NEW(&out->at, NAMED_FILES + 2 * options->n_folds, err));
    FINCH_GO(done, st, list_files(out, options, n_parts, err));
    FINCH_GO(done, st, check_places(out, inputs, err));
    size_t asked = options->source.max_line_bytes;
    for (size_t i = 0; i < out->n; i++) {
        out->at[i].max_line_bytes = 2 * (asked > 0 ? asked : DATA_LINE_MAX_BYTES);
        FINCH_GO(done, st, data_output_open(out->at[i].path.at, &out->at[i].output, err));
    }
done:
    if (st != FINCH_OK) split_files_close(out);
    return st;
}

void split_files_close(split_files *files)
{
    for (size_t i = 0; i < files->n; i++) {
        data_output_close(&files->at[i].output);
        str_free(&files->at[i].path);
    }
    mem_free(files->at);
    if (files->folder_beside.size > 0) file_remove_tree(files->folder_beside.at, NULL);
    str_free(&files->folder);
    str_free(&files->folder_beside);
    *files = (split_files){0};
}

bool split_files_all_csv(const split_files *files)
{
    for (size_t i = 0; i < files->n; i++)
        if (files->at[i].output.kind.format != DATA_CSV) return false;
    return true;
}

/* ---- their names at last ---- */

static finch_status sync_parent(const char *path, finch_error *err)
{
    char folder[4096] = ".";
    const char *slash = strrchr(path, '/');
    if (slash != NULL) snprintf(folder, sizeof folder, "%.*s/", (int)(slash - path), path);
    return file_sync(folder, err);
}

static finch_status commit_folder(split_files *files, finch_error *err)
{
    if (files->folder.size == 0) return FINCH_OK;
    if (rename(files->folder_beside.at, files->folder.at) != 0) {
        char reason[128];
        if (strerror_r(errno, reason, sizeof reason) != 0) reason[0] = '\0';
        return finch_fail(err, FINCH_E_IO, "%s could not take its name: %s; nothing was written", files->folder.at, reason);
    }
    str_free(&files->folder_beside);
    return sync_parent(files->folder.at, err);
}

finch_status split_files_commit(split_files *files, finch_error *err)
{
    for (size_t i = 0; i < files->n; i++) FINCH_TRY(file_check_output(files->at[i].path.at, err));
    for (size_t i = 0; i < files->n; i++) FINCH_TRY(file_sync(files->at[i].output.beside.at, err));
    for (size_t i = 0; i < files->n; i++)
        if (files->at[i].is_train && unlink(files->at[i].path.at) == 0) FINCH_TRY(sync_parent(files->at[i].path.at, err));
    for (size_t i = 0; i < files->n; i++)
        if (!files->at[i].is_train) FINCH_TRY(data_output_commit(&files->at[i].output, err));
    for (size_t i = 0; i < files->n; i++)
        if (files->at[i].is_train) FINCH_TRY(data_output_commit(&files->at[i].output, err));
    return commit_folder(files, err);
}
