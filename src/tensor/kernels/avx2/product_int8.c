/* Without VNNI: vpmaddubsw multiplies unsigned by signed bytes and adds pairs in 16 bits, which 255 x 127 x 2 would saturate.
 * So a is shifted to x = a - 128 and split into magnitude and sign. Where m is all ones for x < 0 and 0 else, w ^ m is
 * -w - 1 or w, and
 *   sum of a w = sum of |x| (w ^ m) + (sum of |x| where x < 0) + 128 (sum of w):
 * the second term is a constant of the row, the third of the column. A pair is in -2 x 128 x 128 .. 2 x 128 x 127 for every
 * a and w, -128 included, and -32768 still fits. Changing the sign whole (vpsignb) would save the row's constant, but waits
 * for the multipliers' ports on Zen 3. Also serves AVX-512 CPUs that have no VNNI.
 *
 * A block of rows is split once, a part of the depth at a time; a part of a panel and three rows' pieces of it stay in the
 * first-level cache, and sums wait in memory from part to part. */
#include "tensor/kernels/product_int8_store.h"

#include <string.h>

enum {
    GROUP = 4, /* neighbouring k in one operand */
    PANEL_GROUP = KERNEL_PANEL * GROUP, /* bytes of a panel from one group to the next */
    VECTORS = PANEL_GROUP / 32,
    PART_GROUPS = 96, /* of k at a time: 12 KiB of a panel */
    TILE_ROWS = 3, /* 12 sums, a row's two operands, ones and a product fill the registers */
    BLOCK_ROWS = 20 * TILE_ROWS,
    BLOCK_PANELS = 4, /* share a split of their rows */
    SPLIT_GROUP = 2 * GROUP, /* signs, then magnitudes */
    SPLIT_ROW = PART_GROUPS * SPLIT_GROUP,
    LINES_AHEAD = 8 /* of the next part of the panel, fetched beside each tile */
};

/* A block of rows, split, and its sums in a few panels. */
typedef struct split_block {
    _Alignas(32) uint8_t rows[BLOCK_ROWS * SPLIT_ROW];
    _Alignas(32) int32_t sums[BLOCK_PANELS][BLOCK_ROWS * KERNEL_PANEL];
    int32_t negative[BLOCK_ROWS]; /* sum of |x| where x < 0, over the parts so far */
    size_t n_rows;
    size_t n_groups; /* of this part */
} split_block;

/* Eight groups of a row: to [8 x SPLIT_GROUP]. Returns four sums of |x| where x < 0. */
KERNEL_INLINE __m256i split_groups(uint8_t *to, const uint8_t *a)
{
    __m256i x = _mm256_xor_si256(_mm256_loadu_si256((const __m256i *)(const void *)a), _mm256_set1_epi8(-128));
    __m256i size = _mm256_abs_epi8(x), sign = _mm256_cmpgt_epi8(_mm256_setzero_si256(), x);
    __m256i low = _mm256_unpacklo_epi32(sign, size), high = _mm256_unpackhi_epi32(sign, size);
    __m256i *out = (__m256i *)(void *)to;
    _mm256_store_si256(out, _mm256_permute2x128_si256(low, high, 0x20));
    _mm256_store_si256(out + 1, _mm256_permute2x128_si256(low, high, 0x31));
    return _mm256_sad_epu8(_mm256_and_si256(sign, size), _mm256_setzero_si256());
}

/* n_groups of a row; the rest of the last eight is written as x = 0. Returns the sum of |x| where x < 0. */
static int32_t split_row(uint8_t *to, const uint8_t *a, size_t n_groups)
{
    __m256i negative = _mm256_setzero_si256();
    size_t i = 0;
    for (; i + 8 <= n_groups; i += 8)
        negative = _mm256_add_epi64(negative, split_groups(to + i * SPLIT_GROUP, a + i * GROUP));
    if (i < n_groups) {
        uint8_t last[8 * GROUP];
        memset(last, 128, sizeof last);
        memcpy(last, a + i * GROUP, (n_groups - i) * GROUP);
        negative = _mm256_add_epi64(negative, split_groups(to + i * SPLIT_GROUP, last));
    }
    __m128i two = _mm_add_epi64(_mm256_castsi256_si128(negative), _mm256_extracti128_si256(negative, 1));
    return (int32_t)(_mm_cvtsi128_si64(two) + _mm_extract_epi64(two, 1));
}

static void split_rows(const kernel_product_int8 *p, split_block *block, size_t first, size_t group)
{
    for (size_t i = 0; i < block->n_rows; i++) {
        const uint8_t *a = p->a + (first + i) * p->lda + group * GROUP;
        int32_t negative = split_row(block->rows + i * SPLIT_ROW, a, block->n_groups);
        block->negative[i] = group == 0 ? negative : block->negative[i] + negative;
    }
}

KERNEL_INLINE __m256i spread(const uint8_t *group)
{
    int32_t x;
    memcpy(&x, group, sizeof x);
    return _mm256_set1_epi32(x);
}

