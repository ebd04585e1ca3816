/* How many threads the process may run on. */
#ifndef FINCH_CLI_THREADS_H
#define FINCH_CLI_THREADS_H

#include <stddef.h>

/* OMP_NUM_THREADS where set; else the processors of the affinity mask, cut to the CPU quota of the control group (a
 * container with two CPUs of a large host must not start a thread for each of the host's). */
size_t threads_default(void);
void threads_use(size_t n_threads);

/* Makes waiting OpenMP threads give their core away after some microseconds. libgomp's own default is to spin for
 * milliseconds: alone on the machine that gains little, and beside any other busy process each barrier waits for a thread
 * that is not running, which makes training tens of times slower. The runtime reads its setting once, when it is
 * loaded, so the process starts itself anew with it; where that can not be, or OMP_WAIT_POLICY or GOMP_SPINCOUNT is set
 * already, nothing happens. Call it before any output; argv is main's. */
void threads_yield(char **argv);

#endif
