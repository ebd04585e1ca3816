#define _GNU_SOURCE 1 /* renameat2 */
#include "base/file.h"

#include "base/fault.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

static finch_status fail_errno(finch_error *err, const char *path, const char *doing)
{
    int code = errno;
    const char *remedy = "";
    if (code == ENOSPC || code == EDQUOT) remedy = "; free some space or choose another place";
    if (code == EACCES || code == EPERM || code == EROFS) remedy = "; check the permissions of the file and its folder";
    char text[128];
    /* The XSI form of strerror_r: thread-safe, fills text. */
    if (strerror_r(code, text, sizeof text) != 0) text[0] = '\0';
    return finch_fail(err, code == ENOENT ? FINCH_E_NOT_FOUND : FINCH_E_IO, "%s: %s failed: %s%s", path, doing, text,
                      remedy);
}

static finch_status open_regular(const char *path, int *descriptor, size_t *size, finch_error *err)
{
    struct stat info;
    if (fault_hit(FAULT_OPEN)) {
        errno = EIO;
        return fail_errno(err, path, "opening");
    }
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return fail_errno(err, path, "opening");
    finch_status st = FINCH_OK;
    if (fstat(fd, &info) != 0) st = fail_errno(err, path, "looking at the file");
    else if (!S_ISREG(info.st_mode)) st = finch_fail(err, FINCH_E_DATA, "%s is not a regular file", path);
    if (st != FINCH_OK) {
        close(fd);
        return st;
    }
    *descriptor = fd;
    *size = (size_t)info.st_size;
    return FINCH_OK;
}

finch_status file_map_open(const char *path, file_map *out, finch_error *err)
{
    int fd = -1;
    size_t size = 0;
    *out = (file_map){{NULL, 0}};
    FINCH_TRY(open_regular(path, &fd, &size, err));
    finch_status st = FINCH_OK;
    if (size > 0) {
        void *at = mmap(NULL, size, PROT_READ, MAP_PRIVATE, fd, 0);
        if (at == MAP_FAILED) st = fail_errno(err, path, "mapping");
        else out->content = (bytes){at, size};
    }
    close(fd);
    return st;
}

void file_map_close(file_map *map)
{
    if (map->content.at != NULL) munmap((void *)(uintptr_t)map->content.at, map->content.size);
    *map = (file_map){{NULL, 0}};
}

void file_map_forget(const file_map *map, size_t size)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE), whole = (size < map->content.size ? size : map->content.size) / page * page;
    if (whole > 0) madvise((void *)(uintptr_t)map->content.at, whole, MADV_DONTNEED);
}

static finch_status read_all(int fd, const char *path, char *into, size_t size, finch_error *err)
{
    for (size_t done = 0; done < size;) {
        ssize_t got = fault_hit(FAULT_READ) ? (errno = EIO, -1) : read(fd, into + done, size - done);
        if (got < 0 && errno == EINTR) continue;
        if (got < 0) return fail_errno(err, path, "reading");
        if (got == 0) return finch_fail(err, FINCH_E_IO, "%s became shorter while it was read; try again", path);
        done += (size_t)got;
    }
    return FINCH_OK;
}

finch_status file_read(const char *path, size_t limit_bytes, char **out, size_t *size, finch_error *err)
{
    int fd = -1;
    *out = NULL;
    *size = 0;
    FINCH_TRY(open_regular(path, &fd, size, err));
    finch_status st = FINCH_OK;
    if (*size > limit_bytes)
        st = finch_fail(err, FINCH_E_DATA, "%s has %zu bytes, more than the %zu such a file may have", path, *size,
                        limit_bytes);
    if (st == FINCH_OK) st = mem_alloc(*size + 1, 1, (void **)out, err);
    if (st == FINCH_OK) st = read_all(fd, path, *out, *size, err);
    close(fd);
    if (st == FINCH_OK) {
        (*out)[*size] = '\0';
    } else {
        mem_free(*out);
        *out = NULL;
        *size = 0;
    }
    return st;
}

