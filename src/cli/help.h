/* Help for people, made from the tables. */
#ifndef FINCH_CLI_HELP_H
#define FINCH_CLI_HELP_H

#include "cli/cli.h"

/* What `finch` alone says: the commands in their groups. */
finch_status help_overview(str *out, finch_error *err);
/* What `finch COMMAND --help` says. */
finch_status help_command(const cli_command *command, str *out, finch_error *err);

/* "--input F...", "--no-floods" (a flag that is on), for help, man pages and docs. out is cleared first. */
finch_status help_option_text(const cli_option *option, str *out, finch_error *err);
/* "finch score [OPTIONS] --input F... --output O". out is cleared first. */
finch_status help_usage_text(const cli_command *command, str *out, finch_error *err);

#endif
