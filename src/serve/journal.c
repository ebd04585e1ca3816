#include "serve/journal.h"

#include "base/clock.h"
#include "serve/route.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

enum { JOURNAL_FLUSH_BYTES = 1 << 15, JOURNAL_MOST_BYTES = 1 << 20, JOURNAL_KEPT = 512 };

/* lock guards what follows it. */
struct journal {
    int descriptor;
    pthread_mutex_t lock;
    str lines;              /* to be written */
    str kept[JOURNAL_KEPT]; /* a ring: line number n is in place n % JOURNAL_KEPT */
    uint64_t n_kept;        /* lines so far */
};

finch_status journal_create(int descriptor, journal **out, finch_error *err)
{
    FINCH_TRY(MEM_NEW(out, 1, err));
    pthread_mutex_init(&(*out)->lock, NULL);
    (*out)->descriptor = descriptor;
    return FINCH_OK;
}

static void write_lines(journal *j)
{
    for (size_t done = 0; done < j->lines.size;) {
        ssize_t n = write(j->descriptor, j->lines.at + done, j->lines.size - done);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) break;
        done += (size_t)n;
    }
    str_clear(&j->lines);
}

void journal_flush(journal *j)
{
    if (j->descriptor < 0) return;
    pthread_mutex_lock(&j->lock);
    if (j->lines.size > 0) write_lines(j);
    pthread_mutex_unlock(&j->lock);
}

void journal_destroy(journal *j)
{
    if (j == NULL) return;
    journal_flush(j);
    str_free(&j->lines);
    for (size_t i = 0; i < JOURNAL_KEPT; i++) str_free(&j->kept[i]);
    pthread_mutex_destroy(&j->lock);
    mem_free(j);
}

static void format_time(char *out, size_t size)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    char seconds[24];
    clock_format_utc((int64_t)now.tv_sec, seconds, sizeof seconds);
    seconds[19] = '\0'; /* without the Z */
    snprintf(out, size, "%s.%03ldZ", seconds, now.tv_nsec / 1000000);
}

/* Every value is of our own making, or checked to be harmless in JSON (request.c): nothing has to be escaped but the path. */
static void add_escaped(str *out, const char *text)
{
    for (; *text != '\0'; text++) {
        if (*text == '"' || *text == '\\') (void)str_add(out, "\\", 1, NULL);
        (void)str_add(out, text, 1, NULL);
    }
}

static void format_request(str *out, const request *r, double seconds)
{
    char now[40];
    format_time(now, sizeof now);
    (void)str_add_format(out, NULL, "{\"time\":\"%s\",\"level\":\"info\",\"event\":\"request\",\"method\":\"", now);
    add_escaped(out, r->method);
    (void)str_add_text(out, "\",\"path\":\"", NULL);
    add_escaped(out, r->path_shown);
    (void)str_add_format(
        out, NULL,
        "\",\"route\":\"%s\",\"status\":%u,\"ms\":%.3f,\"request_id\":\"%s\",\"trace_id\":\"%s\","
        "\"key\":\"%s\",\"bytes_in\":%zu,\"bytes_out\":%zu,\"texts\":%zu,\"tokens\":%zu,\"error\":%s%s%s}\n",
        r->route != NULL ? r->route->id : "none", r->status, seconds * 1e3, r->id, r->trace, r->caller, r->body.size,
        r->static_reply != NULL ? r->static_size : r->reply.size, r->n_texts, r->n_tokens, r->error_code != NULL ? "\"" : "",
        r->error_code != NULL ? r->error_code : "null", r->error_code != NULL ? "\"" : "");
}

/* The place of the next line that is kept, empty. */
static str *next_kept(journal *j)
{
    str *line = &j->kept[j->n_kept++ % JOURNAL_KEPT];
    str_clear(line);
    return line;
}

/* Into the file's lines, unless the file has not taken the last MiB of them. */
static void add_line(journal *j, const str *line)
{
    if (j->descriptor >= 0 && j->lines.size < JOURNAL_MOST_BYTES) (void)str_add(&j->lines, line->at, line->size, NULL);
}

void journal_request(journal *j, const request *r, double seconds)
{
    pthread_mutex_lock(&j->lock);
    str *line = next_kept(j);
    format_request(line, r, seconds);
    add_line(j, line);
    if (j->lines.size >= JOURNAL_FLUSH_BYTES) write_lines(j);
    pthread_mutex_unlock(&j->lock);
}

void journal_event(journal *j, const char *level, const char *event, json_t *fields)
{
    char now[40];
    format_time(now, sizeof now);
    json_t *line = json_pack("{s:s, s:s, s:s}", "time", now, "level", level, "event", event);
    if (line != NULL && fields != NULL) json_object_update(line, fields);
    char *text = line != NULL ? json_dumps(line, JSON_COMPACT) : NULL;
    if (text != NULL) {
        pthread_mutex_lock(&j->lock);
        str *kept = next_kept(j);
        (void)str_add_format(kept, NULL, "%s\n", text);
        add_line(j, kept);
        if (j->descriptor >= 0) write_lines(j);
        pthread_mutex_unlock(&j->lock);
    }
    free(text);
    json_decref(line);
    json_decref(fields);
}

json_t *journal_tail(journal *j, uint64_t after, size_t most, uint64_t *last)
{
    json_t *lines = json_array();
    pthread_mutex_lock(&j->lock);
    uint64_t n = j->n_kept, first = n > JOURNAL_KEPT ? n - JOURNAL_KEPT : 0;
    if (after > first && after <= n) first = after;
    if (n - first > most) first = n - most;
    for (uint64_t i = first; i < n; i++) {
        const str *line = &j->kept[i % JOURNAL_KEPT];
        /* A line that memory did not suffice for is none. */
        json_t *one = line->size > 0 ? json_loadb(line->at, line->size, 0, NULL) : NULL;
        if (one != NULL) json_array_append_new(lines, one);
    }
    pthread_mutex_unlock(&j->lock);
    *last = n;
    return lines;
}
