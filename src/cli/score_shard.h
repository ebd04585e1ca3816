/* finch score in shards: which shard this process is, and what it tells where its work was done before. */
#ifndef FINCH_CLI_SCORE_SHARD_H
#define FINCH_CLI_SCORE_SHARD_H

#include "cli/cli.h"
#include "data/shards.h"

#define SCORE_SHARD_OPTIONS                                                                                               \
    {"shards",                                                                                                            \
     "N",                                                                                                                 \
     CLI_SIZE,                                                                                                            \
     NULL,                                                                                                                \
     "score one of N shards of the rows into a part of its own (default: as many as mpirun started processes, else one "  \
     "process scores all)",                                                                                               \
     false,                                                                                                               \
     1,                                                                                                                   \
     DATA_SHARDS_MAX},                                                                                                    \
    {                                                                                                                     \
        "shard", "K", CLI_SIZE, NULL, "which of them, from 0 to N - 1 (default: the process's rank under mpirun)", false, \
            0, DATA_SHARDS_MAX                                                                                            \
    }

/* *n_shards 0: one process scores all. Errors: FINCH_E_USAGE. */
finch_status score_shard_choose(const cli_args *args, size_t *shard, size_t *n_shards, finch_error *err);

/* All options that decide the rows, as a new JSON object (NULL: out of memory). */
json_t *score_shard_settings(const cli_args *args, const char *compute);

/* People's line and the --json document of a shard that was finished before. */
finch_status score_shard_tell_finished(const cli_args *args, const data_shard *s, const json_t *manifest, const char *folder,
                                       const char *compute, finch_error *err);

#endif
