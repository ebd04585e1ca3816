#include "serve/web.h"

#include "base/file.h"
#include "serve/reply.h"

#include <dirent.h>
#include <openssl/evp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <zlib.h>

enum { FILE_BYTES_MAX = 32 << 20, POLICY_SCRIPTS_MAX = 64, HASH_TEXT_BYTES = 64, PATH_BYTES_MAX = 1024 };

typedef struct web_file {
    char *path; /* without the slash before it */
    char *content;
    size_t size;
    char *packed; /* gzip; NULL: not smaller, or no text */
    size_t packed_size;
    const char *type;
    char etag[24];
    char *policy; /* of pages */
} web_file;

struct web {
    web_file *files; /* [n_files] by path */
    size_t n_files, capacity;
};

static const char *const types[][2] = {
    {".html", "text/html; charset=utf-8"},
    {".js", "text/javascript; charset=utf-8"},
    {".mjs", "text/javascript; charset=utf-8"},
    {".css", "text/css; charset=utf-8"},
    {".json", "application/json"},
    {".map", "application/json"},
    {".svg", "image/svg+xml"},
    {".png", "image/png"},
    {".jpg", "image/jpeg"},
    {".ico", "image/x-icon"},
    {".webp", "image/webp"},
    {".woff2", "font/woff2"},
    {".woff", "font/woff"},
    {".txt", "text/plain; charset=utf-8"},
    {".webmanifest", "application/manifest+json"},
    {".csv", "text/csv; charset=utf-8"},
};

static const char *type_of(const char *path)
{
    size_t n = strlen(path);
    for (size_t i = 0; i < sizeof types / sizeof types[0]; i++) {
        size_t end = strlen(types[i][0]);
        if (n >= end && strcmp(path + n - end, types[i][0]) == 0) return types[i][1];
    }
    return "application/octet-stream";
}

static bool is_page(const web_file *f) { return strncmp(f->type, "text/html", 9) == 0; }

static bool is_text(const web_file *f)
{
    return strncmp(f->type, "text/", 5) == 0 || strncmp(f->type, "application/json", 16) == 0 ||
           strcmp(f->type, "image/svg+xml") == 0;
}

/* ---- policies -------------------------------------------------------------------------------------------------------- */

static finch_status add_hash(str *policy, const char *at, size_t size, finch_error *err)
{
    unsigned char digest[EVP_MAX_MD_SIZE];
    unsigned char text[HASH_TEXT_BYTES];
    unsigned n = 0;
    if (EVP_Digest(at, size, digest, &n, EVP_sha256(), NULL) != 1)
        return finch_fail(err, FINCH_E_MEMORY, "a script could not be hashed");
    EVP_EncodeBlock(text, digest, (int)n);
    return str_add_format(policy, err, " 'sha256-%s'", (const char *)text);
}

/* The content of each <script> that has no src. */
static finch_status add_scripts(str *policy, const char *html, finch_error *err)
{
    size_t n = 0;
    for (const char *at = strstr(html, "<script"); at != NULL; at = strstr(at, "<script")) {
        const char *close = strchr(at, '>'), *end = close != NULL ? strstr(close, "</script") : NULL,
                   *src = strstr(at, " src=");
        if (end == NULL) break;
        if (src == NULL || src > close) {
            if (n++ == POLICY_SCRIPTS_MAX)
                return finch_fail(err, FINCH_E_DATA, "a page has more than %d inline scripts", POLICY_SCRIPTS_MAX);
            FINCH_TRY(add_hash(policy, close + 1, (size_t)(end - close - 1), err));
        }
        at = end;
    }
    return FINCH_OK;
}

static finch_status make_policy(web_file *f, finch_error *err)
{
    str policy = {0};
    finch_status st = str_add_text(&policy, "default-src 'self'; script-src 'self'", err);
    if (st == FINCH_OK) st = add_scripts(&policy, f->content, err);
    if (st == FINCH_OK)
        st = str_add_text(
            &policy,
            "; style-src 'self'; img-src 'self' data: blob:; font-src 'self'; connect-src 'self'; object-src 'none'; "
            "base-uri 'none'; form-action 'self'; frame-ancestors 'none'",
            err);
    f->policy = str_steal(&policy);
    return st;
}

/* ---- reading --------------------------------------------------------------------------------------------------------- */

