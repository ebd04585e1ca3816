/* libfinch_mpi.so: the table of train/ranks.h over MPI. It alone includes mpi.h and is linked with MPI's library, so the binary
 * interface is that of the MPI it was built with.
 *
 * MPI goes on with what was begun inside its calls only, and between two layers of a backward pass there are none for milliseconds: over
 * TCP the wire would lie idle. So a thread of the module's own calls MPI_Testall every POLL_US while anything is under way, and sleeps
 * otherwise. All calls of MPI between open and close are made with m.lock held (MPI_THREAD_SERIALIZED); where MPI gives less, there is no thread. */
#include "train/ranks.h"

#include <mpi.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { PENDING_MAX = 4096, MOST_VALUES = 1 << 24, POLL_US = 500 };

/* The requests of what was begun and not yet waited for. */
static struct {
    pthread_mutex_t lock; /* of all below */
    pthread_cond_t changed; /* something is pending, or the end has come */
    MPI_Comm all;
    MPI_Request pending[PENDING_MAX];
    int n_pending;
    int code; /* the first failure of going on; MPI tells it once */
    bool ending, has_thread;
    pthread_t thread;
} m = {.lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER, .code = MPI_SUCCESS};

static int tell(int code, char *why)
{
    char text[MPI_MAX_ERROR_STRING] = "";
    int size = 0;
    if (code == MPI_SUCCESS) return 0;
    MPI_Error_string(code, text, &size);
    snprintf(why, RANKS_WHY_BYTES, "%.*s", size < RANKS_WHY_BYTES - 1 ? size : RANKS_WHY_BYTES - 1, text);
    return 1;
}

/* ---- going on; m.lock is held ---- */

static void go_on(void)
{
    int done = 0;
    if (m.code == MPI_SUCCESS) m.code = MPI_Testall(m.n_pending, m.pending, &done, MPI_STATUSES_IGNORE);
    if (m.code == MPI_SUCCESS && done) m.n_pending = 0;
}

static void *keep_going(void *nothing)
{
    static const struct timespec pause = {.tv_nsec = POLL_US * 1000};
    pthread_mutex_lock(&m.lock);
    while (!m.ending) {
        if (m.n_pending == 0 || m.code != MPI_SUCCESS) {
            pthread_cond_wait(&m.changed, &m.lock);
            continue;
        }
        go_on();
        pthread_mutex_unlock(&m.lock);
        nanosleep(&pause, NULL);
        pthread_mutex_lock(&m.lock);
    }
    pthread_mutex_unlock(&m.lock);
    return nothing;
}

/* Signals are for the threads that were there before. Without the thread sums go on in the calls of the others, as said above. */
static void start_thread(void)
{
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    m.has_thread = pthread_create(&m.thread, NULL, keep_going, NULL) == 0;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
}

static void end_thread(void)
{
    pthread_mutex_lock(&m.lock);
    m.ending = true;
    pthread_cond_signal(&m.changed);
    pthread_mutex_unlock(&m.lock);
    if (m.has_thread) pthread_join(m.thread, NULL);
    m.has_thread = false;
}

/* Who leaves after a failure does not close the ranks: the thread must not be inside MPI when that is unloaded. */
__attribute__((destructor)) static void leave(void) { end_thread(); }

/* ---- the table ---- */

/* Of two or three ranks Open MPI would have one add up what the others send, and then send it back to them: one way of the wire is idle at a
 * time. A ring uses both. With more ranks it takes a ring of itself where there is much to send. */
static void choose_ring(void)
{
    const char *n = getenv("OMPI_COMM_WORLD_SIZE");
    if (n != NULL && (strcmp(n, "2") == 0 || strcmp(n, "3") == 0))
        setenv("OMPI_MCA_coll_libnbc_iallreduce_algorithm", "ring", 0);
}

static int open_ranks(size_t *rank, size_t *n, char *why)
{
    int given, own, size, code;
    choose_ring();
    code = MPI_Init_thread(NULL, NULL, MPI_THREAD_SERIALIZED, &given);
    if (code == MPI_SUCCESS) code = MPI_Comm_dup(MPI_COMM_WORLD, &m.all);
    if (code == MPI_SUCCESS) code = MPI_Comm_set_errhandler(m.all, MPI_ERRORS_RETURN);
    if (code == MPI_SUCCESS) code = MPI_Comm_rank(m.all, &own);
    if (code == MPI_SUCCESS) code = MPI_Comm_size(m.all, &size);
    if (code != MPI_SUCCESS) return tell(code, why);
    *rank = (size_t)own;
    *n = (size_t)size;
    if (given >= MPI_THREAD_SERIALIZED) start_thread();
    return 0;
}

static int poll_all(int *done, char *why)
{
    pthread_mutex_lock(&m.lock);
    go_on();
    *done = m.n_pending == 0;
    int code = m.code;
    pthread_mutex_unlock(&m.lock);
    return tell(code, why);
}

static int begin_part(void *values, int n, MPI_Datatype type, char *why)
{
    if (m.n_pending == PENDING_MAX) {
        snprintf(why, RANKS_WHY_BYTES, "more than %d sums at a time", PENDING_MAX);
        return 1;
    }
    int code = MPI_Iallreduce(MPI_IN_PLACE, values, n, type, MPI_SUM, m.all, &m.pending[m.n_pending]);
    if (code != MPI_SUCCESS) return tell(code, why);
    m.n_pending++;
    return 0;
}

static int begin(void *values, size_t n, MPI_Datatype type, size_t bytes, char *why)
{
    int failed = 0;
    char *at = values;
    pthread_mutex_lock(&m.lock);
    for (size_t i = 0; failed == 0 && i < n; i += MOST_VALUES) {
        size_t left = n - i, now = left < MOST_VALUES ? left : MOST_VALUES;
        failed = begin_part(at + i * bytes, (int)now, type, why);
    }
    if (failed == 0) {
        go_on();
        failed = tell(m.code, why);
    }
    pthread_cond_signal(&m.changed);
    pthread_mutex_unlock(&m.lock);
    return failed;
}

static int begin_floats(float *values, size_t n, char *why) { return begin(values, n, MPI_FLOAT, sizeof *values, why); }
static int begin_doubles(double *values, size_t n, char *why) { return begin(values, n, MPI_DOUBLE, sizeof *values, why); }

static int close_ranks(char *why)
{
    end_thread();
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
