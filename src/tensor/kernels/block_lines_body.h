/* Blocks where they lie in their file, in 256-bit registers: eight outputs at a time are put in the shape of block_multiply, or
 * multiplied as they are. A type's items come out of a register as bytes above their value by block_zero(type); what every function
 * knows of a type is a constant where it is inlined.
 *
 * Few rows: a block's eight sums are in eight registers, eight lanes each, and are added by a tree of shuffles; that is less work
 * than turning the items of 32 outputs for one row.
 *
 * The includer defines block_line_dot(items, x, wide): to each int32 lane the exact sum of four u8 x s8 products; items are below 64
 * unless wide is set. */
#ifndef FINCH_TENSOR_KERNELS_BLOCK_LINES_BODY_H
#define FINCH_TENSOR_KERNELS_BLOCK_LINES_BODY_H

#include "tensor/gguf.h"
#include "tensor/kernels/block_kernels.h"
#include "tensor/kernels/v16.h"

#include <string.h>

enum { BLOCK_EIGHT = 8, BLOCK_K_WIDE = 8 /* blocks of 32 in one of 256 */ };

/* The types, each a constant to what it is handed to. */
#define BLOCK_TYPE_SWITCH(type, CASE) \
    switch (type) {                   \
        CASE(BLOCK_INT8)              \
        CASE(GGUF_Q4_0)               \
        CASE(GGUF_Q4_1)               \
        CASE(GGUF_Q5_0)               \
        CASE(GGUF_Q5_1)               \
        CASE(GGUF_Q8_0)               \
        CASE(GGUF_Q4_K)               \
        CASE(GGUF_Q5_K)               \
        CASE(GGUF_Q6_K)               \
    default: break;                   \
    }

/* ---- types ------------------------------------------------------------------------------------------------------ */

/* Bytes of a block, of 32 items or of 256. */
KERNEL_INLINE size_t block_bytes(const int type)
{
    switch (type) {
#define BLOCK_BYTES(name, id, items, size_bytes) \
    case id: return size_bytes;
        GGUF_TYPE_LIST(BLOCK_BYTES)
#undef BLOCK_BYTES
    default: return BLOCK_ITEMS;
    }
}

KERNEL_INLINE bool block_is_k(const int type) { return type == GGUF_Q4_K || type == GGUF_Q5_K || type == GGUF_Q6_K; }

KERNEL_INLINE bool block_has_low(const int type)
{
    return type == GGUF_Q4_1 || type == GGUF_Q5_1 || type == GGUF_Q4_K || type == GGUF_Q5_K;
}

KERNEL_INLINE int block_zero(const int type)
{
    switch (type) {
    case GGUF_Q4_0: return 8;
    case GGUF_Q5_0: return 16;
    case GGUF_Q6_K: return 32;
    case GGUF_Q8_0:
    case BLOCK_INT8: return BLOCK_ZERO;
    default: return 0;
    }
}

/* ---- items ------------------------------------------------------------------------------------------------------ */

KERNEL_INLINE __m256i block_load(const unsigned char *at) { return _mm256_loadu_si256((const __m256i *)(const void *)at); }

/* The low halves of sixteen bytes, then the high ones. */
KERNEL_INLINE __m256i block_halves(const unsigned char *at)
{
    __m256i twice = _mm256_broadcastsi128_si256(_mm_loadu_si128((const __m128i *)(const void *)at));
    return _mm256_and_si256(_mm256_srlv_epi64(twice, _mm256_setr_epi64x(0, 0, 4, 4)), _mm256_set1_epi8(15));
}

/* Sixteen where a bit of the word at `at` is set, in the order of its bits. */
KERNEL_INLINE __m256i block_fifths(const unsigned char *at)
{
    const __m256i byte_of = _mm256_setr_epi64x(0, 0x0101010101010101, 0x0202020202020202, 0x0303030303030303);
    const __m256i bit_of = _mm256_set1_epi64x((long long)0x8040201008040201u);
    int32_t word;
    memcpy(&word, at, sizeof word);
    __m256i bits = _mm256_and_si256(_mm256_shuffle_epi8(_mm256_set1_epi32(word), byte_of), bit_of);
    return _mm256_and_si256(_mm256_cmpeq_epi8(bits, bit_of), _mm256_set1_epi8(16));
}

