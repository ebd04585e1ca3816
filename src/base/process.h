/* What the system says of this process. */
#ifndef FINCH_BASE_PROCESS_H
#define FINCH_BASE_PROCESS_H

#include <stdint.h>

/* The memory that it holds now (the resident set of /proc/self/statm); 0 where the system does not say. */
uint64_t process_resident_bytes(void);

#endif
