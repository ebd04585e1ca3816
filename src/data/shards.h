/* Scoring by many processes or machines: each scores one shard, a range of the rows of all inputs, into a part of its own, and
 * the parts put together are the file that one process would have written, byte for byte.
 *
 * Beside the output O.csv stands the folder O.csv.parts:
 *   part-00002-of-00008.csv        the rows of shard 2, a whole table in itself
 *   manifest-00002-of-00008.json   written after it: from what, with what, and the part's size and SHA-256
 *   rejects-of-00008.csv           by shard 0: the broken rows of all inputs, where there are any
 * Invariants:
 *  1. Everything appears by a rename, the manifest last. A manifest names a part that was whole.
 *  2. A shard's rows are a function of the inputs, the number of shards and the limit: [n k / N, n (k + 1) / N) of n rows.
 *  3. Parts belong together where their "job" is equal: the inputs by data/digest.h's sample, the model by its files', options, version.
 *  4. A shard whose manifest has that job, whose inputs were not changed since, and whose part has its SHA-256 is finished. */
#ifndef FINCH_DATA_SHARDS_H
#define FINCH_DATA_SHARDS_H

#include "base/json.h"
#include "base/progress.h"
#include "base/str.h"
#include "data/score.h"

enum { DATA_SHARDS_MAX = 100000 };

/* One shard of a job. close takes a zeroed struct. */
typedef struct data_shard {
    size_t index, count;
    str part, manifest, rejects; /* paths */
    json_t *job, *modified; /* what the manifest is to say; when the inputs were changed last */
} data_shard;

/* inputs, model_folder: the files and the folder that the job works on. options: a JSON object of all that decides the rows; taken
 * over. Makes the folder of parts. Errors: FINCH_E_USAGE (an output that can not be put together from parts), FINCH_E_NOT_FOUND, FINCH_E_IO. */
finch_status data_shard_open(const char *output, size_t index, size_t count, const data_source *inputs,
                             const char *model_folder, json_t *options, data_shard *out, finch_error *err);
void data_shard_close(data_shard *s);

/* *manifest is a new reference, NULL where the shard is not finished. */
finch_status data_shard_finished(const data_shard *s, json_t **manifest, finch_error *err);
/* The part is in place: writes the manifest with what the scoring found. */
finch_status data_shard_commit(const data_shard *s, const data_score_result *result, const data_scoring_counts *counts,
                               finch_error *err);

typedef struct data_joined {
    size_t n_parts;
    uint64_t n_rows, n_rejected;
} data_joined;

/* Whether the path is a folder that a job's parts lie in. */
bool data_shards_are(const char *path);
/* Puts the parts of the folder together, and their list of broken rows, if any, to rejects. The output has the parts' format.
 * Errors: FINCH_E_DATA where parts are missing, changed, or of different jobs; FINCH_E_USAGE; FINCH_E_IO. */
finch_status data_shards_join(const char *folder, const char *output, const char *rejects, data_joined *out,
                              finch_error *err);

#endif
