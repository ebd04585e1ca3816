/* Causal attention of one key head: all its query heads over one text, which may continue a prefix whose keys and values
 * are kept apart. Products are those of ops.h, so the bits do not depend on the instruction set; and they depend neither on
 * how many queries run together nor on whether the prefix was computed before or with the text. */
#ifndef FINCH_TENSOR_CAUSAL_H
#define FINCH_TENSOR_CAUSAL_H

#include "tensor/decoder_ops.h"
#include "tensor/ops.h"

/* Keys and values in the shape the products read: made once a text (or a prefix that many texts share), used by every query.
 * width       a head's, at most KERNEL_HEAD_MAX.
 * room        most rows; a multiple of KERNEL_PANEL.
 * keys        panels of 32 keys, [width, 32] each.
 * values      panels of 32 columns, [room, 32] each. */
typedef struct causal_keys {
    size_t width;
    size_t room;
    float *keys;
    float *values;
} causal_keys;

/* Floats of both parts for n_rows keys; room_of: the rows they have room for. */
size_t causal_keys_floats(size_t n_rows, size_t width);
size_t causal_room_of(size_t n_rows);
/* memory [causal_keys_floats], 64-byte aligned. */
causal_keys causal_keys_place(float *memory, size_t n_rows, size_t width);
/* Rows [first, first + n) from k and v, stride ld. */
void causal_keys_fill(causal_keys *c, size_t first, size_t n, const float *k, const float *v, size_t ld);
/* The same rows of another's; first is a multiple of KERNEL_PANEL. What is behind them in their last panel changes as well. */
void causal_keys_copy(causal_keys *c, const causal_keys *from, size_t first, size_t n);

/* out = softmax(q k^T) v for queries i at the places first + i: each sees the keys [0, place], of these the last `window`.
 * q         [n_queries, width] stride ldq, scaled already.
 * window    0: all keys before.
 * n_keys    at most first + n_queries; rows of keys that are filled.
 * scratch   causal_scratch_floats(n_keys).
 * Order: scores and outputs as kernel_product_f32, exponentials as decoder_ops' softmax, out is divided last. */
typedef struct causal_attention {
    const ops *products;
    const decoder_ops *rows;
    const causal_keys *keys;
    const float *q;
    size_t ldq;
    size_t first;
    size_t n_queries;
    size_t window;
    float *scratch;
    float *out;
    size_t ldo;
} causal_attention;

size_t causal_scratch_floats(size_t n_keys);
void causal_attend(const causal_attention *a);

#endif
