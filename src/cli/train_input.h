/* Tables of texts and labels in memory, with the fingerprints of their files, for train and pretrain. */
#ifndef FINCH_CLI_TRAIN_INPUT_H
#define FINCH_CLI_TRAIN_INPUT_H

#include "base/json.h"
#include "cli/cli.h"
#include "data/table.h"
#include "train/examples.h"

/* Zeroed is empty.
 * tables  [n] one a file; what they point to belongs to the input.
 * files   JSON array of {"file", "sha256", "rows", "rejected"}. */
typedef struct train_input {
    examples_table *tables;
    data_columns **columns;
    size_t n, capacity;
    json_t *files;
} train_input;

/* Adds the files of patterns [n_patterns] (paths and globs), read by the options of cli/tables.h. label_column NULL: texts only. coarse, weight: as in
 * examples_table. Errors: those of data_columns_read; FINCH_E_DATA where a file has no rows. */
finch_status train_input_read(const cli_args *args, train_input *input, const char *const *patterns, size_t n_patterns,
                              const char *text_column, const char *label_column, bool coarse, double weight,
                              finch_error *err);
/* Lists the broken rows of all inputs [n] and warns of them (cli_rejects_list). */
finch_status train_input_rejects(const cli_args *args, const train_input *const *inputs, size_t n, finch_error *err);
void train_input_free(train_input *input);

#endif
