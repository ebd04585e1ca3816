/* Random numbers that need no state to be saved: Philox4x32-10, a function of (seed, stream, counter).
 * The same triple gives the same bits on every machine and thread, so dropout, shuffling and masking resume exactly.
 * Source: Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC 2011. */
#ifndef FINCH_BASE_RNG_H
#define FINCH_BASE_RNG_H

#include <stddef.h>
#include <stdint.h>

typedef struct rng_block {
    uint32_t word[4];
} rng_block;

/* The four words at (seed, stream, counter). */
rng_block rng_at(uint64_t seed, uint64_t stream, uint64_t counter);

/* A sequence over one (seed, stream): a plain value, copy it to save it. */
typedef struct rng {
    uint64_t seed;
    uint64_t stream;
    uint64_t next; /* index of the next 32-bit word */
} rng;

uint32_t rng_u32(rng *r);
uint64_t rng_u64(rng *r);
/* Uniform in [0, 1), 53 bits. */
double rng_unit(rng *r);
/* Uniform in [0, bound), unbiased; bound > 0. */
uint64_t rng_below(rng *r, uint64_t bound);
/* Standard normal (Box-Muller). */
double rng_normal(rng *r);
/* Fisher-Yates over n indices. */
void rng_shuffle(rng *r, size_t *items, size_t n);

#endif
