#include "train/ranks.h"

#include "base/clock.h"
#include "base/module.h"

#include <dlfcn.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>

#define MODULE_NAME "libfinch_mpi.so"
#define RANKS_PATIENCE_SECONDS 0.3

static const ranks_table *load(void **module, char *why)
{
    snprintf(why, RANKS_WHY_BYTES, MODULE_NAME " was not found: finch was built where Open MPI was not");
    *module = module_open(MODULE_NAME, true, why, RANKS_WHY_BYTES); /* MPI's own modules look for its symbols among all */
    if (*module == NULL) return NULL;
    const ranks_table *table = dlsym(*module, "finch_mpi_table");
    if (table != NULL && table->version == RANKS_MODULE_VERSION) return table;
    snprintf(why, RANKS_WHY_BYTES, MODULE_NAME " is of another version of finch; build both together");
    dlclose(*module);
    *module = NULL;
    return NULL;
}

bool ranks_available(char *library, char *why)
{
    void *module;
    const ranks_table *table = load(&module, why);
    if (table == NULL) return false;
    snprintf(library, RANKS_WHY_BYTES, "%s", table->library());
    dlclose(module);
    return true;
}

finch_status ranks_open(ranks *out, finch_error *err)
{
    char why[RANKS_WHY_BYTES] = "";
    *out = (ranks){0};
    out->table = load(&out->module, why);
    if (out->table == NULL)
        return finch_fail(
            err, FINCH_E_FAILED,
            "several processes were started together, and they can not talk: %s; install Open MPI and build again, or "
            "start one process",
            why);
    if (out->table->open(&out->rank, &out->n, why) == 0) return FINCH_OK;
    return finch_fail(err, FINCH_E_FAILED, "MPI did not start: %s", why);
}

finch_status ranks_close(ranks *r, finch_error *err)
{
    char why[RANKS_WHY_BYTES] = "";
    if (r->table == NULL) return FINCH_OK;
    int failed = r->table->close(why);
    *r = (ranks){0}; /* the module stays: MPI can be neither started again nor unloaded */
    return failed == 0 ? FINCH_OK : finch_fail(err, FINCH_E_FAILED, "MPI did not end well: %s", why);
}

static finch_status fail(const ranks *r, const char *why, finch_error *err)
{
    return finch_fail(err, FINCH_E_FAILED, "rank %zu of %zu lost the others: %s; --resume goes on from the last checkpoint",
                      r->rank, r->n, why);
}

finch_status ranks_sum_begin(ranks *r, float *values, size_t n, finch_error *err)
{
    char why[RANKS_WHY_BYTES] = "";
    return r->table->begin(values, n, why) == 0 ? FINCH_OK : fail(r, why, err);
}

/* Between two looks: at first only others go before; after a millisecond what is awaited comes from afar or from a rank that still
 * computes, and the core is better left to them. */
static void rest(double waited_seconds)
{
    if (waited_seconds < 0.001) sched_yield();
    else clock_sleep(50e-6);
}

finch_status ranks_wait(ranks *r, finch_error *err)
{
    char why[RANKS_WHY_BYTES] = "";
    double stopped_at = 0.0, began = clock_seconds();
    for (int done = 0;;) {
        if (r->table->poll(&done, why) != 0) return fail(r, why, err);
        if (done) return FINCH_OK;
        if (r->stopped != NULL && r->stopped()) {
            double now = clock_seconds();
            if (stopped_at == 0.0) stopped_at = now;
            if (now - stopped_at > RANKS_PATIENCE_SECONDS)
                return finch_fail(err, FINCH_E_CANCELLED, "interrupted while rank %zu waited for the others", r->rank);
        }
        rest(clock_seconds() - began);
    }
}

finch_status ranks_sum(ranks *r, double *values, size_t n, finch_error *err)
{
    char why[RANKS_WHY_BYTES] = "";
    return r->table->sum(values, n, why) == 0 ? ranks_wait(r, err) : fail(r, why, err);
}

finch_status ranks_meet(ranks *r, finch_error *err)
{
    double one = 1.0;
    return ranks_sum(r, &one, 1, err);
}

void ranks_part(const ranks *r, size_t n, size_t *begin, size_t *end)
{
    size_t rank = r != NULL ? r->rank : 0, n_ranks = r != NULL ? r->n : 1;
    *begin = n / n_ranks * rank + n % n_ranks * rank / n_ranks;
    *end = n / n_ranks * (rank + 1) + n % n_ranks * (rank + 1) / n_ranks;
}
