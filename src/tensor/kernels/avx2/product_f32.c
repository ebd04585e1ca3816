/* 3 rows x 32 columns: 12 sums in 8-lane registers, the rest for loads. */
#define PRODUCT_NAME product_f32_avx2
#define PRODUCT_ROWS 3
#include "tensor/kernels/product_f32_body.h"
