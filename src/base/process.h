/* What the system says of this process. */
#ifndef FINCH_BASE_PROCESS_H
#define FINCH_BASE_PROCESS_H

#include <limits.h>
#include <stddef.h>
#include <stdint.h>

/* The memory that it holds now (the resident set of /proc/self/statm); 0 where the system does not say. */
uint64_t process_resident_bytes(void);
/* The folder that the running program's file is in, links resolved, with a slash at its end. Returns its length; 0, and out is
 * empty, where the system does not say. */
size_t process_folder(char out[PATH_MAX]);

#endif