static finch_status pack(web_file *f, finch_error *err)
{
    z_stream z = {0};
    if (!is_text(f) || f->size < 256) return FINCH_OK;
    if (deflateInit2(&z, Z_BEST_COMPRESSION, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY) != Z_OK)
        return finch_fail(err, FINCH_E_MEMORY, "out of memory for the dashboard's files");
    size_t room = deflateBound(&z, (uLong)f->size);
    finch_status st = mem_alloc(room, 1, (void **)&f->packed, err);
    if (st == FINCH_OK) {
        z.next_in = (unsigned char *)f->content;
        z.avail_in = (uInt)f->size;
        z.next_out = (unsigned char *)f->packed;
        z.avail_out = (uInt)room;
        f->packed_size = deflate(&z, Z_FINISH) == Z_STREAM_END ? z.total_out : SIZE_MAX;
    }
    deflateEnd(&z);
    if (st == FINCH_OK && f->packed_size >= f->size) {
        mem_free(f->packed);
        f->packed = NULL;
    }
    return st;
}

static finch_status fill_file(web_file *f, const char *disk_path, const char *path, finch_error *err)
{
    unsigned char digest[EVP_MAX_MD_SIZE] = {0};
    FINCH_TRY(mem_text(path, strlen(path), &f->path, err));
    FINCH_TRY(file_read(disk_path, FILE_BYTES_MAX, &f->content, &f->size, err));
    f->type = type_of(path);
    if (EVP_Digest(f->content, f->size, digest, NULL, EVP_sha256(), NULL) != 1)
        return finch_fail(err, FINCH_E_MEMORY, "a file could not be hashed");
    snprintf(f->etag, sizeof f->etag, "\"%02x%02x%02x%02x%02x%02x%02x%02x\"", digest[0], digest[1], digest[2], digest[3],
             digest[4], digest[5], digest[6], digest[7]);
    if (is_page(f)) FINCH_TRY(make_policy(f, err));
    return pack(f, err);
}

static finch_status add_file(web *w, const char *disk_path, const char *path, finch_error *err)
{
    if (w->n_files == w->capacity) {
        void *block = w->files;
        size_t capacity = w->capacity == 0 ? 64 : 2 * w->capacity;
        if (w->n_files >= WEB_FILES_MAX)
            return finch_fail(err, FINCH_E_DATA, "the dashboard's folder has more than %d files", WEB_FILES_MAX);
        FINCH_TRY(mem_grow(&block, w->n_files * sizeof *w->files, capacity, sizeof *w->files, err));
        w->files = block;
        w->capacity = capacity;
    }
    web_file *f = &w->files[w->n_files++];
    *f = (web_file){0};
    return fill_file(f, disk_path, path, err);
}

static finch_status walk(web *w, const char *folder, const char *prefix, int depth, finch_error *err);

static finch_status add_entry(web *w, const char *folder, const char *prefix, const char *name, int depth, finch_error *err)
{
    str disk = {0}, path = {0};
    struct stat info;
    finch_status st = file_join(folder, name, &disk, err);
    if (st == FINCH_OK) st = str_add_format(&path, err, "%s%s%s", prefix, prefix[0] != '\0' ? "/" : "", name);
    if (st == FINCH_OK && lstat(disk.at, &info) == 0) {
        if (S_ISREG(info.st_mode)) st = add_file(w, disk.at, path.at, err);
        else if (S_ISDIR(info.st_mode)) st = walk(w, disk.at, path.at, depth + 1, err);
    }
    str_free(&disk);
    str_free(&path);
    return st;
}

static finch_status walk(web *w, const char *folder, const char *prefix, int depth, finch_error *err)
{
    if (depth > WEB_DEPTH_MAX)
        return finch_fail(err, FINCH_E_DATA, "%s is nested deeper than %d folders", folder, WEB_DEPTH_MAX);
    DIR *dir = opendir(folder);
    if (dir == NULL) return finch_fail(err, FINCH_E_NOT_FOUND, "%s is no folder that can be read", folder);
    finch_status st = FINCH_OK;
    for (struct dirent *entry; st == FINCH_OK && (entry = readdir(dir)) != NULL;)
        if (entry->d_name[0] != '.') st = add_entry(w, folder, prefix, entry->d_name, depth, err);
    closedir(dir);
    return st;
}

static int by_path(const void *a, const void *b) { return strcmp(((const web_file *)a)->path, ((const web_file *)b)->path); }

