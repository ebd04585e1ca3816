/* Without VNNI: bytes widened to 16 bits and multiplied exactly (vpmaddubsw would saturate at 255 x 127 x 2): bytes 0 and 2
 * of a group, then 1 and 3. Also serves AVX-512 CPUs that have no VNNI.
 *
 * Weights take three instructions to widen. For few rows each tile does it; for many a panel is widened once, a part of its
 * depth at a time that stays in the first-level cache, and all rows run past it. */
#include "tensor/kernels/kernels.h"
#include "tensor/kernels/v16.h"

KERNEL_INLINE __m256i first_bytes(__m256i w) { return _mm256_srai_epi16(_mm256_slli_epi16(w, 8), 8); }
KERNEL_INLINE __m256i second_bytes(__m256i w) { return _mm256_srai_epi16(w, 8); }

KERNEL_INLINE __m256i product_dot_half(__m256i sum, __m256i x, __m256i w)
{
    __m256i even = _mm256_madd_epi16(_mm256_and_si256(x, _mm256_set1_epi16(255)), first_bytes(w));
    __m256i odd = _mm256_madd_epi16(_mm256_srli_epi16(x, 8), second_bytes(w));
    return _mm256_add_epi32(sum, _mm256_add_epi32(even, odd));
}

KERNEL_INLINE v16i product_dot(v16i sum, v16i x, v16i w)
{
    return v16i_make(product_dot_half(sum.lo, x.lo, w.lo), product_dot_half(sum.hi, x.hi, w.hi));
}

static void product_int8_few(const kernel_product_int8 *p);
#define PRODUCT_NAME product_int8_few
#define PRODUCT_ROWS 3
#include "tensor/kernels/product_int8_body.h"

enum {
    FEW_ROWS = 2 * PRODUCT_ROWS, /* up to here widening a panel first takes longer */
    WIDE_GROUPS = 96,            /* of k at a time: 24 KiB of a panel */
    WIDE_GROUP = 2 * KERNEL_PANEL *
                 PRODUCT_GROUP, /* bytes of a widened group: first and second bytes of eight columns in turn */
    BLOCK_ROWS = 20 * PRODUCT_ROWS,
};

/* A part of a panel, and its rows' sums over the parts before. */
typedef struct wide_part {
    _Alignas(32) uint8_t weights[WIDE_GROUPS * WIDE_GROUP];
    _Alignas(32) int32_t sums[BLOCK_ROWS * KERNEL_PANEL];
    size_t n_groups;
} wide_part;

static void widen(wide_part *part, const int8_t *b)
{
    __m256i *to = (__m256i *)(void *)part->weights;
    for (size_t i = 0; i < part->n_groups * (KERNEL_PANEL * PRODUCT_GROUP / 32); i++) {
        __m256i w = _mm256_loadu_si256((const __m256i *)(const void *)(b + 32 * i));
        _mm256_store_si256(to + 2 * i, first_bytes(w));
        _mm256_store_si256(to + 2 * i + 1, second_bytes(w));
    }
}

/* Adds a part to the sums of up to three rows. */
KERNEL_INLINE void wide_tile(const kernel_product_int8 *p, wide_part *part, const uint8_t *a, size_t row,
                             const size_t n_rows)
{
    __m256i *sums = (__m256i *)(void *)(part->sums + row * KERNEL_PANEL);
    const __m256i *w = (const __m256i *)(const void *)part->weights, *end = w + part->n_groups * (WIDE_GROUP / 32);
    const size_t lda = p->lda;
#define WIDE_SUM(r, v) __m256i sum##r##v = r < n_rows ? _mm256_load_si256(sums + 4 * r + v) : _mm256_setzero_si256();
#define WIDE_LOAD(r) WIDE_SUM(r, 0) WIDE_SUM(r, 1) WIDE_SUM(r, 2) WIDE_SUM(r, 3)
#define WIDE_DOT(r, v)            \
    sum##r##v = _mm256_add_epi32( \
        sum##r##v, _mm256_add_epi32(_mm256_madd_epi16(even, w[2 * v]), _mm256_madd_epi16(odd, w[2 * v + 1])));
    /* The weights are each row's operands in memory: kept for the next row they would push sums out of the registers. */
#define WIDE_ROW(r)                                                                                    \
    if (r < n_rows) {                                                                                  \
        __m256i x = product_spread(a + r * lda).lo;                                                    \
        __m256i even = _mm256_and_si256(x, _mm256_set1_epi16(255)), odd = _mm256_srli_epi16(x, 8);     \
        WIDE_DOT(r, 0) WIDE_DOT(r, 1) WIDE_DOT(r, 2) WIDE_DOT(r, 3) __asm__ volatile("" ::: "memory"); \
    }
#define WIDE_STORE(r)                                    \
    if (r < n_rows) {                                    \
        _mm256_store_si256(sums + 4 * r, sum##r##0);     \
        _mm256_store_si256(sums + 4 * r + 1, sum##r##1); \
        _mm256_store_si256(sums + 4 * r + 2, sum##r##2); \
        _mm256_store_si256(sums + 4 * r + 3, sum##r##3); \
    }
    PRODUCT_EACH_ROW(WIDE_LOAD)
    for (; w < end; w += WIDE_GROUP / 32, a += PRODUCT_GROUP) {
        PRODUCT_EACH_ROW(WIDE_ROW)
    }
    PRODUCT_EACH_ROW(WIDE_STORE)
}

static void wide_rows(const kernel_product_int8 *p, wide_part *part, const uint8_t *a, size_t n_rows)
{
    size_t row = 0;
    for (; row + PRODUCT_ROWS <= n_rows; row += PRODUCT_ROWS) wide_tile(p, part, a + row * p->lda, row, PRODUCT_ROWS);
    if (n_rows - row == 2) wide_tile(p, part, a + row * p->lda, row, 2);
    else if (n_rows - row == 1) wide_tile(p, part, a + row * p->lda, row, 1);
}

/* Rows [first, first + n_rows) by the panel at column col. */
static void wide_panel(const kernel_product_int8 *p, wide_part *part, size_t first, size_t n_rows, size_t col)
{
    const int8_t *b = p->b + (col / KERNEL_PANEL) * p->panel_stride;
    memset(part->sums, 0, n_rows * KERNEL_PANEL * sizeof *part->sums);
    for (size_t group = 0; group < p->k / PRODUCT_GROUP; group += part->n_groups) {
        part->n_groups = p->k / PRODUCT_GROUP - group < WIDE_GROUPS ? p->k / PRODUCT_GROUP - group : WIDE_GROUPS;
        widen(part, b + group * PRODUCT_NEXT(p));
        wide_rows(p, part, p->a + first * p->lda + group * PRODUCT_GROUP, n_rows);
    }
    for (size_t i = 0; i < n_rows; i++) {
        const int32_t *sums = part->sums + i * KERNEL_PANEL;
        product_store(p, first + i, col, v16i_load(sums));
        if (p->n_cols - col > 16) product_store(p, first + i, col + 16, v16i_load(sums + 16));
    }
}

void product_int8_avx2(const kernel_product_int8 *p)
{
    wide_part part;
    if (p->n_rows <= FEW_ROWS) {
        product_int8_few(p);
        return;
    }
    for (size_t first = 0; first < p->n_rows; first += BLOCK_ROWS)
        for (size_t col = 0; col < p->n_cols; col += KERNEL_PANEL)
            wide_panel(p, &part, first, p->n_rows - first < BLOCK_ROWS ? p->n_rows - first : BLOCK_ROWS, col);
}
