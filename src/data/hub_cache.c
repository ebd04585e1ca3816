#include "data/hub_cache.h"

#include "base/fault.h"
#include "base/file.h"
#include "base/json.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

enum { REF_BYTES = 4096, TRIES_MOST = 100, LOCK_MODE = 0664, TREE_MODE = 0600, FILE_MODE = 0666 };

static const char cachedir_tag[] = "Signature: 8a477f597d28d172789f06886806bc55\n"
                                   "# This file is a cache directory tag created by huggingface_hub.\n"
                                   "# For information about cache directory tags, see:\n"
                                   "#\thttps://bford.info/cachedir/\n";

static finch_status fail_errno(finch_error *err, const char *path, const char *doing)
{
    int code = errno;
    char text[128];
    const char *remedy = "";
    if (code == ENOSPC || code == EDQUOT) remedy = "; free some space or set HF_HUB_CACHE to a folder on another disk";
    if (code == EACCES || code == EPERM || code == EROFS)
        remedy = "; check the folder's permissions or set HF_HUB_CACHE to one of your own";
    if (code == ENOTDIR || code == EEXIST || code == EISDIR) remedy = "; something else stands there: move it away";
    if (strerror_r(code, text, sizeof text) != 0) text[0] = '\0';
    return finch_fail(err, FINCH_E_IO, "%s: %s failed: %s%s", path, doing, text, remedy);
}

/* ---- places ---- */

finch_status hub_cache_open(const char *root, hub_kind kind, const char *repo, hub_cache *out, finch_error *err)
{
    *out = (hub_cache){0};
    str name = {0};
    finch_status st = str_add_text(&name, kind == HUB_DATASET ? "datasets--" : "models--", err);
    for (const char *at = repo; st == FINCH_OK && *at != '\0'; at++)
        st = str_add(&name, *at == '/' ? "--" : at, *at == '/' ? 2 : 1, err);
    if (st == FINCH_OK) st = str_add_text(&out->root, root, err);
    if (st == FINCH_OK) st = str_add_format(&out->folder, err, "%s/%s", root, name.at);
    if (st == FINCH_OK) st = str_add_format(&out->locks, err, "%s/.locks/%s", root, name.at);
    str_free(&name);
    if (st != FINCH_OK) hub_cache_close(out);
    return st;
}

void hub_cache_close(hub_cache *cache)
{
    str_free(&cache->root);
    str_free(&cache->folder);
    str_free(&cache->locks);
}

finch_status hub_cache_snapshot(const hub_cache *cache, const char *commit, str *out, finch_error *err)
{
    str_clear(out);
    return str_add_format(out, err, "%s/snapshots/%s", cache->folder.at, commit);
}

finch_status hub_cache_pointer(const hub_cache *cache, const char *commit, const char *path, str *out, finch_error *err)
{
    str_clear(out);
    return str_add_format(out, err, "%s/snapshots/%s/%s", cache->folder.at, commit, path);
}

finch_status hub_cache_blob(const hub_cache *cache, const char *id, str *out, finch_error *err)
{
    str_clear(out);
    return str_add_format(out, err, "%s/blobs/%s", cache->folder.at, id);
}

/* The folder that path is in. */
static finch_status make_parent(const char *path, finch_error *err)
{
    const char *slash = strrchr(path, '/');
    if (slash == NULL || slash == path) return FINCH_OK;
    char *folder;
    FINCH_TRY(mem_text(path, (size_t)(slash - path), &folder, err));
    finch_status st = file_is_directory(folder) ? FINCH_OK : file_make_directories(folder, err);
    mem_free(folder);
    return st;
}

/* ---- small files, written beside ---- */

static finch_status write_all(int fd, const char *path, const char *data, size_t size, finch_error *err)
{
    while (size > 0) {
        ssize_t put = fault_hit(FAULT_WRITE) ? (errno = ENOSPC, -1) : write(fd, data, size);
        if (put < 0 && errno == EINTR) continue;
        if (put < 0) return fail_errno(err, path, "writing");
        data += put;
        size -= (size_t)put;
    }
    return FINCH_OK;
}

/* The file at path, made where it is missing, with its lock held: -1 with errno, EAGAIN where another has the lock and wait
 * is false. A lock is good only on the file that still has the name: the one who had it before may have renamed it. */
