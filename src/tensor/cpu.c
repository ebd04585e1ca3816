#include "tensor/cpu.h"

#include <stdlib.h>
#include <string.h>
#if defined(__x86_64__)
#include <cpuid.h>
#include <pthread.h>
#endif
#if defined(__x86_64__) && defined(__linux__)
#include <sys/syscall.h>
#include <unistd.h>
#endif

static const char *const cpu_names[CPU_FEATURE_COUNT] = {"scalar",      "avx2",     "avx512",  "avx512_vnni",
                                                         "avx512_bf16", "amx_int8", "amx_bf16"};

#if defined(__x86_64__)

/* Bits of CPUID leaf 7's EDX, of XCR0 and of the system's permission (Linux: Documentation/arch/x86/xstate.rst). */
enum {
    AMX_BF16_BIT = 1 << 22,
    AMX_TILE_BIT = 1 << 24,
    AMX_INT8_BIT = 1 << 25,
    TILE_STATE = 3 << 17, /* configuration and data */
    TILE_DATA_FEATURE = 18,
    REQUEST_PERMISSION = 0x1023
};

static pthread_once_t cpu_tiles_once = PTHREAD_ONCE_INIT;
static unsigned cpu_tiles; /* leaf 7's EDX where tiles can be used, else 0 */

/* The system saves the eight kilobytes of tiles only for processes that asked for them; without, the first tile faults. */
static bool cpu_ask_for_tiles(void)
{
#if defined(__linux__)
    return syscall(SYS_arch_prctl, REQUEST_PERMISSION, TILE_DATA_FEATURE) == 0;
#else
    return false;
#endif
}

static void cpu_find_tiles(void)
{
    unsigned a, b, c, d, saved_low, saved_high;
    if (!__get_cpuid(1, &a, &b, &c, &d) || (c & bit_OSXSAVE) == 0) return;
    if (!__get_cpuid_count(7, 0, &a, &b, &c, &d) || (d & AMX_TILE_BIT) == 0) return;
    __asm__("xgetbv" : "=a"(saved_low), "=d"(saved_high) : "c"(0));
    if ((saved_low & TILE_STATE) == TILE_STATE && cpu_ask_for_tiles()) cpu_tiles = d;
}

static bool cpu_has_tiles(unsigned bit)
{
    pthread_once(&cpu_tiles_once, cpu_find_tiles);
    return (cpu_tiles & bit) != 0;
}

static bool cpu_detect(cpu_feature feature)
{
    bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
    bool avx512 = avx2 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                  __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
    switch (feature) {
    case CPU_AVX2: return avx2;
    case CPU_AVX512: return avx512;
    case CPU_AVX512_VNNI: return avx512 && __builtin_cpu_supports("avx512vnni");
    case CPU_AVX512_BF16: return avx512 && __builtin_cpu_supports("avx512bf16");
    case CPU_AMX_INT8: return avx512 && cpu_has_tiles(AMX_INT8_BIT);
    case CPU_AMX_BF16: return avx512 && cpu_has_tiles(AMX_BF16_BIT);
    default: return feature == CPU_SCALAR;
    }
}

#else

static bool cpu_detect(cpu_feature feature) { return feature == CPU_SCALAR; }

#endif

/* The words of FINCH_ISA, and the last feature that each allows. */
static const struct {
    const char *name;
    cpu_feature most;
} cpu_sets[] = {{"scalar", CPU_SCALAR}, {"avx2", CPU_AVX2}, {"avx512", CPU_AVX512_BF16}, {"amx", CPU_AMX_BF16}};

/* Unset or empty: all. False where the word is none of them. */
static bool cpu_most(cpu_feature *most)
{
    const char *isa = getenv("FINCH_ISA");
    *most = CPU_AMX_BF16;
    if (isa == NULL || isa[0] == '\0') return true;
    for (size_t i = 0; i < sizeof cpu_sets / sizeof cpu_sets[0]; i++) {
        if (strcmp(isa, cpu_sets[i].name) != 0) continue;
        *most = cpu_sets[i].most;
        return true;
    }
    return false;
}

finch_status cpu_check(finch_error *err)
{
    cpu_feature most;
    if (cpu_most(&most)) return FINCH_OK;
    return finch_fail(err, FINCH_E_USAGE, "FINCH_ISA is \"%.40s\": write scalar, avx2, avx512 or amx, or unset it",
                      getenv("FINCH_ISA"));
}

static bool cpu_allowed(cpu_feature feature)
{
    cpu_feature most;
    (void)cpu_most(&most);
    return feature <= most;
}

bool cpu_has(cpu_feature feature) { return cpu_allowed(feature) && cpu_detect(feature); }

const char *cpu_feature_name(cpu_feature feature) { return cpu_names[feature]; }

const char *cpu_isa(void)
{
    if (cpu_has(CPU_AMX_INT8) || cpu_has(CPU_AMX_BF16)) return "amx";
    return cpu_names[cpu_has(CPU_AVX512) ? CPU_AVX512 : cpu_has(CPU_AVX2) ? CPU_AVX2 : CPU_SCALAR];
}
