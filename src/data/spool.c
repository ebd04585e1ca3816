#include "data/spool.h"

#include "base/fault.h"
#include "base/str.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statvfs.h>
#include <unistd.h>

enum { BUFFER_BYTES = 1 << 16 };

static const char *folder(void)
{
    const char *given = getenv("TMPDIR");
    return given != NULL && given[0] != '\0' ? given : "/tmp";
}

static finch_status fail(const char *doing, finch_error *err)
{
    int code = errno;
    char text[128];
    if (strerror_r(code, text, sizeof text) != 0) text[0] = '\0';
    return finch_fail(err, FINCH_E_IO, "%s a temporary file in %s failed: %s; set TMPDIR to a folder with room", doing,
                      folder(), text);
}

finch_status data_spool_open(data_spool *s, finch_error *err)
{
    str path = {0};
    *s = (data_spool){.descriptor = -1};
    finch_status st = mem_alloc(BUFFER_BYTES, 1, (void **)&s->buffer, err);
    if (st == FINCH_OK) st = str_add_format(&path, err, "%s/finch-XXXXXX", folder());
    if (st == FINCH_OK) {
        if (fault_hit(FAULT_OPEN)) errno = EIO;
        else s->descriptor = mkstemp(path.at);
        if (s->descriptor < 0) st = fail("making", err);
        else unlink(path.at);
    }
    str_free(&path);
    snprintf(s->path, sizeof s->path, "/proc/self/fd/%d", s->descriptor);
    if (st != FINCH_OK) data_spool_close(s);
    return st;
}

finch_status data_spool_need(const data_spool *s, uint64_t size_bytes, const char *file, finch_error *err)
{
    struct statvfs disk;
    if (fstatvfs(s->descriptor, &disk) != 0 || disk.f_blocks == 0) return FINCH_OK;
    uint64_t free_bytes = (uint64_t)disk.f_bavail * disk.f_frsize;
    if (size_bytes <= free_bytes) return FINCH_OK;
    return finch_fail(err, FINCH_E_IO, "%s unpacks to %.1f GB and %s has %.1f GB free; set TMPDIR to a folder with room",
                      file, (double)size_bytes / 1e9, folder(), (double)free_bytes / 1e9);
}

finch_status data_spool_flush(data_spool *s, finch_error *err)
{
    for (size_t done = 0; done < s->n_buffered;) {
        ssize_t put = fault_hit(FAULT_WRITE) ? (errno = ENOSPC, -1)
                                             : write(s->descriptor, s->buffer + done, s->n_buffered - done);
        if (put < 0 && errno == EINTR) continue;
        if (put < 0) return fail("writing", err);
        done += (size_t)put;
    }
    s->n_written += s->n_buffered;
    s->n_buffered = 0;
    return FINCH_OK;
}

finch_status data_spool_add(data_spool *s, const char *text, size_t size, finch_error *err)
{
    while (size > 0) {
        size_t room = BUFFER_BYTES - s->n_buffered, n = size < room ? size : room;
        memcpy(s->buffer + s->n_buffered, text, n);
        s->n_buffered += n;
        text += n;
        size -= n;
        if (s->n_buffered == BUFFER_BYTES) FINCH_TRY(data_spool_flush(s, err));
    }
    return FINCH_OK;
}

finch_status data_spool_read(const data_spool *s, uint64_t at, char *out, size_t size, size_t *n, finch_error *err)
{
    *n = 0;
    if (at >= s->n_written) { /* still in the buffer */
        size_t begin = size_least((size_t)(at - s->n_written), s->n_buffered);
        *n = size_least(size, s->n_buffered - begin);
        memcpy(out, s->buffer + begin, *n);
        return FINCH_OK;
    }
    for (;;) {
        size_t want = size_least(size, (size_t)(s->n_written - at));
        ssize_t got = fault_hit(FAULT_READ) ? (errno = EIO, -1) : pread(s->descriptor, out, want, (off_t)at);
        if (got < 0 && errno == EINTR) continue;
        if (got <= 0) return fail("reading", err);
        *n = (size_t)got;
        return FINCH_OK;
    }
}

void data_spool_close(data_spool *s)
{
    if (s->buffer == NULL) return;
    if (s->descriptor >= 0) close(s->descriptor);
    mem_free(s->buffer);
    *s = (data_spool){0};
}
