/* How many threads the process may run on. */
#ifndef FINCH_CLI_THREADS_H
#define FINCH_CLI_THREADS_H

#include <stddef.h>

/* OMP_NUM_THREADS where set; else the processors of the affinity mask, cut to the CPU quota of the control group (a
 * container with two CPUs of a large host must not start a thread for each of the host's). */
size_t threads_default(void);
void threads_use(size_t n_threads);

#endif
