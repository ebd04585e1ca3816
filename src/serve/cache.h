/* Results by text and model: the same text is computed once while it is remembered. Sets of eight places; the one that was not
 * used the longest gives way. A text is known by 128 bits of a keyed hash, so that nobody can make two texts meet. */
#ifndef FINCH_SERVE_CACHE_H
#define FINCH_SERVE_CACHE_H

#include "base/siphash.h"
#include "base/status.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { CACHE_LABELS_MAX = 8 };

/* What is known of a text beside its result. */
typedef struct cache_info {
    uint32_t n_tokens; /* with the special tokens */
    bool truncated;
    uint32_t n_unknown; /* tokens that the vocabulary does not know */
} cache_info;

typedef struct cache cache;

/* n_entries is rounded up to whole sets. */
finch_status cache_create(size_t n_entries, siphash_key key, cache **out, finch_error *err);
void cache_destroy(cache *c);

/* serial: the slot's. logits [n_labels]; more than CACHE_LABELS_MAX labels are never held. Threads: any. */
bool cache_get(cache *c, uint64_t serial, finch_text text, float *logits, size_t n_labels, cache_info *info);
void cache_put(cache *c, uint64_t serial, finch_text text, const float *logits, size_t n_labels, cache_info info);
size_t cache_used(cache *c);

#endif
