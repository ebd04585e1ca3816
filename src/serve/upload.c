#include "serve/upload.h"

#include "base/file.h"
#include "serve/reply.h"
#include "store/store.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

enum { FORM_BUFFER_BYTES = 1 << 16, NAME_BYTES = 200 };

struct upload {
    str path;
    int descriptor;
    bool keep, failed, has_file;
    finch_error err;
    struct MHD_PostProcessor *form; /* NULL: the body is the file */
    char name[NAME_BYTES];
    char type[80];
    uint64_t n_bytes;
    upload_field fields[UPLOAD_FIELDS_MAX];
    size_t n_fields;
};

/* ---- what it is ------------------------------------------------------------------------------------------------------ */

static const char *const formats[][2] = {
    {".csv", "csv"},           {".tsv", "tsv"},
    {".jsonl", "jsonl"},       {".ndjson", "jsonl"},
    {".json", "json"},         {".parquet", "parquet"},
    {".csv.gz", "csv.gz"},     {".csv.zst", "csv.zst"},
    {".jsonl.gz", "jsonl.gz"}, {".jsonl.zst", "jsonl.zst"},
    {".tsv.gz", "tsv.gz"},     {".tsv.zst", "tsv.zst"},
    {".json.gz", "json.gz"},   {".json.zst", "json.zst"},
};

static const char *const types[][2] = {
    {"text/csv", "csv"},
    {"text/tab-separated-values", "tsv"},
    {"application/x-ndjson", "jsonl"},
    {"application/jsonl", "jsonl"},
    {"application/jsonlines", "jsonl"},
    {"application/json", "json"},
    {"application/vnd.apache.parquet", "parquet"},
    {"application/parquet", "parquet"},
};

const char *upload_format(const upload *u)
{
    size_t n = strlen(u->name), n_type = strcspn(u->type, "; ");
    for (size_t i = 0; i < sizeof formats / sizeof formats[0]; i++) {
        size_t end = strlen(formats[i][0]);
        if (n >= end && strcasecmp(u->name + n - end, formats[i][0]) == 0) return formats[i][1];
    }
    for (size_t i = 0; i < sizeof types / sizeof types[0]; i++)
        if (strlen(types[i][0]) == n_type && strncasecmp(types[i][0], u->type, n_type) == 0) return types[i][1];
    return "";
}

/* The last part of a path that a client sent, for people: the file itself has a name of ours. */
static void take_name(upload *u, const char *name)
{
    const char *slash = strrchr(name, '/'), *back = strrchr(name, '\\');
    if (slash != NULL) name = slash + 1;
    if (back != NULL && back + 1 > name) name = back + 1;
    size_t n = 0;
    for (; name[n] != '\0' && n + 1 < sizeof u->name; n++)
        u->name[n] = (unsigned char)name[n] < 0x20 || (unsigned char)name[n] > 0x7E || name[n] == '"' ? '_' : name[n];
    u->name[n] = '\0';
}

/* ---- writing --------------------------------------------------------------------------------------------------------- */

static bool fail(upload *u, finch_status st, const char *message)
{
    if (!u->failed) (void)finch_fail(&u->err, st, "%s", message);
    u->failed = true;
    return false;
}

static bool write_bytes(upload *u, const char *at, size_t size)
{
    while (size > 0) {
        ssize_t n = write(u->descriptor, at, size);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0)
            return fail(u, FINCH_E_IO,
                        errno == ENOSPC || errno == EDQUOT ? "the disk that uploads go to is full"
                                                           : "the upload could not be written");
        at += n;
        size -= (size_t)n;
        u->n_bytes += (uint64_t)n;
    }
    return true;
}

static enum MHD_Result add_field(upload *u, const char *name, const char *data, uint64_t offset, size_t size)
{
    upload_field *f = u->n_fields > 0 ? &u->fields[u->n_fields - 1] : NULL;
    if (offset == 0) {
        if (u->n_fields == UPLOAD_FIELDS_MAX || strlen(name) >= sizeof f->name) {
            fail(u, FINCH_E_DATA, "the form has too many fields, or one with a long name");
            return MHD_NO;
        }
        f = &u->fields[u->n_fields++];
        snprintf(f->name, sizeof f->name, "%s", name);
    }
    if (f == NULL || f->size + size >= sizeof f->value) {
        fail(u, FINCH_E_DATA, "a field of the form is too long");
        return MHD_NO;
    }
    memcpy(f->value + f->size, data, size);
    f->size += size;
    return MHD_YES;
}

