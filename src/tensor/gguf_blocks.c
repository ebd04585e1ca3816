/* Every function here is ggml's dequantize_row_* of the type, in the order of its operations, so that the bits agree. */
#include "tensor/gguf_blocks.h"

#include "tensor/tensor.h"

#include <string.h>

static float half_at(const unsigned char *at)
{
    uint16_t bits;
    float value;
    memcpy(&bits, at, sizeof bits);
    tensor_f32_from_f16(&bits, &value, 1);
    return value;
}

static uint32_t u32_at(const unsigned char *at)
{
    uint32_t value;
    memcpy(&value, at, sizeof value);
    return value;
}

/* ---- plain types ------------------------------------------------------------------------------------------------- */

static void read_f32(const unsigned char *in, size_t n_blocks, float *out) { memcpy(out, in, n_blocks * sizeof *out); }

static void read_f16(const unsigned char *in, size_t n_blocks, float *out)
{
    for (size_t i = 0; i < n_blocks; i++) out[i] = half_at(in + 2 * i);
}

static void read_bf16(const unsigned char *in, size_t n_blocks, float *out)
{
    for (size_t i = 0; i < n_blocks; i++) {
        uint16_t bits;
        memcpy(&bits, in + 2 * i, sizeof bits);
        tensor_f32_from_bf16(&bits, out + i, 1);
    }
}

/* ---- blocks of 32: a scale, perhaps a minimum, then the items; of four-bit ones the low halves come first ------------ */

static void read_q4_0(const unsigned char *in, size_t n_blocks, float *out)
{
    for (; n_blocks-- > 0; in += 18, out += 32) {
        const float d = half_at(in);
        for (size_t j = 0; j < 16; j++) {
            out[j] = (float)((in[2 + j] & 15) - 8) * d;
            out[j + 16] = (float)((in[2 + j] >> 4) - 8) * d;
        }
    }
}

static void read_q4_1(const unsigned char *in, size_t n_blocks, float *out)
{
    for (; n_blocks-- > 0; in += 20, out += 32) {
        const float d = half_at(in), m = half_at(in + 2);
        for (size_t j = 0; j < 16; j++) {
            out[j] = (float)(in[4 + j] & 15) * d + m;
            out[j + 16] = (float)(in[4 + j] >> 4) * d + m;
        }
    }
}

/* The fifth bits of all 32 items lie in one word. */
static int five_bits(unsigned low, uint32_t high, size_t item) { return (int)(low | (high >> item & 1u) << 4); }

static void read_q5_0(const unsigned char *in, size_t n_blocks, float *out)
{
    for (; n_blocks-- > 0; in += 22, out += 32) {
        const float d = half_at(in);
        const uint32_t high = u32_at(in + 2);
        for (size_t j = 0; j < 16; j++) {
            out[j] = (float)(five_bits(in[6 + j] & 15u, high, j) - 16) * d;
            out[j + 16] = (float)(five_bits(in[6 + j] >> 4, high, j + 16) - 16) * d;
        }
    }
}

static void read_q5_1(const unsigned char *in, size_t n_blocks, float *out)
{
    for (; n_blocks-- > 0; in += 24, out += 32) {
        const float d = half_at(in), m = half_at(in + 2);
        const uint32_t high = u32_at(in + 4);
        for (size_t j = 0; j < 16; j++) {
            out[j] = (float)five_bits(in[8 + j] & 15u, high, j) * d + m;
            out[j + 16] = (float)five_bits(in[8 + j] >> 4, high, j + 16) * d + m;
        }
    }
}

static void read_q8_0(const unsigned char *in, size_t n_blocks, float *out)
{
    for (; n_blocks-- > 0; in += 34, out += 32) {
        const float d = half_at(in);
        for (size_t j = 0; j < 32; j++) out[j] = (float)(int8_t)in[2 + j] * d;
    }
}

/* ---- blocks of 256: eight or sixteen groups, each with its own small scale ------------------------------------------- */

/* The j-th of eight pairs of six-bit scale and minimum in twelve bytes. */
static void scale_and_minimum(size_t j, const unsigned char *packed, unsigned *scale, unsigned *minimum)
{
    if (j < 4) {
        *scale = packed[j] & 63u;
        *minimum = packed[j + 4] & 63u;
    } else {
        *scale = (packed[j + 4] & 15u) | (unsigned)(packed[j - 4] >> 6) << 4;
        *minimum = (unsigned)(packed[j + 4] >> 4) | (unsigned)(packed[j] >> 6) << 4;
    }
}

