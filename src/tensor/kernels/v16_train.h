/* What training needs of sixteen lanes beyond v16.h: square roots, dropout's masks, bf16, Philox, and the CPU's switch
 * for subnormals. Included by kernels/train_body.h and, for bf16, kernels/rows_body.h. */
#ifndef FINCH_TENSOR_KERNELS_V16_TRAIN_H
#define FINCH_TENSOR_KERNELS_V16_TRAIN_H

#if defined(__AVX2__)
#include "tensor/kernels/v16.h"
#else
#include "tensor/kernels/v16_plain.h"
#if defined(__SSE__)
#include <xmmintrin.h>
#endif
#endif

/* n of 16 lanes, 16 allowed (v16.h's masks hold for it). */
#define V16_REST(n, at) ((n) - (at) < 16 ? (n) - (at) : 16)

/* v16_load_part, v16_store_part and v16_keep for n up to 16. Whole vectors take the plain instruction: a masked store takes
 * longer even of all lanes (with AVX2 on AMD, a dozen cycles each), and its value can not be forwarded to the next load. */
KERNEL_INLINE v16 v16_take(const float *p, size_t n) { return n >= 16 ? v16_load(p) : v16_load_part(p, n); }
KERNEL_INLINE void v16_put(float *p, size_t n, v16 x)
{
    if (n >= 16) v16_store(p, x);
    else v16_store_part(p, n, x);
}
KERNEL_INLINE v16 v16_fill(v16 x, size_t n, v16 fill) { return n >= 16 ? x : v16_keep(x, n, fill); }

#if defined(__SSE__)
typedef unsigned int v16_mode;
enum { V16_FLUSH = 0x8040 }; /* flush to zero, and read subnormals as zero */
KERNEL_INLINE v16_mode v16_flush_subnormals(void)
{
    v16_mode before = _mm_getcsr();
    _mm_setcsr(before | V16_FLUSH);
    return before;
}
KERNEL_INLINE void v16_mode_restore(v16_mode before) { _mm_setcsr(before); }
#else
typedef int v16_mode;
KERNEL_INLINE v16_mode v16_flush_subnormals(void) { return 0; }
KERNEL_INLINE void v16_mode_restore(v16_mode before) { (void)before; }
#endif

typedef struct v16_pair {
    v16i low, high;
} v16_pair;

#if defined(__AVX512F__)

KERNEL_INLINE v16 v16_sqrt(v16 x) { return _mm512_sqrt_ps(x); }
/* Lanes whose bit is 0 become 0. */
KERNEL_INLINE v16 v16_masked(v16 x, uint16_t bits) { return _mm512_maskz_mov_ps((__mmask16)bits, x); }
KERNEL_INLINE uint16_t v16_positive(v16 x) { return (uint16_t)_mm512_cmp_ps_mask(x, _mm512_setzero_ps(), _CMP_GT_OQ); }
/* Lanes of 32 bits whose upper half is 0. */
KERNEL_INLINE __m512i v16_bf16_bits(v16 x)
{
    __m512i bits = _mm512_castps_si512(x);
    __m512i odd = _mm512_and_si512(_mm512_srli_epi32(bits, 16), _mm512_set1_epi32(1));
    __m512i rounded = _mm512_srli_epi32(_mm512_add_epi32(bits, _mm512_add_epi32(odd, _mm512_set1_epi32(0x7fff))), 16);
    __mmask16 nan = _mm512_cmp_ps_mask(x, x, _CMP_UNORD_Q);
    return _mm512_mask_mov_epi32(rounded, nan, _mm512_or_si512(_mm512_srli_epi32(bits, 16), _mm512_set1_epi32(0x40)));
}
KERNEL_INLINE void v16_store_bf16(uint16_t *p, size_t n, v16 x)
{
    __m256i items = _mm512_cvtepi32_epi16(v16_bf16_bits(x));
    if (n >= 16) _mm256_storeu_si256((__m256i *)(void *)p, items); /* a masked store takes longer, even of all lanes */
    else _mm256_mask_storeu_epi16(p, v16_mask(n), items);
}
/* x rounded to bf16, as a float. */
KERNEL_INLINE v16 v16_round_bf16(v16 x) { return _mm512_castsi512_ps(_mm512_slli_epi32(v16_bf16_bits(x), 16)); }
KERNEL_INLINE v16_pair v16_multiply_wide(v16i x, uint32_t factor)
{
    __m512i f = _mm512_set1_epi32((int)factor);
    __m512i even = _mm512_mul_epu32(x, f);
    __m512i odd = _mm512_mul_epu32(_mm512_srli_epi64(x, 32), f);
    v16_pair out = {_mm512_mask_mov_epi32(even, 0xAAAA, _mm512_slli_epi64(odd, 32)),
                    _mm512_mask_mov_epi32(_mm512_srli_epi64(even, 32), 0xAAAA, odd)};
    return out;
}
KERNEL_INLINE v16i v16i_xor(v16i a, v16i b) { return _mm512_xor_si512(a, b); }
KERNEL_INLINE v16i v16i_low_half(v16i a) { return _mm512_and_si512(a, _mm512_set1_epi32(0xffff)); }
KERNEL_INLINE v16i v16i_high_half(v16i a) { return _mm512_srli_epi32(a, 16); }
KERNEL_INLINE uint16_t v16i_at_least(v16i a, int32_t limit)
{
    return (uint16_t)_mm512_cmpge_epi32_mask(a, _mm512_set1_epi32(limit));
}

