/* vdpbf16ps adds two bf16 products to an f32 lane. */
#define PRODUCT_NAME product_bf16_avx512
#define PRODUCT_ROWS 14
#define PRODUCT_OP "vdpbf16ps"
#include "tensor/kernels/product_bf16_body.h"
