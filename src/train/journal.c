#include "train/journal.h"

#include "base/fault.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static finch_status fail_errno(const journal *j, const char *doing, finch_error *err)
{
    char text[128];
    if (strerror_r(errno, text, sizeof text) != 0) text[0] = '\0';
    return finch_fail(err, FINCH_E_IO, "%s: %s failed: %s", j->path.at, doing, text);
}

static finch_status cut_back(journal *j, uint64_t size_bytes, finch_error *err)
{
    struct stat info;
    if (fstat(j->descriptor, &info) != 0) return fail_errno(j, "looking at the file", err);
    if ((uint64_t)info.st_size < size_bytes)
        return finch_fail(
            err, FINCH_E_DATA,
            "%s has %lld bytes, the checkpoint counted %llu; it is not of this run: start again without --resume",
            j->path.at, (long long)info.st_size, (unsigned long long)size_bytes);
    if (ftruncate(j->descriptor, (off_t)size_bytes) != 0 || lseek(j->descriptor, 0, SEEK_END) < 0)
        return fail_errno(j, "cutting the file", err);
    j->size_bytes = size_bytes;
    return FINCH_OK;
}

finch_status journal_open(const char *path, uint64_t size_bytes, journal *out, finch_error *err)
{
    *out = (journal){.descriptor = -1};
    finch_status st = str_add_text(&out->path, path, err);
    if (st == FINCH_OK) {
        out->descriptor = fault_hit(FAULT_OPEN) ? (errno = EIO, -1) : open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0666);
        st = out->descriptor < 0 ? fail_errno(out, "opening", err) : cut_back(out, size_bytes, err);
    }
    if (st != FINCH_OK) journal_close(out);
    return st;
}

void journal_close(journal *j)
{
    if (j->path.at == NULL) return; /* zeroed or closed */
    if (j->descriptor >= 0) close(j->descriptor);
    str_free(&j->path);
    *j = (journal){.descriptor = -1};
}

static finch_status append(journal *j, const char *at, size_t size, finch_error *err)
{
    while (size > 0) {
        ssize_t put = fault_hit(FAULT_WRITE) ? (errno = ENOSPC, -1) : write(j->descriptor, at, size);
        if (put < 0 && errno == EINTR) continue;
        if (put < 0) return fail_errno(j, "writing", err);
        at += put;
        size -= (size_t)put;
        j->size_bytes += (uint64_t)put;
    }
    return FINCH_OK;
}

finch_status journal_add(journal *j, json_t *event, finch_error *err)
{
    char *text = event != NULL ? json_dumps(event, JSON_COMPACT | JSON_REAL_PRECISION(10)) : NULL;
    json_decref(event);
    if (text == NULL) return finch_fail(err, FINCH_E_MEMORY, "%s: out of memory for a line", j->path.at);
    finch_status st = append(j, text, strlen(text), err);
    free(text);
    return st == FINCH_OK ? append(j, "\n", 1, err) : st;
}

finch_status journal_sync(journal *j, finch_error *err)
{
    if (fault_hit(FAULT_FSYNC)) {
        errno = EIO;
        return fail_errno(j, "flushing to disk", err);
    }
    return fsync(j->descriptor) == 0 ? FINCH_OK : fail_errno(j, "flushing to disk", err);
}
