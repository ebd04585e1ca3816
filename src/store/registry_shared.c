#include "store/registry_shared.h"

#include "base/file.h"

#include <stdio.h>
#include <string.h>

enum { PART_BYTES = 1 << 20 };

/* An empty file is one part without bytes. */
static int64_t parts_of(const registry_file *file)
{
    return file->size > 0 ? (file->size + PART_BYTES - 1) / PART_BYTES : 1;
}

static finch_status count_parts(store *s, const registry_file *file, int64_t *n, finch_error *err)
{
    static const sql_statement count = {"SELECT count(*) FROM model_blob WHERE sha256 = $1", NULL};
    sql_value value = sql_text(file->sha256);
    return store_run(s, &count, &value, 1, sql_take_integer, n, NULL, err);
}

/* ---- in ---- */

/* A transaction a part: an upload that was interrupted goes on where it was. */
static finch_status put_parts(store *s, const registry_file *file, bytes content, finch_error *err)
{
    static const sql_statement insert = {
        "INSERT INTO model_blob (sha256, part, content) VALUES ($1, $2, $3) ON CONFLICT (sha256, part) DO NOTHING", NULL};
    if ((int64_t)content.size != file->size)
        return finch_fail(err, FINCH_E_IO, "%s changed while it was put into the store; register the model again",
                          file->path);
    for (int64_t part = 0; part < parts_of(file); part++) {
        size_t begin = (size_t)part * PART_BYTES, left = content.size - begin;
        sql_value values[] = {
            sql_text(file->sha256), sql_integer(part),
            sql_blob(left > 0 ? content.at + begin : (const void *)"", left < PART_BYTES ? left : PART_BYTES)};
        FINCH_TRY(store_run(s, &insert, values, 3, NULL, NULL, NULL, err));
    }
    return FINCH_OK;
}

static finch_status put_file(store *s, const registry_root *root, const registry_file *file, finch_error *err)
{
    str path = {0};
    file_map map = {0};
    int64_t n = 0;
    FINCH_TRY(count_parts(s, file, &n, err));
    if (n == parts_of(file)) return FINCH_OK;
    finch_status st = registry_blob_path(root, file->sha256, &path, err);
    if (st == FINCH_OK && file->size > 0) st = file_map_open(path.at, &map, err);
    if (st == FINCH_OK) st = put_parts(s, file, map.content, err);
    file_map_close(&map);
    str_free(&path);
    return st;
}

finch_status registry_shared_put(store *s, const registry_root *root, const registry_files *files, finch_error *err)
{
    if (!store_is_shared(s)) return FINCH_OK;
    for (size_t i = 0; i < files->n; i++) FINCH_TRY(put_file(s, root, &files->at[i], err));
    return FINCH_OK;
}

/* ---- out ---- */

static int digit_of(char c) { return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1; }

static finch_status write_hex(void *context, const sql_row *row, finch_error *err)
{
    unsigned char piece[4096];
    finch_text hex = sql_row_text(row, 0);
    size_t n = 0;
    for (size_t i = 0; i + 1 < hex.size_bytes; i += 2) {
        int high = digit_of(hex.at[i]), low = digit_of(hex.at[i + 1]);
        if (high < 0 || low < 0) return finch_fail(err, FINCH_E_DATA, "a part of a model in the store is broken");
        piece[n++] = (unsigned char)(16 * high + low);
        if (n == sizeof piece) {
            FINCH_TRY(file_writer_write(context, piece, n, err));
            n = 0;
        }
    }
    return n > 0 ? file_writer_write(context, piece, n, err) : FINCH_OK;
}

static finch_status get_parts(store *s, const registry_file *file, const char *path, finch_error *err)
{
    static const sql_statement look = {"SELECT hex(content) FROM model_blob WHERE sha256 = $1 AND part = $2",
                                       "SELECT encode(content, 'hex') FROM model_blob WHERE sha256 = $1 AND part = $2"};
    file_writer writer;
    FINCH_TRY(file_writer_open(path, &writer, err));
    finch_status st = FINCH_OK;
    for (int64_t part = 0; st == FINCH_OK && part < parts_of(file); part++) {
        sql_value values[] = {sql_text(file->sha256), sql_integer(part)};
        st = store_run(s, &look, values, 2, write_hex, &writer, NULL, err);
    }
    if (st == FINCH_OK) st = file_writer_commit(&writer, err);
    if (st != FINCH_OK) file_writer_abort(&writer);
    return st;
}

static finch_status get_file(store *s, const registry_root *root, const registry_file *file, finch_error *err)
{
    str loose = {0};
    int64_t n = 0;
    if (registry_blob_is_there(root, file)) return FINCH_OK;
    FINCH_TRY(count_parts(s, file, &n, err));
    if (n != parts_of(file))
        return finch_fail(err, FINCH_E_NOT_FOUND,
                          "%s of the model is neither here nor in the store; register it again where its files are",
                          file->path);
    finch_status st = registry_blob_loose(root, file, &loose, err);
    if (st == FINCH_OK) st = get_parts(s, file, loose.at, err);
    if (st == FINCH_OK) st = registry_blob_settle(root, loose.at, file, err);
    str_free(&loose);
    return st;
}

finch_status registry_shared_get(store *s, const char *name, int64_t number, const registry_files *files, finch_error *err)
{
    registry_root root;
    FINCH_TRY(registry_root_open(s, &root, err));
    finch_status st = FINCH_OK;
    for (size_t i = 0; st == FINCH_OK && i < files->n; i++) st = get_file(s, &root, &files->at[i], err);
    if (st == FINCH_OK) st = registry_folder_make(&root, name, number, files, err);
    registry_root_close(&root);
    return st;
}

finch_status registry_shared_sweep(store *s, finch_error *err)
{
    static const sql_statement sweep = {"DELETE FROM model_blob WHERE sha256 NOT IN (SELECT f.sha256 FROM model_file f JOIN "
                                        "model_version v ON v.name = f.name "
                                        "AND v.number = f.number WHERE v.removed = 0)",
                                        NULL};
    return store_is_shared(s) ? store_run(s, &sweep, NULL, 0, NULL, NULL, NULL, err) : FINCH_OK;
}
