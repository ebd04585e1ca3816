/* Sixteen float or int32 lanes, the same to read for AVX-512 (one register) and AVX2 (two): kernel bodies are written
 * once over these and give the same bits in both. Included only by files under kernels/avx2 and kernels/avx512.
 * min and max return the second operand where one is NaN, as the instructions do. */
#ifndef FINCH_TENSOR_KERNELS_V16_H
#define FINCH_TENSOR_KERNELS_V16_H

#include <immintrin.h>
#include <stddef.h>
#include <stdint.h>

#define KERNEL_INLINE static inline __attribute__((always_inline))
#if defined(__clang__)
#define KERNEL_UNROLL _Pragma("clang loop unroll(full)")
#elif defined __SANITIZE_ADDRESS__ /* gcc warns where the checks that it has put into a loop keep it from unrolling */
#define KERNEL_UNROLL
#else
#define KERNEL_UNROLL _Pragma("GCC unroll 32")
#endif

#if defined(__AVX512F__)

typedef __m512 v16;
typedef __m512i v16i;

KERNEL_INLINE __mmask16 v16_mask(size_t n) { return (__mmask16)((1u << n) - 1u); }
KERNEL_INLINE v16 v16_zero(void) { return _mm512_setzero_ps(); }
KERNEL_INLINE v16 v16_set(float x) { return _mm512_set1_ps(x); }
KERNEL_INLINE v16 v16_load(const float *p) { return _mm512_loadu_ps(p); }
/* The first n lanes, n < 16; the others are 0. */
KERNEL_INLINE v16 v16_load_part(const float *p, size_t n) { return _mm512_maskz_loadu_ps(v16_mask(n), p); }
KERNEL_INLINE void v16_store(float *p, v16 x) { _mm512_storeu_ps(p, x); }
KERNEL_INLINE void v16_store_part(float *p, size_t n, v16 x) { _mm512_mask_storeu_ps(p, v16_mask(n), x); }
/* Lanes from n on replaced by fill. */
KERNEL_INLINE v16 v16_keep(v16 x, size_t n, v16 fill) { return _mm512_mask_mov_ps(fill, v16_mask(n), x); }
KERNEL_INLINE v16 v16_add(v16 a, v16 b) { return _mm512_add_ps(a, b); }
KERNEL_INLINE v16 v16_sub(v16 a, v16 b) { return _mm512_sub_ps(a, b); }
KERNEL_INLINE v16 v16_mul(v16 a, v16 b) { return _mm512_mul_ps(a, b); }
KERNEL_INLINE v16 v16_div(v16 a, v16 b) { return _mm512_div_ps(a, b); }
KERNEL_INLINE v16 v16_fma(v16 a, v16 b, v16 c) { return _mm512_fmadd_ps(a, b, c); }
KERNEL_INLINE v16 v16_min(v16 a, v16 b) { return _mm512_min_ps(a, b); }
KERNEL_INLINE v16 v16_max(v16 a, v16 b) { return _mm512_max_ps(a, b); }
KERNEL_INLINE v16 v16_abs(v16 a) { return _mm512_abs_ps(a); }
KERNEL_INLINE v16i v16_to_int(v16 a) { return _mm512_cvtps_epi32(a); }
KERNEL_INLINE v16i v16_truncate(v16 a) { return _mm512_cvttps_epi32(a); }
KERNEL_INLINE v16 v16_from_int(v16i a) { return _mm512_cvtepi32_ps(a); }
/* 2^n, n in [-126, 127]. */
KERNEL_INLINE v16 v16_power_of_two(v16i n)
{
    return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_add_epi32(n, _mm512_set1_epi32(127)), 23));
}
/* table[index], index in [0, 16). */
typedef __m512 v16_table;
KERNEL_INLINE v16_table v16_table_load(const float *table) { return _mm512_loadu_ps(table); }
KERNEL_INLINE v16 v16_look_up(v16_table table, v16i index) { return _mm512_permutexvar_ps(index, table); }
KERNEL_INLINE v16i v16i_zero(void) { return _mm512_setzero_si512(); }
KERNEL_INLINE v16i v16i_set(int32_t x) { return _mm512_set1_epi32(x); }
KERNEL_INLINE v16i v16i_load(const int32_t *p) { return _mm512_loadu_si512(p); }
KERNEL_INLINE v16i v16i_sub(v16i a, v16i b) { return _mm512_sub_epi32(a, b); }
KERNEL_INLINE v16i v16i_add(v16i a, v16i b) { return _mm512_add_epi32(a, b); }
KERNEL_INLINE v16i v16i_mul(v16i a, v16i b) { return _mm512_mullo_epi32(a, b); }
/* Lanes to bytes: what is above 255 becomes 255, what is negative 0 (vpmovusdb alone would take that for large). */
KERNEL_INLINE void v16i_store_u8(uint8_t *p, v16i x)
{
    x = _mm512_max_epi32(x, _mm512_setzero_si512());
    _mm_storeu_si128((__m128i *)(void *)p, _mm512_cvtusepi32_epi8(x));
}
/* The same of 64 lanes. */
KERNEL_INLINE void v16i_store_u8_64(uint8_t *p, v16i a, v16i b, v16i c, v16i d)
{
    __m512i bytes = _mm512_packus_epi16(_mm512_packs_epi32(a, b),
                                        _mm512_packs_epi32(c, d)); /* fours of a, b, c, d in turn */
    __m512i order = _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
    _mm512_storeu_si512(p, _mm512_permutexvar_epi32(order, bytes));
}
KERNEL_INLINE float v16_first(v16 x) { return _mm512_cvtss_f32(x); }
/* Sum of the lanes as a tree: i + (i + 8), then + 4, + 2, + 1. */
KERNEL_INLINE float v16_sum(v16 x)
{
    __m256 a = _mm256_add_ps(_mm512_castps512_ps256(x), _mm512_extractf32x8_ps(x, 1));
    __m128 b = _mm_add_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps(a, 1));
    b = _mm_add_ps(b, _mm_movehl_ps(b, b));
    return _mm_cvtss_f32(_mm_add_ss(b, _mm_movehdup_ps(b)));
}
KERNEL_INLINE float v16_largest(v16 x)
{
    __m256 a = _mm256_max_ps(_mm512_castps512_ps256(x), _mm512_extractf32x8_ps(x, 1));
    __m128 b = _mm_max_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps(a, 1));
    b = _mm_max_ps(b, _mm_movehl_ps(b, b));
    return _mm_cvtss_f32(_mm_max_ss(b, _mm_movehdup_ps(b)));
}
KERNEL_INLINE float v16_least(v16 x)
{
    __m256 a = _mm256_min_ps(_mm512_castps512_ps256(x), _mm512_extractf32x8_ps(x, 1));
    __m128 b = _mm_min_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps(a, 1));
    b = _mm_min_ps(b, _mm_movehl_ps(b, b));
    return _mm_cvtss_f32(_mm_min_ss(b, _mm_movehdup_ps(b)));
}

