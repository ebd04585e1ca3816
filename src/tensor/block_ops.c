#include "tensor/block_ops.h"

#include "tensor/kernels/block_kernels.h"

#include <string.h>

const block_ops *block_ops_find(const char *name)
{
    if (strcmp(name, "scalar") == 0) return &block_ops_scalar;
#if defined(__x86_64__)
    if (strcmp(name, "avx2") == 0 && cpu_has(CPU_AVX2)) return &block_ops_avx2;
    if (strcmp(name, "avx512") == 0 && cpu_has(CPU_AVX512_VNNI)) return &block_ops_avx512;
#endif
    return NULL;
}

const block_ops *block_ops_get(void)
{
    const block_ops *ops = block_ops_find("avx512");
    if (ops == NULL) ops = block_ops_find("avx2");
    return ops != NULL ? ops : &block_ops_scalar;
}
