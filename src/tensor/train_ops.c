#include "tensor/train_ops.h"

#include "tensor/cpu.h"
#include "tensor/kernels/train_kernels.h"

#include <string.h>

size_t train_attention_scratch(size_t n_queries, size_t n_keys, size_t width)
{
    size_t ld = (n_keys + 15) / 16 * 16;
    size_t longer = n_queries > n_keys ? n_queries : n_keys;
    /* A transposed operand, the gradient of the scores, the probabilities after dropout, one output. */
    return width * ld + 2 * n_queries * ld + longer * width + 64;
}

const train_ops *train_ops_find(const char *name)
{
    if (strcmp(name, "scalar") == 0) return &train_ops_scalar;
#if defined(__x86_64__)
    if (strcmp(name, "avx2") == 0 && cpu_has(CPU_AVX2)) return &train_ops_avx2;
    if (strcmp(name, "avx512") == 0 && cpu_has(CPU_AVX512)) return &train_ops_avx512;
#endif
    return NULL;
}

const train_ops *train_ops_get(void)
{
    const train_ops *ops = train_ops_find("avx512");
    if (ops == NULL) ops = train_ops_find("avx2");
    return ops != NULL ? ops : &train_ops_scalar;
}
