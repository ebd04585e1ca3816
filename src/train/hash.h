/* A 64-bit hash of bytes, to notice that data or options are not those of a checkpoint. Not for hostile input: who can
 * change the data can change the checkpoint. */
#ifndef FINCH_TRAIN_HASH_H
#define FINCH_TRAIN_HASH_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define HASH_BEGIN UINT64_C(0x243F6A8885A308D3)

/* The finaliser of SplitMix64: every input bit reaches every output bit. */
static inline uint64_t hash_mix(uint64_t h)
{
    h = (h ^ h >> 30) * UINT64_C(0xBF58476D1CE4E5B9);
    h = (h ^ h >> 27) * UINT64_C(0x94D049BB133111EB);
    return h ^ h >> 31;
}

static inline uint64_t hash_add(uint64_t h, const void *data, size_t size)
{
    const unsigned char *at = data;
    h = hash_mix(h ^ (uint64_t)size);
    for (; size >= 8; at += 8, size -= 8) {
        uint64_t word;
        memcpy(&word, at, 8);
        h = hash_mix(h + word);
    }
    uint64_t rest = 0;
    if (size > 0) memcpy(&rest, at, size);
    return hash_mix(h + rest);
}

#endif
