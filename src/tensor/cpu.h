/* What this CPU can do, asked once. FINCH_ISA=scalar|avx2|avx512|amx in the environment lowers it (never raises it), so that
 * every variant of a kernel can be tested and measured on one machine. */
#ifndef FINCH_TENSOR_CPU_H
#define FINCH_TENSOR_CPU_H

#include "base/status.h"

#include <stdbool.h>
#include <stddef.h>

typedef enum cpu_feature {
    CPU_SCALAR, /* always there */
    CPU_AVX2, /* avx2, fma, f16c */
    CPU_AVX512, /* avx512 f, bw, dq, vl, and CPU_AVX2 */
    CPU_AVX512_VNNI, /* and CPU_AVX512 */
    CPU_AVX512_BF16, /* and CPU_AVX512 */
    CPU_AMX_INT8, /* and CPU_AVX512, and the system lets this process use tiles */
    CPU_AMX_BF16, /* the same */
    CPU_FEATURE_COUNT
} cpu_feature;

/* FINCH_E_USAGE where FINCH_ISA is set and names none of the four: asked before work begins, for cpu_has has no way to say it. */
finch_status cpu_check(finch_error *err);
bool cpu_has(cpu_feature feature);
/* "avx512_vnni"; static. */
const char *cpu_feature_name(cpu_feature feature);
/* "scalar", "avx2", "avx512" or "amx": the instruction set the kernels are picked for; static. */
const char *cpu_isa(void);

#endif
