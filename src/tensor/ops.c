#include "tensor/ops.h"

/* A variant: fn is the operator's own type behind a common one, cast back at its place in struct ops. */
typedef void (*ops_any)(void);

typedef struct ops_variant {
    const char *name;
    cpu_feature needs;
    ops_any fn;
} ops_variant;

enum {
    OPS_VARIANTS = 4,
    OPS_VECTOR_ROWS = 56,
    OPS_TILE_ROWS = 128
}; /* rows: four register tiles of 14, four blocks of 32 */

#if defined(__x86_64__)
#define OPS_VECTOR(operation, avx512_needs) \
    {"avx512", avx512_needs, (ops_any)operation##_avx512}, {"avx2", CPU_AVX2, (ops_any)operation##_avx2},
#define OPS_TILES(operation, amx_needs) {"amx", amx_needs, (ops_any)operation##_amx},
#define OPS_BF16_TILES product_bf16_amx
#else
#define OPS_VECTOR(operation, avx512_needs)
#define OPS_TILES(operation, amx_needs)
#define OPS_BF16_TILES NULL
#endif

/*       operation      its variants, best first */
#define OPS_LIST(X)                                                                                  \
    X(product_f32, OPS_VECTOR(product_f32, CPU_AVX512))                                              \
    X(product_int8, OPS_TILES(product_int8, CPU_AMX_INT8) OPS_VECTOR(product_int8, CPU_AVX512_VNNI)) \
    X(product_bf16, OPS_TILES(product_bf16, CPU_AMX_BF16) OPS_VECTOR(product_bf16, CPU_AVX512_BF16)) \
    X(layer_norm, OPS_VECTOR(layer_norm, CPU_AVX512))                                                \
    X(quantize, OPS_VECTOR(quantize, CPU_AVX512))                                                    \
    X(attention, OPS_VECTOR(attention, CPU_AVX512))                                                  \
    X(gelu, OPS_VECTOR(gelu, CPU_AVX512))                                                            \
    X(gelu_tanh, OPS_VECTOR(gelu_tanh, CPU_AVX512))                                                  \
    X(relu, OPS_VECTOR(relu, CPU_AVX512))                                                            \
    X(tanh, OPS_VECTOR(tanh, CPU_AVX512))                                                            \
    X(narrow, OPS_VECTOR(narrow, CPU_AVX512))                                                        \
    X(split, OPS_VECTOR(split, CPU_AVX512))

typedef struct ops_entry {
    const char *operation;
    ops_variant variants[OPS_VARIANTS];
} ops_entry;

#define OPS_ENTRY(operation, variants) {#operation, {variants{"scalar", CPU_SCALAR, (ops_any)operation##_scalar}}},
static const ops_entry ops_entries[] = {OPS_LIST(OPS_ENTRY)};

#define OPS_INDEX(operation, variants) OPS_AT_##operation,
enum { OPS_LIST(OPS_INDEX) OPS_COUNT };

static const ops_variant *ops_best(size_t index, cpu_feature most)
{
    const ops_variant *v = ops_entries[index].variants;
    while (v->needs > most || !cpu_has(v->needs)) v++; /* scalar needs nothing and is last */
    return v;
}

ops ops_choose_for(cpu_feature most)
{
    ops o;
    o.product_f32 = (kernel_product_f32_fn)ops_best(OPS_AT_product_f32, most)->fn;
    o.product_int8 = (kernel_product_int8_fn)ops_best(OPS_AT_product_int8, most)->fn;
    o.product_bf16 = (kernel_product_bf16_fn)ops_best(OPS_AT_product_bf16, most)->fn;
    o.layer_norm = (kernel_layer_norm_fn)ops_best(OPS_AT_layer_norm, most)->fn;
    o.quantize = (kernel_quantize_fn)ops_best(OPS_AT_quantize, most)->fn;
    o.attention = (kernel_attention_fn)ops_best(OPS_AT_attention, most)->fn;
    o.gelu = (kernel_map)ops_best(OPS_AT_gelu, most)->fn;
    o.gelu_tanh = (kernel_map)ops_best(OPS_AT_gelu_tanh, most)->fn;
    o.relu = (kernel_map)ops_best(OPS_AT_relu, most)->fn;
    o.tanh = (kernel_map)ops_best(OPS_AT_tanh, most)->fn;
    o.narrow = (kernel_narrow)ops_best(OPS_AT_narrow, most)->fn;
    o.split = (kernel_split)ops_best(OPS_AT_split, most)->fn;
    o.product_bf16_skips_copies = o.product_bf16 == OPS_BF16_TILES;
    o.block_rows = most >= CPU_AMX_INT8 && cpu_has(CPU_AMX_INT8) ? OPS_TILE_ROWS : OPS_VECTOR_ROWS;
    return o;
}

ops ops_choose(void) { return ops_choose_for(CPU_FEATURE_COUNT); }

bool ops_describe(size_t index, ops_line *out)
{
    if (index >= OPS_COUNT) return false;
    const ops_variant *v = ops_best(index, CPU_FEATURE_COUNT);
    *out = (ops_line){ops_entries[index].operation, v->name, v->needs};
    return true;
}
