#include "tensor/decoder_ops.h"

#include "tensor/kernels/decoder_kernels.h"

#include <string.h>

const decoder_ops *decoder_ops_find(const char *name)
{
    if (strcmp(name, "scalar") == 0) return &decoder_ops_scalar;
#if defined(__x86_64__)
    if (strcmp(name, "avx2") == 0 && cpu_has(CPU_AVX2)) return &decoder_ops_avx2;
    if (strcmp(name, "avx512") == 0 && cpu_has(CPU_AVX512)) return &decoder_ops_avx512;
#endif
    return NULL;
}

const decoder_ops *decoder_ops_get(void)
{
    const decoder_ops *ops = decoder_ops_find("avx512");
    if (ops == NULL) ops = decoder_ops_find("avx2");
    return ops != NULL ? ops : &decoder_ops_scalar;
}
