/* Without VNNI. Bytes 0 and 2 of a group, then 1 and 3, are widened to 16 bits and multiplied exactly: pairs of neighbours of which
 * the instruction adds two products. Where there are rows enough for it, a part of the panel and of the rows is widened once, in the
 * first cache, and tiles of four rows and sixteen columns pass over it. */
#include "tensor/kernels/v16.h"

#include <stdbool.h>

KERNEL_INLINE __m256i widen_even(__m256i items) { return _mm256_and_si256(items, _mm256_set1_epi16(255)); }
KERNEL_INLINE __m256i widen_odd(__m256i items) { return _mm256_srli_epi16(items, 8); }
KERNEL_INLINE __m256i widen_even_signed(__m256i x) { return _mm256_srai_epi16(_mm256_slli_epi16(x, 8), 8); }
KERNEL_INLINE __m256i widen_odd_signed(__m256i x) { return _mm256_srai_epi16(x, 8); }

KERNEL_INLINE __m256i block_dot_half(__m256i sum, __m256i items, __m256i x)
{
    __m256i even = _mm256_madd_epi16(widen_even(items), widen_even_signed(x));
    __m256i odd = _mm256_madd_epi16(widen_odd(items), widen_odd_signed(x));
    return _mm256_add_epi32(sum, _mm256_add_epi32(even, odd));
}

KERNEL_INLINE v16i block_dot(v16i sum, v16i items, v16i x)
{
    return v16i_make(block_dot_half(sum.lo, items.lo, x.lo), block_dot_half(sum.hi, items.hi, x.hi));
}

KERNEL_INLINE v16i block_held(v16i items) { return items; }

/* Two products of items below 64 are below 2^14. */
KERNEL_INLINE __m256i block_line_dot(__m256i items, __m256i x, const bool wide)
{
    if (wide) return block_dot_half(_mm256_setzero_si256(), items, x);
    return _mm256_madd_epi16(_mm256_maddubs_epi16(items, x), _mm256_set1_epi16(1));
}

#define BLOCK_ROWS 1
#include "tensor/kernels/block_body.h"

/* ---- many rows --------------------------------------------------------------------------------------------------- */

enum {
    WIDE_LEAST = 8, /* fewer rows are not worth a widened panel */
    WIDE_ROWS = 4,
    WIDE_COLUMNS = 16,
    WIDE_BLOCKS = 8, /* 16 KiB of the panel */
    WIDE_PAIRS = BLOCK_ITEMS / 2
};

/* items [block][pair][column], x [row][block][pair]; pairs of a group of four are neighbours, the even one first. */
typedef struct wide {
    int32_t items[WIDE_BLOCKS][WIDE_PAIRS][KERNEL_PANEL];
    int32_t x[WIDE_ROWS][WIDE_BLOCKS][WIDE_PAIRS];
} wide;

/* Blocks [first, first + n) of the panel and of each row. */
typedef struct wide_part {
    const block_multiply *p;
    size_t first, n;
} wide_part;

KERNEL_INLINE void wide_store(int32_t *to, __m256i x) { _mm256_store_si256((__m256i *)(void *)to, x); }
KERNEL_INLINE __m256i wide_load(const int32_t *from) { return _mm256_load_si256((const __m256i *)(const void *)from); }

static void wide_items(const wide_part *w, wide *to)
{
    const uint8_t *from = w->p->items + w->first * BLOCK_ITEMS * KERNEL_PANEL;
    for (size_t b = 0; b < w->n; b++)
        for (size_t pair = 0; pair < WIDE_PAIRS; pair += 2)
            for (size_t j = 0; j < KERNEL_PANEL; j += 8, from += 8 * BLOCK_GROUP) {
                __m256i items = _mm256_loadu_si256((const __m256i *)(const void *)from);
                wide_store(&to->items[b][pair][j], widen_even(items));
                wide_store(&to->items[b][pair + 1][j], widen_odd(items));
            }
}

static void wide_rows(const wide_part *w, size_t row, size_t n_rows, wide *to)
{
    const block_rows *a = w->p->a;
    for (size_t r = 0; r < n_rows; r++)
        for (size_t b = 0; b < w->n; b++) {
            const int8_t *from = a->q + ((row + r) * a->n_blocks + w->p->first_block + w->first + b) * BLOCK_ITEMS;
            __m256i x = _mm256_loadu_si256((const __m256i *)(const void *)from);
            __m256i even = widen_even_signed(x), odd = widen_odd_signed(x);
            __m256i low = _mm256_unpacklo_epi32(even, odd), high = _mm256_unpackhi_epi32(even, odd);
            wide_store(to->x[r][b], _mm256_permute2x128_si256(low, high, 0x20));
            wide_store(to->x[r][b] + 8, _mm256_permute2x128_si256(low, high, 0x31));
        }
}

KERNEL_INLINE __m256 wide_worth(__m256i sum, const float *scale, __m256 row_scale, const float *y)
{
    return _mm256_fmadd_ps(_mm256_cvtepi32_ps(sum), _mm256_mul_ps(_mm256_loadu_ps(scale), row_scale), _mm256_loadu_ps(y));
}

/* sum + two products a lane. The sum is settled at once: gcc 12 puts additions of whole numbers in an order of its own, and keeps all
 * products of a block in memory until then. */
KERNEL_INLINE __m256i wide_dot(__m256i sum, __m256i items, __m256i x)
{
    sum = _mm256_add_epi32(sum, _mm256_madd_epi16(items, x));
    __asm__("" : "+x"(sum));
    return sum;
}

