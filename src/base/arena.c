#include "base/arena.h"

#include <string.h>

#if defined(__SANITIZE_ADDRESS__)
#define ARENA_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define ARENA_ASAN 1
#endif
#endif
#ifdef ARENA_ASAN
#include <sanitizer/asan_interface.h>
#else
#define ASAN_POISON_MEMORY_REGION(at, size) ((void)(at), (void)(size))
#define ASAN_UNPOISON_MEMORY_REGION(at, size) ((void)(at), (void)(size))
#endif

enum { ARENA_FIRST_BYTES = 1 << 16 };

struct arena_block {
    arena_block *below;
    size_t size_bytes;
    size_t used_bytes;
    _Alignas(MEM_ALIGN) unsigned char bytes[];
};

void arena_init(arena *a) { *a = (arena){0}; }

static void block_free(arena_block *block)
{
    ASAN_UNPOISON_MEMORY_REGION(block->bytes, block->size_bytes);
    mem_free(block);
}

void arena_free(arena *a)
{
    while (a->top != NULL) {
        arena_block *below = a->top->below;
        block_free(a->top);
        a->top = below;
    }
    a->used_bytes = 0;
}

static finch_status block_push(arena *a, size_t size_bytes, finch_error *err)
{
    size_t whole;
    arena_block *block;
    if (!size_add(size_bytes, sizeof *block, &whole))
        return finch_fail(err, FINCH_E_MEMORY, "an arena block of %zu bytes is too large", size_bytes);
    FINCH_TRY(mem_alloc(whole, 1, (void **)&block, err));
    *block = (arena_block){.below = a->top, .size_bytes = size_bytes};
    ASAN_POISON_MEMORY_REGION(block->bytes, size_bytes);
    a->top = block;
    return FINCH_OK;
}

finch_status arena_alloc(arena *a, size_t n, size_t item_bytes, void **out, finch_error *err)
{
    size_t size, rounded;
    *out = NULL;
    if (!size_mul(n, item_bytes, &size) || !size_add(size, MEM_ALIGN - 1, &rounded))
        return finch_fail(err, FINCH_E_MEMORY, "%zu items of %zu bytes are more than memory can address", n, item_bytes);
    rounded -= rounded % MEM_ALIGN;
    if (a->top == NULL || a->top->size_bytes - a->top->used_bytes < rounded) {
        size_t next = a->top == NULL ? ARENA_FIRST_BYTES : a->top->size_bytes * 2;
        FINCH_TRY(block_push(a, next > rounded ? next : rounded, err));
    }
    *out = a->top->bytes + a->top->used_bytes;
    ASAN_UNPOISON_MEMORY_REGION(*out, size);
    a->top->used_bytes += rounded;
    a->used_bytes += rounded;
    if (a->used_bytes > a->peak_bytes) a->peak_bytes = a->used_bytes;
    return FINCH_OK;
}

arena_place arena_mark(const arena *a)
{
    return (arena_place){a->top, a->top == NULL ? 0 : a->top->used_bytes, a->used_bytes};
}

static void block_cut(arena_block *block, size_t used_bytes)
{
    ASAN_POISON_MEMORY_REGION(block->bytes + used_bytes, block->size_bytes - used_bytes);
    block->used_bytes = used_bytes;
}

void arena_release(arena *a, arena_place place)
{
    /* A mark on the empty arena keeps the oldest block, so that the next round need not allocate it again. */
    while (a->top != NULL && a->top != place.block && a->top->below != NULL) {
        arena_block *below = a->top->below;
        block_free(a->top);
        a->top = below;
    }
    if (a->top != NULL) block_cut(a->top, a->top == place.block ? place.block_used : 0);
    a->used_bytes = place.used_bytes;
}

void arena_reset(arena *a)
{
    bool single = a->top != NULL && a->top->below == NULL;
    size_t peak = a->peak_bytes;
    if (single && a->top->size_bytes >= peak) {
        block_cut(a->top, 0);
    } else if (a->top != NULL) {
        arena_free(a);
        /* On failure the arena is simply empty, and the next allocation reports the lack of memory. */
        (void)block_push(a, peak, NULL);
    }
    a->used_bytes = 0;
}
