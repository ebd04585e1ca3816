/* What the commands that read tables share: which rows they take, and what becomes of the broken ones. */
#ifndef FINCH_CLI_TABLES_H
#define FINCH_CLI_TABLES_H

#include "cli/cli.h"
#include "data/table.h"

enum { CLI_LINE_BYTES_MAX = 256 << 20 }; /* DuckDB's buffers are twice as large */

#define CLI_OPTION_STRICT \
    {"strict", NULL, CLI_FLAG, NULL, "stop at the first broken row instead of setting it aside", false, 0, 0}
#define CLI_OPTION_REJECTS(whose)                                                                                         \
    {"rejects", "FILE", CLI_PATH, NULL, "where broken rows are listed with their lines (default: rejects.csv " whose ")", \
     false,     0,      0}
#define CLI_OPTION_MAX_LINE                                                                                        \
    {"max-line-bytes",  "N", CLI_SIZE, "2000000", "a CSV row or JSONL line longer than this is broken", false, 16, \
     CLI_LINE_BYTES_MAX}

/* The files and how they are read, by the options above as far as the command has them. */
data_source cli_source(const cli_args *args, const char *const *inputs, size_t n_inputs);

/* Warns where the files of source differ in their columns or types, however often they are opened. d lasts as long as source. */
typedef struct cli_differences {
    const cli_args *args;
    bool told;
} cli_differences;

void cli_warn_of_differences(const cli_args *args, cli_differences *d, data_source *source);

/* Lists the broken rows of tables [n] (some may be NULL) in the file of --rejects, by default rejects.csv beside output (may
 * be NULL: in the working folder), and warns of them with the first few places. Does nothing where there are none. */
finch_status cli_rejects_list(const cli_args *args, const char *output, const data_columns *const *tables, size_t n,
                              finch_error *err);

#endif
