/* The forward operators and which variant of each this machine runs: one table an operator {name, needs, fn}, the first
 * whose CPU feature is there wins. Contracts are in kernels/kernels.h. FINCH_ISA lowers the choice (cpu.h). */
#ifndef FINCH_TENSOR_OPS_H
#define FINCH_TENSOR_OPS_H

#include "tensor/cpu.h"
#include "tensor/kernels/kernels.h"

typedef struct ops {
    kernel_product_f32_fn product_f32;
    kernel_product_int8_fn product_int8;
    kernel_product_bf16_fn product_bf16;
    kernel_layer_norm_fn layer_norm;
    kernel_quantize_fn quantize;
    kernel_attention_fn attention;
    kernel_map gelu;
    kernel_map gelu_tanh;
    kernel_map relu;
    kernel_map tanh;
    kernel_narrow narrow;
    kernel_split split;
    bool product_bf16_skips_copies; /* the choice reads no part twice where depth is a multiple of KERNEL_SKIP_DEPTH */
    size_t block_rows; /* rows that the products like to run at a time: whole tiles of theirs */
} ops;

/* The choice for this process's environment, by value: callers keep it. */
ops ops_choose(void);
/* The best variants that need no more than this feature: tests compare them. Those that need more are NULL-free: a
 * lower variant stands in. */
ops ops_choose_for(cpu_feature most);

/* One line of finch doctor. */
typedef struct ops_line {
    const char *operation; /* "product_int8" */
    const char *variant;   /* "avx512" */
    cpu_feature needs;
} ops_line;

/* What ops_choose picks: the line at index (0, 1, ...); false past the last. */
bool ops_describe(size_t index, ops_line *out);

#endif
