#include "cli/text_source.h"

#include "cli/jsonl_text.h"
#include "data/files.h"
#include "data/rejects.h"
#include "data/stream.h"
#include "data/table.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

enum { BATCH_BYTES = 8 << 20, PIPE_BYTES = 1 << 16, LIST_BATCH = 4096 };

struct text_source {
    const char *column;
    size_t max_line_bytes;
    data_names paths;
    size_t next_path;   /* the one to open when the current one ends */
    const char *path;   /* the current one; NULL: none is open */
    /* JSONL */
    data_file file;
    data_stream *stream;
    char *pipe;         /* a buffer where the input is "-" */
    bytes piece;        /* what is left of the last piece */
    str line;           /* the beginning of a line that continues in the next piece */
    uint64_t line_number;
    str texts;          /* of the batch */
    str key;
    /* other tables */
    data_columns *columns;
    size_t row;
};

/* ---- opening ---- */

/* data_paths_expand makes a new list: its paths are added to those before. */
static finch_status add_paths(data_names *paths, const char *input, finch_error *err)
{
    data_names found = {0};
    if (strcmp(input, "-") == 0) return data_names_add(paths, "-", 1, err);
    finch_status st = data_paths_expand(&input, 1, &found, err);
    for (size_t i = 0; st == FINCH_OK && i < found.n; i++) st = data_names_add(paths, found.at[i], strlen(found.at[i]), err);
    data_names_free(&found);
    return st;
}

finch_status text_source_open(const char *const *inputs, size_t n_inputs, const char *column, size_t max_line_bytes,
                              text_source **out, finch_error *err)
{
    text_source *s;
    *out = NULL;
    FINCH_TRY(MEM_NEW(&s, 1, err));
    s->column = column;
    s->max_line_bytes = max_line_bytes > 0 ? max_line_bytes : DATA_LINE_MAX_BYTES;
    finch_status st = FINCH_OK;
    for (size_t i = 0; st == FINCH_OK && i < n_inputs; i++) st = add_paths(&s->paths, inputs[i], err);
    if (st == FINCH_OK) *out = s;
    else text_source_close(s);
    return st;
}

static void close_path(text_source *s)
{
    data_stream_close(s->stream);
    data_columns_free(s->columns);
    mem_free(s->pipe);
    s->stream = NULL;
    s->columns = NULL;
    s->pipe = NULL;
    s->path = NULL;
    s->piece = (bytes){NULL, 0};
    str_clear(&s->line);
}

void text_source_close(text_source *s)
{
    if (s == NULL) return;
    close_path(s);
    data_names_free(&s->paths);
    str_free(&s->line);
    str_free(&s->texts);
    str_free(&s->key);
    mem_free(s);
}

static finch_status open_path(text_source *s, finch_error *err)
{
    s->path = s->paths.at[s->next_path++];
    s->line_number = 0;
    s->row = 0;
    if (strcmp(s->path, "-") == 0) return mem_alloc(PIPE_BYTES, 1, (void **)&s->pipe, err);
    FINCH_TRY(data_file_inspect(s->path, &s->file, err));
    if (s->file.kind.format == DATA_JSONL) return data_stream_open(&s->file, &s->stream, err);
    data_source source = {.inputs = &s->path, .n_inputs = 1, .max_line_bytes = s->max_line_bytes};
    FINCH_TRY(data_columns_read(&source, &s->column, NULL, 1, &s->columns, err));
    if (data_columns_rejected(s->columns) == 0) return FINCH_OK;
    return finch_fail_row(err, FINCH_E_DATA, data_columns_rejects(s->columns)->at[0].line,
                          "broken rows have no text, and each row must give one: mend %s",
                          data_columns_reject_note(s->columns));
}

/* ---- lines ---- */

static finch_status next_piece(text_source *s, finch_error *err)
{
    if (s->stream != NULL) return data_stream_next(s->stream, &s->piece, err);
    for (;;) {
        ssize_t got = read(STDIN_FILENO, s->pipe, PIPE_BYTES);
        if (got >= 0) {
            s->piece = (bytes){(const unsigned char *)s->pipe, (size_t)got};
            return FINCH_OK;
        }
        if (cli_cancelled()) return cli_cancelled_fail(err);
        if (errno != EINTR) return finch_fail(err, FINCH_E_IO, "reading the standard input failed");
    }
}

/* Takes what stands before the next \n, and that; false where the piece has none. */
static bool take_part(text_source *s, bytes *out)
{
    const unsigned char *end = memchr(s->piece.at, '\n', s->piece.size);
    *out = (bytes){s->piece.at, end != NULL ? (size_t)(end - s->piece.at) : s->piece.size};
    size_t used = out->size + (end != NULL ? 1 : 0);
    s->piece = (bytes){s->piece.at + used, s->piece.size - used};
    return end != NULL;
}

/* The next line without its end; *ended at the end of the input. Valid until the next call. */
static finch_status next_line(text_source *s, bytes *out, bool *ended, finch_error *err)
{
    bool continued = false; /* s->line holds the beginning */
    str_clear(&s->line);
    *ended = false;
    for (;;) {
        if (s->piece.size == 0) FINCH_TRY(next_piece(s, err));
        if (s->piece.size == 0) { /* the input's end; its last line may lack the \n */
            *ended = !continued;
            break;
        }
        bytes part;
        bool whole = take_part(s, &part);
        if (whole && !continued) {
            *out = part;
            s->line_number++;
            return FINCH_OK;
        }
        if (s->line.size + part.size > s->max_line_bytes)
            return finch_fail_row(err, FINCH_E_DATA, s->line_number + 1,
                                  "%s:%llu: the line has more than %zu bytes; a longer one is read with --max-line-bytes",
                                  s->path, (unsigned long long)s->line_number + 1, s->max_line_bytes);
        FINCH_TRY(str_add(&s->line, (const char *)part.at, part.size, err));
        continued = true;
        if (whole) break;
    }
    *out = (bytes){(const unsigned char *)s->line.at, s->line.size};
    if (!*ended) s->line_number++;
    return FINCH_OK;
}

