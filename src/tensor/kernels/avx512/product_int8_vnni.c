/* vpdpbusd adds four u8 x s8 products to a lane without saturating. */
#define PRODUCT_NAME product_int8_avx512
#define PRODUCT_ROWS 14
#define PRODUCT_OP "vpdpbusd"
#include "tensor/kernels/product_int8_body.h"
