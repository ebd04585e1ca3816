/* The definitions of the products over blocks. */
#include "tensor/gguf_blocks.h"
#include "tensor/kernels/block_kernels.h"
#include "tensor/tensor.h"

#include <math.h>
#include <string.h>

/* Bits of a magnitude rise with it, and a NaN's are above infinity's: none is lost among others. */
static float largest_of(const float *x, size_t n)
{
    uint32_t most = 0;
    float out;
    for (size_t i = 0; i < n; i++) {
        uint32_t bits;
        memcpy(&bits, x + i, sizeof bits);
        bits &= 0x7fffffffu;
        if (bits > most) most = bits;
    }
    memcpy(&out, &most, sizeof out);
    return out;
}

static void quantize_block(const float *x, size_t n, const block_rows *to, size_t at)
{
    float largest = largest_of(x, n), inverse = largest > BLOCK_LEAST ? 127.0f / largest : 0.0f;
    bool finite = isfinite(largest);
    int32_t sums[BLOCK_PARTS] = {0, 0};
    for (size_t i = 0; i < BLOCK_ITEMS; i++) {
        long value = i < n && finite ? lrintf(x[i] * inverse) : 0;
        to->q[at * BLOCK_ITEMS + i] = (int8_t)(value > 127 ? 127 : value < -127 ? -127 : value);
        sums[i / (BLOCK_ITEMS / BLOCK_PARTS)] += to->q[at * BLOCK_ITEMS + i];
    }
    to->scale[at] = largest / 127.0f;
    to->start[at] = -BLOCK_ZERO * (sums[0] + sums[1]);
    if (to->part_start != NULL)
        for (size_t i = 0; i < BLOCK_PARTS; i++) to->part_start[at * BLOCK_PARTS + i] = -BLOCK_ZERO * sums[i];
    if (to->mass != NULL) to->mass[at] = to->scale[at] * (float)(sums[0] + sums[1]);
}

static void block_quantize_scalar(const block_quantize *p)
{
    for (size_t row = 0; row < p->to->n_rows; row++)
        for (size_t b = 0; b < p->to->n_blocks; b++) {
            size_t from = b * BLOCK_ITEMS, left = p->width - from;
            quantize_block(p->x + row * p->ldx + from, left < BLOCK_ITEMS ? left : BLOCK_ITEMS, p->to,
                           row * p->to->n_blocks + b);
        }
}

/* Some blocks of an output: what they hold, whatever the type. */
typedef struct line_blocks {
    size_t n; /* blocks of 32 in one of the type's */
    int8_t items[GGUF_BLOCK_ITEMS_MAX];
    float scale[GGUF_BLOCK_SCALES_MAX], low[GGUF_BLOCK_SCALES_MAX];
    size_t n_parts;
    bool has_low;
} line_blocks;

static void take_line(const block_lines *p, size_t output, size_t b, line_blocks *out)
{
    if (p->type == BLOCK_INT8) {
        out->n = 1;
        memcpy(out->items, p->at[output] + (p->first_block + b) * BLOCK_ITEMS, BLOCK_ITEMS);
        return;
    }
    const gguf_block *type = gguf_block_find((uint32_t)p->type);
    out->n = type->n_items / BLOCK_ITEMS;
    out->n_parts = type->n_scaled < BLOCK_ITEMS ? BLOCK_PARTS : 1;
    out->has_low = type->has_low;
    type->take(p->at[output] + (p->first_block + b) / out->n * type->size_bytes, out->items, out->scale, out->low);
}

static void block_shape_scalar(const block_lines *p, uint8_t *items)
{
    line_blocks line = {.n = 1};
    for (size_t j = 0; j < KERNEL_PANEL; j++)
        for (size_t b = 0; b < p->n_blocks; b += line.n) {
            take_line(p, j, b, &line);
            for (size_t k = 0; k < line.n * BLOCK_ITEMS; k++) {
                size_t group = b * BLOCK_ITEMS / BLOCK_GROUP + k / BLOCK_GROUP;
                items[(group * KERNEL_PANEL + j) * BLOCK_GROUP + k % BLOCK_GROUP] = (uint8_t)(line.items[k] + BLOCK_ZERO);
            }
        }
}

