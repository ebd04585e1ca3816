#include "stream/library.h"

#include <dlfcn.h>
#include <pthread.h>
#include <string.h>

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER; /* guards is_open and the pointers of all libraries */

static finch_status open_library(const stream_library *l, finch_error *err)
{
    void *opened = dlopen(l->file, RTLD_NOW | RTLD_LOCAL);
    if (opened == NULL)
        return finch_fail(err, FINCH_E_NOT_FOUND,
                          "this broker needs %s, which is not installed; install the package that has it (%s)", l->file,
                          dlerror());
    for (size_t i = 0; i < l->n_symbols; i++) {
        void *found = dlsym(opened, l->symbols[i].name);
        if (found == NULL)
            return finch_fail(err, FINCH_E_UNSUPPORTED, "%s has no %s: it is of another version than finch was built with",
                              l->file, l->symbols[i].name);
        memcpy(l->symbols[i].address, &found, sizeof found); /* ISO C has no cast from void * to a function */
    }
    return FINCH_OK;
}

finch_status stream_library_need(stream_library *library, finch_error *err)
{
    finch_status st = FINCH_OK;
    pthread_mutex_lock(&lock);
    if (!library->is_open) st = open_library(library, err);
    library->is_open = st == FINCH_OK;
    pthread_mutex_unlock(&lock);
    return st;
}
