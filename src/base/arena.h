/* An arena: scratch for one batch, one training step, one request. Blocks are bump-allocated; mark and release nest.
 * After the first few rounds no call reaches the allocator: arena_reset merges what it used into one block.
 * Threads: one thread an arena. Memory is 64-byte aligned and uninitialised (poisoned under ASan until given out). */
#ifndef FINCH_BASE_ARENA_H
#define FINCH_BASE_ARENA_H

#include "base/mem.h"

typedef struct arena_block arena_block;

typedef struct arena {
    arena_block *top;    /* the block that serves; older ones are linked below it */
    size_t used_bytes;   /* in all blocks, alignment included */
    size_t peak_bytes;   /* the most used_bytes has been since init */
} arena;

typedef struct arena_place {
    arena_block *block;
    size_t block_used;
    size_t used_bytes;
} arena_place;

/* Legal before any allocation; no memory is held until the first one. */
void arena_init(arena *a);
void arena_free(arena *a);

/* n items of item_bytes; *out is NULL on failure. Errors: FINCH_E_MEMORY. Valid until released past or reset. */
finch_status arena_alloc(arena *a, size_t n, size_t item_bytes, void **out, finch_error *err);
#define ARENA_NEW(a, out, n, err) arena_alloc((a), (n), sizeof **(out), (void **)(out), (err))

arena_place arena_mark(const arena *a);
/* Gives back everything allocated since the mark. */
void arena_release(arena *a, arena_place place);
/* Gives back everything and keeps one block of the peak size, so that an equal round needs no allocator. */
void arena_reset(arena *a);

#endif
