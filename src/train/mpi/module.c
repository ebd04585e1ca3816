/* libfinch_mpi.so: the table of train/ranks.h over MPI. It alone includes mpi.h and is linked with MPI's library, so the binary
 * interface is that of the MPI it was built with. MPI runs on the thread that calls. */
#include "train/ranks.h"

#include <mpi.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

enum { PENDING_MAX = 4096, MOST_VALUES = 1 << 24 };

/* The requests of what was begun and not yet waited for. */
static struct {
    MPI_Comm all;
    MPI_Request pending[PENDING_MAX];
    int n_pending;
} m;

static int tell(int code, char *why)
{
    char text[MPI_MAX_ERROR_STRING] = "";
    int size = 0;
    if (code == MPI_SUCCESS) return 0;
    MPI_Error_string(code, text, &size);
    snprintf(why, RANKS_WHY_BYTES, "%.*s", size < RANKS_WHY_BYTES - 1 ? size : RANKS_WHY_BYTES - 1, text);
    return 1;
}

static int open_ranks(size_t *rank, size_t *n, char *why)
{
    int given, own, size, code = MPI_Init_thread(NULL, NULL, MPI_THREAD_FUNNELED, &given);
    if (code == MPI_SUCCESS) code = MPI_Comm_dup(MPI_COMM_WORLD, &m.all);
    if (code == MPI_SUCCESS) code = MPI_Comm_set_errhandler(m.all, MPI_ERRORS_RETURN);
    if (code == MPI_SUCCESS) code = MPI_Comm_rank(m.all, &own);
    if (code == MPI_SUCCESS) code = MPI_Comm_size(m.all, &size);
    if (code != MPI_SUCCESS) return tell(code, why);
    *rank = (size_t)own;
    *n = (size_t)size;
    return 0;
}

static int poll_all(int *done, char *why)
{
    int code = MPI_Testall(m.n_pending, m.pending, done, MPI_STATUSES_IGNORE);
    if (code == MPI_SUCCESS && *done) m.n_pending = 0;
    return tell(code, why);
}

static int begin(void *values, size_t n, MPI_Datatype type, size_t bytes, char *why)
{
    int done;
    char *at = values;
    for (size_t i = 0; i < n; i += MOST_VALUES) {
        size_t left = n - i, now = left < MOST_VALUES ? left : MOST_VALUES;
        if (m.n_pending == PENDING_MAX) {
            snprintf(why, RANKS_WHY_BYTES, "more than %d sums at a time", PENDING_MAX);
            return 1;
        }
        int code = MPI_Iallreduce(MPI_IN_PLACE, at + i * bytes, (int)now, type, MPI_SUM, m.all, &m.pending[m.n_pending]);
        if (code != MPI_SUCCESS) return tell(code, why);
        m.n_pending++;
    }
    return poll_all(&done, why); /* MPI goes on with what was begun inside its calls only */
}

static int begin_floats(float *values, size_t n, char *why) { return begin(values, n, MPI_FLOAT, sizeof *values, why); }
static int begin_doubles(double *values, size_t n, char *why) { return begin(values, n, MPI_DOUBLE, sizeof *values, why); }

static int close_ranks(char *why)
{
    MPI_Comm_free(&m.all);
    return tell(MPI_Finalize(), why);
}

static const char *library(void)
{
    static char text[MPI_MAX_LIBRARY_VERSION_STRING];
    int size = 0;
    MPI_Get_library_version(text, &size);
    text[strcspn(text, ",\n")] = '\0';
    return text;
}

extern const ranks_table finch_mpi_table __attribute__((visibility("default")));
const ranks_table finch_mpi_table = {RANKS_MODULE_VERSION, open_ranks,  begin_floats, poll_all,
                                     begin_doubles,        close_ranks, library};
