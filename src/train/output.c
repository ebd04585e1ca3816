#include "train/output.h"

#include "base/file.h"
#include "tensor/compressed.h"
#include "train/loop.h"

#include <dirent.h>
#include <string.h>

enum { JOURNAL_BYTES_MAX = 1 << 30 };

finch_status output_plan(const char *folder, output *out, finch_error *err)
{
    size_t size = strlen(folder);
    *out = (output){0};
    while (size > 1 && folder[size - 1] == '/') size--;
    if (size == 0 || (size == 1 && folder[0] == '/'))
        return finch_fail(err, FINCH_E_USAGE, "the output must be the name of a folder");
    finch_status st = str_add(&out->folder, folder, size, err);
    if (st == FINCH_OK) st = str_add_format(&out->work, err, "%s.training", out->folder.at);
    if (st == FINCH_OK) st = str_add_format(&out->part, err, "%s.part", out->folder.at);
    if (st == FINCH_OK) st = str_add_format(&out->part_int8, err, "%s.part-int8", out->folder.at);
    if (st != FINCH_OK) output_free(out);
    return st;
}

void output_free(output *o)
{
    str_free(&o->folder);
    str_free(&o->work);
    str_free(&o->part);
    str_free(&o->part_int8);
}

static bool is_empty_folder(const char *path)
{
    DIR *dir = opendir(path);
    bool empty = dir != NULL;
    if (dir == NULL) return false;
    for (struct dirent *entry; empty && (entry = readdir(dir)) != NULL;)
        empty = strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0;
    closedir(dir);
    return empty;
}

bool output_exists(const output *o) { return file_exists(o->folder.at) && !is_empty_folder(o->folder.at); }

static finch_status has_checkpoint(const output *o, bool *out, finch_error *err)
{
    str path = {0};
    finch_status st = file_join(o->work.at, LOOP_CHECKPOINT_FILE, &path, err);
    *out = st == FINCH_OK && file_exists(path.at);
    str_free(&path);
    return st;
}

static finch_status claim(const output *o, bool resume, bool restart, finch_error *err)
{
    bool unfinished;
    if (output_exists(o))
        return finch_fail(err, FINCH_E_USAGE, "%s is there already; choose another --output, or remove it", o->folder.at);
    if (restart) return file_remove_tree(o->work.at, err);
    FINCH_TRY(has_checkpoint(o, &unfinished, err));
    if (!unfinished || resume) return FINCH_OK;
    return finch_fail(err, FINCH_E_USAGE,
                      "%s holds an unfinished run of this model; go on with --resume, or begin anew with --restart",
                      o->work.at);
}

finch_status output_claim(const output *o, ranks *together, bool resume, bool restart, finch_error *err)
{
    if (ranks_lead(together)) FINCH_TRY(claim(o, resume, restart, err));
    return together != NULL ? ranks_meet(together, err) : FINCH_OK;
}

finch_status output_finished(const output *o, const json_t *run, json_t **card, finch_error *err)
{
    str path = {0};
    finch_status st = file_join(o->folder.at, "finch.json", &path, err);
    *card = NULL;
    if (st == FINCH_OK) st = json_parse_file(path.at, card, err);
    if (st == FINCH_OK && !json_equal(json_object_get(*card, "hyperparameters"), run)) {
        json_decref(*card);
        *card = NULL;
        st = finch_fail(
            err, FINCH_E_USAGE,
            "%s is there already, made by a run with other data or options; choose another --output, or remove it",
            o->folder.at);
    }
    str_free(&path);
    if (st == FINCH_OK) st = file_remove_tree(o->work.at, err);
    return st;
}

finch_status output_write_model(const output *o, trainable *t, bool int8, const char **written, finch_error *err)
{
    compressed_report report;
    FINCH_TRY(file_remove_tree(o->part.at, err));
    FINCH_TRY(file_remove_tree(o->part_int8.at, err));
    FINCH_TRY(file_make_directories(o->part.at, err));
    FINCH_TRY(trainable_save(t, o->part.at, err));
    *written = o->part.at;
    if (!int8) return FINCH_OK;
    FINCH_TRY(compressed_quantize_folder(o->part.at, o->part_int8.at, COMPRESSED_SHARD_BYTES, NULL, &report, err));
    *written = o->part_int8.at;
    return file_remove_tree(o->part.at, err);
}

static finch_status copy_journal(const output *o, const char *written, finch_error *err)
{
    str from = {0}, to = {0};
    char *text = NULL;
    size_t size;
    finch_status st;
    FINCH_GO(done, st, file_join(o->work.at, LOOP_JOURNAL_FILE, &from, err));
    FINCH_GO(done, st, file_join(written, LOOP_JOURNAL_FILE, &to, err));
    FINCH_GO(done, st, file_read(from.at, JOURNAL_BYTES_MAX, &text, &size, err));
    st = file_write(to.at, text, size, err);
done:
    mem_free(text);
    str_free(&from);
    str_free(&to);
    return st;
}

finch_status output_commit(const output *o, const char *written, const json_t *card, finch_error *err)
{
    str path = {0};
    finch_status st;
    FINCH_GO(done, st, copy_journal(o, written, err));
    FINCH_GO(done, st, file_join(written, "finch.json", &path, err));
    FINCH_GO(done, st, json_write_file(path.at, card, err));
    FINCH_GO(done, st, file_replace(written, o->folder.at, err));
    st = file_remove_tree(o->work.at, err);
done:
    str_free(&path);
    return st;
}
