/* Which of several processes that an MPI launcher started this one is, told by the launcher's environment: Open MPI's
 * OMPI_COMM_WORLD_RANK and _SIZE, or PMI_RANK and PMI_SIZE of MPICH, Intel MPI and Slurm. */
#ifndef FINCH_CLI_RANKS_H
#define FINCH_CLI_RANKS_H

#include "cli/cli.h"
#include "train/ranks.h"

/* False where no launcher started the process, or started it alone. */
bool ranks_of_launcher(size_t *rank, size_t *n_ranks);

/* Joins the others where a launcher started several; *together is r then, else NULL. Rank 0 alone speaks from here on. */
finch_status cli_ranks_join(const cli_args *args, ranks *r, ranks **together, finch_error *err);
/* Ends what was joined, where st says that all went well; after an error the launcher ends the others. Returns st, or why not. */
finch_status cli_ranks_leave(ranks *r, finch_status st, finch_error *err);

#endif
