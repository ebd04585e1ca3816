/* What libfinch asks of libfinch_cuda.so: the module's table, plain C that both compilers read.
 *
 * The operators are the CPU's (ops.h, train_ops.h, decoder_ops.h), on packed texts as everywhere: rows are tokens, no padding.
 * Rules
 *  1. Pointers in the arguments are device memory of the context (alloc), unless it is said. Matrices are row-major; ld* is the distance
 *     of rows in items. The caller has checked what a kernel reads as an index, as far as it is not said.
 *  2. "T" is the argument's type: f32, or bf16 held in uint16_t. Sums and statistics are always f32; a result is rounded once.
 *  3. Every sum's order follows from shapes alone: the same call gives the same bits. There are no atomic additions.
 *  4. Calls begin in order on the context's one stream and return before they are done; wait returns after. One thread a context.
 *  5. A function returns 0, or another number with the reason in why [GPU_WHY_BYTES]. Nothing prints or ends the process.
 * The same sources also compile for the CPU (launch.h), as a module with the same table: that is what the tests here run. */
#ifndef FINCH_TENSOR_CUDA_TABLE_H
#define FINCH_TENSOR_CUDA_TABLE_H

#include <stddef.h>
#include <stdint.h>

enum {
    GPU_MODULE_VERSION = 1, /* raised with any change of this file */
    GPU_WHY_BYTES = 512,
    GPU_NAME_BYTES = 128,
    GPU_LEAST_CAPABILITY = 80, /* sm_80: bf16 tensor cores */
    GPU_IGNORE = -1            /* a target that counts for nothing */
};

typedef enum gpu_type { GPU_F32, GPU_BF16 } gpu_type;
/* How far the way to a GPU goes. */
typedef enum gpu_state {
    GPU_READY,
    GPU_NO_MODULE,
    GPU_WRONG_MODULE,
    GPU_NO_DRIVER,
    GPU_NO_DEVICE,
    GPU_OLD_DEVICE
} gpu_state;

typedef struct gpu_device {
    char name[GPU_NAME_BYTES];
    int capability; /* 80 is sm_80 */
    int n_multiprocessors;
    uint64_t memory_bytes;
    int driver, runtime; /* as CUDA counts its versions: 13000 is 13.0 */
} gpu_device;

typedef struct gpu_context gpu_context; /* a device, its stream, its pool of memory */

typedef enum gpu_norm_kind { GPU_LAYER_NORM, GPU_RMS_NORM } gpu_norm_kind;

/* s = x + residual; y = norm(s) * (gain + gain_offset) + bias + after. Layer norm: arXiv:1607.06450; RMS norm (no mean):
 * arXiv:1910.07467, Gemma's with gain_offset 1.
 * x, residual, after, y, sum  T [n_rows, width]; residual, bias (f32), after, sum, stats: NULL for none. y and sum may be x, residual or after.
 * sum    s, kept for the backward pass.      stats  f32 [n_rows, 2] mean (0 for RMS) and 1 / deviation. */
typedef struct gpu_norm {
    gpu_type type;
    gpu_norm_kind kind;
    uint32_t n_rows, width;
    const void *x, *residual, *after;
    const float *gain, *bias;
    float gain_offset, eps;
    void *y, *sum;
    float *stats;
} gpu_norm;

/* ds, the gradient of s, from dy, that of y. s and stats are the forward pass's; ds may be dy. */
typedef struct gpu_norm_back {
    gpu_type type;
    gpu_norm_kind kind;
    uint32_t n_rows, width;
    const void *dy, *s;
    const float *stats, *gain;
    float gain_offset;
    void *ds;
} gpu_norm_back;

/* Column sums: of dy (a bias's gradient), and of dy * (s - mean) / deviation (a gain's). They are added to what is there.
 * dy, s  T [n_rows, width].      sum, scaled  f32 [width]; NULL: not wanted.      s, stats: where scaled is. */
typedef struct gpu_columns {
    gpu_type type;
    uint32_t n_rows, width;
    const void *dy, *s;
    const float *stats;
    float *sum, *scaled;
} gpu_columns;

