/* Which of several processes that an MPI launcher started this one is, told by the launcher's environment: Open MPI's
 * OMPI_COMM_WORLD_RANK and _SIZE, or PMI_RANK and PMI_SIZE of MPICH, Intel MPI and Slurm. */
#ifndef FINCH_CLI_RANKS_H
#define FINCH_CLI_RANKS_H

#include <stdbool.h>
#include <stddef.h>

/* False where no launcher started the process, or started it alone. */
bool ranks_of_launcher(size_t *rank, size_t *n_ranks);

#endif