static void block_scales_scalar(const block_lines *p, float *scale, float *low)
{
    line_blocks line = {.n = 1};
    for (size_t j = 0; j < KERNEL_PANEL && p->type != BLOCK_INT8; j++)
        for (size_t b = 0; b < p->n_blocks; b += line.n) {
            take_line(p, j, b, &line);
            for (size_t i = 0; i < line.n * line.n_parts; i++)
                scale[(b * line.n_parts + i) * KERNEL_PANEL + j] = line.scale[i];
            for (size_t i = 0; i < line.n && line.has_low; i++) low[(b + i) * KERNEL_PANEL + j] = line.low[i];
        }
}

/* The sum over items [from, to) of a block with column j. */
static int32_t block_dot(const int8_t *q, const uint8_t *items, size_t from, size_t to, size_t j)
{
    int32_t sum = 0;
    for (size_t k = from; k < to; k++)
        sum += (int32_t)q[k] * (int32_t)items[(k / BLOCK_GROUP * KERNEL_PANEL + j) * BLOCK_GROUP + k % BLOCK_GROUP];
    return sum;
}

static void block_multiply_scalar(const block_multiply *p)
{
    const block_rows *a = p->a;
    size_t part = BLOCK_ITEMS / p->n_parts;
    for (size_t r = 0; r < a->n_rows; r++)
        for (size_t j = 0; j < p->n_cols; j++) {
            float sum = p->add ? p->c[r * p->ldc + j] : 0.0f;
            for (size_t b = 0; b < p->n_blocks; b++) {
                size_t at = r * a->n_blocks + p->first_block + b;
                const uint8_t *items = p->items + b * BLOCK_ITEMS * KERNEL_PANEL;
                for (size_t i = 0; i < p->n_parts; i++) {
                    int32_t start = p->n_parts == 1 ? a->start[at] : a->part_start[at * BLOCK_PARTS + i];
                    int32_t whole = start + block_dot(a->q + at * BLOCK_ITEMS, items, i * part, (i + 1) * part, j);
                    sum = fmaf((float)whole, p->scale[(b * p->n_parts + i) * KERNEL_PANEL + j] * a->scale[at], sum);
                }
                if (p->low != NULL) sum = fmaf(p->low[b * KERNEL_PANEL + j], a->mass[at], sum);
            }
            p->c[r * p->ldc + j] = sum;
        }
}

/* sum + block i of an output's, which is block b of the product, times row r. */
static float add_block(const block_multiply *p, size_t r, size_t b, const line_blocks *line, size_t i, float sum)
{
    const block_rows *a = p->a;
    size_t at = r * a->n_blocks + p->first_block + b, part = BLOCK_ITEMS / line->n_parts;
    for (size_t h = 0; h < line->n_parts; h++) {
        int32_t whole = 0;
        for (size_t k = h * part; k < (h + 1) * part; k++)
            whole += (int32_t)a->q[at * BLOCK_ITEMS + k] * (int32_t)line->items[i * BLOCK_ITEMS + k];
        sum = fmaf((float)whole, line->scale[i * line->n_parts + h] * a->scale[at], sum);
    }
    return line->has_low ? fmaf(line->low[i], a->mass[at], sum) : sum;
}

static void block_few_scalar(const block_lines *lines, const block_multiply *p)
{
    line_blocks line = {.n = 1, .n_parts = 1};
    for (size_t j = 0; j < p->n_cols; j++) {
        for (size_t r = 0; r < p->a->n_rows && !p->add; r++) p->c[r * p->ldc + j] = 0.0f;
        for (size_t b = 0; b < p->n_blocks; b += line.n) {
            take_line(lines, j, b, &line);
            if (lines->type == BLOCK_INT8) line.scale[0] = p->scale[b * KERNEL_PANEL + j];
            for (size_t i = 0; i < line.n; i++)
                for (size_t r = 0; r < p->a->n_rows; r++) {
                    float *c = p->c + (r * p->ldc + j);
                    *c = add_block(p, r, b + i, &line, i, *c);
                }
        }
    }
}

const block_ops block_ops_scalar = {
    "scalar", block_quantize_scalar, block_shape_scalar, block_scales_scalar, block_multiply_scalar, block_few_scalar};