typedef enum gpu_function { GPU_GELU, GPU_GELU_TANH, GPU_RELU, GPU_TANH } gpu_function;

/* y = f(x + bias) * up.      x, up, y  T [n_rows, width], ldx, ldup, ldy; bias f32 [width]; bias, up: NULL for none. y may be x or up. */
typedef struct gpu_activate {
    gpu_type type;
    gpu_function function;
    uint32_t n_rows, width, ldx, ldup, ldy;
    const void *x, *up;
    const float *bias;
    void *y;
} gpu_activate;

/* dx = dy * up * f'(x + bias), dup = dy * f(x + bias). dx has ldx and may be x; dup has ldup and may be up. dy dense. */
typedef struct gpu_activate_back {
    gpu_type type;
    gpu_function function;
    uint32_t n_rows, width, ldx, ldup;
    const void *dy, *x, *up;
    const float *bias;
    void *dx, *dup;
} gpu_activate_back;

/* Rotates pairs (x[i], x[i + width / 2]) of every head in place by the angle of the row's position, as decoder_rotate; inverse turns back.
 * x  T [n_rows, n_heads, width], ldx.    position  [n_rows] below n_positions.    cosine, sine  f32 [n_positions, width / 2]. */
typedef struct gpu_rotate {
    gpu_type type;
    uint32_t n_rows, n_heads, width, ldx;
    void *x;
    const uint32_t *position;
    const float *cosine, *sine;
    int inverse;
} gpu_rotate;

/* y[t] = words[id[t]] * scale + places[place[t]].  words, places, y  T; places and place NULL for none.
 * An id or place past its table's end makes the row NaN: the caller finds it in the logits. */
typedef struct gpu_gather {
    gpu_type type;
    uint32_t n_rows, width, n_words, n_places;
    const void *words, *places;
    const uint32_t *id, *place;
    float scale;
    void *y;
} gpu_gather;

/* A piece of the work of attention: up to GPU_TILE_QUERIES queries of one text from `query` on. Host code makes the list (gpu_tiles). */
enum { GPU_TILE_QUERIES = 16 };
typedef struct gpu_tile {
    uint32_t begin, end; /* the text's tokens */
    uint32_t query;
} gpu_tile;

/* out = softmax(scale q k^T + relative) v for each head of each packed text, by an online softmax (arXiv:1805.02867, arXiv:2205.14135).
 * q        T [n_tokens, n_heads, width], ldq; k, v  T [n_tokens, n_kv_heads, width], ldkv; out as q with ldo. n_heads is a multiple of n_kv_heads.
 * width    32, 64 or 256.
 * causal   a query sees the keys up to its own place.
 * window   it sees fewer than window places back, and without causal also ahead; 0: all.
 * relative f32 [n_heads, 2 * relative_reach + 1], the bias of key j for query i at j - i + relative_reach, which no text may pass; NULL: none.
 * lse      f32 [n_heads, n_tokens] log of the sum of exponentials, for the backward pass; NULL: not wanted. */
typedef struct gpu_attention {
    gpu_type type;
    uint32_t n_tokens, n_heads, n_kv_heads, width, ldq, ldkv, ldo;
    const gpu_tile *tiles;
    uint32_t n_tiles;
    const void *q, *k, *v;
    float scale;
    int causal;
    uint32_t window;
    const float *relative;
    uint32_t relative_reach;
    void *out;
    float *lse;
} gpu_attention;

/* dq, dk, dv from dout (with ldo, as out) and the forward pass's out and lse. Written, with forward's leading dimensions. relative gets no gradient.
 * dot  f32 [n_heads, n_tokens], scratch: dout times out. */
typedef struct gpu_attention_back {
    gpu_attention forward;
    const void *dout;
    void *dq, *dk, *dv;
    float *dot;
} gpu_attention_back;

/* Rows to int8 with a scale and a zero point each: kernel_quantize's numbers, less 128 (q and zero), for signed products.
 * x  T [n_rows, width]; q [n_rows, ldq], columns from width on are 0. */
