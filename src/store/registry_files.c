#include "store/registry_files.h"

#include "base/file.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

enum { FILES_MOST = 2000, CHUNK_BYTES = 1 << 20, DEPTH_MOST = 1 };

#define UNFINISHED ".new-"

/* ---- lists ---- */

void registry_files_free(registry_files *files)
{
    for (size_t i = 0; i < files->n; i++) mem_free(files->at[i].path);
    mem_free(files->at);
    *files = (registry_files){0};
}

finch_status registry_files_add(registry_files *files, const char *path, size_t path_bytes, const char *sha256, int64_t size,
                                finch_error *err)
{
    FINCH_TRY(MEM_ROOM(&files->at, files->n, 1, &files->n_room, err));
    registry_file *file = &files->at[files->n];
    *file = (registry_file){.size = size};
    snprintf(file->sha256, sizeof file->sha256, "%s", sha256);
    FINCH_TRY(mem_text(path, path_bytes, &file->path, err));
    files->n++;
    files->size_bytes += size;
    return FINCH_OK;
}

static int by_path(const void *a, const void *b)
{
    const registry_file *x = a, *y = b;
    return strcmp(x->path, y->path);
}

finch_status registry_files_digest(const registry_files *files, char out[VALUES_SHA256_BYTES], finch_error *err)
{
    str lines = {0};
    finch_status st = FINCH_OK;
    for (size_t i = 0; st == FINCH_OK && i < files->n; i++)
        st = str_add_format(&lines, err, "%s %s\n", files->at[i].sha256, files->at[i].path);
    if (st == FINCH_OK) st = values_sha256(lines.at, lines.size, out, err);
    str_free(&lines);
    return st;
}

/* ---- where ---- */

finch_status registry_root_path(const store *s, str *out, finch_error *err)
{
    const char *given = getenv("FINCH_REGISTRY"), *data = getenv("XDG_DATA_HOME"), *home = getenv("HOME");
    str_clear(out);
    if (given != NULL && given[0] != '\0') return str_add_text(out, given, err);
    if (!store_is_shared(s)) return str_add_format(out, err, "%s.models", store_place(s));
    if (data != NULL && data[0] == '/') return str_add_format(out, err, "%s/finch/models", data);
    if (home != NULL && home[0] == '/') return str_add_format(out, err, "%s/.local/share/finch/models", home);
    return finch_fail(err, FINCH_E_USAGE, "there is no home folder to keep models in; name one with FINCH_REGISTRY");
}

finch_status registry_folder_path(const store *s, const char *name, int64_t number, str *out, finch_error *err)
{
    FINCH_TRY(registry_root_path(s, out, err));
    return str_add_format(out, err, "/versions/%s@%lld", name, (long long)number);
}

/* The number by which a folder knows its store: two stores in one folder would sweep each other's files away. */
static finch_status store_identity(store *s, int64_t *out, finch_error *err)
{
    static const sql_statement make = {
        "INSERT INTO store_counter (name, value) VALUES ('identity', $1) ON CONFLICT (name) DO NOTHING", NULL};
    static const sql_statement look = {"SELECT value FROM store_counter WHERE name = 'identity'", NULL};
    char digits[16];
    FINCH_TRY(values_random_hex(7, digits, err));
    sql_value value = sql_integer(strtoll(digits, NULL, 16));
    FINCH_TRY(store_run(s, &make, &value, 1, NULL, NULL, NULL, err));
    return store_run(s, &look, NULL, 0, sql_take_integer, out, NULL, err);
}

static finch_status check_owner(store *s, const registry_root *root, finch_error *err)
{
    char *text = NULL, mine[32];
    size_t size = 0;
    int64_t identity = 0;
    str path = {0};
    FINCH_TRY(store_identity(s, &identity, err));
    int n = snprintf(mine, sizeof mine, "%lld\n", (long long)identity);
    finch_status st = file_join(root->path.at, "store", &path, err);
    if (st == FINCH_OK && !file_exists(path.at)) st = file_write(path.at, mine, (size_t)n, err);
    else if (st == FINCH_OK) {
        st = file_read(path.at, 1024, &text, &size, err);
        if (st == FINCH_OK && strcmp(text, mine) != 0)
            st = finch_fail(err, FINCH_E_DATA,
                            "the models in %s belong to another store than %s; name another folder with FINCH_REGISTRY",
                            root->path.at, store_place(s));
    }
    mem_free(text);
    str_free(&path);
    return st;
}