static bool is_blank(bytes line)
{
    for (size_t i = 0; i < line.size; i++)
        if (line.at[i] != ' ' && line.at[i] != '\t' && line.at[i] != '\r') return false;
    return true;
}

static finch_status read_line(text_source *s, bytes line, finch_error *err)
{
    jsonl_found found;
    unsigned long long number = s->line_number;
    if (jsonl_text(line, s->column, &s->texts, &s->key, &found, err) != FINCH_OK) {
        finch_status st = finch_fail_prefix(err, "%s:%llu", s->path, number);
        err->row = s->line_number;
        return st;
    }
    if (found == JSONL_ABSENT)
        return finch_fail_row(err, FINCH_E_DATA, s->line_number,
                              "%s:%llu: the line has no \"%s\"; name the text's key with --text-column", s->path, number,
                              s->column);
    return FINCH_OK;
}

static finch_status next_lines(text_source *s, finch_text *out, size_t capacity, size_t *n, finch_error *err)
{
    str_clear(&s->texts);
    *n = 0;
    while (*n < capacity && s->texts.size < BATCH_BYTES) {
        bytes line;
        bool ended;
        FINCH_TRY(next_line(s, &line, &ended, err));
        if (ended) break;
        if (is_blank(line)) continue;
        size_t begin = s->texts.size;
        FINCH_TRY(read_line(s, line, err));
        out[(*n)++] = (finch_text){NULL, s->texts.size - begin};
        /* A pipe is answered with what came, not when a batch is full. */
        if (s->pipe != NULL && s->piece.size == 0) break;
    }
    const char *at = s->texts.at; /* it moved while it grew */
    for (size_t i = 0; i < *n; i++) {
        out[i].at = at;
        at += out[i].size_bytes;
    }
    return FINCH_OK;
}

static void next_rows(text_source *s, finch_text *out, size_t capacity, size_t *n)
{
    size_t left = data_columns_rows(s->columns) - s->row;
    *n = left < capacity ? left : capacity;
    for (size_t i = 0; i < *n; i++) out[i] = data_columns_text(s->columns, 0, s->row++);
}

finch_status text_source_next(text_source *s, finch_text *out, size_t capacity, size_t *n, finch_error *err)
{
    *n = 0;
    for (;;) {
        if (s->path == NULL && s->next_path == s->paths.n) return FINCH_OK;
        if (s->path == NULL) FINCH_TRY(open_path(s, err));
        if (s->columns != NULL) next_rows(s, out, capacity, n);
        else FINCH_TRY(next_lines(s, out, capacity, n, err));
        if (*n > 0) return FINCH_OK;
        close_path(s);
    }
}

/* ---- all texts ---- */

static finch_status list_add(text_list *list, str *all, size_t *capacity, const finch_text *texts, size_t n,
                             finch_error *err)
{
    if (list->n + n > *capacity) {
        size_t wanted = *capacity * 2 + n;
        FINCH_TRY(mem_grow((void **)&list->at, list->n * sizeof *list->at, wanted, sizeof *list->at, err));
        *capacity = wanted;
    }
    for (size_t i = 0; i < n; i++) {
        FINCH_TRY(str_add(all, texts[i].at, texts[i].size_bytes, err));
        list->at[list->n++] = (finch_text){NULL, texts[i].size_bytes};
    }
    return FINCH_OK;
}

static finch_status list_fill(text_source *source, size_t limit, text_list *list, str *all, finch_error *err)
{
    finch_text batch[LIST_BATCH];
    size_t capacity = 0;
    for (;;) {
        size_t n, room = limit > 0 && limit - list->n < LIST_BATCH ? limit - list->n : LIST_BATCH;
        if (room == 0) return FINCH_OK;
        FINCH_TRY(text_source_next(source, batch, room, &n, err));
        if (n == 0) return FINCH_OK;
        FINCH_TRY(list_add(list, all, &capacity, batch, n, err));
    }
}

finch_status text_list_read(const char *const *inputs, size_t n_inputs, const char *column, size_t limit, text_list *out,
                            finch_error *err)
{
    text_source *source;
    str all = {0};
    *out = (text_list){0};
    FINCH_TRY(text_source_open(inputs, n_inputs, column, 0, &source, err));
    finch_status st = list_fill(source, limit, out, &all, err);
    text_source_close(source);
    if (st == FINCH_OK && out->n == 0) st = finch_fail(err, FINCH_E_DATA, "%s has no rows", inputs[0]);
    out->bytes = str_steal(&all);
    size_t at = 0;
    for (size_t i = 0; i < out->n; i++) {
        out->at[i].at = out->bytes != NULL ? out->bytes + at : "";
        at += out->at[i].size_bytes;
    }
    if (st != FINCH_OK) text_list_free(out);
    return st;
}

void text_list_free(text_list *list)
{
    mem_free(list->at);
    mem_free(list->bytes);
    *list = (text_list){0};
}