#elif defined(__AVX2__)

KERNEL_INLINE v16 v16_sqrt(v16 x) { return v16_make(_mm256_sqrt_ps(x.lo), _mm256_sqrt_ps(x.hi)); }
KERNEL_INLINE __m256 v16_bits_half(uint32_t bits)
{
    __m256i each = _mm256_setr_epi32(1, 2, 4, 8, 16, 32, 64, 128);
    return _mm256_castsi256_ps(_mm256_cmpeq_epi32(_mm256_and_si256(_mm256_set1_epi32((int)bits), each), each));
}
KERNEL_INLINE v16 v16_masked(v16 x, uint16_t bits)
{
    return v16_make(_mm256_and_ps(x.lo, v16_bits_half(bits & 0xffu)),
                    _mm256_and_ps(x.hi, v16_bits_half((uint32_t)bits >> 8)));
}
KERNEL_INLINE uint16_t v16_positive(v16 x)
{
    __m256 zero = _mm256_setzero_ps();
    int lo = _mm256_movemask_ps(_mm256_cmp_ps(x.lo, zero, _CMP_GT_OQ));
    int hi = _mm256_movemask_ps(_mm256_cmp_ps(x.hi, zero, _CMP_GT_OQ));
    return (uint16_t)(lo | hi << 8);
}
KERNEL_INLINE __m256i v16_bf16_half(__m256 x)
{
    __m256i bits = _mm256_castps_si256(x);
    __m256i odd = _mm256_and_si256(_mm256_srli_epi32(bits, 16), _mm256_set1_epi32(1));
    __m256i rounded = _mm256_srli_epi32(_mm256_add_epi32(bits, _mm256_add_epi32(odd, _mm256_set1_epi32(0x7fff))), 16);
    __m256i quiet = _mm256_or_si256(_mm256_srli_epi32(bits, 16), _mm256_set1_epi32(0x40));
    return _mm256_blendv_epi8(rounded, quiet, _mm256_castps_si256(_mm256_cmp_ps(x, x, _CMP_UNORD_Q)));
}
KERNEL_INLINE v16 v16_round_bf16(v16 x)
{
    return v16_make(_mm256_castsi256_ps(_mm256_slli_epi32(v16_bf16_half(x.lo), 16)),
                    _mm256_castsi256_ps(_mm256_slli_epi32(v16_bf16_half(x.hi), 16)));
}
KERNEL_INLINE void v16_store_bf16(uint16_t *p, size_t n, v16 x)
{
    uint16_t all[16];
    __m256i packed = _mm256_permute4x64_epi64(_mm256_packus_epi32(v16_bf16_half(x.lo), v16_bf16_half(x.hi)), 0xd8);
    _mm256_storeu_si256((__m256i *)(void *)all, packed);
    if (n >= 16) _mm256_storeu_si256((__m256i *)(void *)p, packed);
    else __builtin_memcpy(p, all, n * sizeof *p);
}
KERNEL_INLINE void v16_multiply_wide_half(__m256i x, uint32_t factor, __m256i *low, __m256i *high)
{
    __m256i f = _mm256_set1_epi32((int)factor);
    __m256i even = _mm256_mul_epu32(x, f);
    __m256i odd = _mm256_mul_epu32(_mm256_srli_epi64(x, 32), f);
    *low = _mm256_blend_epi32(even, _mm256_slli_epi64(odd, 32), 0xAA);
    *high = _mm256_blend_epi32(_mm256_srli_epi64(even, 32), odd, 0xAA);
}
KERNEL_INLINE v16_pair v16_multiply_wide(v16i x, uint32_t factor)
{
    v16_pair out;
    v16_multiply_wide_half(x.lo, factor, &out.low.lo, &out.high.lo);
    v16_multiply_wide_half(x.hi, factor, &out.low.hi, &out.high.hi);
    return out;
}
KERNEL_INLINE v16i v16i_xor(v16i a, v16i b) { return v16i_make(_mm256_xor_si256(a.lo, b.lo), _mm256_xor_si256(a.hi, b.hi)); }
KERNEL_INLINE v16i v16i_low_half(v16i a)
{
    __m256i low = _mm256_set1_epi32(0xffff);
    return v16i_make(_mm256_and_si256(a.lo, low), _mm256_and_si256(a.hi, low));
}
KERNEL_INLINE v16i v16i_high_half(v16i a) { return v16i_make(_mm256_srli_epi32(a.lo, 16), _mm256_srli_epi32(a.hi, 16)); }
KERNEL_INLINE uint16_t v16i_at_least(v16i a, int32_t limit)
{
    __m256i below = _mm256_set1_epi32(limit - 1);
    int lo = _mm256_movemask_ps(_mm256_castsi256_ps(_mm256_cmpgt_epi32(a.lo, below)));
    int hi = _mm256_movemask_ps(_mm256_castsi256_ps(_mm256_cmpgt_epi32(a.hi, below)));
    return (uint16_t)(lo | hi << 8);
}

