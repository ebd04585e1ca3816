/* Ctrl-C and its kin. The first SIGINT or SIGTERM is remembered, and progress callbacks turn it into a clean end; the
 * second leaves at once with 130. A closed pipe is an error of the write, never a silent death. */
#ifndef FINCH_CLI_SIGNALS_H
#define FINCH_CLI_SIGNALS_H

void signals_install(void);

#endif