/* Bits of each byte from `shift` on, as many as there are in mask. */
KERNEL_INLINE __m256i block_bits(const unsigned char *at, size_t shift, int mask)
{
    return _mm256_and_si256(_mm256_srlv_epi32(block_load(at), _mm256_set1_epi32((int)shift)), _mm256_set1_epi8((char)mask));
}

/* Block b of an output's. */
KERNEL_INLINE __m256i block_take(const int type, const unsigned char *line, size_t b)
{
    const size_t group = b % BLOCK_K_WIDE, quarter = b % 4;
    const unsigned char *at = line + (block_is_k(type) ? b / BLOCK_K_WIDE : b) * block_bytes(type);
    switch (type) {
    case GGUF_Q4_0: return block_halves(at + 2);
    case GGUF_Q4_1: return block_halves(at + 4);
    case GGUF_Q5_0: return _mm256_or_si256(block_halves(at + 6), block_fifths(at + 2));
    case GGUF_Q5_1: return _mm256_or_si256(block_halves(at + 8), block_fifths(at + 4));
    case GGUF_Q8_0: return _mm256_xor_si256(block_load(at + 2), _mm256_set1_epi8((char)BLOCK_ZERO));
    case GGUF_Q4_K: return block_bits(at + 16 + group / 2 * 32, group % 2 * 4, 15);
    case GGUF_Q5_K:
        return _mm256_or_si256(block_bits(at + 48 + group / 2 * 32, group % 2 * 4, 15),
                               _mm256_slli_epi32(block_bits(at + 16, group, 1), 4));
    case GGUF_Q6_K:
        return _mm256_or_si256(block_bits(at + group / 4 * 64 + quarter % 2 * 32, quarter / 2 * 4, 15),
                               _mm256_slli_epi32(block_bits(at + 128 + group / 4 * 32, 2 * quarter, 3), 4));
    default: return _mm256_xor_si256(block_load(at), _mm256_set1_epi8((char)BLOCK_ZERO));
    }
}

/* ---- panels ----------------------------------------------------------------------------------------------------- */

KERNEL_INLINE void block_store(uint8_t *to, __m256i low, __m256i high, const int half)
{
    __m256i x = half == 0 ? _mm256_permute2x128_si256(low, high, 0x20) : _mm256_permute2x128_si256(low, high, 0x31);
    _mm256_storeu_si256((__m256i *)(void *)to, x);
}

KERNEL_INLINE __m256i block_panel_items(const int type, const unsigned char *line, size_t b)
{
    return _mm256_add_epi8(block_take(type, line, b), _mm256_set1_epi8((char)(BLOCK_ZERO - block_zero(type))));
}

/* A block of eight outputs, turned: groups of four items by outputs become outputs by groups. */
KERNEL_INLINE void block_turn(const int type, const unsigned char *const *lines, size_t b, uint8_t *to)
{
    const size_t line = KERNEL_PANEL * BLOCK_GROUP;
    __m256i r0 = block_panel_items(type, lines[0], b), r1 = block_panel_items(type, lines[1], b),
            r2 = block_panel_items(type, lines[2], b), r3 = block_panel_items(type, lines[3], b),
            r4 = block_panel_items(type, lines[4], b), r5 = block_panel_items(type, lines[5], b),
            r6 = block_panel_items(type, lines[6], b), r7 = block_panel_items(type, lines[7], b);
    __m256i a0 = _mm256_unpacklo_epi32(r0, r1), a1 = _mm256_unpackhi_epi32(r0, r1), a2 = _mm256_unpacklo_epi32(r2, r3),
            a3 = _mm256_unpackhi_epi32(r2, r3), a4 = _mm256_unpacklo_epi32(r4, r5), a5 = _mm256_unpackhi_epi32(r4, r5),
            a6 = _mm256_unpacklo_epi32(r6, r7), a7 = _mm256_unpackhi_epi32(r6, r7);
    __m256i b0 = _mm256_unpacklo_epi64(a0, a2), b1 = _mm256_unpackhi_epi64(a0, a2), b2 = _mm256_unpacklo_epi64(a1, a3),
            b3 = _mm256_unpackhi_epi64(a1, a3), b4 = _mm256_unpacklo_epi64(a4, a6), b5 = _mm256_unpackhi_epi64(a4, a6),
            b6 = _mm256_unpacklo_epi64(a5, a7), b7 = _mm256_unpackhi_epi64(a5, a7);
    block_store(to, b0, b4, 0);
    block_store(to + line, b1, b5, 0);
    block_store(to + 2 * line, b2, b6, 0);
    block_store(to + 3 * line, b3, b7, 0);
    block_store(to + 4 * line, b0, b4, 1);
    block_store(to + 5 * line, b1, b5, 1);
    block_store(to + 6 * line, b2, b6, 1);
    block_store(to + 7 * line, b3, b7, 1);
}

