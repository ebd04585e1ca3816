/* Texts as small numbers, in the order in which they first come. */
#ifndef FINCH_DATA_SPLIT_INTERN_H
#define FINCH_DATA_SPLIT_INTERN_H

#include "base/mem.h"
#include "base/siphash.h"

typedef struct split_intern_slot {
    siphash128 hash;
    uint32_t number; /* from 1; 0: free */
} split_intern_slot;

/* split_intern_open gives it its key. The texts themselves are not kept: equal hashes are equal texts (base/siphash.h). */
typedef struct split_intern {
    siphash_key key;
    split_intern_slot *slots;
    size_t capacity; /* a power of two */
    uint32_t n;
} split_intern;

split_intern split_intern_open(void);
void split_intern_free(split_intern *t);

/* The text's number, from 0; *is_new: it came for the first time. */
finch_status split_intern_add(split_intern *t, finch_text text, uint32_t *number, bool *is_new, finch_error *err);

#endif
