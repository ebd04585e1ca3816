/* The products over blocks, over v16.h; rows and panels are shaped by 256-bit registers in both variants. The includer defines
 * BLOCK_ROWS (6 or 1: rows of a register tile, named variables as in product_tile.h), block_dot(sum, items, x), which adds to each
 * int32 lane the exact sum of four u8 x s8 products, and block_held(items), which may keep the compiler from loading them again for
 * every row; it ends with its table of these functions. */
#ifndef FINCH_TENSOR_KERNELS_BLOCK_BODY_H
#define FINCH_TENSOR_KERNELS_BLOCK_BODY_H

#include "tensor/kernels/block_kernels.h"
#include "tensor/kernels/block_lines_body.h"
#include "tensor/kernels/v16.h"

#include <math.h>
#include <string.h>

/* ---- rows ------------------------------------------------------------------------------------------------------ */

KERNEL_INLINE float block_largest(const float *x)
{
    const __m256 sign = _mm256_set1_ps(-0.0f);
    __m256i a = _mm256_castps_si256(_mm256_andnot_ps(sign, _mm256_loadu_ps(x)));
    __m256i b = _mm256_castps_si256(_mm256_andnot_ps(sign, _mm256_loadu_ps(x + 8)));
    __m256i c = _mm256_castps_si256(_mm256_andnot_ps(sign, _mm256_loadu_ps(x + 16)));
    __m256i d = _mm256_castps_si256(_mm256_andnot_ps(sign, _mm256_loadu_ps(x + 24)));
    __m256i most = _mm256_max_epi32(_mm256_max_epi32(a, b), _mm256_max_epi32(c, d));
    __m128i four = _mm_max_epi32(_mm256_castsi256_si128(most), _mm256_extracti128_si256(most, 1));
    four = _mm_max_epi32(four, _mm_shuffle_epi32(four, 0x4e));
    four = _mm_max_epi32(four, _mm_shuffle_epi32(four, 0xb1));
    return _mm_cvtss_f32(_mm_castsi128_ps(four));
}

KERNEL_INLINE __m256i block_round(const float *x, __m256 inverse)
{
    return _mm256_cvtps_epi32(_mm256_mul_ps(_mm256_loadu_ps(x), inverse));
}

KERNEL_INLINE int32_t block_sum(__m128i four)
{
    four = _mm_add_epi32(four, _mm_shuffle_epi32(four, 0x4e));
    return _mm_cvtsi128_si32(_mm_add_epi32(four, _mm_shuffle_epi32(four, 0xb1)));
}

/* Thirty-two floats. */
static void block_quantize_one(const float *x, const block_rows *to, size_t at)
{
    float largest = block_largest(x);
    __m256 inverse = _mm256_set1_ps(largest > BLOCK_LEAST ? 127.0f / largest : 0.0f);
    __m256i ab = _mm256_packs_epi32(block_round(x, inverse), block_round(x + 8, inverse));
    __m256i cd = _mm256_packs_epi32(block_round(x + 16, inverse), block_round(x + 24, inverse));
    __m256i q = _mm256_packs_epi16(ab, cd);
    q = _mm256_permutevar8x32_epi32(q, _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7));
    if (!isfinite(largest)) q = _mm256_setzero_si256();
    __m256i sums = _mm256_madd_epi16(_mm256_maddubs_epi16(_mm256_set1_epi8(1), q), _mm256_set1_epi16(1));
    int32_t left = block_sum(_mm256_castsi256_si128(sums)), right = block_sum(_mm256_extracti128_si256(sums, 1));
    _mm256_storeu_si256((__m256i *)(void *)(to->q + at * BLOCK_ITEMS), q);
    to->scale[at] = largest / 127.0f;
    to->start[at] = -BLOCK_ZERO * (left + right);
    if (to->part_start != NULL) {
        to->part_start[at * BLOCK_PARTS] = -BLOCK_ZERO * left;
        to->part_start[at * BLOCK_PARTS + 1] = -BLOCK_ZERO * right;
    }
    if (to->mass != NULL) to->mass[at] = to->scale[at] * (float)(left + right);
}

