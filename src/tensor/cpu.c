#include "tensor/cpu.h"

#include <stdlib.h>
#include <string.h>

static const char *const cpu_names[CPU_FEATURE_COUNT] = {"scalar", "avx2", "avx512", "avx512_vnni", "avx512_bf16"};

static bool cpu_detect(cpu_feature feature)
{
#if defined(__x86_64__)
    bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
    bool avx512 = avx2 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                  __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
    switch (feature) {
    case CPU_AVX2: return avx2;
    case CPU_AVX512: return avx512;
    case CPU_AVX512_VNNI: return avx512 && __builtin_cpu_supports("avx512vnni");
    case CPU_AVX512_BF16: return avx512 && __builtin_cpu_supports("avx512bf16");
    default: return feature == CPU_SCALAR;
    }
#else
    return feature == CPU_SCALAR;
#endif
}

static bool cpu_allowed(cpu_feature feature)
{
    const char *isa = getenv("FINCH_ISA");
    if (isa == NULL || strcmp(isa, "avx512") == 0) return true;
    if (strcmp(isa, "avx2") == 0) return feature <= CPU_AVX2;
    return strcmp(isa, "scalar") != 0 || feature == CPU_SCALAR;
}

bool cpu_has(cpu_feature feature) { return cpu_detect(feature) && cpu_allowed(feature); }

const char *cpu_feature_name(cpu_feature feature) { return cpu_names[feature]; }

const char *cpu_isa(void) { return cpu_names[cpu_has(CPU_AVX512) ? CPU_AVX512 : cpu_has(CPU_AVX2) ? CPU_AVX2 : CPU_SCALAR]; }
