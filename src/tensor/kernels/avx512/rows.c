#define ROWS_NAME(kernel) kernel##_avx512
#include "tensor/kernels/rows_body.h"
