#define _GNU_SOURCE /* dladdr */
#include "base/module.h"

#include "base/process.h"
#include "base/str.h"

#include <dlfcn.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#ifndef FINCH_MODULES /* where the installed modules are, from the program on */
#define FINCH_MODULES "../lib/finch/"
#endif
enum { MODULE_PLACES = 4 };

/* The length of the folder that path is in, with its slash; 0 where the path is not from the root on. */
static int folder_of(const char *path)
{
    const char *slash = path[0] == '/' ? strrchr(path, '/') : NULL;
    return slash != NULL ? (int)(slash + 1 - path) : 0;
}

/* Of whatever this function is part of: libfinch.so in another's program. */
static const char *library_file(void)
{
    static const char here;
    Dl_info info;
    return dladdr(&here, &info) != 0 && info.dli_fname != NULL ? info.dli_fname : "";
}

void *module_open(const char *name, bool global, char *why, size_t why_bytes)
{
    char program[PATH_MAX];
    const char *library = library_file();
    int in_program = (int)process_folder(program), in_library = folder_of(library);
    const struct {
        const char *folder;
        int size;
        const char *below;
    } places[MODULE_PLACES] = {{program, in_program, ""},
                               {program, in_program, FINCH_MODULES},
                               {library, in_library, ""},
                               {library, in_library, "finch/"}};
    str path = {0};
    void *module = NULL;
    bool found = false;
    for (size_t i = 0; !found && i < MODULE_PLACES; i++) {
        if (places[i].size == 0) continue;
        str_clear(&path);
        if (str_add_format(&path, NULL, "%.*s%s%s", places[i].size, places[i].folder, places[i].below, name) != FINCH_OK)
            break;
        found = access(path.at, F_OK) == 0;
    }
    if (found) module = dlopen(path.at, RTLD_NOW | (global ? RTLD_GLOBAL : RTLD_LOCAL));
    const char *reason = found && module == NULL ? dlerror() : NULL;
    if (reason != NULL) snprintf(why, why_bytes, "%s", reason);
    str_free(&path);
    return module;
}
