#include "tensor/kernels/split_kernels.h"

#include "tensor/kernels/amx/tile_config.h"
#include "tensor/kernels/avx512/transpose.h"

#include <string.h>

enum { SPLIT_TILE = TILE_ROWS * TILE_BYTES, SPLIT_LOW = 2 * SPLIT_TILE };

/* ---- packing ----------------------------------------------------------------------------------------------------- */

/* 16 bf16 as floats. */
KERNEL_INLINE __m512 widened(__m256i x) { return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(x), 16)); }

/* 16 items of a, then 16 of b. */
KERNEL_INLINE void split_two(__m512 a, __m512 b, __m512i *high, __m512i *low)
{
    *high = (__m512i)_mm512_cvtne2ps_pbh(b, a);
    a = _mm512_sub_ps(a, widened(_mm512_castsi512_si256(*high)));
    b = _mm512_sub_ps(b, widened(_mm512_extracti64x4_epi64(*high, 1)));
    *low = (__m512i)_mm512_cvtne2ps_pbh(b, a);
}

/* An item of a and one of b in turns. */
KERNEL_INLINE __m512i in_turns(__m512i two)
{
    const __m512i order = _mm512_set_epi16(31, 15, 30, 14, 29, 13, 28, 12, 27, 11, 26, 10, 25, 9, 24, 8, 23, 7, 22, 6, 21, 5,
                                           20, 4, 19, 3, 18, 2, 17, 1, 16, 0);
    return _mm512_permutexvar_epi16(order, two);
}

/* Items [16 half, 16 half + 16) of a line. The square behind it is fetched. */
KERNEL_INLINE __m512 load_half(const split_square *s, size_t line, size_t half, const bool whole)
{
    if (whole) {
        const float *at = s->x + line * s->ld + 16 * half;
        _mm_prefetch((const char *)(at + SPLIT_SIDE), _MM_HINT_T0);
        return _mm512_loadu_ps(at);
    }
    size_t left = s->width > 16 * half ? s->width - 16 * half : 0;
    if (line >= s->n_lines || left == 0) return _mm512_setzero_ps();
    const float *at = s->x + line * s->ld + 16 * half;
    return left >= 16 ? _mm512_loadu_ps(at) : _mm512_maskz_loadu_ps(v16_mask(left), at);
}

/* A tile's line from each line of the square. */
KERNEL_INLINE void pack_lines(const split_square *s, unsigned char *out, const bool whole)
{
    for (size_t line = 0; line < SPLIT_SIDE; line++) {
        __m512i high, low;
        split_two(load_half(s, line, 0, whole), load_half(s, line, 1, whole), &high, &low);
        _mm512_store_si512(out + line * TILE_BYTES, high);
        _mm512_store_si512(out + SPLIT_LOW + line * TILE_BYTES, low);
    }
}

/* A line of two tiles from each pair of lines. */
KERNEL_INLINE void pack_pairs(const split_square *s, unsigned char *out, const bool whole)
{
    for (size_t pair = 0; pair < SPLIT_SIDE / 2; pair++)
        for (size_t half = 0; half < 2; half++) {
            __m512i high, low;
            unsigned char *at = out + half * SPLIT_TILE + pair * TILE_BYTES;
            split_two(load_half(s, 2 * pair, half, whole), load_half(s, 2 * pair + 1, half, whole), &high, &low);
            _mm512_store_si512(at, in_turns(high));
            _mm512_store_si512(at + SPLIT_LOW, in_turns(low));
        }
}

/* Transposes a tile of 16 x 16 pairs in place: a pair has a float's 32 bits, and moving keeps them. */
static void turn_tile(unsigned char *tile)
{
    __m512 x[16], y[16];
    KERNEL_UNROLL
    for (size_t i = 0; i < 16; i++) x[i] = _mm512_load_ps(tile + i * TILE_BYTES);
    transpose_16(x, y);
    KERNEL_UNROLL
    for (size_t i = 0; i < 16; i++) _mm512_store_ps(tile + i * TILE_BYTES, y[i]);
}