KERNEL_INLINE void block_shape_type(const block_lines *p, const int type, uint8_t *items)
{
    for (size_t b = 0; b < p->n_blocks; b++)
        for (size_t j = 0; j < KERNEL_PANEL; j += BLOCK_EIGHT)
            block_turn(type, p->at + j, p->first_block + b, items + (b * BLOCK_ITEMS * KERNEL_PANEL + j * BLOCK_GROUP));
}

static void block_shape_lines(const block_lines *p, uint8_t *items)
{
#define BLOCK_SHAPE(kind) \
    case kind: block_shape_type(p, kind, items); break;
    BLOCK_TYPE_SWITCH(p->type, BLOCK_SHAPE)
#undef BLOCK_SHAPE
}

/* ---- scales ----------------------------------------------------------------------------------------------------- */

KERNEL_INLINE int block_half(const unsigned char *at)
{
    uint16_t half;
    memcpy(&half, at, sizeof half);
    return half;
}

/* The half floats `from` bytes into eight outputs. */
KERNEL_INLINE __m256 block_eight_halves(const unsigned char *const *lines, size_t from)
{
    __m128i halves = _mm_cvtsi32_si128(block_half(lines[0] + from));
    halves = _mm_insert_epi16(halves, block_half(lines[1] + from), 1);
    halves = _mm_insert_epi16(halves, block_half(lines[2] + from), 2);
    halves = _mm_insert_epi16(halves, block_half(lines[3] + from), 3);
    halves = _mm_insert_epi16(halves, block_half(lines[4] + from), 4);
    halves = _mm_insert_epi16(halves, block_half(lines[5] + from), 5);
    halves = _mm_insert_epi16(halves, block_half(lines[6] + from), 6);
    halves = _mm_insert_epi16(halves, block_half(lines[7] + from), 7);
    return _mm256_cvtph_ps(halves);
}

KERNEL_INLINE int32_t block_word(const unsigned char *at)
{
    int32_t word;
    memcpy(&word, at, sizeof word);
    return word;
}

KERNEL_INLINE __m256i block_eight_words(const unsigned char *const *lines, size_t from)
{
    return _mm256_setr_epi32(block_word(lines[0] + from), block_word(lines[1] + from), block_word(lines[2] + from),
                             block_word(lines[3] + from), block_word(lines[4] + from), block_word(lines[5] + from),
                             block_word(lines[6] + from), block_word(lines[7] + from));
}

KERNEL_INLINE __m256i block_field(__m256i words, size_t shift, int mask)
{
    return _mm256_and_si256(_mm256_srlv_epi32(words, _mm256_set1_epi32((int)shift)), _mm256_set1_epi32(mask));
}

/* Eight pairs of six-bit scale and minimum in three words: those of the last four lie in fours of bits and twos above the first. */
KERNEL_INLINE void block_scales_k(const unsigned char *const *lines, size_t from, float *scale, float *low)
{
    const __m256 d = block_eight_halves(lines, from), least = block_eight_halves(lines, from + 2);
    const __m256i steps = block_eight_words(lines, from + 4), lows = block_eight_words(lines, from + 8),
                  rest = block_eight_words(lines, from + 12);
    for (size_t g = 0; g < BLOCK_K_WIDE; g++, scale += KERNEL_PANEL, low += KERNEL_PANEL) {
        const size_t shift = g % 4 * 8;
        __m256i step = block_field(steps, shift, 63), minimum = block_field(lows, shift, 63);
        if (g >= 4) {
            step = _mm256_or_si256(block_field(rest, shift, 15), _mm256_slli_epi32(block_field(steps, shift + 6, 3), 4));
            minimum = _mm256_or_si256(block_field(rest, shift + 4, 15),
                                      _mm256_slli_epi32(block_field(lows, shift + 6, 3), 4));
        }
        _mm256_storeu_ps(scale, _mm256_mul_ps(d, _mm256_cvtepi32_ps(step)));
        __m256 taken = _mm256_mul_ps(least, _mm256_cvtepi32_ps(minimum));
        _mm256_storeu_ps(low, _mm256_xor_ps(taken, _mm256_set1_ps(-0.0f)));
    }
}

