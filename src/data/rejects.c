#include "data/rejects.h"

#include "base/file.h"
#include "data/utf8.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

void data_rejects_free(data_rejects *rejects)
{
    for (size_t i = 0; i < rejects->n_held; i++) mem_free(rejects->at[i].text);
    mem_free(rejects->at);
    data_spool_close(&rejects->more);
    *rejects = (data_rejects){0};
}

/* The start of a broken row as UTF-8: what is none becomes '?', a NUL too. */
static finch_status keep_text(const char *text, size_t size, char **out, finch_error *err)
{
    if (size > REJECT_TEXT_BYTES) size = data_utf8_cut(text, REJECT_TEXT_BYTES);
    FINCH_TRY(mem_text(text, size, out, err));
    for (size_t at = 0; at < size;) {
        size_t step = data_utf8_length(text + at, size - at);
        if (step == 0 || text[at] == '\0') (*out)[at] = '?';
        at += step > 0 ? step : 1;
    }
    return FINCH_OK;
}

static finch_status add_quoted(str *line, const char *text, finch_error *err)
{
    FINCH_TRY(str_add_text(line, "\"", err));
    for (const char *at = text; *at != '\0'; at++) {
        if (*at == '"') FINCH_TRY(str_add_text(line, "\"", err));
        FINCH_TRY(str_add(line, at, 1, err));
    }
    return str_add_text(line, "\"", err);
}

static finch_status add_line(const data_reject *r, str *line, finch_error *err)
{
    str_clear(line);
    FINCH_TRY(add_quoted(line, r->path, err));
    FINCH_TRY(str_add_format(line, err, ",%" PRIu64 ",", r->line));
    FINCH_TRY(add_quoted(line, r->reason, err));
    FINCH_TRY(str_add_text(line, ",", err));
    FINCH_TRY(add_quoted(line, r->text, err));
    return str_add_text(line, "\n", err);
}

/* ---- adding ---- */

static finch_status hold(data_rejects *rejects, const data_reject *r, finch_error *err)
{
    if (rejects->n_held == rejects->capacity) {
        size_t wanted = rejects->capacity == 0 ? 16 : rejects->capacity * 2;
        FINCH_TRY(mem_grow((void **)&rejects->at, rejects->n_held * sizeof *rejects->at, wanted, sizeof *rejects->at, err));
        rejects->capacity = wanted;
    }
    rejects->at[rejects->n_held++] = *r;
    return FINCH_OK;
}

static finch_status put_aside(data_rejects *rejects, const data_reject *r, finch_error *err)
{
    str line = {0};
    finch_status st = rejects->more.buffer == NULL ? data_spool_open(&rejects->more, err) : FINCH_OK;
    if (st == FINCH_OK) st = add_line(r, &line, err);
    if (st == FINCH_OK) st = data_spool_add(&rejects->more, line.at, line.size, err);
    str_free(&line);
    return st;
}

finch_status data_rejects_add(data_rejects *rejects, const char *path, uint64_t line, const char *text, size_t size,
                              finch_error *err, const char *reason, ...)
{
    va_list args;
    data_reject r = {.path = path, .line = line};
    va_start(args, reason);
    vsnprintf(r.reason, sizeof r.reason, reason, args);
    va_end(args);
    FINCH_TRY(keep_text(text, size, &r.text, err));
    bool held = rejects->n < REJECTS_HELD;
    finch_status st = held ? hold(rejects, &r, err) : put_aside(rejects, &r, err);
    if (!held || st != FINCH_OK) mem_free(r.text);
    rejects->n += st == FINCH_OK;
    return st;
}

/* ---- writing ---- */

static finch_status write_list(const data_rejects *rejects, file_writer *writer, finch_error *err)
{
    str line = {0};
    char piece[1 << 14];
    finch_status st = FINCH_OK;
    for (size_t i = 0; st == FINCH_OK && i < rejects->n_held; i++) {
        st = add_line(&rejects->at[i], &line, err);
        if (st == FINCH_OK) st = file_writer_write(writer, line.at, line.size, err);
    }
    str_free(&line);
    for (uint64_t at = 0; st == FINCH_OK && rejects->more.buffer != NULL;) {
        size_t n;
        st = data_spool_read(&rejects->more, at, piece, sizeof piece, &n, err);
        if (st == FINCH_OK) st = file_writer_write(writer, piece, n, err);
        if (n == 0) break;
        at += n;
    }
    return st;
}

finch_status data_rejects_write(const data_rejects *rejects, const char *path, finch_error *err)
{
    return data_rejects_write_all(&rejects, 1, path, err);
}

finch_status data_rejects_write_all(const data_rejects *const *lists, size_t n_lists, const char *path, finch_error *err)
{
    static const char header[] = "file,line,reason,text\n";
    file_writer writer;
    FINCH_TRY(file_writer_open(path, &writer, err));
    finch_status st = file_writer_write(&writer, header, sizeof header - 1, err);
    for (size_t i = 0; st == FINCH_OK && i < n_lists; i++) st = write_list(lists[i], &writer, err);
    if (st == FINCH_OK) return file_writer_commit(&writer, err);
    file_writer_abort(&writer);
    return st;
}
