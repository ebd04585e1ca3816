/* 14 rows x 32 columns: 28 sums, 2 panel vectors and a broadcast are 31 of the 32 registers; 28 multiply-adds to 16 loads. */
#define PRODUCT_NAME product_f32_avx512
#define PRODUCT_ROWS 14
#include "tensor/kernels/product_f32_body.h"
