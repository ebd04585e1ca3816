/* /api/v1/batches: uploads, states, results. */
#include "base/file.h"
#include "serve/batches.h"
#include "serve/desk.h"
#include "serve/handlers.h"
#include "serve/models.h"
#include "serve/reply.h"
#include "serve/upload.h"
#include "store/jobs.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* Keys see their own jobs; admins, and all where no key is asked for, see all. */
static const char *owner_of(const request *r) { return r->caller[0] != '\0' && !r->is_admin ? r->caller : NULL; }

static finch_status find_job(const request *r, store *s, job *out, finch_error *err)
{
    const char *owner = owner_of(r);
    FINCH_TRY(jobs_get(s, r->arguments[0], out, err));
    if (owner == NULL || (out->key.at != NULL && strcmp(out->key.at, owner) == 0)) return FINCH_OK;
    job_free(out);
    return finch_fail(err, FINCH_E_NOT_FOUND, "there is no batch job of that id");
}

/* ---- POST ------------------------------------------------------------------------------------------------------------ */

static const char *option_of(const request *r, const char *name)
{
    const char *value = uri_get(&r->target, name);
    return value != NULL ? value : upload_get(r->upload, name);
}

/* The file gets the ending by which DuckDB's readers know it. */
static finch_status name_upload(request *r, str *path, finch_error *err)
{
    const char *format = option_of(r, "format");
    if (format == NULL || format[0] == '\0') format = upload_format(r->upload);
    if (format[0] == '\0')
        return finch_fail(
            err, FINCH_E_UNSUPPORTED,
            "the upload's format is not known: send Content-Type text/csv, application/x-ndjson or "
            "application/vnd.apache.parquet, a file name with its ending, or format=csv|tsv|jsonl|json|parquet");
    if (strspn(format, "abcdefghijklmnopqrstuvwxyz.") != strlen(format) || strlen(format) > 16 || format[0] == '.')
        return finch_fail(err, FINCH_E_DATA, "format is one of csv, tsv, jsonl, json, parquet, text also with .gz or .zst");
    FINCH_TRY(str_add_format(path, err, "%s.%s", upload_path(r->upload), format));
    if (rename(upload_path(r->upload), path->at) != 0)
        return finch_fail(err, FINCH_E_IO, "%s can not be put in its place", path->at);
    upload_keep(r->upload);
    return FINCH_OK;
}

static finch_status check_model(const request *r, const char *name, finch_error *err)
{
    model_slot *slot = models_acquire(r->server->models, name);
    bool known = slot != NULL;
    model_release(slot);
    return known ? FINCH_OK : finch_fail(err, FINCH_E_NOT_FOUND, "no model of that name is served");
}

static finch_status make_job(request *r, store *s, const char *path, finch_error *err)
{
    const char *name = option_of(r, "model"), *column = option_of(r, "text_column");
    job made = {0};
    if (name != NULL && name[0] == '\0') name = NULL;
    if (column != NULL && column[0] == '\0') column = NULL;
    FINCH_TRY(check_model(r, name, err));
    json_t *options = json_pack("{s:s*, s:s*, s:b}", "model", name, "text_column", column, "keep",
                                (int)r->store_predictions);
    char *text = options != NULL ? json_dumps(options, JSON_COMPACT) : NULL;
    json_decref(options);
    if (text == NULL) return finch_fail(err, FINCH_E_DATA, "model or text_column is no UTF-8");
    const char *called = upload_name(r->upload);
    jobs_new spec = {.kind = "score",
                     .input_path = path,
                     .input_name = called[0] != '\0' ? called : "upload",
                     .input_bytes = (int64_t)upload_bytes(r->upload),
                     .options = text,
                     .key = r->caller[0] != '\0' ? r->caller : NULL};
    finch_status st = jobs_create(s, &spec, &made, err);
    if (st == FINCH_OK) {
        request_add_header(r, "Location", "/api/v1/batches/%s", made.id);
        reply_data(r, 202, job_json(&made));
        batches_wake(r->server->batches);
    }
    job_free(&made);
    free(text);
    return st;
}

static finch_status create_batch(request *r, store *s, finch_error *err)
{
    str path = {0};
    FINCH_TRY(upload_finish(r->upload, err));
    finch_status st = name_upload(r, &path, err);
    /* The name in its folder must last as long as the job in the store. */
    if (st == FINCH_OK) st = file_sync(batches_folder(r->server->batches), err);
    if (st == FINCH_OK) st = make_job(r, s, path.at, err);
    if (st != FINCH_OK && path.size > 0) unlink(path.at);
    str_free(&path);
    return st;
}

