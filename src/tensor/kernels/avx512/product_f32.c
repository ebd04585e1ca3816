#define PRODUCT_NAME product_f32_avx512
#define PRODUCT_ROWS 14
#define PRODUCT_OP "vfmadd231ps"
#include "tensor/kernels/product_f32_body.h"