/* Sixteen signed bytes. */
KERNEL_INLINE void block_scales_q6_k(const unsigned char *const *lines, size_t from, float *scale)
{
    const __m256 d = block_eight_halves(lines, from + 208);
    for (size_t word = 0; word < 4; word++) {
        const __m256i steps = block_eight_words(lines, from + 192 + 4 * word);
        for (size_t g = 0; g < 4; g++, scale += KERNEL_PANEL) {
            __m256i step = _mm256_srai_epi32(_mm256_sllv_epi32(steps, _mm256_set1_epi32((int)(24 - 8 * g))), 24);
            _mm256_storeu_ps(scale, _mm256_mul_ps(d, _mm256_cvtepi32_ps(step)));
        }
    }
}

/* Of eight outputs' block of the type, `from` bytes into them. */
KERNEL_INLINE void block_scales_eight(const int type, const unsigned char *const *lines, size_t from, float *scale,
                                      float *low)
{
    if (type == GGUF_Q6_K) {
        block_scales_q6_k(lines, from, scale);
    } else if (block_is_k(type)) {
        block_scales_k(lines, from, scale, low);
    } else {
        _mm256_storeu_ps(scale, block_eight_halves(lines, from));
        if (block_has_low(type)) _mm256_storeu_ps(low, block_eight_halves(lines, from + 2));
    }
}

KERNEL_INLINE size_t block_parts(const int type) { return type == GGUF_Q6_K ? BLOCK_PARTS : 1; }

KERNEL_INLINE void block_scales_type(const block_lines *p, const int type, float *scale, float *low)
{
    const size_t wide = block_is_k(type) ? BLOCK_K_WIDE : 1;
    for (size_t b = 0; b < p->n_blocks; b += wide)
        for (size_t j = 0; j < KERNEL_PANEL; j += BLOCK_EIGHT)
            block_scales_eight(type, p->at + j, (p->first_block + b) / wide * block_bytes(type),
                               scale + (block_parts(type) * b * KERNEL_PANEL + j), low + (b * KERNEL_PANEL + j));
}

static void block_scales_lines(const block_lines *p, float *scale, float *low)
{
    if (p->type == BLOCK_INT8) return;
#define BLOCK_SCALES(kind) \
    case kind: block_scales_type(p, kind, scale, low); break;
    BLOCK_TYPE_SWITCH(p->type, BLOCK_SCALES)
#undef BLOCK_SCALES
}

/* ---- few rows --------------------------------------------------------------------------------------------------- */

/* Sums of a block's first and second half. */
typedef struct block_sums {
    __m256i left, right;
} block_sums;

KERNEL_INLINE __m256i block_line_sum(const int type, const unsigned char *line, size_t b, __m256i x)
{
    return block_line_dot(block_take(type, line, b), x, block_zero(type) == BLOCK_ZERO);
}

/* Lanes of a and b: sums of both's four, a first. */
KERNEL_INLINE __m256i block_add_pairs(__m256i a, __m256i b)
{
    return _mm256_add_epi32(_mm256_unpacklo_epi32(a, b), _mm256_unpackhi_epi32(a, b));
}

KERNEL_INLINE __m256i block_four_sums(const int type, const unsigned char *const *lines, size_t b, __m256i x)
{
    __m256i ab = block_add_pairs(block_line_sum(type, lines[0], b, x), block_line_sum(type, lines[1], b, x));
    __m256i cd = block_add_pairs(block_line_sum(type, lines[2], b, x), block_line_sum(type, lines[3], b, x));
    return _mm256_add_epi32(_mm256_unpacklo_epi64(ab, cd), _mm256_unpackhi_epi64(ab, cd));
}

KERNEL_INLINE block_sums block_eight_sums(const int type, const unsigned char *const *lines, size_t b, __m256i x)
{
    __m256i low = block_four_sums(type, lines, b, x), high = block_four_sums(type, lines + 4, b, x);
    block_sums sums = {_mm256_permute2x128_si256(low, high, 0x20), _mm256_permute2x128_si256(low, high, 0x31)};
    return sums;
}