#else /* AVX2 */

typedef struct v16 {
    __m256 lo, hi;
} v16;
typedef struct v16i {
    __m256i lo, hi;
} v16i;

/* All bits of the lanes below n, of lanes [from, from + 8). */
KERNEL_INLINE __m256i v16_mask(size_t n, int from)
{
    __m256i lane = _mm256_add_epi32(_mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7), _mm256_set1_epi32(from));
    return _mm256_cmpgt_epi32(_mm256_set1_epi32((int)n), lane);
}
KERNEL_INLINE v16 v16_make(__m256 lo, __m256 hi)
{
    v16 x = {lo, hi};
    return x;
}
KERNEL_INLINE v16i v16i_make(__m256i lo, __m256i hi)
{
    v16i x = {lo, hi};
    return x;
}
KERNEL_INLINE v16 v16_zero(void) { return v16_make(_mm256_setzero_ps(), _mm256_setzero_ps()); }
KERNEL_INLINE v16 v16_set(float x) { return v16_make(_mm256_set1_ps(x), _mm256_set1_ps(x)); }
KERNEL_INLINE v16 v16_load(const float *p) { return v16_make(_mm256_loadu_ps(p), _mm256_loadu_ps(p + 8)); }
KERNEL_INLINE v16 v16_load_part(const float *p, size_t n)
{
    return v16_make(_mm256_maskload_ps(p, v16_mask(n, 0)), _mm256_maskload_ps(p + 8, v16_mask(n, 8)));
}
KERNEL_INLINE void v16_store(float *p, v16 x)
{
    _mm256_storeu_ps(p, x.lo);
    _mm256_storeu_ps(p + 8, x.hi);
}
KERNEL_INLINE void v16_store_part(float *p, size_t n, v16 x)
{
    _mm256_maskstore_ps(p, v16_mask(n, 0), x.lo);
    _mm256_maskstore_ps(p + 8, v16_mask(n, 8), x.hi);
}
KERNEL_INLINE v16 v16_keep(v16 x, size_t n, v16 fill)
{
    return v16_make(_mm256_blendv_ps(fill.lo, x.lo, _mm256_castsi256_ps(v16_mask(n, 0))),
                    _mm256_blendv_ps(fill.hi, x.hi, _mm256_castsi256_ps(v16_mask(n, 8))));
}
#define V16_BOTH(name, op) \
    KERNEL_INLINE v16 name(v16 a, v16 b) { return v16_make(op(a.lo, b.lo), op(a.hi, b.hi)); }
