#include "base/rng.h"

#include <math.h>

enum { PHILOX_ROUNDS = 10 };

rng_block rng_at(uint64_t seed, uint64_t stream, uint64_t counter)
{
    uint32_t c0 = (uint32_t)counter, c1 = (uint32_t)(counter >> 32), c2 = (uint32_t)stream, c3 = (uint32_t)(stream >> 32);
    uint32_t k0 = (uint32_t)seed, k1 = (uint32_t)(seed >> 32);
    for (int round = 0; round < PHILOX_ROUNDS; round++) {
        uint64_t p0 = (uint64_t)0xD2511F53u * c0;
        uint64_t p1 = (uint64_t)0xCD9E8D57u * c2;
        uint32_t n0 = (uint32_t)(p1 >> 32) ^ c1 ^ k0;
        uint32_t n2 = (uint32_t)(p0 >> 32) ^ c3 ^ k1;
        c1 = (uint32_t)p1;
        c3 = (uint32_t)p0;
        c0 = n0;
        c2 = n2;
        k0 += 0x9E3779B9u;
        k1 += 0xBB67AE85u;
    }
    return (rng_block){{c0, c1, c2, c3}};
}

uint32_t rng_u32(rng *r)
{
    rng_block block = rng_at(r->seed, r->stream, r->next / 4);
    return block.word[r->next++ % 4];
}

uint64_t rng_u64(rng *r)
{
    uint64_t low = rng_u32(r);
    return low | (uint64_t)rng_u32(r) << 32;
}

double rng_unit(rng *r) { return (double)(rng_u64(r) >> 11) * 0x1p-53; }

uint64_t rng_below(rng *r, uint64_t bound)
{
    /* Draws in the last, incomplete run of bound values would favour the small ones. */
    uint64_t reject = (UINT64_MAX - bound + 1) % bound;
    uint64_t draw;
    do draw = rng_u64(r);
    while (draw < reject);
    return draw % bound;
}

double rng_normal(rng *r)
{
    double u = 1.0 - rng_unit(r);
    double v = rng_unit(r);
    return sqrt(-2.0 * log(u)) * cos(6.283185307179586 * v);
}

void rng_shuffle(rng *r, size_t *items, size_t n)
{
    for (size_t left = n; left > 1; left--) {
        size_t at = (size_t)rng_below(r, left);
        size_t last = items[left - 1];
        items[left - 1] = items[at];
        items[at] = last;
    }
}