bool file_exists(const char *path) { return access(path, F_OK) == 0; }

bool file_is_directory(const char *path)
{
    struct stat info;
    return stat(path, &info) == 0 && S_ISDIR(info.st_mode);
}

finch_status file_join(const char *dir, const char *name, str *out, finch_error *err)
{
    str_clear(out);
    FINCH_TRY(str_add_text(out, dir, err));
    if (out->size > 0 && out->at[out->size - 1] != '/') FINCH_TRY(str_add_text(out, "/", err));
    return str_add_text(out, name, err);
}

finch_status file_make_directories(const char *path, finch_error *err)
{
    char *copy;
    FINCH_TRY(mem_text(path, strlen(path), &copy, err));
    finch_status st = FINCH_OK;
    for (char *at = copy + 1; st == FINCH_OK && copy[0] != '\0'; at++) {
        if (*at != '/' && *at != '\0') continue;
        char end = *at;
        *at = '\0';
        if (mkdir(copy, 0777) != 0 && !(errno == EEXIST && file_is_directory(copy)))
            st = fail_errno(err, copy, "making the folder");
        *at = end;
        if (end == '\0') break;
    }
    mem_free(copy);
    return st;
}

enum { TREE_DEPTH_MAX = 16 };

static finch_status remove_tree(const char *path, int depth, finch_error *err)
{
    if (depth > TREE_DEPTH_MAX)
        return finch_fail(err, FINCH_E_DATA, "%s is nested deeper than %d folders", path, TREE_DEPTH_MAX);
    struct stat info;
    if (lstat(path, &info) != 0) return errno == ENOENT ? FINCH_OK : fail_errno(err, path, "looking at the file");
    if (!S_ISDIR(info.st_mode)) return unlink(path) == 0 ? FINCH_OK : fail_errno(err, path, "removing");
    DIR *dir = opendir(path);
    if (dir == NULL) return fail_errno(err, path, "opening the folder");
    finch_status st = FINCH_OK;
    str inner = {0};
    for (struct dirent *entry; st == FINCH_OK && (entry = readdir(dir)) != NULL;) {
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0) continue;
        st = file_join(path, entry->d_name, &inner, err);
        if (st == FINCH_OK) st = remove_tree(inner.at, depth + 1, err);
    }
    str_free(&inner);
    closedir(dir);
    if (st == FINCH_OK && rmdir(path) != 0) st = fail_errno(err, path, "removing the folder");
    return st;
}

finch_status file_remove_tree(const char *path, finch_error *err) { return remove_tree(path, 0, err); }

finch_status file_check_output(const char *path, finch_error *err)
{
    struct stat info;
    if (path[0] == '\0') return finch_fail(err, FINCH_E_USAGE, "the path of the output is empty");
    if (stat(path, &info) != 0) return FINCH_OK; /* what is wrong with the folder is said when the file is made */
    if (S_ISREG(info.st_mode)) return FINCH_OK;
    return finch_fail(err, FINCH_E_USAGE, "%s is %s; give the path of a file as the output", path,
                      S_ISDIR(info.st_mode) ? "a folder" : "no regular file");
}

/* A fresh file: nothing that lies at this guessable name already, a link least of all, is written through. */
static int create_fresh(const char *path)
{
    if (fault_hit(FAULT_OPEN)) {
        errno = EIO;
        return -1;
    }
    if (unlink(path) != 0 && errno != ENOENT) return -1;
    return open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
}

finch_status file_writer_open(const char *path, file_writer *out, finch_error *err)
{
    *out = (file_writer){.descriptor = -1};
    finch_status st;
    FINCH_TRY(file_check_output(path, err));
    FINCH_GO(failed, st, str_add_text(&out->path, path, err));
    FINCH_GO(failed, st, str_add_format(&out->beside, err, "%s.part-%ld", path, (long)getpid()));
    out->descriptor = create_fresh(out->beside.at);
    if (out->descriptor < 0) FINCH_GO(failed, st, fail_errno(err, out->beside.at, "creating"));
    return FINCH_OK;
failed:
    str_free(&out->path);
    str_free(&out->beside);
    return st;
}

