#include "base/process.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* The file is one line of page counts: all of memory, then what is resident. */
uint64_t process_resident_bytes(void)
{
    char line[256] = "", *rest;
    long page = sysconf(_SC_PAGESIZE);
    FILE *file = fopen("/proc/self/statm", "re");
    if (file == NULL) return 0;
    bool read = fgets(line, sizeof line, file) != NULL;
    fclose(file);
    if (!read || page <= 0) return 0;
    (void)strtoull(line, &rest, 10);
    return strtoull(rest, NULL, 10) * (uint64_t)page;
}

size_t process_folder(char out[PATH_MAX])
{
    ssize_t size = readlink("/proc/self/exe", out, PATH_MAX - 1);
    out[size > 0 ? size : 0] = '\0';
    char *slash = strrchr(out, '/');
    size_t length = slash != NULL ? (size_t)(slash + 1 - out) : 0;
    out[length] = '\0';
    return length;
}
