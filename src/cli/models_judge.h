/* What finch models finds out about a version from labelled rows (finch eval's reading and judging of them). */
#ifndef FINCH_CLI_MODELS_JUDGE_H
#define FINCH_CLI_MODELS_JUDGE_H

#include "cli/cli.h"

#include "base/json.h"

/* args: those of finch models, with --data, --text-column, --label-column, --max-tokens. folder: the model's.
 * The document of finch eval --json; people see its figures on stderr. */
finch_status models_judge(const cli_args *args, const char *folder, json_t **out, finch_error *err);
/* The profile of the rows that drift is measured against (store/drift.h), with the labels that the model gives them. */
finch_status models_profile(const cli_args *args, const char *folder, json_t **out, finch_error *err);

#endif
