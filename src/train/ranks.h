/* Processes that train one model together, on one machine or many: each has a rank, from 0 on.
 *
 * What they say to each other goes through MPI, which is a module of its own (libfinch_mpi.so, from src/train/mpi/module.c): it is
 * built where Open MPI is, and opened when a launcher started several processes, so that finch neither needs nor
 * loads MPI otherwise. Every call is collective: all ranks make the same calls in the same order with the same sizes.
 * Sums have a fixed order for a number of ranks, and every rank gets the same bits.
 * Threads: one. Errors are FINCH_E_FAILED with MPI's words; after one the ranks are of no more use, and the process must end
 * with an error without closing them: the launcher then ends the others. */
#ifndef FINCH_TRAIN_RANKS_H
#define FINCH_TRAIN_RANKS_H

#include "base/status.h"

#include <stdbool.h>
#include <stddef.h>

/* The module's functions; they return 0, or another number with a reason in why. Its symbol is finch_mpi_table. */
enum { RANKS_MODULE_VERSION = 1, RANKS_WHY_BYTES = 512 };
typedef struct ranks_table {
    int version;
    int (*open)(size_t *rank, size_t *n, char *why);
    int (*begin)(float *values, size_t n, char *why);     /* the sum of each value over all ranks begins, in place */
    int (*poll)(int *done, char *why);                    /* goes on with what was begun; whether all of it is done */
    int (*sum)(double *values, size_t n, char *why);      /* the same for doubles; what was begun before is done */
    int (*close)(char *why);
    const char *(*library)(void);                         /* "Open MPI v4.1.4, ..." */
} ranks_table;

/* stopped may be NULL; it is asked while one waits for the others: where it says so and they do not come, the wait ends. */
typedef struct ranks {
    const ranks_table *table;
    void *module;
    size_t rank, n;
    bool (*stopped)(void);
} ranks;

/* Whether the module is there and MPI in it; else *why tells what is missing. Does not start MPI. */
bool ranks_available(char *library, char *why); /* [RANKS_WHY_BYTES] each */

/* Joins the others. Errors: FINCH_E_FAILED, also where there is no module. */
finch_status ranks_open(ranks *out, finch_error *err);
/* Waits for the others. Takes a zeroed struct. */
finch_status ranks_close(ranks *r, finch_error *err);

/* Begins to sum values [n]; they are neither read nor written until ranks_wait, which waits for all that were begun. */
finch_status ranks_sum_begin(ranks *r, float *values, size_t n, finch_error *err);
/* Errors: FINCH_E_CANCELLED where stopped said so and the others did not come within RANKS_PATIENCE_SECONDS. */
finch_status ranks_wait(ranks *r, finch_error *err);
/* Sums at once. */
finch_status ranks_sum(ranks *r, double *values, size_t n, finch_error *err);
/* Returns when all ranks have called it. */
finch_status ranks_meet(ranks *r, finch_error *err);

/* Whether this process is the one that writes: rank 0, or r is NULL. */
static inline bool ranks_lead(const ranks *r) { return r == NULL || r->rank == 0; }

/* [*begin, *end) of n things is this rank's part of them; all of them where r is NULL. */
void ranks_part(const ranks *r, size_t n, size_t *begin, size_t *end);

#endif
