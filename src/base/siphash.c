#include "base/siphash.h"

#include "base/clock.h"

#include <string.h>
#include <sys/random.h>

siphash_key siphash_key_make(void)
{
    siphash_key key;
    if (getrandom(&key, sizeof key, 0) != (ssize_t)sizeof key) { /* a kernel without it: the time and the stack's place */
        double now = clock_seconds();
        key.word[0] = (uint64_t)(uintptr_t)&key;
        memcpy(&key.word[1], &now, sizeof now);
    }
    return key;
}

typedef struct state {
    uint64_t v0, v1, v2, v3;
} state;

static uint64_t rotate(uint64_t x, int bits) { return x << bits | x >> (64 - bits); }

static void round_once(state *s)
{
    s->v0 += s->v1;
    s->v1 = rotate(s->v1, 13) ^ s->v0;
    s->v0 = rotate(s->v0, 32);
    s->v2 += s->v3;
    s->v3 = rotate(s->v3, 16) ^ s->v2;
    s->v0 += s->v3;
    s->v3 = rotate(s->v3, 21) ^ s->v0;
    s->v2 += s->v1;
    s->v1 = rotate(s->v1, 17) ^ s->v2;
    s->v2 = rotate(s->v2, 32);
}

static void absorb(state *s, uint64_t word)
{
    s->v3 ^= word;
    round_once(s);
    round_once(s);
    s->v0 ^= word;
}

static uint64_t squeeze(state *s)
{
    for (int i = 0; i < 4; i++) round_once(s);
    return s->v0 ^ s->v1 ^ s->v2 ^ s->v3;
}

/* Eight bytes, little-endian. */
static uint64_t word_at(const unsigned char *at)
{
    uint64_t word = 0;
    for (size_t i = 0; i < 8; i++) word |= (uint64_t)at[i] << (8 * i);
    return word;
}

siphash128 siphash(siphash_key key, const void *data, size_t size)
{
    const unsigned char *at = data;
    state s = {key.word[0] ^ 0x736F6D6570736575u, key.word[1] ^ 0x646F72616E646F6Du ^ 0xEEu,
               key.word[0] ^ 0x6C7967656E657261u, key.word[1] ^ 0x7465646279746573u};
    size_t whole = size & ~(size_t)7;
    for (size_t i = 0; i < whole; i += 8) absorb(&s, word_at(at + i));
    uint64_t last = (uint64_t)size << 56;
    for (size_t i = 0; i < (size & 7); i++) last |= (uint64_t)at[whole + i] << (8 * i);
    absorb(&s, last);
    s.v2 ^= 0xEE;
    siphash128 out;
    out.low = squeeze(&s);
    s.v1 ^= 0xDD;
    out.high = squeeze(&s);
    return out;
}
