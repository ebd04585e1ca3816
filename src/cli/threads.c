#include "cli/threads.h"

#ifdef _OPENMP
#include <omp.h>
#endif
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

/* Turns of libgomp's waiting loop, some nanoseconds each: longer than a barrier takes where all threads run. */
#define SPIN_TURNS "2000"

#ifdef _OPENMP
/* cgroup v2: "max 100000" or "200000 100000", the quota and its period in microseconds. 0: no quota. */
static size_t quota_cpus(void)
{
    char line[64] = "";
    FILE *file = fopen("/sys/fs/cgroup/cpu.max", "re");
    if (file == NULL) return 0;
    bool got = fgets(line, sizeof line, file) != NULL;
    fclose(file);
    char *end = line;
    unsigned long long quota = got ? strtoull(line, &end, 10) : 0;
    if (end == line || quota == 0) return 0;
    unsigned long long period = strtoull(end, NULL, 10);
    return period == 0 ? 0 : (size_t)((quota + period - 1) / period);
}
#endif

size_t threads_default(void)
{
#ifdef _OPENMP
    int most = omp_get_max_threads();
    size_t n = most > 0 ? (size_t)most : 1;
    size_t quota = quota_cpus();
    const char *asked = getenv("OMP_NUM_THREADS");
    if (asked != NULL && asked[0] != '\0') return n;
    return quota > 0 && quota < n ? quota : n;
#else
    return 1;
#endif
}

void threads_use(size_t n_threads)
{
#ifdef _OPENMP
    omp_set_num_threads((int)n_threads);
#else
    (void)n_threads;
#endif
}

void threads_yield(char **argv)
{
#ifdef _OPENMP
    if (getenv("OMP_WAIT_POLICY") != NULL || getenv("GOMP_SPINCOUNT") != NULL) return;
    if (setenv("GOMP_SPINCOUNT", SPIN_TURNS, 1) != 0) return;
    (void)execv("/proc/self/exe", argv); /* returns only where it failed */
#else
    (void)argv;
#endif
}