handler_answer handle_batch_create(request *r) { return desk_run(r, create_batch); }

/* ---- GET, DELETE ----------------------------------------------------------------------------------------------------- */

static finch_status show_batch(request *r, store *s, finch_error *err)
{
    job j = {0};
    FINCH_TRY(find_job(r, s, &j, err));
    reply_data(r, 200, job_json(&j));
    job_free(&j);
    return FINCH_OK;
}

handler_answer handle_batch(request *r) { return desk_run(r, show_batch); }

static finch_status add_job(void *context, const job *j, finch_error *err)
{
    return json_array_append_new(context, job_json(j)) == 0
               ? FINCH_OK
               : finch_fail(err, FINCH_E_MEMORY, "out of memory for the answer");
}

static finch_status list_batches(request *r, store *s, finch_error *err)
{
    const char *limit = uri_get(&r->target, "limit");
    json_t *list = json_array();
    finch_status st = jobs_each(s, owner_of(r), 0, limit != NULL ? (size_t)strtoul(limit, NULL, 10) : 50, add_job, list,
                                err);
    if (st == FINCH_OK) reply_data(r, 200, json_pack("{s:o}", "batches", list));
    else json_decref(list);
    return st;
}

handler_answer handle_batches(request *r) { return desk_run(r, list_batches); }

static finch_status cancel_batch(request *r, store *s, finch_error *err)
{
    job j = {0};
    FINCH_TRY(find_job(r, s, &j, err));
    finch_status st = jobs_cancel(s, j.id, err);
    job_free(&j);
    if (st == FINCH_E_USAGE) {
        reply_error(r, 409, "job_is_over", NULL, "%s", err->message);
        return FINCH_OK;
    }
    FINCH_TRY(st);
    return show_batch(r, s, err);
}

handler_answer handle_batch_cancel(request *r) { return desk_run(r, cancel_batch); }

/* ---- results --------------------------------------------------------------------------------------------------------- */

static const char *const result_types[][2] = {
    {"parquet", "application/vnd.apache.parquet"}, {"csv", "text/csv; charset=utf-8"}, {"jsonl", "application/x-ndjson"}};

/* The path of the result in a format; made where it is not there yet. */
static finch_status result_path(const request *r, const job *j, const char *format, str *out, finch_error *err)
{
    const serve_work *work = &r->server->options.work;
    FINCH_TRY(str_add_text(out, j->result_path.at, err));
    if (strcmp(format, "parquet") == 0) return FINCH_OK;
    FINCH_TRY(str_add_format(out, err, ".%s", format));
    return file_exists(out->at) ? FINCH_OK : work->convert(work->context, j->result_path.at, out->at, err);
}

static finch_status send_file(request *r, const job *j, const char *path, const char *format, const char *type,
                              finch_error *err)
{
    struct stat info;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &info) != 0) {
        if (fd >= 0) close(fd);
        return finch_fail(err, FINCH_E_NOT_FOUND, "the result's file is gone");
    }
    r->prepared = MHD_create_response_from_fd64((uint64_t)info.st_size, fd);
    if (r->prepared == NULL) {
        close(fd);
        return finch_fail(err, FINCH_E_MEMORY, "out of memory for the answer");
    }
    r->status = 200;
    r->content_type = type;
    request_add_header(r, "Content-Disposition", "attachment; filename=\"batch-%s.%s\"", j->id, format);
    return FINCH_OK;
}

static finch_status give_result(request *r, store *s, finch_error *err)
{
    const char *format = uri_get(&r->target, "format"), *type = result_types[0][1];
    job j = {0};
    str path = {0};
    if (format == NULL) format = "parquet";
    for (size_t i = 0; i < sizeof result_types / sizeof result_types[0]; i++)
        if (strcmp(result_types[i][0], format) == 0) type = result_types[i][1];
    FINCH_TRY(find_job(r, s, &j, err));
    finch_status st = FINCH_OK;
    if (strcmp(j.state.at, "done") != 0) {
        reply_error(r, 409, "job_is_not_done", json_pack("{s:s}", "state", j.state.at),
                    "the job is %s; its result is there once it is done", j.state.at);
    } else {
        st = result_path(r, &j, format, &path, err);
        if (st == FINCH_OK) st = send_file(r, &j, path.at, format, type, err);
    }
    str_free(&path);
    job_free(&j);
    return st;
}

handler_answer handle_batch_result(request *r) { return desk_run(r, give_result); }
