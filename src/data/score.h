/* finch score's work: a table of any size in, the same table with label, score and probabilities out. */
#ifndef FINCH_DATA_SCORE_H
#define FINCH_DATA_SCORE_H

#include "data/scoring.h"
#include "data/table.h"

/* text_column     a column of texts that every input has.
 * text_otherwise  the key of a line on a pipe that has none named text_column; NULL: such a line is broken.
 * ticker_column   for the summary; where the inputs lack it, cashtags are found in the texts. May be NULL.
 * time_column     for the summary; may be NULL or absent.
 * output          its ending says the format: .csv .tsv .jsonl .json .parquet, text also with .gz or .zst; "-": JSONL on
 *                 stdout. Appears whole or not at all.
 * rejects         where broken rows are listed, a CSV of file, line, reason and text; written only if there are any. NULL: not listed.
 * prefix          of the added columns, "" for none.
 * limit           the first rows of all inputs only; 0: all.
 * n_shards        0: all of these rows; else those of shard `shard`, [n shard / n_shards, n (shard + 1) / n_shards) of n.
 * watch           for the counting that comes first and the scoring. */
typedef struct data_score_options {
    data_source source;
    const char *output;
    const char *rejects;
    const char *text_column, *text_otherwise;
    const char *ticker_column;
    const char *time_column;
    bool ticker_needed; /* the column was asked for by name: missing, it is an error */
    bool time_needed;
    const char *prefix;
    bool logits;
    uint64_t limit;
    size_t shard, n_shards;
    const progress *watch;
} data_score_options;

/* n_all       rows of the whole job, first: the first one scored, from 0.
 * n_rejected  broken rows of the inputs, whatever the shard. */
typedef struct data_score_result {
    uint64_t n_all, first, n_rejected;
} data_score_result;

/* s->counts and s->summary are filled.
 * Errors: those of data_relation_open and data_scoring_rows; FINCH_E_USAGE where an added column's name is taken (the
 * remedy is a prefix) or the output's ending is unknown; FINCH_E_IO; FINCH_E_CANCELLED. */
finch_status data_score_file(data_scoring *s, const data_score_options *options, data_score_result *out, finch_error *err);

/* Lines of JSON objects from a descriptor, one line out for each in, in order: the object with the added keys at its end;
 * where the line is broken, {"error": "...", "line": N} in its place. Lines that wait are scored together, and what is
 * scored is written before the next read waits. Blank lines are answered by blank lines.
 * rejected counts the broken lines. options: source.inputs, output, rejects and limit are not used.
 * Errors: FINCH_E_IO, FINCH_E_CANCELLED, FINCH_E_MEMORY; with source.strict FINCH_E_DATA at the first broken line. */
finch_status data_score_pipe(data_scoring *s, const data_score_options *options, int input, int output, uint64_t *rejected,
                             finch_error *err);

/* Rows of one call of s: the capacity its opening needs. */
enum { DATA_SCORE_CAPACITY = 2048 };

#endif
