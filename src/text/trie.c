#include "text/trie.h"

#include <stdlib.h>
#include <string.h>

enum {
    BLOCK = 256,
    TRIES_MAX = 128 /* places tried for a node with several children before it gets a new block: keeps building linear */
};

#define UNITS_MAX ((size_t)1 << 31)

/* Free units form a ring through block 0's first unit, which is the first root and never free itself. */
typedef struct ring_place {
    uint32_t next, previous;
} ring_place;

/* A node whose children are still to be placed: the keys [begin, end) share their first `depth` bytes. */
typedef struct pending_node {
    uint32_t node;
    uint32_t begin, end;
    uint32_t depth;
} pending_node;

typedef struct trie_builder {
    trie *t;
    ring_place *ring;
    size_t capacity;
    pending_node *stack;
    size_t n_stack;
    const trie_key *keys;
} trie_builder;

static int key_order(const void *left, const void *right)
{
    const trie_key *a = left, *b = right;
    int order = memcmp(a->at, b->at, a->size < b->size ? a->size : b->size);
    if (order != 0) return order;
    if (a->size != b->size) return a->size < b->size ? -1 : 1;
    return a->value < b->value ? -1 : a->value > b->value;
}

void trie_keys_sort(trie_key *keys, size_t n)
{
    if (n > 1) qsort(keys, n, sizeof *keys, key_order);
}

void trie_free(trie *t)
{
    mem_free(t->units);
    *t = (trie){NULL, 0};
}

static void ring_remove(trie_builder *b, uint32_t unit)
{
    ring_place place = b->ring[unit];
    b->ring[place.previous].next = place.next;
    b->ring[place.next].previous = place.previous;
}

static void ring_append(trie_builder *b, uint32_t unit)
{
    uint32_t last = b->ring[0].previous;
    b->ring[unit] = (ring_place){0, last};
    b->ring[last].next = unit;
    b->ring[0].previous = unit;
}

static finch_status builder_reserve(trie_builder *b, size_t n_units, finch_error *err)
{
    if (n_units <= b->capacity) return FINCH_OK;
    if (n_units > UNITS_MAX)
        return finch_fail(err, FINCH_E_DATA, "the vocabulary is too large: its pieces need more than %zu nodes", UNITS_MAX);
    size_t capacity = b->capacity == 0 ? 4 * BLOCK : b->capacity;
    while (capacity < n_units) capacity *= 2;
    void *units = b->t->units, *ring = b->ring;
    FINCH_TRY(mem_grow(&units, b->t->n_units * sizeof *b->t->units, capacity, sizeof *b->t->units, err));
    b->t->units = units;
    FINCH_TRY(mem_grow(&ring, b->t->n_units * sizeof *b->ring, capacity, sizeof *b->ring, err));
    b->ring = ring;
    b->capacity = capacity;
    return FINCH_OK;
}

static finch_status add_block(trie_builder *b, finch_error *err)
{
    size_t first = b->t->n_units;
    FINCH_TRY(builder_reserve(b, first + BLOCK, err));
    b->t->n_units = first + BLOCK;
    for (size_t i = first; i < first + BLOCK; i++) {
        b->t->units[i] = (trie_unit){0, TRIE_NOBODY, -1};
        if (i == 0) b->ring[0] = (ring_place){0, 0};
        else ring_append(b, (uint32_t)i);
    }
    return FINCH_OK;
}

static bool unit_is_free(const trie_builder *b, uint32_t unit)
{
    return unit != 0 && b->ring[b->ring[unit].previous].next == unit && b->ring[unit].next != unit;
}

static bool base_fits(const trie_builder *b, uint32_t base, const unsigned char *labels, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (!unit_is_free(b, base ^ labels[i])) return false;
    return true;
}

/* One child takes the oldest free unit. Several look backwards from the newest, where there is room, and get a block
 * of their own where the first places fail. */
static finch_status find_base(trie_builder *b, const unsigned char *labels, size_t n, uint32_t *base, finch_error *err)
{
    if (n == 1 && b->ring[0].next != 0) {
        *base = b->ring[0].next ^ labels[0];
        return FINCH_OK;
    }
    uint32_t unit = b->ring[0].previous;
    for (int i = 0; n > 1 && i < TRIES_MAX && unit != 0; i++, unit = b->ring[unit].previous) {
        *base = unit ^ labels[0];
        if (base_fits(b, *base, labels, n)) return FINCH_OK;
    }
    size_t first = b->t->n_units;
    FINCH_TRY(add_block(b, err));
    *base = (uint32_t)first;
    return FINCH_OK;
}

static void take_unit(trie_builder *b, uint32_t unit, uint32_t parent)
{
    ring_remove(b, unit);
    b->ring[unit] = (ring_place){unit, unit};
    b->t->units[unit] = (trie_unit){0, parent, -1};
}

static finch_status place_children(trie_builder *b, pending_node p, finch_error *err)
{
    unsigned char labels[BLOCK];
    uint32_t starts[BLOCK + 1], base = 0;
    size_t n = 0;
    if (p.begin < p.end && b->keys[p.begin].size == p.depth) b->t->units[p.node].value = b->keys[p.begin++].value;
    if (p.begin == p.end) return FINCH_OK;
    for (uint32_t i = p.begin; i < p.end; i++) {
        unsigned char label = b->keys[i].at[p.depth];
        if (n > 0 && labels[n - 1] == label) continue;
        starts[n] = i;
        labels[n++] = label;
    }
    starts[n] = p.end;
    FINCH_TRY(find_base(b, labels, n, &base, err));
    b->t->units[p.node].base = base;
    for (size_t i = 0; i < n; i++) {
        take_unit(b, base ^ labels[i], p.node);
        b->stack[b->n_stack++] = (pending_node){base ^ labels[i], starts[i], starts[i + 1], p.depth + 1};
    }
    return FINCH_OK;
}

/* The ring of a trie that already holds sets is not kept between calls: what those left free stays free. */
static finch_status add_root(trie_builder *b, uint32_t *root, finch_error *err)
{
    size_t first = b->t->n_units;
    FINCH_TRY(add_block(b, err));
    *root = (uint32_t)first;
    if (first != 0) take_unit(b, *root, TRIE_NOBODY);
    return FINCH_OK;
}

finch_status trie_add(trie *t, const trie_key *keys, size_t n, uint32_t *root, finch_error *err)
{
    trie_builder b = {.t = t, .capacity = 0, .keys = keys};
    finch_status st = FINCH_OK;
    size_t n_before = t->n_units;
    *root = 0;
    if (n >= UINT32_MAX) return finch_fail(err, FINCH_E_DATA, "the vocabulary is too large: %zu pieces", n);
    FINCH_GO(done, st, MEM_NEW(&b.stack, n + 1, err));
    FINCH_GO(done, st, MEM_NEW(&b.ring, n_before == 0 ? 1 : n_before, err));
    b.capacity = n_before;
    FINCH_GO(done, st, add_root(&b, root, err));
    b.stack[b.n_stack++] = (pending_node){*root, 0, (uint32_t)n, 0};
    while (b.n_stack > 0) FINCH_GO(done, st, place_children(&b, b.stack[--b.n_stack], err));
done:
    if (st != FINCH_OK) t->n_units = n_before;
    mem_free(b.ring);
    mem_free(b.stack);
    return st;
}