void split_pack_amx(const split_square *s, bool lines_are_depth, bool for_rows, unsigned char *out)
{
    bool whole = s->n_lines == SPLIT_SIDE && s->width == SPLIT_SIDE;
    if (lines_are_depth && whole) pack_pairs(s, out, true);
    else if (lines_are_depth) pack_pairs(s, out, false);
    else if (whole) pack_lines(s, out, true);
    else pack_lines(s, out, false);
    if (lines_are_depth != for_rows) return;
    for (size_t tile = 0; tile < 4; tile++) turn_tile(out + tile * SPLIT_TILE);
}

/* ---- products ---------------------------------------------------------------------------------------------------- */

void split_begin_amx(void)
{
    tile_config c = {.palette = 1};
    for (size_t i = 0; i < TILE_COUNT; i++) {
        c.row_bytes[i] = TILE_BYTES;
        c.rows[i] = TILE_ROWS;
    }
    tile_load_config(&c);
}

void split_end_amx(void) { _tile_release(); }

/* Tiles 0 to 3 hold sums (upper left, upper right, lower left, lower right), 4 and 5 rows, 6 and 7 columns. */
KERNEL_INLINE void four_products(void)
{
    _tile_dpbf16ps(0, 4, 6);
    _tile_dpbf16ps(1, 4, 7);
    _tile_dpbf16ps(2, 5, 6);
    _tile_dpbf16ps(3, 5, 7);
}

KERNEL_INLINE void square_step(const unsigned char *a, const unsigned char *b)
{
    _tile_loadd(4, a, TILE_BYTES);
    _tile_loadd(6, b + SPLIT_LOW, TILE_BYTES);
    _tile_loadd(7, b + SPLIT_LOW + SPLIT_TILE, TILE_BYTES);
    _tile_loadd(5, a + SPLIT_TILE, TILE_BYTES);
    four_products();
    _tile_loadd(6, b, TILE_BYTES);
    _tile_loadd(7, b + SPLIT_TILE, TILE_BYTES);
    four_products();
    _tile_loadd(4, a + SPLIT_LOW, TILE_BYTES);
    _tile_loadd(5, a + SPLIT_LOW + SPLIT_TILE, TILE_BYTES);
    four_products();
}

static void run_block(const split_block *s, float *c, size_t ldc)
{
    size_t stride = ldc * sizeof *c;
    float *lower = c + TILE_ROWS * ldc;
    __asm__ volatile("" ::: "memory"); /* the loads of tiles do not tell the compiler what they read */
    if (s->add) {
        _tile_loadd(0, c, stride);
        _tile_loadd(1, c + TILE_ROWS, stride);
        _tile_loadd(2, lower, stride);
        _tile_loadd(3, lower + TILE_ROWS, stride);
    } else {
        _tile_zero(0);
        _tile_zero(1);
        _tile_zero(2);
        _tile_zero(3);
    }
    for (size_t i = 0; i < s->n_squares; i++) square_step(s->a + i * SPLIT_SQUARE_BYTES, s->b + i * SPLIT_SQUARE_BYTES);
    _tile_stored(0, c, stride);
    _tile_stored(1, c + TILE_ROWS, stride);
    _tile_stored(2, lower, stride);
    _tile_stored(3, lower + TILE_ROWS, stride);
}

KERNEL_INLINE void copy_rows(const float *from, size_t ld_from, float *to, size_t ld_to, size_t n_rows, size_t n_cols)
{
    for (size_t row = 0; row < n_rows; row++) memcpy(to + row * ld_to, from + row * ld_from, n_cols * sizeof *to);
}

void split_block_amx(const split_block *s)
{
    _Alignas(64) float whole[SPLIT_SIDE * SPLIT_SIDE];
    if (s->n_rows == SPLIT_SIDE && s->n_cols == SPLIT_SIDE) {
        run_block(s, s->c, s->ldc);
        return;
    }
    memset(whole, 0, sizeof whole);
    if (s->add) copy_rows(s->c, s->ldc, whole, SPLIT_SIDE, s->n_rows, s->n_cols);
    run_block(s, whole, SPLIT_SIDE);
    copy_rows(whole, SPLIT_SIDE, s->c, s->ldc, s->n_rows, s->n_cols);
}
