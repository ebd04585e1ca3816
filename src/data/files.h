/* Files of tables: which there are, how each is written, whether each is whole. */
#ifndef FINCH_DATA_FILES_H
#define FINCH_DATA_FILES_H

#include "data/names.h"

typedef enum data_format { DATA_CSV, DATA_JSONL, DATA_JSON, DATA_PARQUET } data_format;
typedef enum data_compression { DATA_PLAIN, DATA_GZIP, DATA_ZSTD } data_compression;

typedef struct data_kind {
    data_format format;
    data_compression compression;
} data_kind;

/* By the path's ending: .csv .tsv .txt, .jsonl .ndjson, .json, .parquet .pq, the text ones with .gz or .zst behind.
 * False where the ending is none of them. */
bool data_kind_of_path(const char *path, data_kind *out);
const char *data_format_name(data_format format);

/* Paths and globs to paths, in their order; a glob's in name order. A path that exists is taken as it is, also with *
 * or [ in it. Errors: FINCH_E_NOT_FOUND naming what matches nothing. */
finch_status data_paths_expand(const char *const *inputs, size_t n_inputs, data_names *out, finch_error *err);

enum { DATA_LINE_MAX_BYTES = 2000000 }; /* preset of data_file.max_line_bytes */

typedef struct data_file {
    const char *path;     /* borrowed */
    const char *content;  /* where its bytes are, of what was in an archive; NULL: at path; borrowed */
    data_kind kind;       /* from the ending, or from the content where the ending says nothing */
    const char *encoding; /* of plain text files: "utf-8", "utf-16" by its byte order mark, or "latin-1" where the start
                             of the file is no UTF-8 and nothing in it looks like UTF-8; static */
    size_t max_line_bytes; /* a CSV record or JSONL line longer than this is broken */
    const char *text_key;  /* JSON: a row whose value of it is neither text nor null is broken; borrowed, may be NULL */
} data_file;

/* Errors: FINCH_E_NOT_FOUND, FINCH_E_IO (no permission), FINCH_E_DATA: a folder, an empty file, a Parquet
 * file that was cut, a file that is something else than its ending says. */
finch_status data_file_inspect(const char *path, data_file *out, finch_error *err);
/* The same of what was in the archive at path under a name, and is now at content. */
finch_status data_file_inspect_unpacked(const char *path, const char *name, const char *content, data_file *out,
                                        finch_error *err);

/* The path to open. */
const char *data_file_content(const data_file *file);

#endif
