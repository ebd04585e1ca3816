/* metrics.jsonl: one JSON object a line for each event of a training run. A checkpoint keeps the file's length; a run
 * that resumes cuts the file back to it, so no event is there twice. */
#ifndef FINCH_TRAIN_JOURNAL_H
#define FINCH_TRAIN_JOURNAL_H

#include "base/str.h"

#include <jansson.h>

typedef struct journal {
    int descriptor; /* -1: closed */
    uint64_t size_bytes;
    str path;
} journal;

/* Opens path for appending at size_bytes, cutting off what is behind; makes it where size_bytes is 0.
 * Errors: FINCH_E_IO; FINCH_E_DATA where the file is shorter than that. */
finch_status journal_open(const char *path, uint64_t size_bytes, journal *out, finch_error *err);
void journal_close(journal *j);

/* Takes over the reference of event; a NULL event is FINCH_E_MEMORY. Errors: FINCH_E_IO, FINCH_E_MEMORY. */
finch_status journal_add(journal *j, json_t *event, finch_error *err);

/* What was added is on disk when this returns: before a checkpoint names the length. */
finch_status journal_sync(journal *j, finch_error *err);

#endif
