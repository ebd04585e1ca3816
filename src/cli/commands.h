/* Every command this program has. A command is added by its name here and its file beside. */
#ifndef FINCH_CLI_COMMANDS_H
#define FINCH_CLI_COMMANDS_H

#include "cli/cli.h"

/* NULL where index is past the last. */
const cli_command *commands_at(size_t index);
/* NULL where there is none of that name. */
const cli_command *commands_find(const char *name);
/* The command that name was most likely meant to be; NULL where none is near. */
const char *commands_nearest(const char *name);
const char *commands_group_title(cli_group group);

#endif