/* Adds a part to the sums of up to three rows. */
KERNEL_INLINE void tile(const split_block *block, const int8_t *b, int32_t *to, size_t row, const size_t n_rows)
{
    __m256i *sums = (__m256i *)(void *)(to + row * KERNEL_PANEL);
    const uint8_t *x = block->rows + row * SPLIT_ROW;
    const __m256i *w = (const __m256i *)(const void *)b, *end = w + block->n_groups * VECTORS;
    __m256i ones = _mm256_set1_epi16(1);
    __asm__("" : "+x"(ones)); /* a register, where the compiler would read the constant from memory each time */
#define TILE_EACH_ROW(X) X(0) X(1) X(2)
#define TILE_SUM(r, v) __m256i sum##r##v = r < n_rows ? _mm256_load_si256(sums + VECTORS * r + v) : _mm256_setzero_si256();
#define TILE_LOAD(r) TILE_SUM(r, 0) TILE_SUM(r, 1) TILE_SUM(r, 2) TILE_SUM(r, 3)
#define TILE_DOT(r, v)            \
    sum##r##v = _mm256_add_epi32( \
        sum##r##v, _mm256_madd_epi16(_mm256_maddubs_epi16(size, _mm256_xor_si256(sign, _mm256_loadu_si256(w + v))), ones));
    /* The weights are each row's operands in memory: kept for the next row they would push sums out of the registers. */
#define TILE_ROW(r)                                                                                    \
    if (r < n_rows) {                                                                                  \
        __m256i sign = spread(x + r * SPLIT_ROW), size = spread(x + r * SPLIT_ROW + GROUP);            \
        TILE_DOT(r, 0) TILE_DOT(r, 1) TILE_DOT(r, 2) TILE_DOT(r, 3) __asm__ volatile("" ::: "memory"); \
    }
#define TILE_STORE(r)                                          \
    if (r < n_rows) {                                          \
        _mm256_store_si256(sums + VECTORS * r, sum##r##0);     \
        _mm256_store_si256(sums + VECTORS * r + 1, sum##r##1); \
        _mm256_store_si256(sums + VECTORS * r + 2, sum##r##2); \
        _mm256_store_si256(sums + VECTORS * r + 3, sum##r##3); \
    }
    TILE_EACH_ROW(TILE_LOAD)
    for (; w < end; w += VECTORS, x += SPLIT_GROUP) {
        TILE_EACH_ROW(TILE_ROW)
    }
    TILE_EACH_ROW(TILE_STORE)
}

/* A part of a panel past all rows. What lies behind it, fetched beside, is the panel's next part or the next panel. */
static void part_of_panel(const split_block *block, const int8_t *b, int32_t *sums)
{
    const char *ahead = (const char *)(b + block->n_groups * PANEL_GROUP);
    size_t row = 0;
    for (; row + TILE_ROWS <= block->n_rows; row += TILE_ROWS) {
        for (size_t i = 0; i < LINES_AHEAD; i++, ahead += 64) _mm_prefetch(ahead, _MM_HINT_T0);
        tile(block, b, sums, row, TILE_ROWS);
    }
    if (block->n_rows - row == 2) tile(block, b, sums, row, 2);
    else if (block->n_rows - row == 1) tile(block, b, sums, row, 1);
}

/* Sixteen columns of a block's rows. */
static void store_columns(const kernel_product_int8 *p, const split_block *block, size_t first, size_t col,
                          const int32_t *sums)
{
    v16i total = v16i_mul(v16i_load(p->column_total + col), v16i_set(128));
    for (size_t i = 0; i < block->n_rows; i++) {
        v16i shift = v16i_add(total, v16i_set(block->negative[i]));
        product_store(p, first + i, col, v16i_add(v16i_load(sums + i * KERNEL_PANEL), shift));
    }
}

/* A block's rows by the panels from column col on. */
static void some_panels(const kernel_product_int8 *p, split_block *block, size_t first, size_t col, size_t n_panels)
{
    size_t n_groups = p->k / GROUP;
    for (size_t i = 0; i < n_panels; i++) memset(block->sums[i], 0, block->n_rows * KERNEL_PANEL * sizeof(int32_t));
    for (size_t group = 0; group < n_groups; group += block->n_groups) {
        block->n_groups = n_groups - group < PART_GROUPS ? n_groups - group : PART_GROUPS;
        if (col == 0 || n_groups > PART_GROUPS) split_rows(p, block, first, group);
        for (size_t i = 0; i < n_panels; i++)
            part_of_panel(block, p->b + (col / KERNEL_PANEL + i) * p->panel_stride + group * PANEL_GROUP, block->sums[i]);
    }
    for (size_t i = 0; i < 2 * n_panels && col + 16 * i < p->n_cols; i++)
        store_columns(p, block, first, col + 16 * i, block->sums[i / 2] + i % 2 * 16);
}

void product_int8_avx2(const kernel_product_int8 *p)
{
    split_block block;
    size_t panels = (p->n_cols + KERNEL_PANEL - 1) / KERNEL_PANEL;
    for (size_t first = 0; first < p->n_rows; first += BLOCK_ROWS) {
        block.n_rows = p->n_rows - first < BLOCK_ROWS ? p->n_rows - first : BLOCK_ROWS;
        for (size_t panel = 0; panel < panels; panel += BLOCK_PANELS)
            some_panels(p, &block, first, panel * KERNEL_PANEL,
                        panels - panel < BLOCK_PANELS ? panels - panel : BLOCK_PANELS);
    }
}
