/* The sixteen lanes of v16.h in plain C: the definition of each operation, for CPUs without AVX2 and for tests. */
#ifndef FINCH_TENSOR_KERNELS_V16_PLAIN_H
#define FINCH_TENSOR_KERNELS_V16_PLAIN_H

#include <math.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define KERNEL_INLINE static inline /* not forced: sanitizer builds turn inlining off (cmake/rooms.cmake) */
#define KERNEL_UNROLL

typedef struct v16 {
    float lane[16];
} v16;
typedef struct v16i {
    int32_t lane[16];
} v16i;

#define V16_EACH(type, expression)                                  \
    do {                                                            \
        type out;                                                   \
        for (size_t i = 0; i < 16; i++) out.lane[i] = (expression); \
        return out;                                                 \
    } while (0)

KERNEL_INLINE v16 v16_zero(void) { V16_EACH(v16, 0.0f); }
KERNEL_INLINE v16 v16_set(float x) { V16_EACH(v16, x); }
KERNEL_INLINE v16 v16_load(const float *p) { V16_EACH(v16, p[i]); }
KERNEL_INLINE v16 v16_load_part(const float *p, size_t n) { V16_EACH(v16, i < n ? p[i] : 0.0f); }
KERNEL_INLINE void v16_store(float *p, v16 x) { memcpy(p, x.lane, sizeof x.lane); }
KERNEL_INLINE void v16_store_part(float *p, size_t n, v16 x) { memcpy(p, x.lane, n * sizeof x.lane[0]); }
KERNEL_INLINE v16 v16_keep(v16 x, size_t n, v16 fill) { V16_EACH(v16, i < n ? x.lane[i] : fill.lane[i]); }
KERNEL_INLINE v16 v16_add(v16 a, v16 b) { V16_EACH(v16, a.lane[i] + b.lane[i]); }
KERNEL_INLINE v16 v16_sub(v16 a, v16 b) { V16_EACH(v16, a.lane[i] - b.lane[i]); }
KERNEL_INLINE v16 v16_mul(v16 a, v16 b) { V16_EACH(v16, a.lane[i] * b.lane[i]); }
KERNEL_INLINE v16 v16_div(v16 a, v16 b) { V16_EACH(v16, a.lane[i] / b.lane[i]); }
KERNEL_INLINE v16 v16_fma(v16 a, v16 b, v16 c) { V16_EACH(v16, fmaf(a.lane[i], b.lane[i], c.lane[i])); }
KERNEL_INLINE v16 v16_min(v16 a, v16 b) { V16_EACH(v16, a.lane[i] < b.lane[i] ? a.lane[i] : b.lane[i]); }
KERNEL_INLINE v16 v16_max(v16 a, v16 b) { V16_EACH(v16, a.lane[i] > b.lane[i] ? a.lane[i] : b.lane[i]); }
KERNEL_INLINE v16 v16_abs(v16 a) { V16_EACH(v16, fabsf(a.lane[i])); }
KERNEL_INLINE v16i v16_to_int(v16 a) { V16_EACH(v16i, (int32_t)lrintf(a.lane[i])); }
KERNEL_INLINE v16 v16_from_int(v16i a) { V16_EACH(v16, (float)a.lane[i]); }
KERNEL_INLINE v16 v16_power_of_two(v16i n)
{
    v16 out;
    for (size_t i = 0; i < 16; i++) {
        uint32_t bits = (uint32_t)(n.lane[i] + 127) << 23;
        memcpy(&out.lane[i], &bits, sizeof bits);
    }
    return out;
}
KERNEL_INLINE float v16_sum(v16 x)
{
    for (size_t half = 8; half > 0; half /= 2)
        for (size_t i = 0; i < half; i++) x.lane[i] += x.lane[i + half];
    return x.lane[0];
}
KERNEL_INLINE float v16_largest(v16 x)
{
    for (size_t half = 8; half > 0; half /= 2)
        for (size_t i = 0; i < half; i++) x.lane[i] = x.lane[i] > x.lane[i + half] ? x.lane[i] : x.lane[i + half];
    return x.lane[0];
}

#endif
