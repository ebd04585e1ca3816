/* A table's texts on their way into the store, in the rows' order; the store keeps one item for each distinct text. */
#ifndef FINCH_LABEL_INGEST_H
#define FINCH_LABEL_INGEST_H

#include "base/progress.h"
#include "data/table.h"
#include "label/export.h"
#include "store/labels.h"

typedef struct ingest_result {
    uint64_t n_rows, n_empty, n_too_long, n_rejected, n_reused; /* n_reused: answered in an earlier job */
} ingest_result;

/* Takes texts, borrowed during the call. */
typedef finch_status (*ingest_take_fn)(void *context, const labels_text *texts, size_t n, finch_error *err);

/* Streams: memory does not grow with the table. Gives all texts to take, in chunks of at most TEXTS_CHUNK_ROWS; what becomes of
 * them (labels_add, labels_added) is the caller's, and may be begun again at any time.
 * output   what will be written at the end, so that names that are taken are told before anything is paid for; may be NULL.
 * rejects  where broken rows are listed, if there are any; may be NULL. */
finch_status ingest_table(const data_source *source, const char *text_column, const export_options *output,
                          const char *rejects, const progress *watch, ingest_take_fn take, void *context, ingest_result *out,
                          finch_error *err);

/* Texts with people's classes (--gold), asked before all others: a small table with text_column and label_column. */
finch_status ingest_gold(store *s, const labels_job *job, const char *path, const char *text_column,
                         const char *label_column, size_t *n, finch_error *err);

#endif
