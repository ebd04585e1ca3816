/* A file for readers that want a path: in a folder of this process, on the memory file system where there is one. */
#ifndef FINCH_TESTS_FUZZ_FILE_H
#define FINCH_TESTS_FUZZ_FILE_H

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static char fuzz_folder[64];
static char fuzz_path[96];

static void fuzz_remove_folder(void)
{
    unlink(fuzz_path);
    rmdir(fuzz_folder);
}

/* Writes folder/name; fuzz_folder and fuzz_path name them from then on. One name a process. */
static inline void fuzz_write_file(const char *name, const uint8_t *data, size_t size)
{
    if (fuzz_folder[0] == '\0') {
        const char *root = access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp";
        if (setenv("TMPDIR", root, 1) != 0) abort();
        snprintf(fuzz_folder, sizeof fuzz_folder, "%s/finch-fuzz-XXXXXX", root);
        if (mkdtemp(fuzz_folder) == NULL) abort();
        snprintf(fuzz_path, sizeof fuzz_path, "%s/%s", fuzz_folder, name);
        atexit(fuzz_remove_folder);
    }
    FILE *file = fopen(fuzz_path, "wb");
    if (file == NULL || fwrite(data, 1, size, file) != size || fclose(file) != 0) abort();
}

#endif
