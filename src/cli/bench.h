/* The works that finch bench measures. Each measures inside the process, after a warm-up pass over the same work, and
 * gives one JSON document. Internal to bench*.c. */
#ifndef FINCH_CLI_BENCH_H
#define FINCH_CLI_BENCH_H

#include "cli/cli.h"
#include "cli/text_source.h"
#include "model/model.h"

/* Each puts its document into *out (a new reference). */
finch_status bench_score(const cli_args *args, json_t **out, finch_error *err);
finch_status bench_tokenize(const cli_args *args, json_t **out, finch_error *err);
finch_status bench_train(const cli_args *args, json_t **out, finch_error *err);
finch_status bench_gemm(const cli_args *args, json_t **out, finch_error *err);
finch_status bench_prompt(const cli_args *args, json_t **out, finch_error *err);

/* The median of n numbers, which are sorted in place; n > 0. */
double bench_median(double *items, size_t n);
/* --max-tokens where it is written, else preset. */
size_t bench_max_tokens(const cli_args *args, size_t preset);
/* --compute as the engine's type. */
model_compute bench_compute(const cli_args *args);

#endif