finch_status web_open(const char *folder, web **out, finch_error *err)
{
    web *w;
    *out = NULL;
    FINCH_TRY(MEM_NEW(&w, 1, err));
    finch_status st = walk(w, folder, "", 0, err);
    if (st == FINCH_OK && w->n_files > 0) qsort(w->files, w->n_files, sizeof *w->files, by_path);
    if (st == FINCH_OK) *out = w;
    else web_close(w);
    return st;
}

void web_close(web *w)
{
    if (w == NULL) return;
    for (size_t i = 0; i < w->n_files; i++) {
        mem_free(w->files[i].path);
        mem_free(w->files[i].content);
        mem_free(w->files[i].packed);
        mem_free(w->files[i].policy);
    }
    mem_free(w->files);
    mem_free(w);
}

/* ---- answering ------------------------------------------------------------------------------------------------------- */

static const web_file *find(const web *w, const char *path)
{
    web_file key = {.path = (char *)(uintptr_t)path};
    return w->n_files > 0 ? bsearch(&key, w->files, w->n_files, sizeof *w->files, by_path) : NULL;
}

static const web_file *find_page(const web *w, const char *path, size_t size)
{
    char text[PATH_BYTES_MAX + sizeof "/index.html"];
    const web_file *f = size > 0 ? find(w, path) : NULL;
    if (f != NULL) return f;
    while (size > 0 && path[size - 1] == '/') size--;
    snprintf(text, sizeof text, "%.*s.html", (int)size, path);
    if (size > 0) f = find(w, text);
    if (f != NULL) return f;
    snprintf(text, sizeof text, "%.*s%sindex.html", (int)size, path, size > 0 ? "/" : "");
    return find(w, text);
}

/* The decoded segments with slashes; false where that is longer than any file's path. */
static bool join_path(const uri *u, char *out, size_t size)
{
    size_t used = 0;
    out[0] = '\0';
    for (size_t i = 0; i < u->n_segments; i++) {
        size_t n = strlen(u->segments[i]);
        if (strchr(u->segments[i], '/') != NULL || used + n + 2 > size) return false;
        if (i > 0) out[used++] = '/';
        memcpy(out + used, u->segments[i], n + 1);
        used += n;
    }
    return true;
}

static bool takes_gzip(const request *r)
{
    const char *accept = request_field(r, MHD_HTTP_HEADER_ACCEPT_ENCODING),
               *at = accept != NULL ? strstr(accept, "gzip") : NULL;
    return at != NULL && strncmp(at + 4, ";q=0", 4) != 0;
}

static void answer_file(request *r, const web_file *f, unsigned status)
{
    const char *known = request_field(r, MHD_HTTP_HEADER_IF_NONE_MATCH);
    bool forever = strncmp(f->path, "_next/static/", 13) == 0;
    request_add_header(r, "ETag", "%s", f->etag);
    request_add_header(r, "Cache-Control", "%s", forever ? "public, max-age=31536000, immutable" : "no-cache");
    r->policy = f->policy;
    if (f->packed != NULL) request_add_header(r, "Vary", "Accept-Encoding");
    if (status == 200 && known != NULL && strstr(known, f->etag) != NULL) {
        reply_static(r, 304, f->type, "", 0);
    } else if (f->packed != NULL && takes_gzip(r)) {
        request_add_header(r, "Content-Encoding", "gzip");
        reply_static(r, status, f->type, f->packed, f->packed_size);
    } else {
        reply_static(r, status, f->type, f->content, f->size);
    }
}

bool web_answer(const web *w, request *r)
{
    char path[PATH_BYTES_MAX];
    if (w == NULL || !join_path(&r->target, path, sizeof path)) return false;
    const web_file *f = find_page(w, path, strlen(path));
    if (f != NULL) answer_file(r, f, 200);
    return f != NULL;
}

/* Browsers name it where they are to show a page; what programs ask for is answered in JSON. */
static bool takes_pages(const request *r)
{
    const char *accept = request_field(r, MHD_HTTP_HEADER_ACCEPT);
    return accept != NULL && strstr(accept, "text/html") != NULL;
}

bool web_answer_missing(const web *w, request *r)
{
    const web_file *f = w != NULL && takes_pages(r) ? find(w, "404.html") : NULL;
    if (f != NULL) answer_file(r, f, 404);
    return f != NULL;
}
