/* 64 bytes of CSV at a time, as bits: where its special bytes stand and which of them lie in quotes. */
#ifndef FINCH_DATA_CSV_MASK_H
#define FINCH_DATA_CSV_MASK_H

#include <stdint.h>
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

#endif