static void block_quantize_rows(const block_quantize *p)
{
    for (size_t row = 0; row < p->to->n_rows; row++) {
        const float *x = p->x + row * p->ldx;
        for (size_t b = 0; b < p->to->n_blocks; b++) {
            size_t left = p->width - b * BLOCK_ITEMS;
            float padded[BLOCK_ITEMS] = {0};
            if (left < BLOCK_ITEMS) memcpy(padded, x + b * BLOCK_ITEMS, left * sizeof *padded);
            block_quantize_one(left < BLOCK_ITEMS ? padded : x + b * BLOCK_ITEMS, p->to, row * p->to->n_blocks + b);
        }
    }
}

/* ---- products -------------------------------------------------------------------------------------------------- */

#if BLOCK_ROWS == 6
#define BLOCK_EACH_ROW(X) X(0) X(1) X(2) X(3) X(4) X(5)
#define BLOCK_EACH_REST(X) X(1) X(2) X(3) X(4) X(5)
#else
#define BLOCK_EACH_ROW(X) X(0)
#define BLOCK_EACH_REST(X)
#endif

KERNEL_INLINE v16i block_spread(const int8_t *x)
{
    int32_t four;
    memcpy(&four, x, sizeof four);
    return v16i_set(four);
}

KERNEL_INLINE v16i block_items(const uint8_t *items) { return block_held(v16i_load((const int32_t *)(const void *)items)); }

/* What a sum of whole numbers is worth, onto y. */
KERNEL_INLINE v16 block_worth(v16i sum, const float *scale, float row_scale, v16 y)
{
    return v16_fma(v16_from_int(sum), v16_mul(v16_load(scale), v16_set(row_scale)), y);
}

enum { BLOCK_LINE = 64 };

/* Of what is read next, the part of some rows is brought into the second-level cache before they are multiplied: the rows of a
 * call bring all of it between them. */
KERNEL_INLINE void block_ahead(const block_multiply *p, size_t row, size_t n_rows)
{
    const char *from = p->ahead;
    size_t n = (p->ahead_bytes + BLOCK_LINE - 1) / BLOCK_LINE, end = n * (row + n_rows) / p->a->n_rows;
    for (size_t line = n * row / p->a->n_rows; line < end; line++) _mm_prefetch(from + line * BLOCK_LINE, _MM_HINT_T1);
}