/* A block's share of what is read next in these outputs' place, where outputs lie end to end. */
KERNEL_INLINE void block_lines_ahead(const int type, const unsigned char *first, size_t b)
{
    const size_t share = BLOCK_EIGHT * block_bytes(type) / (block_is_k(type) ? BLOCK_K_WIDE : 1);
    KERNEL_UNROLL
    for (size_t i = 0; i < share; i += 64) _mm_prefetch((const char *)first + (b * share + i), _MM_HINT_T0);
}

/* sum + its worth, of whole numbers that are `start` above their own. */
KERNEL_INLINE __m256 block_line_worth(__m256i whole, int32_t start, const int zero, const float *scale, __m256 row_scale,
                                      __m256 sum)
{
    if (zero == BLOCK_ZERO) whole = _mm256_add_epi32(whole, _mm256_set1_epi32(start));
    else if (zero != 0) whole = _mm256_add_epi32(whole, _mm256_set1_epi32(start / BLOCK_ZERO * zero));
    return _mm256_fmadd_ps(_mm256_cvtepi32_ps(whole), _mm256_mul_ps(_mm256_loadu_ps(scale), row_scale), sum);
}

/* Eight outputs from j on of a row. */
KERNEL_INLINE __m256 block_few_eight(const block_lines *lines, const block_multiply *p, const int type, size_t row, size_t j,
                                     __m256 sum)
{
    const block_rows *a = p->a;
    const unsigned char *const *at = lines->at + j;
    const size_t wide = block_is_k(type) ? BLOCK_K_WIDE : 1, line = block_parts(type) * KERNEL_PANEL;
    const int zero = block_zero(type);
    float scales[BLOCK_K_WIDE * BLOCK_PARTS * KERNEL_PANEL], lows[BLOCK_K_WIDE * KERNEL_PANEL];
    for (size_t b = 0; b < p->n_blocks; b++) {
        const size_t own = row * a->n_blocks + p->first_block + b, in_line = lines->first_block + b;
        const __m256i x = block_load((const unsigned char *)a->q + own * BLOCK_ITEMS);
        const __m256 row_scale = _mm256_set1_ps(a->scale[own]);
        const float *scale = type == BLOCK_INT8 ? p->scale + (b * KERNEL_PANEL + j) : scales + b % wide * line;
        if (type != BLOCK_INT8 && b % wide == 0)
            block_scales_eight(type, at, in_line / wide * block_bytes(type), scales, lows);
        if (lines->ahead > 0 && row == 0) block_lines_ahead(type, at[0] + lines->ahead, in_line);
        block_sums sums = block_eight_sums(type, at, in_line, x);
        if (type == GGUF_Q6_K) {
            sum = block_line_worth(sums.left, a->part_start[own * BLOCK_PARTS], zero, scale, row_scale, sum);
            sum = block_line_worth(sums.right, a->part_start[own * BLOCK_PARTS + 1], zero, scale + KERNEL_PANEL, row_scale,
                                   sum);
        } else {
            sum = block_line_worth(_mm256_add_epi32(sums.left, sums.right), a->start[own], zero, scale, row_scale, sum);
        }
        if (block_has_low(type))
            sum = _mm256_fmadd_ps(_mm256_loadu_ps(lows + b % wide * KERNEL_PANEL), _mm256_set1_ps(a->mass[own]), sum);
    }
    return sum;
}

KERNEL_INLINE void block_few_type(const block_lines *lines, const block_multiply *p, const int type)
{
    const __m256i lane = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
    for (size_t row = 0; row < p->a->n_rows; row++)
        for (size_t j = 0; j < p->n_cols; j += BLOCK_EIGHT) {
            const __m256i some = _mm256_cmpgt_epi32(_mm256_set1_epi32((int)(p->n_cols - j)), lane);
            float *c = p->c + (row * p->ldc + j);
            __m256 sum = p->add ? _mm256_maskload_ps(c, some) : _mm256_setzero_ps();
            _mm256_maskstore_ps(c, some, block_few_eight(lines, p, type, row, j, sum));
        }
}

static void block_few_rows(const block_lines *lines, const block_multiply *p)
{
#define BLOCK_FEW(kind) \
    case kind: block_few_type(lines, p, kind); break;
    BLOCK_TYPE_SWITCH(lines->type, BLOCK_FEW)
#undef BLOCK_FEW
}

#endif
