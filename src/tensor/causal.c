#include "tensor/causal.h"

#include "tensor/kernels/constants.h"

#include <string.h>

static size_t round_up(size_t n, size_t to) { return (n + to - 1) / to * to; }

size_t causal_room_of(size_t n_rows) { return round_up(n_rows, KERNEL_PANEL); }

size_t causal_keys_floats(size_t n_rows, size_t width)
{
    return causal_room_of(n_rows) * (width + round_up(width, KERNEL_PANEL));
}

causal_keys causal_keys_place(float *memory, size_t n_rows, size_t width)
{
    size_t room = causal_room_of(n_rows);
    return (causal_keys){width, room, memory, memory + room * width};
}

static void fill_key(causal_keys *c, size_t row, const float *k)
{
    float *panel = c->keys + row / KERNEL_PANEL * KERNEL_PANEL * c->width + row % KERNEL_PANEL;
    for (size_t d = 0; d < c->width; d++) panel[d * KERNEL_PANEL] = k[d];
}

static void fill_value(causal_keys *c, size_t row, const float *v)
{
    for (size_t d = 0; d < c->width; d += KERNEL_PANEL) {
        size_t n = c->width - d < KERNEL_PANEL ? c->width - d : KERNEL_PANEL;
        float *to = c->values + d * c->room + row * KERNEL_PANEL;
        memcpy(to, v + d, n * sizeof *to);
        memset(to + n, 0, (KERNEL_PANEL - n) * sizeof *to);
    }
}

void causal_keys_fill(causal_keys *c, size_t first, size_t n, const float *k, const float *v, size_t ld)
{
    for (size_t i = 0; i < n; i++) {
        fill_key(c, first + i, k + i * ld);
        fill_value(c, first + i, v + i * ld);
    }
}

void causal_keys_copy(causal_keys *c, const causal_keys *from, size_t first, size_t n)
{
    size_t width = c->width;
    memcpy(c->keys + first * width, from->keys + first * width, causal_room_of(n) * width * sizeof *c->keys);
    for (size_t d = 0; d < width; d += KERNEL_PANEL)
        memcpy(c->values + d * c->room + first * KERNEL_PANEL, from->values + d * from->room + first * KERNEL_PANEL,
               n * KERNEL_PANEL * sizeof *c->values);
}

size_t causal_scratch_floats(size_t n_keys) { return ATTENTION_QUERIES * causal_room_of(n_keys); }

/* Queries [at, at + n) of a: the panels of keys that any of them sees, from `begin`. */
static void attend_block(const causal_attention *a, size_t at, size_t n)
{
    const causal_keys *c = a->keys;
    size_t place = a->first + at, end = place + n, last = causal_room_of(end);
    size_t begin = a->window == 0 || place + 1 < a->window ? 0 : (place + 1 - a->window) / KERNEL_PANEL * KERNEL_PANEL;
    size_t ld = last - begin;
    float factor[ATTENTION_QUERIES];
    a->products->product_f32(&(kernel_product_f32){.a = a->q + at * a->ldq,
                                                   .lda = a->ldq,
                                                   .n_rows = n,
                                                   .k = c->width,
                                                   .b = c->keys + begin * c->width,
                                                   .ldb = KERNEL_PANEL,
                                                   .panel_stride = KERNEL_PANEL * c->width,
                                                   .n_cols = end - begin,
                                                   .c = a->scratch,
                                                   .ldc = ld});
    for (size_t i = 0; i < n; i++) {
        size_t own = place + i + 1, from = a->window == 0 || own < a->window ? 0 : own - a->window;
        float *row = a->scratch + i * ld;
        factor[i] = a->rows->softmax(row, from - begin, own - begin);
        for (size_t j = round_up(own - begin, 16); j < end - begin; j++) row[j] = 0.0f;
    }
    a->products->product_f32(&(kernel_product_f32){.a = a->scratch,
                                                   .lda = ld,
                                                   .n_rows = n,
                                                   .k = end - begin,
                                                   .b = c->values + begin * KERNEL_PANEL,
                                                   .ldb = KERNEL_PANEL,
                                                   .panel_stride = KERNEL_PANEL * c->room,
                                                   .n_cols = c->width,
                                                   .c = a->out + at * a->ldo,
                                                   .ldc = a->ldo});
    for (size_t i = 0; i < n; i++) {
        float *out = a->out + (at + i) * a->ldo;
        for (size_t d = 0; d < c->width; d++) out[d] *= factor[i];
    }
}

void causal_attend(const causal_attention *a)
{
    for (size_t at = 0; at < a->n_queries; at += ATTENTION_QUERIES)
        attend_block(a, at, a->n_queries - at < ATTENTION_QUERIES ? a->n_queries - at : ATTENTION_QUERIES);
}