static void sweep_beginning(const char *folder, const char *prefix)
{
    DIR *dir = opendir(folder);
    str path = {0};
    for (struct dirent *entry; dir != NULL && (entry = readdir(dir)) != NULL;)
        if (strncmp(entry->d_name, prefix, strlen(prefix)) == 0 && file_join(folder, entry->d_name, &path, NULL) == FINCH_OK)
            file_remove_tree(path.at, NULL);
    if (dir != NULL) closedir(dir);
    str_free(&path);
}

/* What those who were killed left: copies, versions' folders, the file with the store's number (base/file.h says how it is written). The
 * lock is held, so nobody is at work on any of it. */
static void sweep_unfinished(const registry_root *root)
{
    static const char *const folders[] = {"blobs", "versions"};
    str path = {0};
    for (size_t i = 0; i < sizeof folders / sizeof folders[0]; i++)
        if (file_join(root->path.at, folders[i], &path, NULL) == FINCH_OK) sweep_beginning(path.at, UNFINISHED);
    sweep_beginning(root->path.at, "store.part-");
    str_free(&path);
}

static finch_status lock_root(registry_root *root, finch_error *err)
{
    str path = {0};
    finch_status st = file_join(root->path.at, "blobs", &path, err);
    if (st == FINCH_OK) st = file_make_directories(path.at, err);
    if (st == FINCH_OK) st = file_join(root->path.at, "lock", &path, err);
    if (st == FINCH_OK) {
        root->lock = open(path.at, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
        while (root->lock >= 0 && flock(root->lock, LOCK_EX) != 0)
            if (errno != EINTR) {
                close(root->lock);
                root->lock = -1;
            }
        if (root->lock < 0)
            st = finch_fail(err, FINCH_E_IO, "%s can not be locked: %s; name a folder of yours with FINCH_REGISTRY", path.at,
                            strerror(errno));
    }
    str_free(&path);
    return st;
}

finch_status registry_root_open(store *s, registry_root *out, finch_error *err)
{
    *out = (registry_root){.lock = -1};
    finch_status st = registry_root_path(s, &out->path, err);
    if (st == FINCH_OK) st = lock_root(out, err);
    if (st == FINCH_OK) st = check_owner(s, out, err);
    if (st == FINCH_OK) sweep_unfinished(out);
    if (st != FINCH_OK) registry_root_close(out);
    return st;
}

void registry_root_close(registry_root *root)
{
    if (root->lock >= 0) close(root->lock);
    str_free(&root->path);
    root->lock = -1;
}

/* ---- reading a model's folder ---- */

typedef struct hashing {
    EVP_MD_CTX *digest;
    unsigned char *chunk;
    const progress *watch;
    uint64_t done;
} hashing;

static finch_status hashing_begin(hashing *h, const progress *p, finch_error *err)
{
    void *chunk = NULL;
    *h = (hashing){.watch = p, .digest = EVP_MD_CTX_new()};
    if (h->digest == NULL) return finch_fail(err, FINCH_E_MEMORY, "out of memory for SHA-256");
    finch_status st = mem_alloc(CHUNK_BYTES, 1, &chunk, err);
    h->chunk = chunk;
    return st;
}

static void hashing_end(hashing *h)
{
    EVP_MD_CTX_free(h->digest);
    mem_free(h->chunk);
}

/* Reads a file through the hash, and into writer where it is not NULL. */
static finch_status hash_file(hashing *h, const char *path, file_writer *writer, char out[VALUES_SHA256_BYTES],
                              int64_t *size, finch_error *err)
{
    unsigned char digest[EVP_MAX_MD_SIZE];
    int file = open(path, O_RDONLY | O_CLOEXEC);
    if (file < 0) return finch_fail(err, FINCH_E_IO, "%s can not be read: %s", path, strerror(errno));
    finch_status st = FINCH_OK;
    ssize_t n = 0;
    *size = 0;
    bool good = EVP_DigestInit_ex(h->digest, EVP_sha256(), NULL) == 1;
    while (st == FINCH_OK && good && (n = read(file, h->chunk, CHUNK_BYTES)) > 0) {
        good = EVP_DigestUpdate(h->digest, h->chunk, (size_t)n) == 1;
        if (writer != NULL) st = file_writer_write(writer, h->chunk, (size_t)n, err);
        *size += n;
        h->done += (uint64_t)n;
        if (st == FINCH_OK && !progress_report(h->watch, h->done, 0, path))
            st = finch_fail(err, FINCH_E_CANCELLED, "interrupted while reading %s", path);
    }
    close(file);
    if (st == FINCH_OK && n < 0) return finch_fail(err, FINCH_E_IO, "%s can not be read: %s", path, strerror(errno));
    if (st == FINCH_OK && (!good || EVP_DigestFinal_ex(h->digest, digest, NULL) != 1))
        return finch_fail(err, FINCH_E_FAILED, "SHA-256 is not at hand");
    if (st == FINCH_OK) values_hex(digest, (VALUES_SHA256_BYTES - 1) / 2, out);
    return st;
}

/* Names that go into paths and lists: nothing that could lead out of the folder or break a line. */
static bool name_fits(const char *name)
{
    size_t n = strlen(name);
    for (size_t i = 0; i < n; i++)
        if ((unsigned char)name[i] < ' ' || name[i] == 0x7F || name[i] == '/') return false;
    return n > 0 && n <= 200 && name[0] != '.';
}

static finch_status read_folder(hashing *h, const char *folder, const char *inside, int depth, registry_files *out,
                                finch_error *err);

static finch_status read_entry(hashing *h, const char *folder, const char *inside, int depth, registry_files *out,
                               finch_error *err)
{
    struct stat info;
    char sha256[VALUES_SHA256_BYTES];
    int64_t size = 0;
    str path = {0};
    finch_status st = file_join(folder, inside, &path, err);
    if (st == FINCH_OK && stat(path.at, &info) != 0)
        st = finch_fail(err, FINCH_E_IO, "%s can not be read: %s", path.at, strerror(errno));
    if (st == FINCH_OK && S_ISDIR(info.st_mode) && depth < DEPTH_MOST)
        st = read_folder(h, folder, inside, depth + 1, out, err);
    else if (st == FINCH_OK && S_ISREG(info.st_mode)) {
        if (out->n == FILES_MOST)
            st = finch_fail(err, FINCH_E_DATA, "%s has over %d files; that is no model's folder", folder, (int)FILES_MOST);
        if (st == FINCH_OK) st = hash_file(h, path.at, NULL, sha256, &size, err);
        if (st == FINCH_OK) st = registry_files_add(out, inside, strlen(inside), sha256, size, err);
    }
    str_free(&path);
    return st;
}

static finch_status read_folder(hashing *h, const char *folder, const char *inside, int depth, registry_files *out,
                                finch_error *err)
{
    str path = {0}, name = {0};
    finch_status st = file_join(folder, inside, &path, err);
    DIR *dir = st == FINCH_OK ? opendir(path.at) : NULL;
    if (st == FINCH_OK && dir == NULL)
        st = finch_fail(err, FINCH_E_NOT_FOUND, "the folder %s can not be read: %s", path.at, strerror(errno));
    for (struct dirent *entry; st == FINCH_OK && (entry = readdir(dir)) != NULL;) {
        if (!name_fits(entry->d_name)) continue;
        str_clear(&name);
        st = str_add_format(&name, err, "%s%s%s", inside, inside[0] != '\0' ? "/" : "", entry->d_name);
        if (st == FINCH_OK) st = read_entry(h, folder, name.at, depth, out, err);
    }
    if (dir != NULL) closedir(dir);
    str_free(&path);
    str_free(&name);
    return st;
}

finch_status registry_files_read(const char *folder, const progress *p, registry_files *out, finch_error *err)
{
    hashing h;
    *out = (registry_files){0};
    finch_status st = hashing_begin(&h, p, err);
    if (st == FINCH_OK) st = read_folder(&h, folder, "", 0, out, err);
    hashing_end(&h);
    if (st == FINCH_OK && out->n > 0) qsort(out->at, out->n, sizeof *out->at, by_path);
    if (st != FINCH_OK) registry_files_free(out);
    return st;
}

/* ---- blobs ---- */

finch_status registry_blob_path(const registry_root *root, const char *sha256, str *out, finch_error *err)
{
    str_clear(out);
    return str_add_format(out, err, "%s/blobs/%.2s/%s", root->path.at, sha256, sha256);
}

finch_status registry_blob_loose(const registry_root *root, const registry_file *file, str *out, finch_error *err)
{
    str_clear(out);
    return str_add_format(out, err, "%s/blobs/" UNFINISHED "%s", root->path.at, file->sha256);
}

bool registry_blob_is_there(const registry_root *root, const registry_file *file)
{
    struct stat info;
    str blob = {0};
    bool there = registry_blob_path(root, file->sha256, &blob, NULL) == FINCH_OK && stat(blob.at, &info) == 0 &&
                 info.st_size == file->size;
    str_free(&blob);
    return there;
}

/* Read-only, and renamed into its place. */
static finch_status put_in_place(const registry_root *root, const char *loose, const registry_file *file, finch_error *err)
{
    str blob = {0}, above = {0};
    finch_status st = str_add_format(&above, err, "%s/blobs/%.2s", root->path.at, file->sha256);
    if (st == FINCH_OK) st = file_make_directories(above.at, err);
    if (st == FINCH_OK) st = registry_blob_path(root, file->sha256, &blob, err);
    if (st == FINCH_OK && chmod(loose, 0444) != 0)
        st = finch_fail(err, FINCH_E_IO, "%s can not be made read-only: %s", loose, strerror(errno));
    if (st == FINCH_OK) st = file_replace(loose, blob.at, err);
    str_free(&blob);
    str_free(&above);
    return st;
}

finch_status registry_blob_settle(const registry_root *root, const char *loose, const registry_file *file, finch_error *err)
{
    char sha256[VALUES_SHA256_BYTES];
    int64_t size;
    hashing h;
    finch_status st = hashing_begin(&h, NULL, err);
    if (st == FINCH_OK) st = hash_file(&h, loose, NULL, sha256, &size, err);
    hashing_end(&h);
    if (st == FINCH_OK && (size != file->size || strcmp(sha256, file->sha256) != 0))
        st = finch_fail(err, FINCH_E_DATA, "%s came out of the store changed; register the model again", file->path);
    return st == FINCH_OK ? put_in_place(root, loose, file, err) : st;
}

/* Beside its place in blobs/, then renamed: what was read must still be what was hashed. */
static finch_status copy_in(hashing *h, const registry_root *root, const char *source, const registry_file *file,
                            finch_error *err)
{
    char sha256[VALUES_SHA256_BYTES];
    int64_t size;
    file_writer writer;
    str beside = {0};
    finch_status st = registry_blob_loose(root, file, &beside, err);
    if (st == FINCH_OK) st = file_writer_open(beside.at, &writer, err);
    if (st == FINCH_OK) {
        st = hash_file(h, source, &writer, sha256, &size, err);
        if (st == FINCH_OK && strcmp(sha256, file->sha256) != 0)
            st = finch_fail(err, FINCH_E_IO, "%s changed while it was read; register the model again", source);
        if (st == FINCH_OK) st = file_writer_commit(&writer, err);
        if (st != FINCH_OK) file_writer_abort(&writer);
    }
    if (st == FINCH_OK) st = put_in_place(root, beside.at, file, err);
    str_free(&beside);
    return st;
}

static finch_status keep_file(hashing *h, const registry_root *root, const char *folder, const registry_file *file,
                              finch_error *err)
{
    str source = {0};
    if (registry_blob_is_there(root, file)) return FINCH_OK;
    finch_status st = file_join(folder, file->path, &source, err);
    if (st == FINCH_OK) st = copy_in(h, root, source.at, file, err);
    str_free(&source);
    return st;
}

finch_status registry_files_keep(const registry_root *root, const char *folder, const registry_files *files,
                                 finch_error *err)
{
    hashing h;
    finch_status st = hashing_begin(&h, NULL, err);
    for (size_t i = 0; st == FINCH_OK && i < files->n; i++) st = keep_file(&h, root, folder, &files->at[i], err);
    hashing_end(&h);
    return st;
}

static finch_status sweep_folder(const char *folder, registry_wanted_fn wanted, void *context, finch_error *err)
{
    DIR *dir = opendir(folder);
    str path = {0};
    finch_status st = FINCH_OK;
    for (struct dirent *entry; st == FINCH_OK && dir != NULL && (entry = readdir(dir)) != NULL;) {
        bool keep = true;
        if (strlen(entry->d_name) != VALUES_SHA256_BYTES - 1) continue;
        st = wanted(context, entry->d_name, &keep, err);
        if (st == FINCH_OK && !keep) st = file_join(folder, entry->d_name, &path, err);
        if (st == FINCH_OK && !keep && unlink(path.at) != 0 && errno != ENOENT)
            st = finch_fail(err, FINCH_E_IO, "%s can not be removed: %s", path.at, strerror(errno));
    }
    if (dir != NULL) closedir(dir);
    str_free(&path);
    return st;
}

finch_status registry_blobs_sweep(const registry_root *root, registry_wanted_fn wanted, void *context, finch_error *err)
{
    str path = {0};
    finch_status st = FINCH_OK;
    for (unsigned i = 0; st == FINCH_OK && i < 256; i++) {
        str_clear(&path);
        st = str_add_format(&path, err, "%s/blobs/%02x", root->path.at, i);
        if (st == FINCH_OK) st = sweep_folder(path.at, wanted, context, err);
    }
    str_free(&path);
    return st;
}

/* ---- a version's folder ---- */

static finch_status link_file(const char *folder, const registry_file *file, finch_error *err)
{
    const char *slash = strchr(file->path, '/');
    str path = {0}, target = {0}, above = {0};
    finch_status st = file_join(folder, file->path, &path, err);
    if (st == FINCH_OK)
        st = str_add_format(&target, err, "../../%sblobs/%.2s/%s", slash != NULL ? "../" : "", file->sha256, file->sha256);
    if (st == FINCH_OK && slash != NULL) {
        st = str_add_format(&above, err, "%s/%.*s", folder, (int)(slash - file->path), file->path);
        if (st == FINCH_OK) st = file_make_directories(above.at, err);
    }
    if (st == FINCH_OK && symlink(target.at, path.at) != 0)
        st = finch_fail(err, FINCH_E_IO, "the link %s can not be made: %s", path.at, strerror(errno));
    str_free(&path);
    str_free(&target);
    str_free(&above);
    return st;
}

finch_status registry_folder_make(const registry_root *root, const char *name, int64_t number, const registry_files *files,
                                  finch_error *err)
{
    str beside = {0}, folder = {0};
    finch_status st = str_add_format(&beside, err, "%s/versions/" UNFINISHED "%s@%lld", root->path.at, name,
                                     (long long)number);
    if (st == FINCH_OK) st = str_add_format(&folder, err, "%s/versions/%s@%lld", root->path.at, name, (long long)number);
    if (st == FINCH_OK && file_exists(beside.at)) st = file_remove_tree(beside.at, err);
    if (st == FINCH_OK) st = file_make_directories(beside.at, err);
    for (size_t i = 0; st == FINCH_OK && i < files->n; i++) st = link_file(beside.at, &files->at[i], err);
    if (st == FINCH_OK) st = file_sync(beside.at, err);
    if (st == FINCH_OK) st = file_replace_folder(beside.at, folder.at, err);
    str_free(&beside);
    str_free(&folder);
    return st;
}

finch_status registry_folder_remove(const registry_root *root, const char *name, int64_t number, finch_error *err)
{
    str folder = {0};
    finch_status st = str_add_format(&folder, err, "%s/versions/%s@%lld", root->path.at, name, (long long)number);
    if (st == FINCH_OK && file_exists(folder.at)) st = file_remove_tree(folder.at, err);
    str_free(&folder);
    return st;
}

finch_status registry_files_verify(const char *folder, const registry_files *files, str *damaged, finch_error *err)
{
    hashing h;
    str path = {0};
    char sha256[VALUES_SHA256_BYTES];
    finch_status st = hashing_begin(&h, NULL, err);
    for (size_t i = 0; st == FINCH_OK && i < files->n; i++) {
        const registry_file *file = &files->at[i];
        int64_t size = 0;
        st = file_join(folder, file->path, &path, err);
        const char *wrong = NULL;
        if (st == FINCH_OK && !file_exists(path.at)) wrong = "is missing";
        else if (st == FINCH_OK) {
            st = hash_file(&h, path.at, NULL, sha256, &size, err);
            if (st == FINCH_OK && (size != file->size || strcmp(sha256, file->sha256) != 0)) wrong = "has changed";
        }
        if (wrong != NULL) st = str_add_format(damaged, err, "%s%s %s", damaged->size > 0 ? ", " : "", file->path, wrong);
    }
    hashing_end(&h);
    str_free(&path);
    return st;
}
