/* Transposing in registers, 16 x 16 at a time: pairs, fours, then 128-bit blocks twice. */
#ifndef FINCH_TENSOR_KERNELS_AVX512_TRANSPOSE_H
#define FINCH_TENSOR_KERNELS_AVX512_TRANSPOSE_H

#include "tensor/kernels/v16.h"

KERNEL_INLINE __m512 pair_low(__m512 a, __m512 b)
{
    return _mm512_castpd_ps(_mm512_unpacklo_pd(_mm512_castps_pd(a), _mm512_castps_pd(b)));
}

KERNEL_INLINE __m512 pair_high(__m512 a, __m512 b)
{
    return _mm512_castpd_ps(_mm512_unpackhi_pd(_mm512_castps_pd(a), _mm512_castps_pd(b)));
}

/* Rows x [16] to columns y [16]: y[c][r] = x[r][c]. */
KERNEL_INLINE void transpose_16(const __m512 x[16], __m512 y[16])
{
    __m512 t[16], u[16];
    KERNEL_UNROLL
    for (int i = 0; i < 16; i += 2) {
        t[i] = _mm512_unpacklo_ps(x[i], x[i + 1]);
        t[i + 1] = _mm512_unpackhi_ps(x[i], x[i + 1]);
    }
    KERNEL_UNROLL
    for (int i = 0; i < 16; i += 4) {
        u[i] = pair_low(t[i], t[i + 2]);
        u[i + 1] = pair_high(t[i], t[i + 2]);
        u[i + 2] = pair_low(t[i + 1], t[i + 3]);
        u[i + 3] = pair_high(t[i + 1], t[i + 3]);
    }
    /* u[4 g + c] holds, in block b, column 4 b + c of rows 4 g to 4 g + 3. */
    KERNEL_UNROLL
    for (int c = 0; c < 4; c++) {
        __m512 even_low = _mm512_shuffle_f32x4(u[c], u[4 + c], 0x88);       /* blocks 0, 2 of rows 0-3, 4-7 */
        __m512 odd_low = _mm512_shuffle_f32x4(u[c], u[4 + c], 0xdd);        /* blocks 1, 3 */
        __m512 even_high = _mm512_shuffle_f32x4(u[8 + c], u[12 + c], 0x88);
        __m512 odd_high = _mm512_shuffle_f32x4(u[8 + c], u[12 + c], 0xdd);
        y[c] = _mm512_shuffle_f32x4(even_low, even_high, 0x88);
        y[4 + c] = _mm512_shuffle_f32x4(odd_low, odd_high, 0x88);
        y[8 + c] = _mm512_shuffle_f32x4(even_low, even_high, 0xdd);
        y[12 + c] = _mm512_shuffle_f32x4(odd_low, odd_high, 0xdd);
    }
}

/* to[c * ld + r] = from[r * stride + c] for 16 rows and the first n_cols columns, 16 at most; rows from n_rows on count as 0. */
KERNEL_INLINE void transpose_block(const float *from, size_t stride, size_t n_rows, size_t n_cols, float *to, size_t ld)
{
    __m512 x[16], y[16];
    KERNEL_UNROLL
    for (size_t r = 0; r < 16; r++)
        x[r] = r >= n_rows    ? v16_zero()
               : n_cols >= 16 ? v16_load(from + r * stride)
                              : v16_load_part(from + r * stride, n_cols);
    transpose_16(x, y);
    KERNEL_UNROLL
    for (size_t c = 0; c < 16; c++)
        if (c < n_cols) v16_store(to + c * ld, y[c]);
}

#endif