static enum MHD_Result on_part(void *context, enum MHD_ValueKind kind, const char *key, const char *file_name,
                               const char *type, const char *encoding, const char *data, uint64_t offset, size_t size)
{
    upload *u = context;
    (void)kind, (void)encoding;
    if (key == NULL || strcmp(key, "file") != 0) return add_field(u, key != NULL ? key : "", data, offset, size);
    if (offset == 0 && u->has_file) {
        fail(u, FINCH_E_DATA, "the form has more than one file; send one a request");
        return MHD_NO;
    }
    if (offset == 0) {
        u->has_file = true;
        if (file_name != NULL) take_name(u, file_name);
        if (type != NULL) snprintf(u->type, sizeof u->type, "%s", type);
    }
    return write_bytes(u, data, size) ? MHD_YES : MHD_NO;
}

bool upload_write(upload *u, const char *at, size_t size)
{
    if (u->failed) return false;
    if (u->form == NULL) return write_bytes(u, at, size);
    if (MHD_post_process(u->form, at, size) == MHD_YES) return true;
    return fail(u, FINCH_E_DATA, "the body is not the multipart form that its Content-Type says");
}

/* ---- from the first byte to the last --------------------------------------------------------------------------------- */

static finch_status open_file(upload *u, const char *folder, finch_error *err)
{
    char name[STORE_HASH_BYTES];
    FINCH_TRY(file_make_directories(folder, err));
    FINCH_TRY(store_random_name(name, err));
    FINCH_TRY(file_join(folder, name, &u->path, err));
    u->descriptor = open(u->path.at, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    return u->descriptor >= 0 ? FINCH_OK
                              : finch_fail(err, FINCH_E_IO, "%s can not be made: uploads can not be taken", u->path.at);
}

bool upload_open(request *r, const char *folder, upload **out)
{
    upload *u;
    finch_error err = {0};
    const char *type = request_field(r, MHD_HTTP_HEADER_CONTENT_TYPE);
    *out = NULL;
    finch_status st = MEM_NEW(&u, 1, &err);
    if (st == FINCH_OK) {
        u->descriptor = -1;
        st = open_file(u, folder, &err);
    }
    if (st != FINCH_OK) {
        upload_close(u);
        reply_failure(r, st, &err);
        return false;
    }
    if (type != NULL) snprintf(u->type, sizeof u->type, "%s", type);
    if (type != NULL && strncasecmp(type, "multipart/form-data", 19) == 0) {
        u->form = MHD_create_post_processor(r->connection, FORM_BUFFER_BYTES, on_part, u);
        if (u->form == NULL) {
            upload_close(u);
            reply_error(r, 400, "bad_form", NULL, "the multipart form's Content-Type has no boundary");
            return false;
        }
    }
    *out = u;
    return true;
}

finch_status upload_finish(upload *u, finch_error *err)
{
    if (u->form != NULL) {
        struct MHD_PostProcessor *form = u->form;
        u->form = NULL;
        if (MHD_destroy_post_processor(form) != MHD_YES) fail(u, FINCH_E_DATA, "the multipart form ends before it is whole");
        if (!u->has_file) fail(u, FINCH_E_DATA, "the form has no part \"file\"");
    }
    if (!u->failed && u->n_bytes == 0) fail(u, FINCH_E_DATA, "the upload is empty");
    if (!u->failed && fsync(u->descriptor) != 0) fail(u, FINCH_E_IO, "the upload could not be flushed to the disk");
    if (!u->failed) return FINCH_OK;
    *err = u->err;
    return err->status;
}

void upload_keep(upload *u) { u->keep = true; }

void upload_close(upload *u)
{
    if (u == NULL) return;
    if (u->form != NULL) MHD_destroy_post_processor(u->form);
    if (u->descriptor >= 0) close(u->descriptor);
    if (u->descriptor >= 0 && !u->keep) unlink(u->path.at);
    str_free(&u->path);
    mem_free(u);
}

const char *upload_path(const upload *u) { return u->path.at; }
const char *upload_name(const upload *u) { return u->name; }
uint64_t upload_bytes(const upload *u) { return u->n_bytes; }

const char *upload_get(const upload *u, const char *name)
{
    for (size_t i = 0; i < u->n_fields; i++)
        if (strcmp(u->fields[i].name, name) == 0) return u->fields[i].value;
    return NULL;
}
