#include "stream/library.h"

#include <dlfcn.h>
#include <string.h>

finch_status stream_library_open(const char *file, const stream_symbol *symbols, size_t n, finch_error *err)
{
    void *library = dlopen(file, RTLD_NOW | RTLD_LOCAL);
    if (library == NULL)
        return finch_fail(err, FINCH_E_NOT_FOUND,
                          "this broker needs %s, which is not installed; install the package that has it (%s)", file,
                          dlerror());
    for (size_t i = 0; i < n; i++) {
        void *found = dlsym(library, symbols[i].name);
        if (found == NULL)
            return finch_fail(err, FINCH_E_UNSUPPORTED, "%s has no %s: it is of another version than finch was built with",
                              file, symbols[i].name);
        memcpy(symbols[i].address, &found, sizeof found); /* ISO C has no cast from void * to a function */
    }
    return FINCH_OK;
}
