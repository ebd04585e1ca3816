/* A set of byte strings with a number each, for longest-prefix matching: a double array (Aoe, 1989) whose children stand
 * at base XOR byte, in blocks of 256 units, so that no step needs a bounds check.
 *
 * Invariants
 *  1. the number of units is a multiple of 256, and every base is below it: base ^ byte is always a unit
 *  2. unit c is the child of node n by byte b if and only if units[c].parent == n and c == units[n].base ^ b
 *  3. a unit that is free, and a root, has the parent TRIE_NOBODY, which is no unit's number
 * Several sets share one array, each with its own root. */
#ifndef FINCH_TEXT_TRIE_H
#define FINCH_TEXT_TRIE_H

#include "base/mem.h"

#define TRIE_NOBODY UINT32_MAX

typedef struct trie_unit {
    uint32_t base;
    uint32_t parent;
    int32_t value; /* from 0; -1 where no string ends */
} trie_unit;

typedef struct trie {
    trie_unit *units;
    size_t n_units;
} trie;

typedef struct trie_key {
    const unsigned char *at;
    size_t size;   /* from 1 */
    int32_t value; /* from 0 */
} trie_key;

/* Bytewise order, shorter first; ties by value. */
void trie_keys_sort(trie_key *keys, size_t n);

/* Adds a set. keys are sorted and different. *root is where matching starts. On failure t is as usable as before.
 * Errors: FINCH_E_MEMORY, FINCH_E_DATA (more than 2^31 units). */
finch_status trie_add(trie *t, const trie_key *keys, size_t n, uint32_t *root, finch_error *err);

void trie_free(trie *t);

/* The longest string of the set that [at, end) begins with; returns its bytes, 0 where there is none. */
static inline size_t trie_longest(const trie *t, uint32_t root, const unsigned char *at, const unsigned char *end,
                                  int32_t *value)
{
    const trie_unit *units = t->units;
    uint32_t node = root;
    size_t best = 0;
    for (const unsigned char *next = at; next < end;) {
        uint32_t child = units[node].base ^ *next++;
        if (units[child].parent != node) break;
        node = child;
        if (units[child].value >= 0) {
            *value = units[child].value;
            best = (size_t)(next - at);
        }
    }
    return best;
}

#endif