V16_BOTH(v16_add, _mm256_add_ps)
V16_BOTH(v16_sub, _mm256_sub_ps)
V16_BOTH(v16_mul, _mm256_mul_ps)
V16_BOTH(v16_div, _mm256_div_ps)
V16_BOTH(v16_min, _mm256_min_ps)
V16_BOTH(v16_max, _mm256_max_ps)
#undef V16_BOTH
KERNEL_INLINE v16 v16_fma(v16 a, v16 b, v16 c)
{
    return v16_make(_mm256_fmadd_ps(a.lo, b.lo, c.lo), _mm256_fmadd_ps(a.hi, b.hi, c.hi));
}
KERNEL_INLINE v16 v16_abs(v16 a)
{
    __m256 sign = _mm256_set1_ps(-0.0f);
    return v16_make(_mm256_andnot_ps(sign, a.lo), _mm256_andnot_ps(sign, a.hi));
}
KERNEL_INLINE v16i v16_to_int(v16 a) { return v16i_make(_mm256_cvtps_epi32(a.lo), _mm256_cvtps_epi32(a.hi)); }
KERNEL_INLINE v16i v16_truncate(v16 a) { return v16i_make(_mm256_cvttps_epi32(a.lo), _mm256_cvttps_epi32(a.hi)); }
KERNEL_INLINE v16 v16_from_int(v16i a) { return v16_make(_mm256_cvtepi32_ps(a.lo), _mm256_cvtepi32_ps(a.hi)); }
KERNEL_INLINE v16 v16_power_of_two(v16i n)
{
    __m256i bias = _mm256_set1_epi32(127);
    return v16_make(_mm256_castsi256_ps(_mm256_slli_epi32(_mm256_add_epi32(n.lo, bias), 23)),
                    _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_add_epi32(n.hi, bias), 23)));
}
typedef v16 v16_table;
KERNEL_INLINE v16_table v16_table_load(const float *table) { return v16_load(table); }
KERNEL_INLINE __m256 v16_look_up_half(v16_table table, __m256i index)
{
    __m256 high = _mm256_castsi256_ps(_mm256_slli_epi32(index, 28)); /* bit 3 is the sign now */
    return _mm256_blendv_ps(_mm256_permutevar8x32_ps(table.lo, index), _mm256_permutevar8x32_ps(table.hi, index), high);
}
KERNEL_INLINE v16 v16_look_up(v16_table table, v16i index)
{
    return v16_make(v16_look_up_half(table, index.lo), v16_look_up_half(table, index.hi));
}
KERNEL_INLINE v16i v16i_zero(void) { return v16i_make(_mm256_setzero_si256(), _mm256_setzero_si256()); }
KERNEL_INLINE v16i v16i_set(int32_t x) { return v16i_make(_mm256_set1_epi32(x), _mm256_set1_epi32(x)); }
KERNEL_INLINE v16i v16i_load(const int32_t *p)
{
    return v16i_make(_mm256_loadu_si256((const __m256i *)(const void *)p),
                     _mm256_loadu_si256((const __m256i *)(const void *)(p + 8)));
}
KERNEL_INLINE v16i v16i_sub(v16i a, v16i b) { return v16i_make(_mm256_sub_epi32(a.lo, b.lo), _mm256_sub_epi32(a.hi, b.hi)); }
KERNEL_INLINE v16i v16i_add(v16i a, v16i b) { return v16i_make(_mm256_add_epi32(a.lo, b.lo), _mm256_add_epi32(a.hi, b.hi)); }
KERNEL_INLINE v16i v16i_mul(v16i a, v16i b)
{
    return v16i_make(_mm256_mullo_epi32(a.lo, b.lo), _mm256_mullo_epi32(a.hi, b.hi));
}
KERNEL_INLINE void v16i_store_u8(uint8_t *p, v16i x)
{
    __m256i words = _mm256_permute4x64_epi64(_mm256_packus_epi32(x.lo, x.hi), 0xd8);
    __m128i bytes = _mm_packus_epi16(_mm256_castsi256_si128(words), _mm256_extracti128_si256(words, 1));
    _mm_storeu_si128((__m128i *)(void *)p, bytes);
}
KERNEL_INLINE void v16i_store_u8_32(uint8_t *p, v16i a, v16i b)
{
    __m256i bytes = _mm256_packus_epi16(_mm256_packs_epi32(a.lo, a.hi), _mm256_packs_epi32(b.lo, b.hi));
    bytes = _mm256_permutevar8x32_epi32(bytes, _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7));
    _mm256_storeu_si256((__m256i *)(void *)p, bytes);
}
KERNEL_INLINE void v16i_store_u8_64(uint8_t *p, v16i a, v16i b, v16i c, v16i d)
{
    v16i_store_u8_32(p, a, b);
    v16i_store_u8_32(p + 32, c, d);
}
KERNEL_INLINE float v16_first(v16 x) { return _mm256_cvtss_f32(x.lo); }
#define V16_TREE(name, op, op_one)                                                   \
    KERNEL_INLINE float name(v16 x)                                                  \
    {                                                                                \
        __m256 a = _mm256_##op(x.lo, x.hi);                                          \
        __m128 b = _mm_##op(_mm256_castps256_ps128(a), _mm256_extractf128_ps(a, 1)); \
        b = _mm_##op(b, _mm_movehl_ps(b, b));                                        \
        return _mm_cvtss_f32(_mm_##op_one(b, _mm_movehdup_ps(b)));                   \
    }
V16_TREE(v16_sum, add_ps, add_ss)
V16_TREE(v16_largest, max_ps, max_ss)
V16_TREE(v16_least, min_ps, min_ss)
#undef V16_TREE

#endif
#endif