#else

KERNEL_INLINE v16 v16_sqrt(v16 x) { V16_EACH(v16, sqrtf(x.lane[i])); }
KERNEL_INLINE v16 v16_masked(v16 x, uint16_t bits) { V16_EACH(v16, (bits >> i & 1) != 0 ? x.lane[i] : 0.0f); }
KERNEL_INLINE uint16_t v16_positive(v16 x)
{
    uint32_t bits = 0;
    for (uint32_t i = 0; i < 16; i++) bits |= (uint32_t)(x.lane[i] > 0.0f) << i;
    return (uint16_t)bits;
}
KERNEL_INLINE void v16_store_bf16(uint16_t *p, size_t n, v16 x)
{
    for (size_t i = 0; i < n; i++) {
        uint32_t bits;
        memcpy(&bits, &x.lane[i], sizeof bits);
        bool nan = x.lane[i] != x.lane[i];
        p[i] = (uint16_t)(nan ? bits >> 16 | 0x40u : (bits + 0x7fffu + (bits >> 16 & 1u)) >> 16);
    }
}
KERNEL_INLINE v16_pair v16_multiply_wide(v16i x, uint32_t factor)
{
    v16_pair out;
    for (size_t i = 0; i < 16; i++) {
        uint64_t product = (uint64_t)(uint32_t)x.lane[i] * factor;
        out.low.lane[i] = (int32_t)(uint32_t)product;
        out.high.lane[i] = (int32_t)(uint32_t)(product >> 32);
    }
    return out;
}
KERNEL_INLINE v16i v16i_set(int32_t x) { V16_EACH(v16i, x); }
KERNEL_INLINE v16i v16i_load(const int32_t *p) { V16_EACH(v16i, p[i]); }
KERNEL_INLINE v16i v16i_xor(v16i a, v16i b) { V16_EACH(v16i, a.lane[i] ^ b.lane[i]); }
KERNEL_INLINE v16i v16i_low_half(v16i a) { V16_EACH(v16i, a.lane[i] & 0xffff); }
KERNEL_INLINE v16i v16i_high_half(v16i a) { V16_EACH(v16i, (int32_t)((uint32_t)a.lane[i] >> 16)); }
KERNEL_INLINE uint16_t v16i_at_least(v16i a, int32_t limit)
{
    uint32_t bits = 0;
    for (uint32_t i = 0; i < 16; i++) bits |= (uint32_t)(a.lane[i] >= limit) << i;
    return (uint16_t)bits;
}

#endif
#endif
