/* The parts of `finch history`: scored tables on their way in (history_import.c), the command itself (history.c). */
#ifndef FINCH_CLI_HISTORY_H
#define FINCH_CLI_HISTORY_H

#include "base/progress.h"
#include "store/history.h"

typedef struct history_imported {
    uint64_t n_rows, n_imported;
    uint64_t n_known;    /* the history had them */
    uint64_t n_skipped;  /* without a text, a label or a time */
    uint64_t n_rejected; /* broken rows of the files */
} history_imported;

/* Columns of scored tables; those that are not there are done without, but for text, label and time. */
typedef struct history_import_options {
    const char *const *inputs;
    size_t n_inputs;
    bool strict; /* stop at the first broken row */
    const char *text_column, *time_column, *ticker_column, *label_column, *score_column;
    const char *const *reach; /* [n_reach] columns that are summed; n_reach 0: the usual ones that are there */
    size_t n_reach;
    bool needs_tickers;      /* a missing ticker_column is an error */
    bool find_tickers;       /* in the text, where the row names none */
    int64_t else_time_ms;    /* of all rows, where there is no time_column; 0: that is an error */
    const char *model, *source;
    const char *identity;    /* NULL: the same rows are the same however they come */
    bool keep_texts;
    const progress *watch;   /* NULL is legal */
} history_import_options;

/* The files into the history. A batch of rows counts once however often it comes (under one identity, where that is given), so an import that was interrupted is simply run
 * again. Errors: also FINCH_E_CANCELLED, where watch says so. */
finch_status history_import_tables(const history_import_options *options, store *s, history_imported *out, finch_error *err);

#endif
