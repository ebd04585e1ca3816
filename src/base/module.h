/* Opens finch's own modules: libraries that are built where something optional is (Open MPI, CUDA) and opened at run time. */
#ifndef FINCH_BASE_MODULE_H
#define FINCH_BASE_MODULE_H

#include <stdbool.h>
#include <stddef.h>

/* The module `name`, looked for beside the program, where an installed program has its modules, and beside libfinch.so.
 * Returns dlopen's handle (the caller's, for dlclose), or NULL with the system's words in why; why is left as it is where there is no such file.
 * global  its symbols are for other modules to find. */
void *module_open(const char *name, bool global, char *why, size_t why_bytes);

#endif
