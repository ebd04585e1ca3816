#include "data/rejects.h"

#include "base/file.h"
#include "data/utf8.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

void data_rejects_free(data_rejects *rejects)
{
    for (size_t i = 0; i < rejects->n; i++) mem_free(rejects->at[i].text);
    mem_free(rejects->at);
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

static finch_status make_room(data_rejects *rejects, const char *path, finch_error *err)
{
    if (rejects->n == REJECTS_MAX)
        return finch_fail(err, FINCH_E_DATA,
                          "%s: more than %d broken rows, the first at line %" PRIu64
                          " (%s); this is another kind of file than it seems",
                          path, REJECTS_MAX, rejects->at[0].line, rejects->at[0].reason);
    if (rejects->n < rejects->capacity) return FINCH_OK;
    size_t wanted = rejects->capacity == 0 ? 16 : rejects->capacity * 2;
    FINCH_TRY(mem_grow((void **)&rejects->at, rejects->n * sizeof *rejects->at, wanted, sizeof *rejects->at, err));
    rejects->capacity = wanted;
    return FINCH_OK;
}

finch_status data_rejects_add(data_rejects *rejects, const char *path, uint64_t line, const char *text, size_t size,
                              finch_error *err, const char *reason, ...)
{
    va_list args;
    FINCH_TRY(make_room(rejects, path, err));
    data_reject *r = &rejects->at[rejects->n];
    *r = (data_reject){.path = path, .line = line};
    va_start(args, reason);
    vsnprintf(r->reason, sizeof r->reason, reason, args);
    va_end(args);
    FINCH_TRY(keep_text(text, size, &r->text, err));
    rejects->n++;
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

static finch_status write_one(const data_reject *r, file_writer *writer, str *line, finch_error *err)
{
    str_clear(line);
    FINCH_TRY(add_quoted(line, r->path, err));
    FINCH_TRY(str_add_format(line, err, ",%" PRIu64 ",", r->line));
    FINCH_TRY(add_quoted(line, r->reason, err));
    FINCH_TRY(str_add_text(line, ",", err));
    FINCH_TRY(add_quoted(line, r->text, err));
    FINCH_TRY(str_add_text(line, "\n", err));
    return file_writer_write(writer, line->at, line->size, err);
}

finch_status data_rejects_write(const data_rejects *rejects, const char *path, finch_error *err)
{
    return data_rejects_write_all(&rejects, 1, path, err);
}

finch_status data_rejects_write_all(const data_rejects *const *lists, size_t n_lists, const char *path, finch_error *err)
{
    static const char header[] = "file,line,reason,text\n";
    file_writer writer;
    str line = {0};
    FINCH_TRY(file_writer_open(path, &writer, err));
    finch_status st = file_writer_write(&writer, header, sizeof header - 1, err);
    for (size_t l = 0; l < n_lists; l++)
        for (size_t i = 0; st == FINCH_OK && i < lists[l]->n; i++) st = write_one(&lists[l]->at[i], &writer, &line, err);
    str_free(&line);
    if (st == FINCH_OK) return file_writer_commit(&writer, err);
    file_writer_abort(&writer);
    return st;
}