finch_status file_writer_write(file_writer *writer, const void *data, size_t size, finch_error *err)
{
    const char *at = data;
    while (size > 0) {
        ssize_t put = fault_hit(FAULT_WRITE) ? (errno = ENOSPC, -1) : write(writer->descriptor, at, size);
        if (put < 0 && errno == EINTR) continue;
        if (put < 0) return fail_errno(err, writer->path.at, "writing");
        at += put;
        size -= (size_t)put;
        writer->size_bytes += (uint64_t)put;
    }
    return FINCH_OK;
}

finch_status file_sync(const char *path, finch_error *err)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return fail_errno(err, path, "opening");
    finch_status st = FINCH_OK;
    if (fault_hit(FAULT_FSYNC)) {
        errno = EIO;
        st = fail_errno(err, path, "flushing to disk");
    } else if (fsync(fd) != 0) {
        st = fail_errno(err, path, "flushing to disk");
    }
    close(fd);
    return st;
}

static finch_status folder_of(const char *path, char **out, finch_error *err)
{
    const char *slash = strrchr(path, '/');
    if (slash == NULL) return mem_text(".", 1, out, err);
    return mem_text(path, slash == path ? 1 : (size_t)(slash - path), out, err);
}

static finch_status rename_file(const char *from, const char *to, finch_error *err)
{
    if (fault_hit(FAULT_RENAME)) errno = EIO;
    else if (rename(from, to) == 0) return FINCH_OK;
    return fail_errno(err, to, "renaming into place");
}

finch_status file_replace(const char *beside, const char *path, finch_error *err)
{
    char *folder; /* made first: once the file is in place only the flush itself may fail */
    FINCH_TRY(file_check_output(path, err));
    FINCH_TRY(folder_of(path, &folder, err));
    finch_status st = rename_file(beside, path, err);
    if (st == FINCH_OK) st = file_sync(folder, err);
    mem_free(folder);
    return st;
}

finch_status file_replace_folder(const char *beside, const char *path, finch_error *err)
{
    char *above;
    FINCH_TRY(folder_of(path, &above, err));
    bool swapped = renameat2(AT_FDCWD, beside, AT_FDCWD, path, RENAME_EXCHANGE) == 0;
    finch_status st = FINCH_OK;
    if (swapped) st = file_sync(above, err);
    else if (file_exists(path)) st = file_remove_tree(path, err);
    mem_free(above);
    FINCH_TRY(st);
    return swapped ? file_remove_tree(beside, err) : file_replace(beside, path, err);
}

finch_status file_writer_commit(file_writer *writer, finch_error *err)
{
    finch_status st = FINCH_OK;
    if (fault_hit(FAULT_FSYNC)) {
        errno = EIO;
        st = fail_errno(err, writer->path.at, "flushing to disk");
    } else if (fsync(writer->descriptor) != 0) {
        st = fail_errno(err, writer->path.at, "flushing to disk");
    }
    int closed = close(writer->descriptor);
    writer->descriptor = -1;
    if (st == FINCH_OK && closed != 0) st = fail_errno(err, writer->path.at, "closing");
    if (st == FINCH_OK) st = file_replace(writer->beside.at, writer->path.at, err);
    if (st != FINCH_OK) unlink(writer->beside.at);
    str_free(&writer->path);
    str_free(&writer->beside);
    return st;
}

void file_writer_abort(file_writer *writer)
{
    if (writer->descriptor >= 0) close(writer->descriptor);
    writer->descriptor = -1;
    if (writer->beside.at != NULL) unlink(writer->beside.at);
    str_free(&writer->path);
    str_free(&writer->beside);
}

finch_status file_write(const char *path, const void *data, size_t size, finch_error *err)
{
    file_writer writer;
    FINCH_TRY(file_writer_open(path, &writer, err));
    finch_status st = file_writer_write(&writer, data, size, err);
    if (st == FINCH_OK) return file_writer_commit(&writer, err);
    file_writer_abort(&writer);
    return st;
}
