#include "cli/ranks.h"

#include <stdlib.h>

static bool read_size(const char *name, size_t *out)
{
    const char *text = getenv(name);
    char *end;
    if (text == NULL || text[0] < '0' || text[0] > '9') return false;
    unsigned long long value = strtoull(text, &end, 10);
    *out = (size_t)value;
    return *end == '\0';
}

bool ranks_of_launcher(size_t *rank, size_t *n_ranks)
{
    bool there = (read_size("OMPI_COMM_WORLD_RANK", rank) && read_size("OMPI_COMM_WORLD_SIZE", n_ranks)) ||
                 (read_size("PMI_RANK", rank) && read_size("PMI_SIZE", n_ranks));
    return there && *n_ranks > 1 && *rank < *n_ranks;
}

finch_status cli_ranks_join(const cli_args *args, ranks *r, ranks **together, finch_error *err)
{
    size_t rank, n_ranks;
    *r = (ranks){0};
    *together = NULL;
    if (!ranks_of_launcher(&rank, &n_ranks)) return FINCH_OK;
    FINCH_TRY(ranks_open(r, err));
    r->stopped = cli_cancelled;
    *together = r;
    return r->rank == 0 ? FINCH_OK : cli_preset(args, "quiet", "yes", err);
}

finch_status cli_ranks_leave(ranks *r, finch_status st, finch_error *err)
{
    return st == FINCH_OK ? ranks_close(r, err) : st;
}
