/* 64 bytes of CSV at a time, as bits: where its special bytes stand and which of them lie in quotes. */
#ifndef FINCH_DATA_CSV_MASK_H
#define FINCH_DATA_CSV_MASK_H

#include "base/mem.h"

#include <string.h>
#if defined(__SSE2__)
#include <emmintrin.h>
#endif

enum { CSV_BLOCK = 64 };

/* Bit i is of byte i. */
typedef struct csv_masks {
    uint64_t quote, separator, newline, carriage, high;
} csv_masks;

#if defined(__SSE2__)
static inline csv_masks csv_masks_of(const unsigned char *at, char separator)
{
    csv_masks m = {0};
    for (int part = 0; part < 4; part++) {
        __m128i v = _mm_loadu_si128((const __m128i *)(const void *)(at + 16 * part));
        int shift = 16 * part;
        m.quote |= (uint64_t)(unsigned)_mm_movemask_epi8(_mm_cmpeq_epi8(v, _mm_set1_epi8('"'))) << shift;
        m.separator |= (uint64_t)(unsigned)_mm_movemask_epi8(_mm_cmpeq_epi8(v, _mm_set1_epi8(separator))) << shift;
        m.newline |= (uint64_t)(unsigned)_mm_movemask_epi8(_mm_cmpeq_epi8(v, _mm_set1_epi8('\n'))) << shift;
        m.carriage |= (uint64_t)(unsigned)_mm_movemask_epi8(_mm_cmpeq_epi8(v, _mm_set1_epi8('\r'))) << shift;
        m.high |= (uint64_t)(unsigned)_mm_movemask_epi8(v) << shift;
    }
    return m;
}
#else
static inline csv_masks csv_masks_of(const unsigned char *at, char separator)
{
    csv_masks m = {0};
    for (int i = 0; i < CSV_BLOCK; i++) {
        m.quote |= (uint64_t)(at[i] == '"') << i;
        m.separator |= (uint64_t)(at[i] == (unsigned char)separator) << i;
        m.newline |= (uint64_t)(at[i] == '\n') << i;
        m.carriage |= (uint64_t)(at[i] == '\r') << i;
        m.high |= (uint64_t)(at[i] >> 7) << i;
    }
    return m;
}
#endif

/* Bit i: whether an odd number of bits is set up to i. Of quotes: from the opening one to before the closing one. */
static inline uint64_t csv_prefix_xor(uint64_t x)
{
    for (int shift = 1; shift < CSV_BLOCK; shift *= 2) x ^= x << shift;
    return x;
}

/* n bytes of a text; the bits at and behind n say nothing. */
typedef struct csv_block {
    csv_masks bits;
    size_t n;
    uint64_t known;  /* the bits below n */
    uint64_t quoted; /* of the bytes in quotes, the opening one included */
} csv_block;

/* The block at `at`, before size. *inside: all ones where the byte before lies in quotes; then whether the block's last one does. */
static inline csv_block csv_block_of(const unsigned char *text, size_t size, size_t at, char separator, uint64_t *inside)
{
    unsigned char tail[CSV_BLOCK] = {0};
    csv_block b = {.n = size_least(size - at, CSV_BLOCK)};
    b.bits = csv_masks_of(b.n < CSV_BLOCK ? memcpy(tail, text + at, b.n) : text + at, separator);
    b.known = b.n < CSV_BLOCK ? (1ull << b.n) - 1 : ~0ull;
    b.quoted = csv_prefix_xor(b.bits.quote) ^ *inside;
    *inside = b.quoted >> (b.n - 1) & 1 ? ~0ull : 0;
    return b;
}

#endif
