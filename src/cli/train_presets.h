/* Named recipes of finch train: each is a list of options with the reason of every value. A preset gives values where none was
 * written on the command line, so a written option overrides it. */
#ifndef FINCH_CLI_TRAIN_PRESETS_H
#define FINCH_CLI_TRAIN_PRESETS_H

#include "cli/cli.h"

/* With --preset: its values into the options that were not written; *out is a new reference for the model's card
 * {"name", "settings": {option: value as it is now}, "overridden": [option]}, and NULL without --preset.
 * Errors: FINCH_E_USAGE naming the nearest preset. */
finch_status train_preset_apply(const cli_args *args, json_t **out, finch_error *err);
/* Says what train_preset_apply decided. */
void train_preset_say(const cli_args *args, const json_t *preset);
/* --list-presets: on stdout, as text or as one JSON document. */
finch_status train_presets_print(const cli_args *args, finch_error *err);

#endif
