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
