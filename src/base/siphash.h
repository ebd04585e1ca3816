/* SipHash-2-4 with 128 bits out: a keyed hash for tables that are fed from outside. Without the key nobody can make texts
 * that collide, and by chance two of a billion texts do so less than once in 10^20 runs: equal hashes are equal texts.
 * Source: Aumasson and Bernstein, "SipHash: a fast short-input PRF", 2012, and its reference of the 128-bit variant. */
#ifndef FINCH_BASE_SIPHASH_H
#define FINCH_BASE_SIPHASH_H

#include <stddef.h>
#include <stdint.h>

typedef struct siphash_key {
    uint64_t word[2];
} siphash_key;

typedef struct siphash128 {
    uint64_t low, high;
} siphash128;

/* From the system's random numbers, another one each time. */
siphash_key siphash_key_make(void);

siphash128 siphash(siphash_key key, const void *data, size_t size);

#endif
