/* Blocks of whole numbers with their scales; as floats, item * scale (+ low) has the bits of ggml's dequantize_row_*. */
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

/* Four-bit items less `zero`. */
static void items_of_halves(const unsigned char *in, int zero, int8_t *items)
{
    for (size_t j = 0; j < 16; j++) {
        items[j] = (int8_t)((in[j] & 15) - zero);
        items[j + 16] = (int8_t)((in[j] >> 4) - zero);
    }
}

/* Five-bit items less `zero`: the fifth bits of all 32 lie in one word. */
static void items_of_fives(const unsigned char *in, uint32_t high, int zero, int8_t *items)
{
    items_of_halves(in, zero, items);
    for (size_t j = 0; j < 32; j++) items[j] = (int8_t)(items[j] + (int)(high >> j & 1u) * 16);
}

static void take_q4_0(const unsigned char *in, int8_t *items, float *scale, float *low)
{
    (void)low;
    *scale = half_at(in);
    items_of_halves(in + 2, 8, items);
}

static void take_q4_1(const unsigned char *in, int8_t *items, float *scale, float *low)
{
    *scale = half_at(in);
    *low = half_at(in + 2);
    items_of_halves(in + 4, 0, items);
}

static void take_q5_0(const unsigned char *in, int8_t *items, float *scale, float *low)
{
    (void)low;
    *scale = half_at(in);
    items_of_fives(in + 6, u32_at(in + 2), 16, items);
}

static void take_q5_1(const unsigned char *in, int8_t *items, float *scale, float *low)
{
    *scale = half_at(in);
    *low = half_at(in + 2);
    items_of_fives(in + 8, u32_at(in + 4), 0, items);
}

static void take_q8_0(const unsigned char *in, int8_t *items, float *scale, float *low)
{
    (void)low;
    *scale = half_at(in);
    memcpy(items, in + 2, 32);
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
static void take_k_groups(const unsigned char *in, const unsigned char *high, const unsigned char *at, int8_t *items,
                          float *scale, float *low)
{
    const float d = half_at(in), least = half_at(in + 2);
    for (size_t g = 0; g < 8; g++, items += 32) {
        unsigned step, minimum;
        scale_and_minimum(g, in + 4, &step, &minimum);
        scale[g] = d * (float)step;
        low[g] = -(least * (float)minimum);
        for (size_t l = 0; l < 32; l++) {
            unsigned item = g % 2 == 0 ? at[l] & 15u : (unsigned)at[l] >> 4;
            if (high != NULL) item += (high[l] >> g & 1u) << 4;
            items[l] = (int8_t)item;
        }
        at += g % 2 * 32;
    }
}

static void take_q4_k(const unsigned char *in, int8_t *items, float *scale, float *low)
{
    take_k_groups(in, NULL, in + 16, items, scale, low);
}

static void take_q5_k(const unsigned char *in, int8_t *items, float *scale, float *low)
{
    take_k_groups(in, in + 16, in + 48, items, scale, low);
}

/* 128 items: low four bits in 64 bytes, high two bits in 32, a signed scale for each 16. */
static void take_q6_k_half(const unsigned char *four, const unsigned char *two, int8_t *items)
{
    for (size_t quarter = 0; quarter < 4; quarter++)
        for (size_t l = 0; l < 32; l++) {
            const unsigned byte = four[l + quarter % 2 * 32];
            const unsigned bits = quarter < 2 ? byte & 15u : byte >> 4;
            items[quarter * 32 + l] = (int8_t)((int)(bits | (two[l] >> 2 * quarter & 3u) << 4) - 32);
        }
}

static void take_q6_k(const unsigned char *in, int8_t *items, float *scale, float *low)
{
    (void)low;
    const float d = half_at(in + 208);
    for (size_t g = 0; g < 16; g++) scale[g] = d * (float)(int8_t)in[192 + g];
    take_q6_k_half(in, in + 128, items);
    take_q6_k_half(in + 64, in + 160, items + 128);
}

/* ---- the table --------------------------------------------------------------------------------------------------- */

/*   of floats: how they are read      of whole numbers: how, items of a scale, whether they have a minimum */
#define READ_F32 read_f32, NULL, 0, false
#define READ_F16 read_f16, NULL, 0, false
#define READ_BF16 read_bf16, NULL, 0, false
#define READ_Q4_0 NULL, take_q4_0, 32, false
#define READ_Q4_1 NULL, take_q4_1, 32, true
#define READ_Q5_0 NULL, take_q5_0, 32, false
#define READ_Q5_1 NULL, take_q5_1, 32, true
#define READ_Q8_0 NULL, take_q8_0, 32, false
#define READ_Q4_K NULL, take_q4_k, 32, true
#define READ_Q5_K NULL, take_q5_k, 32, true
#define READ_Q6_K NULL, take_q6_k, 16, false

static const gguf_block blocks[] = {
#define BLOCK(name, id, items, size_bytes) [id] = {#name, items, size_bytes, READ_##name},
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

const gguf_block *gguf_block_of(const gguf_tensor *t) { return &blocks[t->type]; }

static void items_to_f32(const gguf_block *b, const unsigned char *in, size_t n_blocks, float *out)
{
    int8_t items[GGUF_BLOCK_ITEMS_MAX];
    float scale[GGUF_BLOCK_SCALES_MAX], low[GGUF_BLOCK_SCALES_MAX];
    for (; n_blocks-- > 0; in += b->size_bytes) {
        b->take(in, items, scale, low);
        for (size_t i = 0; i < b->n_items; i += b->n_scaled, out += b->n_scaled) {
            const float step = scale[i / b->n_scaled], base = low[i / b->n_scaled];
            for (size_t k = 0; k < b->n_scaled && b->has_low; k++) out[k] = step * (float)items[i + k] + base;
            for (size_t k = 0; k < b->n_scaled && !b->has_low; k++) out[k] = step * (float)items[i + k];
        }
    }
}

finch_status gguf_to_f32(const gguf_tensor *t, size_t first, size_t n, float *out, finch_error *err)
{
    const gguf_block *block = &blocks[t->type];
    if (first > t->n_items || n > t->n_items - first)
        return finch_fail(err, FINCH_E_USAGE, "items %zu to %zu of the tensor %.200s, which has %zu", first, first + n,
                          t->name, t->n_items);
    if (first % block->n_items != 0 || n % block->n_items != 0)
        return finch_fail(err, FINCH_E_USAGE, "items %zu to %zu of the tensor %.200s cut a block of %s", first, first + n,
                          t->name, block->name);
    const unsigned char *in = t->data + first / block->n_items * block->size_bytes;
    if (block->to_f32 != NULL) block->to_f32(in, n / block->n_items, out);
    else items_to_f32(block, in, n / block->n_items, out);
    return FINCH_OK;
}