/* Groups of 32: 64 items come from 32 bytes, the low halves first. high: 32 bytes with bit g for group g; NULL: none. */
static void read_k_groups(const unsigned char *in, const unsigned char *high, const unsigned char *items, float *out)
{
    const float d = half_at(in), least = half_at(in + 2);
    for (size_t g = 0; g < 8; g++, out += 32) {
        unsigned scale, minimum;
        scale_and_minimum(g, in + 4, &scale, &minimum);
        const float step = d * (float)scale, base = least * (float)minimum;
        const unsigned char *at = items + g / 2 * 32;
        for (size_t l = 0; l < 32; l++) {
            unsigned item = g % 2 == 0 ? at[l] & 15u : (unsigned)at[l] >> 4;
            if (high != NULL) item += (high[l] >> g & 1u) << 4;
            out[l] = step * (float)item - base;
        }
    }
}

static void read_q4_k(const unsigned char *in, size_t n_blocks, float *out)
{
    for (; n_blocks-- > 0; in += 144, out += 256) read_k_groups(in, NULL, in + 16, out);
}

static void read_q5_k(const unsigned char *in, size_t n_blocks, float *out)
{
    for (; n_blocks-- > 0; in += 176, out += 256) read_k_groups(in, in + 16, in + 48, out);
}

/* 128 items: low four bits in 64 bytes, high two bits in 32, a signed scale for each 16. */
static void read_q6_k_half(const unsigned char *low, const unsigned char *high, const unsigned char *scales, float d,
                           float *out)
{
    for (size_t quarter = 0; quarter < 4; quarter++)
        for (size_t l = 0; l < 32; l++) {
            const unsigned byte = low[l + quarter % 2 * 32];
            const unsigned four = quarter < 2 ? byte & 15u : byte >> 4;
            const int item = (int)(four | (high[l] >> 2 * quarter & 3u) << 4) - 32;
            out[quarter * 32 + l] = d * (float)(int8_t)scales[quarter * 2 + l / 16] * (float)item;
        }
}

static void read_q6_k(const unsigned char *in, size_t n_blocks, float *out)
{
    for (; n_blocks-- > 0; in += 210, out += 256) {
        const float d = half_at(in + 208);
        read_q6_k_half(in, in + 128, in + 192, d, out);
        read_q6_k_half(in + 64, in + 160, in + 200, d, out + 128);
    }
}

/* ---- the table --------------------------------------------------------------------------------------------------- */

#define read_F32 read_f32
#define read_F16 read_f16
#define read_BF16 read_bf16
#define read_Q4_0 read_q4_0
#define read_Q4_1 read_q4_1
#define read_Q5_0 read_q5_0
#define read_Q5_1 read_q5_1
#define read_Q8_0 read_q8_0
#define read_Q4_K read_q4_k
#define read_Q5_K read_q5_k
#define read_Q6_K read_q6_k

static const gguf_block blocks[] = {
#define BLOCK(name, id, items, size_bytes) [id] = {#name, items, size_bytes, read_##name},
    GGUF_TYPE_LIST(BLOCK)
#undef BLOCK
};

static const char *const foreign[] = {
    [9] = "Q8_1",   [10] = "Q2_K",   [11] = "Q3_K",  [15] = "Q8_K",  [16] = "IQ2_XXS", [17] = "IQ2_XS", [18] = "IQ3_XXS",
    [19] = "IQ1_S", [20] = "IQ4_NL", [21] = "IQ3_S", [22] = "IQ2_S", [23] = "IQ4_XS",  [24] = "I8",     [25] = "I16",
    [26] = "I32",   [27] = "I64",    [28] = "F64",   [29] = "IQ1_M", [34] = "TQ1_0",   [35] = "TQ2_0",  [39] = "MXFP4",
};

const gguf_block *gguf_block_find(uint32_t id)
{
    return id < sizeof blocks / sizeof blocks[0] && blocks[id].name != NULL ? &blocks[id] : NULL;
}

const char *gguf_block_foreign_name(uint32_t id)
{
    return id < sizeof foreign / sizeof foreign[0] && foreign[id] != NULL ? foreign[id] : "unknown";
}

const char *gguf_block_names(void) { return "F32, F16, BF16, Q8_0, Q4_0, Q4_1, Q5_0, Q5_1, Q4_K, Q5_K, Q6_K"; }

const char *gguf_type_name(gguf_type type) { return blocks[type].name; }

finch_status gguf_to_f32(const gguf_tensor *t, size_t first, size_t n, float *out, finch_error *err)
{
    const gguf_block *block = &blocks[t->type];
    if (first > t->n_items || n > t->n_items - first)
        return finch_fail(err, FINCH_E_USAGE, "items %zu to %zu of the tensor %.200s, which has %zu", first, first + n,
                          t->name, t->n_items);
    if (first % block->n_items != 0 || n % block->n_items != 0)
        return finch_fail(err, FINCH_E_USAGE, "items %zu to %zu of the tensor %.200s cut a block of %s", first, first + n,
                          t->name, block->name);
    block->to_f32(t->data + first / block->n_items * block->size_bytes, n / block->n_items, out);
    return FINCH_OK;
}
