/* What finch train does before it trains: the frozen base in the type that is asked for, and pre-training on a domain's texts. */
#ifndef FINCH_CLI_TRAIN_BEFORE_H
#define FINCH_CLI_TRAIN_BEFORE_H

#include "cli/cli.h"
#include "cli/train_input.h"
#include "train/ranks.h"

/* --base: folder [in, out] is what the training starts from. int8: where its weights are floats, they are quantised into
 * OUTPUT.base, which then takes its place; float: FINCH_E_USAGE where they are quantised. */
finch_status train_before_base(const cli_args *args, const ranks *together, str *folder, finch_error *err);

/* --adapt-domain or --domain: the masked words of the domain's texts are learnt into OUTPUT.domain, which takes the folder's
 * place. Where the output is there already and the run is only resumed, nothing is done but that. */
finch_status train_before_domain(const cli_args *args, ranks *together, const train_input *train, const train_input *valid,
                                 const train_input *exclude, str *folder, finch_error *err);

#endif
