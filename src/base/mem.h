/* Memory: every allocation of the library goes through here, so that it is counted (allocation budgets are tests),
 * can be made to fail (base/fault.h), and is 64-byte aligned (a cache line, an AVX-512 register). */
#ifndef FINCH_BASE_MEM_H
#define FINCH_BASE_MEM_H

#include "base/status.h"

#define MEM_ALIGN 64u

/* a * b and a + b; false where the result does not fit size_t, and then *out is untouched. */
bool size_mul(size_t a, size_t b, size_t *out);
bool size_add(size_t a, size_t b, size_t *out);

static inline size_t size_least(size_t a, size_t b) { return a < b ? a : b; }

/* n items of item_bytes each, uninitialised or zeroed; *out is NULL on failure. n == 0 gives a valid, unusable pointer.
 * Errors: FINCH_E_MEMORY, also where the product overflows. Free with mem_free. */
finch_status mem_alloc(size_t n, size_t item_bytes, void **out, finch_error *err);
finch_status mem_alloc_zero(size_t n, size_t item_bytes, void **out, finch_error *err);

/* Zeroed, for tables of which most rows may never be written: what is not written takes no memory where the system can do so, and
 * is not put in huge pages, of which a row would take a whole one. */
finch_status mem_alloc_sparse(size_t n, size_t item_bytes, void **out, finch_error *err);

/* Grows *block from old_bytes to n * item_bytes keeping its contents; *block stays valid on failure. */
finch_status mem_grow(void **block, size_t old_bytes, size_t n, size_t item_bytes, finch_error *err);

/* Makes room for more items behind the n that *block holds of its *n_room, by doubling: adding items one at a time copies each a few times
 * only. Nothing changes on failure. */
finch_status mem_room(void **block, size_t n, size_t more, size_t *n_room, size_t item_bytes, finch_error *err);

/* NULL is legal. */
void mem_free(void *block);

/* Gives the pages of freed blocks back to the system, where the allocator can; worth a call after reading a large JSON file. */
void mem_trim(void);

/* Lets go of the pages of the program's and its libraries' files that are mapped for reading: symbols that only the loader
 * needed, code of what is over. Any that is used again comes back from the system's cache by itself. For a process that runs
 * for hours, or is bound to little memory: it costs a fault or so for each page that is still in use. */
void mem_trim_files(void);

/* A NUL-terminated copy of size bytes at text. */
finch_status mem_text(const char *text, size_t size, char **out, finch_error *err);

/* Typed shorthand: MEM_NEW(&p, n, err) allocates n zeroed items of *p. */
#define MEM_NEW(out, n, err) mem_alloc_zero((n), sizeof **(out), (void **)(out), (err))
/* MEM_ROOM(&list->at, list->n, 1, &list->n_room, err): room for one more of list->at[]. */
#define MEM_ROOM(block, n, more, n_room, err) mem_room((void **)(block), (n), (more), (n_room), sizeof **(block), (err))

/* Since the process began. live counts blocks not yet freed. */
typedef struct mem_counts {
    uint64_t allocations;
    int64_t live;
} mem_counts;

mem_counts mem_count(void);

#endif
