#include "serve/journal.h"

#include "base/clock.h"
#include "serve/route.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

enum { JOURNAL_FLUSH_BYTES = 1 << 15, JOURNAL_MOST_BYTES = 1 << 20 };

/* lock guards lines. */
struct journal {
    pthread_mutex_t lock;
    int descriptor;
    str lines;
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

void journal_request(journal *j, const request *r, double seconds)
{
    if (j->descriptor < 0) return;
    char now[40];
    format_time(now, sizeof now);
    pthread_mutex_lock(&j->lock);
    if (j->lines.size < JOURNAL_MOST_BYTES) {
        (void)str_add_format(&j->lines, NULL, "{\"time\":\"%s\",\"level\":\"info\",\"event\":\"request\",\"method\":\"",
                             now);
        add_escaped(&j->lines, r->method);
        (void)str_add_text(&j->lines, "\",\"path\":\"", NULL);
        add_escaped(&j->lines, r->path_shown);
        (void)str_add_format(
            &j->lines, NULL,
            "\",\"route\":\"%s\",\"status\":%u,\"ms\":%.3f,\"request_id\":\"%s\",\"trace_id\":\"%s\","
            "\"key\":\"%s\",\"bytes_in\":%zu,\"bytes_out\":%zu,\"texts\":%zu,\"tokens\":%zu,\"error\":%s%s%s}\n",
            r->route != NULL ? r->route->id : "none", r->status, seconds * 1e3, r->id, r->trace, r->caller, r->body.size,
            r->static_reply != NULL ? r->static_size : r->reply.size, r->n_texts, r->n_tokens,
            r->error_code != NULL ? "\"" : "", r->error_code != NULL ? r->error_code : "null",
            r->error_code != NULL ? "\"" : "");
    }
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
    if (text != NULL && j->descriptor >= 0) {
        pthread_mutex_lock(&j->lock);
        (void)str_add_format(&j->lines, NULL, "%s\n", text);
        write_lines(j);
        pthread_mutex_unlock(&j->lock);
    }
    free(text);
    json_decref(line);
    json_decref(fields);
}
