/* The texts of tables, batch by batch and in their order: what tokenize and bench read. JSONL (plain, .gz, .zst, or "-",
 * the standard input) keeps every byte (cli/jsonl_text.h) and is read with bounded memory; other tables come whole from
 * data/table.h. A row that can not be read ends the reading: row i out is row i in. */
#ifndef FINCH_CLI_TEXT_SOURCE_H
#define FINCH_CLI_TEXT_SOURCE_H

#include "cli/cli.h"

typedef struct text_source text_source;

/* inputs are paths, globs and "-", borrowed until close. max_line_bytes: as data_source has it. */
finch_status text_source_open(const char *const *inputs, size_t n_inputs, const char *column, size_t max_line_bytes,
                              text_source **out, finch_error *err);
void text_source_close(text_source *s);

/* Up to capacity texts, valid until the next call; *n is 0 at the end only. A null is an empty text.
 * Errors: FINCH_E_DATA with path and line, FINCH_E_CANCELLED, and those of the readers. */
finch_status text_source_next(text_source *s, finch_text *out, size_t capacity, size_t *n, finch_error *err);

/* All texts, at most limit of them (0: no limit), in memory of their own. */
typedef struct text_list {
    finch_text *at;
    size_t n;
    char *bytes;
} text_list;

finch_status text_list_read(const char *const *inputs, size_t n_inputs, const char *column, size_t limit, text_list *out,
                            finch_error *err);
void text_list_free(text_list *list);

#endif
