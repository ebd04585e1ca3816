/* The parts of `finch history`: scored tables on their way in (history_import.c), the command itself (history.c). */
#ifndef FINCH_CLI_HISTORY_H
#define FINCH_CLI_HISTORY_H

#include "cli/cli.h"
#include "store/history.h"

typedef struct history_imported {
    uint64_t n_rows, n_imported;
    uint64_t n_known;    /* the history had them */
    uint64_t n_skipped;  /* without a text, a label or a time */
    uint64_t n_rejected; /* broken rows of the files */
} history_imported;

/* The files of --input into the history. A batch of rows counts once however often it comes, so an import that was interrupted
 * is simply run again. */
finch_status history_import_tables(const cli_args *args, store *s, history_imported *out, finch_error *err);

#endif
