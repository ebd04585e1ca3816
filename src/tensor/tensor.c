/* Element types, shapes and the reading of a view as f32. Loads go through memcpy, because a file may place a tensor at
 * an address that is unaligned for its type; compilers turn that into plain (vector) loads. */
#include "tensor/tensor.h"

#include "base/mem.h"

#include <stdio.h>
#include <string.h>

static const struct {
    const char *name;
    size_t size_bytes;
} dtypes[TENSOR_DTYPE_COUNT] = {
#define TENSOR_DTYPE_ROW(name, size_bytes, file_name) [TENSOR_##name] = {file_name, size_bytes},
    TENSOR_DTYPE_LIST(TENSOR_DTYPE_ROW)
#undef TENSOR_DTYPE_ROW
};

size_t tensor_dtype_bytes(tensor_dtype dtype) { return dtypes[dtype].size_bytes; }

const char *tensor_dtype_name(tensor_dtype dtype) { return dtypes[dtype].name; }

bool tensor_dtype_find(const char *file_name, tensor_dtype *out)
{
    for (size_t i = 0; i < TENSOR_DTYPE_COUNT; i++) {
        if (strcmp(dtypes[i].name, file_name) != 0) continue;
        *out = (tensor_dtype)i;
        return true;
    }
    return false;
}

bool tensor_dtype_is_float(tensor_dtype dtype)
{
    return dtype == TENSOR_F32 || dtype == TENSOR_F16 || dtype == TENSOR_BF16 || dtype == TENSOR_F64;
}

bool tensor_shape_size(tensor_dtype dtype, const size_t *dims, size_t n_dims, size_t *n_items, size_t *size_bytes)
{
    size_t items = 1, size;
    for (size_t i = 0; i < n_dims; i++) {
        if (!size_mul(items, dims[i], &items)) return false;
    }
    if (!size_mul(items, tensor_dtype_bytes(dtype), &size)) return false;
    *n_items = items;
    *size_bytes = size;
    return true;
}

const char *tensor_shape_text(const size_t *dims, size_t n_dims, char out[TENSOR_SHAPE_TEXT_BYTES])
{
    /* 8 dimensions of at most 20 digits, with their separators, fit. */
    size_t at = 0;
    out[at++] = '[';
    for (size_t i = 0; i < n_dims; i++)
        at += (size_t)snprintf(out + at, TENSOR_SHAPE_TEXT_BYTES - at, i == 0 ? "%zu" : ", %zu", dims[i]);
    out[at++] = ']';
    out[at] = '\0';
    return out;
}

bool tensor_is_aligned(const tensor *t) { return (uintptr_t)t->data % tensor_dtype_bytes(t->dtype) == 0; }

/* ---- one item ------------------------------------------------------------------------------------------------- */

static inline uint32_t f32_bits(float value)
{
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    return bits;
}

static inline float f32_of(uint32_t bits)
{
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

static inline uint16_t bf16_of(float value)
{
    uint32_t bits = f32_bits(value);
    uint32_t rounded = (bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16;
    uint32_t quiet = (bits >> 16) | 0x40u; /* a NaN whose payload sits in the low half must not become infinity */
    return (uint16_t)((bits & 0x7fffffffu) > 0x7f800000u ? quiet : rounded);
}

/* Three ranges, all computed and one picked, so that the loop vectorises. The subnormal range lets the adder round:
 * a value below 2^-14 plus 0.5 has its last mantissa bit at 2^-24, the step of f16 subnormals. */
static inline uint16_t f16_of(float value)
{
    uint32_t all = f32_bits(value);
    uint32_t sign = (all >> 16) & 0x8000u;
    uint32_t bits = all & 0x7fffffffu;
    uint32_t special = bits > 0x7f800000u ? 0x7e00u | ((bits >> 13) & 0x3ffu) : 0x7c00u;
    uint32_t subnormal = f32_bits(f32_of(bits) + 0.5f) - 0x3f000000u;
    uint32_t normal = (bits - (112u << 23) + 0xfffu + ((bits >> 13) & 1u)) >> 13;
    uint32_t magnitude = bits >= 0x47800000u ? special : bits < 0x38800000u ? subnormal : normal;
    return (uint16_t)(sign | magnitude);
}

static inline float f32_of_f16(uint16_t half)
{
    uint32_t sign = (uint32_t)(half & 0x8000u) << 16;
    uint32_t bits = (uint32_t)(half & 0x7fffu) << 13;
    uint32_t exponent = bits & 0x0f800000u;
    uint32_t normal = bits + (112u << 23);
    uint32_t special = bits + (224u << 23);
    /* 2^-14 * (1 + m) - 2^-14 is the subnormal 2^-14 * m, exactly. */
    uint32_t subnormal = f32_bits(f32_of(bits + (113u << 23)) - f32_of(113u << 23));
    return f32_of(sign | (exponent == 0x0f800000u ? special : exponent == 0 ? subnormal : normal));
}

static inline uint16_t load_u16(const unsigned char *at)
{
    uint16_t value;
    memcpy(&value, at, sizeof value);
    return value;
}

/* ---- many ----------------------------------------------------------------------------------------------------- */

void tensor_bf16_from_f32(const float *restrict in, uint16_t *restrict out, size_t n)
{
    for (size_t i = 0; i < n; i++) out[i] = bf16_of(in[i]);
}

void tensor_f16_from_f32(const float *restrict in, uint16_t *restrict out, size_t n)
{
    for (size_t i = 0; i < n; i++) out[i] = f16_of(in[i]);
}

static void read_bf16(const unsigned char *restrict in, float *restrict out, size_t n)
{
    for (size_t i = 0; i < n; i++) out[i] = f32_of((uint32_t)load_u16(in + 2 * i) << 16);
}

static void read_f16(const unsigned char *restrict in, float *restrict out, size_t n)
{
    for (size_t i = 0; i < n; i++) out[i] = f32_of_f16(load_u16(in + 2 * i));
}

static void read_f64(const unsigned char *restrict in, float *restrict out, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        double value;
        memcpy(&value, in + 8 * i, sizeof value);
        out[i] = (float)value;
    }
}

void tensor_f32_from_bf16(const uint16_t *in, float *out, size_t n) { read_bf16((const unsigned char *)in, out, n); }

void tensor_f32_from_f16(const uint16_t *in, float *out, size_t n) { read_f16((const unsigned char *)in, out, n); }

finch_status tensor_to_f32(const tensor *t, float *out, finch_error *err)
{
    if (t->n_items == 0) return FINCH_OK;
    switch (t->dtype) {
    case TENSOR_F32: memcpy(out, t->data, t->size_bytes); return FINCH_OK;
    case TENSOR_BF16: read_bf16(t->data, out, t->n_items); return FINCH_OK;
    case TENSOR_F16: read_f16(t->data, out, t->n_items); return FINCH_OK;
    case TENSOR_F64: read_f64(t->data, out, t->n_items); return FINCH_OK;
    default:
        return finch_fail(err, FINCH_E_DATA, "the tensor %s holds %s items where floating-point ones are needed", t->name,
                          tensor_dtype_name(t->dtype));
    }
}