static int open_locked(const char *path, mode_t mode, bool wait)
{
    for (int i = 0; i < TRIES_MOST; i++) {
        struct stat of_fd, of_path;
        if (fault_hit(FAULT_OPEN)) return errno = EIO, -1;
        int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, mode);
        if (fd < 0) return -1;
        int locked;
        do {
            locked = flock(fd, LOCK_EX | (wait ? 0 : LOCK_NB));
        } while (locked != 0 && errno == EINTR && wait);
        int code = errno;
        if (locked == 0 && fstat(fd, &of_fd) == 0 && stat(path, &of_path) == 0 && of_fd.st_dev == of_path.st_dev &&
            of_fd.st_ino == of_path.st_ino)
            return fd;
        close(fd);
        if (locked != 0) return errno = code, -1;
    }
    return errno = EAGAIN, -1;
}

/* Puts data in the place of path, whole or not at all. */
static finch_status write_beside(const char *path, mode_t mode, const char *data, size_t size, finch_error *err)
{
    str beside = {0};
    int fd = -1;
    finch_status st;
    FINCH_GO(done, st, make_parent(path, err));
    FINCH_GO(done, st, str_add_format(&beside, err, "%s.finch.tmp", path));
    fd = open_locked(beside.at, mode, true);
    if (fd < 0) FINCH_GO(done, st, fail_errno(err, beside.at, "creating"));
    if (ftruncate(fd, 0) != 0) FINCH_GO(done, st, fail_errno(err, beside.at, "emptying"));
    FINCH_GO(done, st, write_all(fd, beside.at, data, size, err));
    if (fault_hit(FAULT_FSYNC) || fsync(fd) != 0) FINCH_GO(done, st, fail_errno(err, beside.at, "flushing to disk"));
    if (fault_hit(FAULT_RENAME) || rename(beside.at, path) != 0)
        FINCH_GO(done, st, fail_errno(err, path, "renaming into place"));
done:
    if (st != FINCH_OK && fd >= 0) unlink(beside.at);
    if (fd >= 0) close(fd);
    str_free(&beside);
    return st;
}

finch_status hub_cache_prepare(const hub_cache *cache, const char *commit, finch_error *err)
{
    str path = {0};
    finch_status st;
    FINCH_GO(done, st, str_add_format(&path, err, "%s/blobs", cache->folder.at));
    FINCH_GO(done, st, file_make_directories(path.at, err));
    FINCH_GO(done, st, hub_cache_snapshot(cache, commit, &path, err));
    FINCH_GO(done, st, file_make_directories(path.at, err));
    FINCH_GO(done, st, file_make_directories(cache->locks.at, err));
    FINCH_GO(done, st, file_join(cache->root.at, "CACHEDIR.TAG", &path, err));
    if (!file_exists(path.at)) st = write_beside(path.at, FILE_MODE, cachedir_tag, sizeof cachedir_tag - 1, err);
done:
    str_free(&path);
    return st;
}

/* ---- refs and trees ---- */

finch_status hub_cache_read_ref(const hub_cache *cache, const char *revision, char out[HUB_COMMIT_DIGITS + 1], bool *found,
                                finch_error *err)
{
    *found = hub_is_commit(revision);
    if (*found) {
        memcpy(out, revision, HUB_COMMIT_DIGITS + 1);
        return FINCH_OK;
    }
    str path = {0};
    char *text = NULL;
    size_t size = 0;
    finch_status st = str_add_format(&path, err, "%s/refs/%s", cache->folder.at, revision);
    if (st == FINCH_OK && file_exists(path.at) && !file_is_directory(path.at)) {
        st = file_read(path.at, REF_BYTES, &text, &size, err);
        while (st == FINCH_OK && size > 0 && (text[size - 1] == '\n' || text[size - 1] == '\r')) text[--size] = '\0';
        if (st == FINCH_OK && !hub_is_commit(text))
            st = finch_fail(err, FINCH_E_DATA, "%s names no commit; remove it and fetch again", path.at);
        if (st == FINCH_OK) {
            memcpy(out, text, HUB_COMMIT_DIGITS + 1);
            *found = true;
        }
    }
    mem_free(text);
    str_free(&path);
    return st;
}

finch_status hub_cache_write_ref(const hub_cache *cache, const char *revision, const char *commit, finch_error *err)
{
    char before[HUB_COMMIT_DIGITS + 1];
    bool found = false;
    if (strcmp(revision, commit) == 0) return FINCH_OK;
    /* A ref that says so already is left alone: the cache may be read-only. One that says nothing good is replaced. */
    if (hub_cache_read_ref(cache, revision, before, &found, NULL) == FINCH_OK && found && strcmp(before, commit) == 0)
        return FINCH_OK;
    str path = {0};
    finch_status st = str_add_format(&path, err, "%s/refs/%s", cache->folder.at, revision);
    if (st == FINCH_OK) st = write_beside(path.at, FILE_MODE, commit, HUB_COMMIT_DIGITS, err);
    str_free(&path);
    return st;
}