/* Rows [row, row + n_rows) of all 32 columns; out [n_rows] strides of ld. */
KERNEL_INLINE void block_tile(const block_multiply *p, size_t row, float *out, size_t ld, const size_t n_rows,
                              const size_t n_parts, const bool has_low)
{
    const block_rows *a = p->a;
    const size_t first = row * a->n_blocks + p->first_block, part_groups = BLOCK_ITEMS / BLOCK_GROUP / n_parts;
    const uint8_t *items = p->items;
    const float *scale = p->scale;
#define BLOCK_BEGIN(r)                                               \
    const size_t at##r = first + (r < n_rows ? r : 0) * a->n_blocks; \
    v16 left##r = v16_zero(), right##r = v16_zero();                 \
    if (p->add && r < n_rows) {                                      \
        left##r = v16_load(out + r * ld);                            \
        right##r = v16_load(out + r * ld + 16);                      \
    }
#define BLOCK_START(r)                                                                                                 \
    v16i sum_left##r = v16i_set(n_parts == 1 ? a->start[at##r + b] : a->part_start[(at##r + b) * BLOCK_PARTS + part]); \
    v16i sum_right##r = sum_left##r;
#define BLOCK_STEP(r)                                                                                         \
    if (r < n_rows) {                                                                                         \
        v16i x = block_spread(a->q + (at##r + b) * BLOCK_ITEMS + (part * part_groups + group) * BLOCK_GROUP); \
        sum_left##r = block_dot(sum_left##r, items_left, x);                                                  \
        sum_right##r = block_dot(sum_right##r, items_right, x);                                               \
    }
#define BLOCK_WORTH(r)                                                                   \
    if (r < n_rows) {                                                                    \
        left##r = block_worth(sum_left##r, scale, a->scale[at##r + b], left##r);         \
        right##r = block_worth(sum_right##r, scale + 16, a->scale[at##r + b], right##r); \
    }
#define BLOCK_LOW(r)                                                                  \
    if (r < n_rows) {                                                                 \
        v16 mass = v16_set(a->mass[at##r + b]);                                       \
        left##r = v16_fma(v16_load(p->low + b * KERNEL_PANEL), mass, left##r);        \
        right##r = v16_fma(v16_load(p->low + b * KERNEL_PANEL + 16), mass, right##r); \
    }
#define BLOCK_END(r)                            \
    if (r < n_rows) {                           \
        v16_store(out + r * ld, left##r);       \
        v16_store(out + r * ld + 16, right##r); \
    }
    BLOCK_EACH_ROW(BLOCK_BEGIN)
    block_ahead(p, row, n_rows);
    for (size_t b = 0; b < p->n_blocks; b++) {
        for (size_t part = 0; part < n_parts; part++) {
            BLOCK_EACH_ROW(BLOCK_START)
            KERNEL_UNROLL
            for (size_t group = 0; group < part_groups; group++) {
                v16i items_left = block_items(items), items_right = block_items(items + 16 * BLOCK_GROUP);
                BLOCK_EACH_ROW(BLOCK_STEP)
                items += KERNEL_PANEL * BLOCK_GROUP;
            }
            BLOCK_EACH_ROW(BLOCK_WORTH)
            scale += KERNEL_PANEL;
        }
        if (has_low) {
            BLOCK_EACH_ROW(BLOCK_LOW)
        }
    }
    BLOCK_EACH_ROW(BLOCK_END)
#undef BLOCK_BEGIN
#undef BLOCK_START
#undef BLOCK_STEP
#undef BLOCK_WORTH
#undef BLOCK_LOW
#undef BLOCK_END
}

#define BLOCK_CASE(n) \
    case n: block_tile(p, row, out, ld, n, n_parts, has_low); break;

KERNEL_INLINE void block_some_rows(const block_multiply *p, size_t row, float *out, size_t ld, size_t n_rows,
                                   const size_t n_parts, const bool has_low)
{
    switch (n_rows) {
        BLOCK_EACH_REST(BLOCK_CASE)
        BLOCK_CASE(BLOCK_ROWS)
    default: break;
    }
}

/* Whole panels are stored where they go; of a panel that is cut, tiles go through memory beside. */
KERNEL_INLINE void block_multiply_kind(const block_multiply *p, const size_t n_parts, const bool has_low)
{
    float beside[BLOCK_ROWS * KERNEL_PANEL] = {0};
    for (size_t row = 0; row < p->a->n_rows; row += BLOCK_ROWS) {
        size_t n = p->a->n_rows - row < BLOCK_ROWS ? p->a->n_rows - row : BLOCK_ROWS;
        float *c = p->c + row * p->ldc;
        if (p->n_cols == KERNEL_PANEL) {
            block_some_rows(p, row, c, p->ldc, n, n_parts, has_low);
            continue;
        }
        for (size_t r = 0; r < n && p->add; r++) memcpy(beside + r * KERNEL_PANEL, c + r * p->ldc, p->n_cols * sizeof *c);
        block_some_rows(p, row, beside, KERNEL_PANEL, n, n_parts, has_low);
        for (size_t r = 0; r < n; r++) memcpy(c + r * p->ldc, beside + r * KERNEL_PANEL, p->n_cols * sizeof *c);
    }
}

static void block_multiply_rows(const block_multiply *p)
{
    if (p->n_parts == BLOCK_PARTS) block_multiply_kind(p, BLOCK_PARTS, false);
    else if (p->low != NULL) block_multiply_kind(p, 1, true);
    else block_multiply_kind(p, 1, false);
}

#endif
