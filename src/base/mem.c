#include "base/mem.h"

#include "base/fault.h"

#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#ifdef __GLIBC__
#include <malloc.h>
#endif

enum { HUGE_PAGE = 2 << 20, ROOM_LEAST = 16 };

static atomic_uint_fast64_t n_allocations;
static atomic_int_fast64_t n_live;

bool size_mul(size_t a, size_t b, size_t *out)
{
    size_t product;
    if (__builtin_mul_overflow(a, b, &product)) return false;
    *out = product;
    return true;
}

bool size_add(size_t a, size_t b, size_t *out)
{
    size_t sum;
    if (__builtin_add_overflow(a, b, &sum)) return false;
    *out = sum;
    return true;
}

/* Weights and scratch are read end to end, thousands of times: in 4 KiB pages their addresses alone overflow the CPU's
 * translation buffers. A hint, where the system has it; smaller blocks would mostly waste what is rounded up. */
static void ask_for_huge_pages(void *block, size_t size)
{
#ifdef MADV_HUGEPAGE
    uintptr_t begin = ((uintptr_t)block + HUGE_PAGE - 1) / HUGE_PAGE * HUGE_PAGE;
    uintptr_t end = ((uintptr_t)block + size) / HUGE_PAGE * HUGE_PAGE;
    if (size >= (size_t)2 * HUGE_PAGE && begin < end) (void)madvise((void *)begin, end - begin, MADV_HUGEPAGE);
#else
    (void)block, (void)size;
#endif
}

static finch_status take(size_t n, size_t item_bytes, bool huge, void **out, finch_error *err)
{
    size_t size, rounded;
    *out = NULL;
    if (!size_mul(n, item_bytes, &size) || !size_add(size, MEM_ALIGN, &rounded))
        return finch_fail(err, FINCH_E_MEMORY, "%zu items of %zu bytes are more than memory can address", n, item_bytes);
    rounded -= rounded % MEM_ALIGN;
    void *block = fault_hit(FAULT_ALLOC) ? NULL : aligned_alloc(MEM_ALIGN, rounded);
    if (block == NULL)
        return finch_fail(err, FINCH_E_MEMORY, "out of memory for %zu bytes; close other programs or use smaller batches",
                          size);
    if (huge) ask_for_huge_pages(block, rounded);
    atomic_fetch_add_explicit(&n_allocations, 1, memory_order_relaxed);
    atomic_fetch_add_explicit(&n_live, 1, memory_order_relaxed);
    *out = block;
    return FINCH_OK;
}

finch_status mem_alloc(size_t n, size_t item_bytes, void **out, finch_error *err)
{
    return take(n, item_bytes, true, out, err);
}

/* Pages that are given back read as zeros, and are there again when one is written. */
static void zero_sparsely(unsigned char *block, size_t size)
{
#ifdef __linux__
    uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE), at = (uintptr_t)block;
    size_t head = (size_t)((at + page - 1) / page * page - at), pages;
    if (head < size && (pages = (size - head) / page * page) > 0) {
#ifdef MADV_NOHUGEPAGE
        (void)madvise(block + head, pages, MADV_NOHUGEPAGE);
#endif
        if (madvise(block + head, pages, MADV_DONTNEED) == 0) {
            memset(block, 0, head);
            memset(block + head + pages, 0, size - head - pages);
            return;
        }
    }
#endif
    memset(block, 0, size);
}

finch_status mem_alloc_sparse(size_t n, size_t item_bytes, void **out, finch_error *err)
{
    FINCH_TRY(take(n, item_bytes, false, out, err));
    zero_sparsely(*out, n * item_bytes);
    return FINCH_OK;
}

finch_status mem_alloc_zero(size_t n, size_t item_bytes, void **out, finch_error *err)
{
    FINCH_TRY(mem_alloc(n, item_bytes, out, err));
    memset(*out, 0, n * item_bytes);
    return FINCH_OK;
}

finch_status mem_grow(void **block, size_t old_bytes, size_t n, size_t item_bytes, finch_error *err)
{
    void *grown;
    FINCH_TRY(mem_alloc(n, item_bytes, &grown, err));
    size_t new_bytes = n * item_bytes;
    if (*block != NULL) memcpy(grown, *block, old_bytes < new_bytes ? old_bytes : new_bytes);
    mem_free(*block);
    *block = grown;
    return FINCH_OK;
}

finch_status mem_room(void **block, size_t n, size_t more, size_t *n_room, size_t item_bytes, finch_error *err)
{
    size_t wanted, grown;
    if (!size_add(n, more, &wanted) || !size_mul(*n_room, 2, &grown))
        return finch_fail(err, FINCH_E_MEMORY, "more than %zu items do not fit memory", n);
    if (wanted <= *n_room) return FINCH_OK;
    if (grown < wanted) grown = wanted;
    if (grown < ROOM_LEAST) grown = ROOM_LEAST;
    FINCH_TRY(mem_grow(block, n * item_bytes, grown, item_bytes, err));
    *n_room = grown;
    return FINCH_OK;
}

void mem_free(void *block)
{
    if (block == NULL) return;
    atomic_fetch_sub_explicit(&n_live, 1, memory_order_relaxed);
    free(block);
}

void mem_trim(void)
{
#ifdef __GLIBC__
    (void)malloc_trim(0);
#endif
}

finch_status mem_text(const char *text, size_t size, char **out, finch_error *err)
{
    size_t with_end;
    *out = NULL;
    if (!size_add(size, 1, &with_end)) return finch_fail(err, FINCH_E_MEMORY, "a text of %zu bytes is too long", size);
    FINCH_TRY(mem_alloc(with_end, 1, (void **)out, err));
    if (size > 0) memcpy(*out, text, size);
    (*out)[size] = '\0';
    return FINCH_OK;
}

mem_counts mem_count(void)
{
    return (mem_counts){
        .allocations = atomic_load_explicit(&n_allocations, memory_order_relaxed),
        .live = atomic_load_explicit(&n_live, memory_order_relaxed),
    };
}
