/* Who is speaking, for messages on stderr. */
#ifndef FINCH_CLI_OUTPUT_H
#define FINCH_CLI_OUTPUT_H

#include "cli/cli.h"

/* The command's name, static; "" is the program itself. */
void output_begin(const char *command);
/* "finch score: MESSAGE" on stderr. */
void output_error(const char *message);

#endif
