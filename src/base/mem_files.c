/* Pages of the program's and its libraries' files. A library of 60 MB has its symbols read once, by the loader, and most of its
 * code never again; the pages stay mapped and count as the process's until somebody lets go of them. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE /* dl_iterate_phdr */
#endif
#include "base/mem.h"

#ifdef __linux__
#include <link.h>
#include <stdint.h>
#include <sys/mman.h>
#include <unistd.h>

/* The loader has written into its code, as old libraries want it. */
static bool has_written_code(const struct dl_phdr_info *file)
{
    for (size_t i = 0; i < file->dlpi_phnum; i++) {
        if (file->dlpi_phdr[i].p_type != PT_DYNAMIC) continue;
        const ElfW(Dyn) *entry = (const void *)(file->dlpi_addr + file->dlpi_phdr[i].p_vaddr);
        for (; entry->d_tag != DT_NULL; entry++)
            if (entry->d_tag == DT_TEXTREL || (entry->d_tag == DT_FLAGS && (entry->d_un.d_val & DF_TEXTREL) != 0))
                return true;
    }
    return false;
}

/* Only segments that nothing can have written: what was changed in memory would be lost. */
static int trim_file(struct dl_phdr_info *file, size_t size, void *context)
{
    size_t page = *(const size_t *)context;
    (void)size;
    if (has_written_code(file)) return 0;
    for (size_t i = 0; i < file->dlpi_phnum; i++) {
        const ElfW(Phdr) *part = &file->dlpi_phdr[i];
        if (part->p_type != PT_LOAD || (part->p_flags & PF_W) != 0) continue;
        uintptr_t from = file->dlpi_addr + part->p_vaddr, begin = (from + page - 1) / page * page;
        uintptr_t end = (from + part->p_filesz) / page * page;
        if (begin < end) (void)madvise((void *)begin, end - begin, MADV_DONTNEED);
    }
    return 0;
}

void mem_trim_files(void)
{
    long page = sysconf(_SC_PAGESIZE);
    size_t size = page > 0 ? (size_t)page : 4096;
    (void)dl_iterate_phdr(trim_file, &size);
}

#else

void mem_trim_files(void) {}

#endif