static finch_status tree_path(const hub_cache *cache, const char *commit, str *out, finch_error *err)
{
    return str_add_format(out, err, "%s/trees/%s.json", cache->folder.at, commit);
}

finch_status hub_cache_read_tree(const hub_cache *cache, const char *commit, hub_list *out, bool *found, finch_error *err)
{
    str path = {0};
    char *text = NULL;
    size_t size = 0;
    *found = false;
    finch_status st = tree_path(cache, commit, &path, err);
    if (st == FINCH_OK && file_exists(path.at)) {
        /* A list that is broken is as good as none: it is asked for again and written anew. */
        st = file_read(path.at, JSON_FILE_LIMIT_BYTES, &text, &size, err);
        if (st == FINCH_OK) st = hub_list_read(out, text, size, path.at, err);
        *found = st == FINCH_OK;
        if (st != FINCH_OK) hub_list_free(out);
        if (st != FINCH_E_MEMORY) st = FINCH_OK;
    }
    mem_free(text);
    str_free(&path);
    return st;
}

finch_status hub_cache_write_tree(const hub_cache *cache, const char *commit, const hub_list *list, finch_error *err)
{
    if (list->odd_xet) return FINCH_OK;
    str path = {0}, text = {0};
    finch_status st = tree_path(cache, commit, &path, err);
    if (st == FINCH_OK) st = hub_list_write(list, &text, err);
    if (st == FINCH_OK) st = write_beside(path.at, TREE_MODE, text.at, text.size, err);
    str_free(&path);
    str_free(&text);
    return st;
}

/* ---- files of a snapshot ---- */

finch_status hub_cache_has(const hub_cache *cache, const char *commit, const hub_file *file, bool *out, finch_error *err)
{
    str path = {0};
    struct stat info;
    *out = false;
    finch_status st = hub_cache_pointer(cache, commit, file->path, &path, err);
    if (st == FINCH_OK) *out = stat(path.at, &info) == 0 && S_ISREG(info.st_mode) && (uint64_t)info.st_size == file->size;
    str_free(&path);
    return st;
}

finch_status hub_cache_link(const hub_cache *cache, const char *commit, const hub_file *file, finch_error *err)
{
    str path = {0}, target = {0};
    char present[512];
    finch_status st;
    FINCH_GO(done, st, hub_cache_pointer(cache, commit, file->path, &path, err));
    for (const char *at = file->path; at != NULL; at = strchr(at + 1, '/'))
        FINCH_GO(done, st, str_add_text(&target, "../", err));
    FINCH_GO(done, st, str_add_format(&target, err, "../blobs/%s", hub_file_id(file)));
    FINCH_GO(done, st, make_parent(path.at, err));
    for (int i = 0; symlink(target.at, path.at) != 0; i++) {
        if (errno != EEXIST) FINCH_GO(done, st, fail_errno(err, path.at, "linking"));
        ssize_t size = readlink(path.at, present, sizeof present);
        if (size == (ssize_t)target.size && memcmp(present, target.at, target.size) == 0) break;
        if (i == TRIES_MOST || (unlink(path.at) != 0 && errno != ENOENT))
            FINCH_GO(done, st, fail_errno(err, path.at, "replacing"));
    }
done:
    str_free(&path);
    str_free(&target);
    return st;
}

finch_status hub_cache_lock(const hub_cache *cache, const char *id, int *descriptor, finch_error *err)
{
    str path = {0};
    *descriptor = -1;
    finch_status st = str_add_format(&path, err, "%s/%s.lock", cache->locks.at, id);
    if (st == FINCH_OK) *descriptor = open_locked(path.at, LOCK_MODE, false);
    /* Whatever the umask, as huggingface_hub: others who share the cache must be able to wait for it. Not ours: never mind. */
    if (*descriptor >= 0 && fchmod(*descriptor, LOCK_MODE) != 0) errno = 0;
    if (st == FINCH_OK && *descriptor < 0 && errno != EAGAIN && errno != EWOULDBLOCK && errno != EINTR)
        st = fail_errno(err, path.at, "locking");
    str_free(&path);
    return st;
}
