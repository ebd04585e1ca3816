/* Where a setting of finch serve comes from: the command line, else the environment, else the configuration file, else its
 * preset. All of them are read against the command's one table of options, so every option is a variable and a key too:
 *   --max-batch 64      FINCH_SERVE_MAX_BATCH=64      {"max-batch": 64}
 * FINCH_SERVE_NAME_FILE names a file whose content is the value: for secrets that must not stand in an environment. */
#ifndef FINCH_CLI_SERVE_SETTINGS_H
#define FINCH_CLI_SERVE_SETTINGS_H

#include "base/arena.h"
#include "cli/cli.h"

typedef struct serve_settings {
    const cli_command *command;
    const cli_args *line, *environment, *file;
    const char *file_path; /* NULL: none */
    arena memory;
} serve_settings;

/* Errors: FINCH_E_USAGE and FINCH_E_DATA naming the variable or the file's key. close takes a half-open one. */
finch_status serve_settings_open(const cli_command *command, const cli_args *line, serve_settings *out, finch_error *err);
void serve_settings_close(serve_settings *s);

/* The arguments that a setting is to be asked of. */
const cli_args *serve_setting(const serve_settings *s, const char *name);
/* {"name":{"value":..,"source":"flag|environment|file|preset"}} of all; values of secrets are "(set)". */
json_t *serve_settings_json(const serve_settings *s);

#endif
