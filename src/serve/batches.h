/* Batch jobs: a table is uploaded, scored in the background, and fetched again. The upload is on the disk and the job in the store
 * before it is acknowledged; a thread claims jobs from the store, so what a killed server left is taken up by the next start
 * (store/jobs.h). Results are Parquet, kept beside the uploads; other formats are made from it when they are asked for. */
#ifndef FINCH_SERVE_BATCHES_H
#define FINCH_SERVE_BATCHES_H

#include "serve/route.h"

typedef struct batches batches;

/* Starts the thread that works on jobs. */
finch_status batches_create(serve *s, batches **out, finch_error *err);
/* Gives back the job in work; it is taken up again by whoever comes next. NULL is legal. */
void batches_destroy(batches *b);
const char *batches_folder(const batches *b);
/* A job was made: it need not be found by asking. */
void batches_wake(batches *b);

#endif