typedef struct gpu_quantize {
    gpu_type type;
    uint32_t n_rows, width, ldq;
    const void *x;
    int8_t *q;
    float *scale;
    int32_t *zero;
} gpu_quantize;

/* y = row_scale * column_scale * (product - zero * sum of the column's weights) + bias, as kernel_product_int8 has it.
 * product  [n_rows, width] int32; column_sum is column_scale times the sum of the column's weights; bias NULL: 0. */
typedef struct gpu_dequantize {
    gpu_type type;
    uint32_t n_rows, width;
    const int32_t *product;
    const float *row_scale;
    const int32_t *zero;
    const float *column_scale, *column_sum, *bias;
    void *y;
} gpu_dequantize;

/* Softmax cross-entropy over classes or a vocabulary. x += bias; loss = -log softmax(x)[target]; with grad x = scale * (softmax(x) - onehot),
 * else x is left as it was. A target of GPU_IGNORE: loss 0, gradient 0. A target past n: loss NaN.
 * x  T [n_rows, n], ldx.      loss  f32 [n_rows].      hit  [n_rows] 1 where no other class has a larger logit and no earlier one the same; NULL: not wanted. */
typedef struct gpu_cross_entropy {
    gpu_type type;
    uint32_t n_rows, n, ldx;
    void *x;
    const float *bias;
    const int32_t *target;
    float scale;
    int grad;
    float *loss;
    int32_t *hit;
} gpu_cross_entropy;

/* train_adamw's step for many tensors in one launch: the same bits, but for subnormals, which are kept. */
typedef struct gpu_adamw_tensor {
    float *p;
    const float *g;
    float *m, *v;
    uint16_t *p16; /* the weights in bf16 for the products; NULL: none */
    uint64_t n;
} gpu_adamw_tensor;

typedef struct gpu_adamw {
    const gpu_adamw_tensor *tensors; /* [n_tensors] in device memory */
    uint32_t n_tensors;
    float clip, one_minus_beta1, beta2, one_minus_beta2, epsilon, decay, step_size, correction;
} gpu_adamw;

/* One list: members of the table, their types, the tests' names. */
#define GPU_OPERATORS(X) \
    X(norm)              \
    X(norm_back)         \
    X(columns)           \
    X(activate)          \
    X(activate_back)     \
    X(rotate)            \
    X(gather)            \
    X(attention)         \
    X(attention_back)    \
    X(quantize)          \
    X(dequantize)        \
    X(cross_entropy)     \
    X(adamw)

typedef struct gpu_table {
    uint32_t version; /* GPU_MODULE_VERSION */
    uint32_t size_bytes; /* of this struct */
    gpu_state (*count)(int *n, char *why); /* GPU_READY, GPU_NO_DRIVER or GPU_NO_DEVICE */
    int (*describe)(int device, gpu_device *out, char *why);
    int (*open)(int device, gpu_context **out, char *why);
    void (*close)(gpu_context *c); /* takes NULL; all memory of the context goes with it */
    int (*alloc)(gpu_context *c, size_t size_bytes, void **out, char *why); /* from the pool, in the stream's order */
    void (*release)(gpu_context *c, void *memory); /* takes NULL */
    int (*pin)(gpu_context *c, size_t size_bytes, void **out, char *why); /* host memory that copies do not wait for */
    void (*unpin)(gpu_context *c, void *memory);
    int (*upload)(gpu_context *c, void *to, const void *from, size_t size_bytes, char *why); /* from: host memory */
    int (*download)(gpu_context *c, void *to, const void *from, size_t size_bytes, char *why); /* to: host memory */
    int (*wait)(gpu_context *c, char *why);
#define GPU_MEMBER(name) int (*name)(gpu_context * c, const gpu_##name *a, char *why);
    GPU_OPERATORS(GPU_MEMBER)
#undef GPU_MEMBER
} gpu_table;

/* Its only symbol. */
#define GPU_TABLE_SYMBOL "finch_cuda_table"

#endif