/* One block of rows [row, row + n_rows) onto sixteen columns of c, which lie at out. */
KERNEL_INLINE void wide_block(const wide_part *w, const wide *in, size_t row, size_t b, size_t column, float *out,
                              const size_t n_rows, const size_t n_parts, const bool has_low)
{
    const block_multiply *p = w->p;
    const block_rows *a = p->a;
    const size_t ld = p->ldc, first = row * a->n_blocks + p->first_block + w->first + b;
    const float *scale = p->scale + (w->first + b) * n_parts * KERNEL_PANEL + column;
#define WIDE_EACH_ROW(X) X(0) X(1) X(2) X(3)
#define WIDE_START(r)                                                                                                \
    const size_t at##r = first + (r < n_rows ? r : 0) * a->n_blocks;                                                 \
    __m256i left##r = _mm256_set1_epi32(n_parts == 1 ? a->start[at##r] : a->part_start[at##r * BLOCK_PARTS + part]); \
    __m256i right##r = left##r;
#define WIDE_STEP(r)                                      \
    if (r < n_rows) {                                     \
        __m256i x = _mm256_set1_epi32(in->x[r][b][pair]); \
        left##r = wide_dot(left##r, items_left, x);       \
        right##r = wide_dot(right##r, items_right, x);    \
    }
#define WIDE_WORTH(r)                                                                                     \
    if (r < n_rows) {                                                                                     \
        __m256 row_scale = _mm256_set1_ps(a->scale[at##r]);                                               \
        _mm256_storeu_ps(out + r * ld, wide_worth(left##r, scale, row_scale, out + r * ld));              \
        _mm256_storeu_ps(out + r * ld + 8, wide_worth(right##r, scale + 8, row_scale, out + r * ld + 8)); \
    }
    for (size_t part = 0; part < n_parts; part++, scale += KERNEL_PANEL) {
        WIDE_EACH_ROW(WIDE_START)
        KERNEL_UNROLL
        for (size_t i = 0; i < WIDE_PAIRS / n_parts; i++) {
            const size_t pair = part * (WIDE_PAIRS / n_parts) + i;
            __m256i items_left = wide_load(&in->items[b][pair][column]),
                    items_right = wide_load(&in->items[b][pair][column + 8]);
            WIDE_EACH_ROW(WIDE_STEP)
        }
        WIDE_EACH_ROW(WIDE_WORTH)
    }
#undef WIDE_START
#undef WIDE_STEP
#undef WIDE_WORTH
#undef WIDE_EACH_ROW
    if (!has_low) return;
    for (size_t r = 0; r < n_rows; r++) {
        float *y = out + r * ld;
        v16 low = v16_load(p->low + (w->first + b) * KERNEL_PANEL + column),
            mass = v16_set(a->mass[first + r * a->n_blocks]);
        v16_store(y, v16_fma(low, mass, v16_load(y)));
    }
}

KERNEL_INLINE void wide_tile(const wide_part *w, const wide *in, size_t row, const size_t n_rows, const size_t n_parts,
                             const bool has_low)
{
    float *out = w->p->c + row * w->p->ldc;
    for (size_t column = 0; column < KERNEL_PANEL; column += WIDE_COLUMNS)
        for (size_t b = 0; b < w->n; b++) wide_block(w, in, row, b, column, out + column, n_rows, n_parts, has_low);
}

KERNEL_INLINE void wide_some_rows(const wide_part *w, const wide *in, size_t row, size_t n_rows, const size_t n_parts,
                                  const bool has_low)
{
    switch (n_rows) {
    case 1: wide_tile(w, in, row, 1, n_parts, has_low); break;
    case 2: wide_tile(w, in, row, 2, n_parts, has_low); break;
    case 3: wide_tile(w, in, row, 3, n_parts, has_low); break;
    default: wide_tile(w, in, row, 4, n_parts, has_low); break;
    }
}

KERNEL_INLINE void wide_kind(const block_multiply *p, const size_t n_parts, const bool has_low)
{
    _Alignas(32) wide in;
    for (size_t first = 0; first < p->n_blocks; first += WIDE_BLOCKS) {
        wide_part w = {p, first, p->n_blocks - first < WIDE_BLOCKS ? p->n_blocks - first : WIDE_BLOCKS};
        wide_items(&w, &in);
        for (size_t row = 0; row < p->a->n_rows; row += WIDE_ROWS) {
            size_t n = p->a->n_rows - row < WIDE_ROWS ? p->a->n_rows - row : WIDE_ROWS;
            if (first == 0) block_ahead(p, row, n);
            wide_rows(&w, row, n, &in);
            wide_some_rows(&w, &in, row, n, n_parts, has_low);
        }
    }
}

static void multiply_rows(const block_multiply *p)
{
    if (p->a->n_rows < WIDE_LEAST || p->n_cols < KERNEL_PANEL) {
        block_multiply_rows(p);
        return;
    }
    for (size_t r = 0; r < p->a->n_rows && !p->add; r++) memset(p->c + r * p->ldc, 0, KERNEL_PANEL * sizeof *p->c);
    if (p->n_parts == BLOCK_PARTS) wide_kind(p, BLOCK_PARTS, false);
    else if (p->low != NULL) wide_kind(p, 1, true);
    else wide_kind(p, 1, false);
}

const block_ops block_ops_avx2 = {"avx2",        block_quantize_rows, block_shape_lines, block_scales_lines,
                                  multiply_rows, block_few_rows};
